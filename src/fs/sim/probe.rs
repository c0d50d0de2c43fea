//! Who watches the steps of a process on a simulated disk, and can stop it at any.

use std::any::Any;
use std::panic::resume_unwind;
use std::rc::Rc;

use super::{SimDir, Verdict};

/// A step that a process is about to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) call: &'static str,
    /// The directory.
    pub(crate) dir: &'a str,
    /// The name in it, where the call has one.
    pub(crate) name: &'a str,
}

/// Is asked before each step. No lock of the simulation is held meanwhile, so that it may
/// act on the disk itself, or [`kill`].
pub(crate) type Probe = Rc<dyn Fn(Step<'_>) -> Verdict>;

/// What a killed process unwinds with.
struct Killed;

/// Ends the operation that is running on this thread, as `kill -9` ends a process: nothing of
/// it goes on, and its files are closed.
pub(crate) fn kill() -> ! {
    // Not a panic: nobody is told of it.
    resume_unwind(Box::new(Killed))
}

/// Returns whether an operation that unwound was killed, and did not panic.
pub(crate) fn is_killed(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Killed>()
}

impl SimDir {
    /// Returns the same directory, as a process sees it whose steps `probe` watches.
    pub(crate) fn watched(&self, probe: &Probe) -> SimDir {
        SimDir {
            probe: Some(probe.clone()),
            ..self.clone()
        }
    }

    pub(super) fn judge(&self, call: &'static str, name: &str) -> Verdict {
        self.probe.as_ref().map_or(Verdict::Go, |probe| {
            probe(Step {
                call,
                dir: self.path.as_str(),
                name,
            })
        })
    }
}
