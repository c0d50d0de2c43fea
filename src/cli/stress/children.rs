//! Processes that a worker starts, and the one of them that owns claims.
//!
//! They have the worker's output as well, so that whoever reads that to its end knows that they have ended, too.

use std::io;
use std::process::{Child, Command, Stdio};

use portclaim::Owner;

use super::super::settings::own_program;
use super::WORKER;
use super::history::Answer;
use super::seen::Process;

/// Starts a process that inherits what is shared, and lives until its input ends.
pub(super) fn started() -> io::Result<Child> {
    Command::new(own_program()?)
        .arg(WORKER)
        .stdin(Stdio::piped())
        .spawn()
}

/// Ends a child. When it has been waited for, the kernel has closed all that it had open.
pub(super) fn ended(mut child: Child, is_killed: bool) -> io::Result<()> {
    if is_killed {
        child.kill()?;
    }
    drop(child.stdin.take());
    child.wait().map(drop)
}

/// Returns the answer to the end of a child.
pub(super) fn end(child: Option<Child>, is_killed: bool) -> Answer {
    match child.map_or(Ok(()), |child| ended(child, is_killed)) {
        Ok(()) => Answer::Ended,
        Err(error) => Answer::Failed(format!("a child does not end: {error}")),
    }
}

/// The process that owns claims of a worker, if there is one.
#[derive(Default)]
pub(super) struct Owners(Option<(Owner, Child)>);

impl Owners {
    /// Returns the process while it lives.
    pub(super) fn living(&self) -> Option<Process> {
        self.0.as_ref().map(|(owner, _)| owner.into())
    }

    /// Returns the process as requests name it.
    pub(super) fn owner(&self) -> Option<&Owner> {
        self.0.as_ref().map(|(owner, _)| owner)
    }

    /// Starts it.
    pub(super) fn start(&mut self) -> Answer {
        let begun = started().and_then(|child| Ok((Owner::of(child.id())?, child)));
        match begun {
            Ok((owner, child)) => {
                let answer = Answer::Started((&owner).into());
                self.0 = Some((owner, child));
                answer
            }
            Err(error) => Answer::Failed(format!("a child cannot be had: {error}")),
        }
    }

    /// Ends it.
    pub(super) fn end(&mut self, is_killed: bool) -> Answer {
        end(self.0.take().map(|(_, child)| child), is_killed)
    }
}
