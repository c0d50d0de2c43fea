//! `portclaim allocate`: prints the project's port, and gives it one if it has none.

use std::path::Path;

use portclaim::{Holder, Registry, Request};
use serde::Serialize;

use super::report::{Failure, Outcome, print, print_json, warning};
use super::settings::{Settings, project};
use super::text::escape;

#[derive(Serialize)]
struct Allocated<'a> {
    port: u16,
    project: &'a str,
    name: &'a str,
    /// Whether the project got the port now.
    new: bool,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    path: Option<&Path>,
) -> Result<Outcome, Failure> {
    let project = project(path)?;
    // The current directory exists.
    if path.is_some() && !project.exists() {
        warning(
            &format!("{} does not exist", escape(project.as_str())),
            None,
        );
    }
    let claim = registry.claim(&Request::new(Holder::new(project)))?;
    if settings.json {
        let project = claim.record().project();
        print_json(&Allocated {
            port: claim.port().get(),
            project: project.as_str(),
            name: project.name(),
            new: claim.is_new(),
        })?;
    } else {
        print(&format!("{}\n", claim.port()))?;
    }
    Ok(Outcome::Yes)
}
