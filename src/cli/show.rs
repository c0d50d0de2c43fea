//! `portclaim show`: prints the project's port.

use portclaim::{Holder, Port, ProjectPath, Registry};
use serde::Serialize;

use super::claims::{print_claims, warn_of_none};
use super::global::Target;
use super::report::{Failure, Outcome, print, tell_hint};
use super::settings::Settings;
use super::target::Holders;
use super::text::{escape, lines, word};

#[derive(Serialize)]
struct Shown<'a> {
    /// `null` where the project has none.
    port: Option<u16>,
    project: &'a str,
    name: &'a str,
    service: &'a str,
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
    let mut shown = Vec::with_capacity(holders.len());
    for holder in &holders {
        let record = registry.find(holder)?;
        shown.push((holder, record.map(|record| record.port())));
    }
    if settings.json {
        let claims = shown.iter().map(as_json).collect();
        print_claims(claims, holders.len() > 1)?;
    } else {
        let ports = shown.iter().filter_map(|(_, port)| *port);
        print(&lines(ports))?;
    }
    let missing = shown.iter().filter(|(_, port)| port.is_none());
    let missing: Vec<&Holder> = missing.map(|(holder, _)| *holder).collect();
    for holder in &missing {
        warn_of_none(&holder.to_string());
    }
    match missing.first() {
        None => return Ok(Outcome::Yes),
        Some(holder) => tell_hint(&advice(registry, &project, holder)?),
    }
    Ok(Outcome::No)
}

fn as_json<'a>((holder, port): &(&'a Holder, Option<Port>)) -> Shown<'a> {
    Shown {
        port: port.map(Port::get),
        project: holder.project().as_str(),
        name: holder.project().name(),
        service: holder.service(),
    }
}

/// What to do about a holder that has no port.
pub(super) fn advice(
    registry: &Registry,
    project: &ProjectPath,
    holder: &Holder,
) -> Result<String, Failure> {
    if !holder.service().is_empty() {
        return Ok(format!(
            "portclaim allocate --service {} gives it one",
            holder.service()
        ));
    }
    Ok(match ancestor(registry, project)? {
        Some((above, port)) => format!(
            "{} above it has port {port}: portclaim show {}",
            escape(above.as_str()),
            word(above.as_str())
        ),
        None => "portclaim allocate gives it one".to_owned(),
    })
}

/// Returns the nearest directory above that has a port.
fn ancestor(
    registry: &Registry,
    project: &ProjectPath,
) -> Result<Option<(ProjectPath, Port)>, Failure> {
    let mut above = project.parent();
    while let Some(directory) = above {
        if let Some(record) = registry.find(&Holder::new(directory.clone()))? {
            return Ok(Some((directory, record.port())));
        }
        above = directory.parent();
    }
    Ok(None)
}
