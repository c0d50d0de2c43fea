//! `portclaim remove`: gives the project's port back.

use portclaim::{Holder, Record, Registry};
use serde::Serialize;

use super::claims::{ServicePort, warn_of_none};
use super::global::Target;
use super::report::{Failure, Outcome, print, print_json};
use super::settings::Settings;
use super::target::Holders;
use super::text::{escape, lines};

#[derive(Serialize)]
struct GivenBack<'a> {
    /// `null` where there was none.
    port: Option<u16>,
    project: &'a str,
    /// All of them: of a block or of several services more than one.
    removed: Vec<ServicePort<'a>>,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    target: &Target,
) -> Result<Outcome, Failure> {
    let Holders {
        project,
        all: holders,
        ..
    } = Holders::of(settings, target)?;
    let mut removed = Vec::new();
    let mut answer = Outcome::Yes;
    for holder in &holders {
        let records = registry.release_block(holder)?;
        if records.is_empty() {
            warn_of_none(&holder.to_string());
            answer = Outcome::No;
        }
        removed.extend(records);
    }
    // It may have ports from the time before its services were listed.
    let unnamed = Holder::new(project.clone());
    if target.services.is_empty() && !holders.contains(&unnamed) {
        removed.extend(registry.release_block(&unnamed)?);
    }
    if settings.json {
        print_json(&GivenBack {
            port: removed.first().map(|record| record.port().get()),
            project: project.as_str(),
            removed: removed.iter().map(ServicePort::from).collect(),
        })?;
    } else {
        let line = |record: &Record| {
            let holder = record.holder().to_string();
            format!("{} {}", record.port(), escape(&holder))
        };
        print(&lines(removed.iter().map(line)))?;
    }
    Ok(answer)
}
