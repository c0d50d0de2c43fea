//! Which project a program belongs to, by the directory that it works in.

use std::collections::HashSet;
use std::path::Path;

use portclaim::{Listener, ProjectPath, Record, Registry};

use super::report::Failure;

/// The projects that have a port.
pub(super) struct Projects<'a>(HashSet<&'a str>);

impl<'a> Projects<'a> {
    pub(super) fn of(records: &'a [Record]) -> Projects<'a> {
        let path = |record: &'a Record| record.project().as_str();
        Projects(records.iter().map(path).collect())
    }

    /// Returns the project that a program works in: in its directory or below, and in the
    /// innermost one where projects lie in each other.
    pub(super) fn around(&self, listener: &Listener) -> Option<&'a str> {
        let mut around = listener.directory.as_deref()?.ancestors();
        around.find_map(|path| self.0.get(Path::to_str(path)?).copied())
    }

    /// Returns whether a program works in this project, `None` where it cannot be known.
    pub(super) fn is_in(&self, project: &ProjectPath, listener: &Listener) -> Option<bool> {
        let _ = listener.directory.as_ref()?;
        Some(self.around(listener) == Some(project.as_str()))
    }
}

/// Returns what is needed to know which projects these programs belong to. The claim of the port
/// that they listen on is enough where they work nowhere but at the top of its project, as most do.
pub(super) fn records_for(
    listeners: &[Listener],
    claim: Option<&Record>,
    registry: &Registry,
) -> Result<Vec<Record>, Failure> {
    let top = claim.map(|record| record.project().as_path().as_std_path());
    let mut directories = listeners
        .iter()
        .filter_map(|listener| listener.directory.as_deref());
    let mut records: Vec<Record> = claim.cloned().into_iter().collect();
    if !directories.all(|directory| Some(directory) == top) {
        // Claims that cannot be read hide no other; doctor tells of them.
        records.extend(registry.records()?.flatten());
    }
    Ok(records)
}
