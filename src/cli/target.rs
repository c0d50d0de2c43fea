//! Whose port a command is about.

use std::path::Path;

use portclaim::{Holder, ProjectPath, Record, Registry};

use super::args::Target;
use super::report::{Failure, warning};
use super::settings::project;
use super::text::escape;

/// Returns the records that can be read, and warns of the others.
pub(super) fn readable(registry: &Registry) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    for record in registry.records()? {
        match record {
            Ok(record) => records.push(record),
            Err(error) => warning(
                &escape(&error.to_string()),
                Some("portclaim doctor tells more"),
            ),
        }
    }
    Ok(records)
}

/// Returns the project that is meant, whose directory may be gone: the one that has a port under
/// this very path, even if it is a link to somewhere else now; else the one that the path leads to.
pub(super) fn known_project(typed: &Path, records: &[Record]) -> Result<ProjectPath, Failure> {
    let is_written = |record: &&Record| record.project().as_path() == typed;
    if let Some(record) = records.iter().find(is_written) {
        return Ok(record.project().clone());
    }
    project(Some(typed))
}

/// A project and its services, each once, in the order in which they were named.
pub(super) struct Holders {
    pub(super) project: ProjectPath,
    pub(super) holders: Vec<Holder>,
}

impl Holders {
    /// Without a name, it is the unnamed service.
    pub(super) fn of(target: &Target) -> Result<Holders, Failure> {
        let project = project(target.path.as_deref())?;
        let mut holders = Vec::new();
        for name in &target.services {
            let holder = Holder::of_service(project.clone(), name)?;
            if !holders.contains(&holder) {
                holders.push(holder);
            }
        }
        if holders.is_empty() {
            holders.push(Holder::new(project.clone()));
        }
        Ok(Holders { project, holders })
    }
}
