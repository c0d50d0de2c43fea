//! `portclaim remove`: gives the project's port back.

use std::path::Path;

use portclaim::{Holder, Registry};
use serde::Serialize;

use super::report::{Failure, Outcome, print, print_json, warning};
use super::settings::{Settings, project};
use super::text::escape;

#[derive(Serialize)]
struct Removed<'a> {
    /// `null` where there was none.
    port: Option<u16>,
    project: &'a str,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    path: Option<&Path>,
) -> Result<Outcome, Failure> {
    let project = project(path)?;
    let removed = registry.release_holder(&Holder::new(project.clone()))?;
    let port = removed.map(|record| record.port());
    if settings.json {
        print_json(&Removed {
            port: port.map(portclaim::Port::get),
            project: project.as_str(),
        })?;
    } else if let Some(port) = port {
        print(&format!("{port} {}\n", escape(project.as_str())))?;
    }
    if port.is_none() {
        warning(&format!("{} has no port", escape(project.as_str())), None);
        return Ok(Outcome::No);
    }
    Ok(Outcome::Yes)
}
