//! `portclaim show`: prints the project's port.

use std::path::Path;

use portclaim::{Holder, ProjectPath, Registry};
use serde::Serialize;

use super::report::{Failure, Outcome, print, print_json, tell_hint, warning};
use super::settings::{Settings, project};
use super::text::escape;

#[derive(Serialize)]
struct Shown<'a> {
    /// `null` where the project has none.
    port: Option<u16>,
    project: &'a str,
    name: &'a str,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    path: Option<&Path>,
) -> Result<Outcome, Failure> {
    let project = project(path)?;
    let record = registry.find(&Holder::new(project.clone()))?;
    let port = record.map(|record| record.port());
    if settings.json {
        print_json(&Shown {
            port: port.map(portclaim::Port::get),
            project: project.as_str(),
            name: project.name(),
        })?;
    } else if let Some(port) = port {
        print(&format!("{port}\n"))?;
    }
    if port.is_some() {
        return Ok(Outcome::Yes);
    }
    warning(&format!("{} has no port", escape(project.as_str())), None);
    match ancestor(registry, &project)? {
        Some((above, port)) => tell_hint(&format!(
            "{} above it has port {port}: portclaim show {}",
            escape(above.as_str()),
            escape(above.as_str())
        )),
        None => tell_hint("portclaim allocate gives it one"),
    }
    Ok(Outcome::No)
}

/// Returns the nearest directory above that has a port.
fn ancestor(
    registry: &Registry,
    project: &ProjectPath,
) -> Result<Option<(ProjectPath, portclaim::Port)>, Failure> {
    let mut above = project.parent();
    while let Some(directory) = above {
        if let Some(record) = registry.find(&Holder::new(directory.clone()))? {
            return Ok(Some((directory, record.port())));
        }
        above = directory.parent();
    }
    Ok(None)
}
