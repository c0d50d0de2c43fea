//! Whose port a command is about.

use portclaim::{Holder, ProjectPath};

use super::args::Target;
use super::report::Failure;
use super::settings::project;

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
