//! `portclaim move`: gives the ports of one project to another.

use std::path::Path;

use portclaim::{ErrorKind, ProjectPath, Record, Registry};
use serde::Serialize;

use super::claims::{ServicePort, ports, warn_of_none};
use super::report::{Failure, Outcome, print, print_json, warning};
use super::settings::{Settings, project};
use super::target::{known_project, readable};
use super::text::{escape, lines};

#[derive(Serialize)]
struct Answer<'a> {
    from: &'a str,
    to: &'a str,
    moved: Vec<ServicePort<'a>>,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    old: &Path,
    new: &Path,
) -> Result<Outcome, Failure> {
    let to = project(Some(new))?;
    let records = readable(registry)?;
    let from = known_project(old, &records)?;
    if from == to {
        return Err(Failure::new(&format!(
            "{from} cannot be moved to where it is: both paths lead to one directory"
        ))
        .hint("where the old path is a link now, write it as portclaim list shows it"));
    }
    let moved = registry.move_project(&from, &to).map_err(|error| {
        let is_taken = error.kind() == ErrorKind::HasAnother;
        let failure = Failure::from(error);
        if is_taken {
            failure.hint(&occupied(&to, &records))
        } else {
            failure
        }
    })?;
    let mut answer = Outcome::Yes;
    if moved.is_empty() {
        warn_of_none(from.as_str());
        answer = Outcome::No;
    } else if !to.exists() {
        warning(&format!("{} does not exist", escape(to.as_str())), None);
    }
    if settings.json {
        print_json(&Answer {
            from: from.as_str(),
            to: to.as_str(),
            moved: moved.iter().map(ServicePort::from).collect(),
        })?;
    } else {
        let (from, to) = (escape(from.as_str()), escape(to.as_str()));
        let line = |record: &Record| match record.holder().service() {
            "" => format!("{} {from} -> {to}", record.port()),
            service => format!("{} {from} -> {to} ({})", record.port(), escape(service)),
        };
        print(&lines(moved.iter().map(line)))?;
    }
    Ok(answer)
}

/// Names the ports that the new project has.
fn occupied(to: &ProjectPath, records: &[Record]) -> String {
    let there = records.iter().filter(|record| record.project() == to);
    format!(
        "nothing was moved: {} has {}; portclaim remove gives back what it does not need",
        escape(to.as_str()),
        ports(there)
    )
}
