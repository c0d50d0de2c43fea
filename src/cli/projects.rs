//! Which project a program belongs to, by the directory that it works in.

use std::collections::HashSet;
use std::path::Path;

use portclaim::{Listener, ProjectPath, Record, Registry};

use super::report::Failure;

/// The projects that have a port.
pub(super) struct Projects(HashSet<String>);

impl Projects {
    pub(super) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Projects {
        let records = records.into_iter();
        let path = |record: &Record| record.project().as_str().to_owned();
        Projects(records.map(path).collect())
    }

    /// Returns as many as are needed to know which projects these programs belong to. The claim of the
    /// port that they listen on is enough where they work nowhere but at the top of its project, as
    /// most do.
    pub(super) fn of_listeners(
        listeners: &[Listener],
        claim: Option<&Record>,
        registry: &Registry,
    ) -> Result<Projects, Failure> {
        let top = claim.map(|record| record.project().as_path().as_std_path());
        let mut directories = listeners
            .iter()
            .filter_map(|listener| listener.directory.as_deref());
        if directories.all(|directory| Some(directory) == top) {
            return Ok(Projects::of(claim));
        }
        // Claims that cannot be read hide no other; doctor tells of them.
        let records: Vec<Record> = registry.records()?.flatten().collect();
        Ok(Projects::of(claim.into_iter().chain(&records)))
    }

    /// Returns the project that a program works in: in its directory or below, and in the
    /// innermost one where projects lie in each other.
    pub(super) fn around(&self, listener: &Listener) -> Option<&str> {
        let mut around = listener.directory.as_deref()?.ancestors();
        let project = around.find_map(|path| self.0.get(Path::to_str(path)?))?;
        Some(project)
    }

    /// Returns whether a program works in this project, `None` where it cannot be known.
    pub(super) fn is_in(&self, project: &ProjectPath, listener: &Listener) -> Option<bool> {
        let _ = listener.directory.as_ref()?;
        Some(self.around(listener) == Some(project.as_str()))
    }
}
