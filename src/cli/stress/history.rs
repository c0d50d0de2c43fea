//! What workers are told, and when each action began and ended.

use serde::{Deserialize, Serialize};

use super::action::{Action, Running};
use super::seen::{Process, Seen};

/// A moment of the system's monotonic clock, in nanoseconds. All processes of a machine read
/// the same clock, so the moments of different workers can be compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    /// After all others: for what never comes.
    pub(super) const NEVER: Moment = Moment(u64::MAX);

    pub(super) fn now() -> Moment {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
        Moment(seconds * 1_000_000_000 + nanos)
    }

    /// Returns the seconds since an earlier moment.
    pub(super) fn seconds_since(self, earlier: Moment) -> f64 {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0)).as_secs_f64()
    }
}

/// A port that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Given {
    pub(super) claim: Seen,
    /// By this call; else the holder had it.
    pub(super) new: bool,
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// These ports, all that were asked for.
    Given(Vec<Given>),
    /// The range has no port left. So many of its ports have no claim and cannot be bound.
    Exhausted { unbindable: u32 },
    /// What a holder or port has.
    Found(Option<Seen>),
    /// What was released; nothing where there was nothing.
    Released(Vec<Seen>),
    /// The claim that was to be released or renewed is not there any more.
    Superseded,
    /// The claim is renewed.
    Renewed(Seen),
    /// The lease is held.
    Leased(Seen),
    /// The process may own claims.
    Started(Process),
    /// The command runs. Its project was found with this claim of the port, if it was, after the command had said which
    /// it has.
    Ran { run: Running, claim: Option<Seen> },
    /// A process that the worker had started was killed by it before it said what it had done.
    Killed,
    /// What was to end has ended: nobody holds the lease any more, the process is gone.
    Ended,
    /// What was given back of projects whose directories are gone. Of each of these projects, this call gave back
    /// some of them, and others may have given back the rest.
    Pruned(Vec<Seen>),
    /// These claims took the place of those of the other project; none where it had none.
    Moved(Vec<Seen>),
    /// All claims.
    Listed(Vec<Seen>),
    /// All leases that are held.
    Leases(Vec<Seen>),
    /// It was done, and says nothing about claims.
    Done,
    /// What others have stands in the way. Nothing was changed.
    Refused,
    /// Other processes were in the way for too long. Nothing was changed.
    Contended,
    /// It failed in a way that a sound file system gives no reason for.
    Failed(String),
}

impl Answer {
    /// Returns whether it leaves open what was done.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Answer::Failed(_) | Answer::Killed)
    }

    /// Returns the action that ends what has begun with this answer, and that a kill of the worker is as well.
    pub(super) fn ending(&self) -> Option<Action> {
        let killed = true;
        match *self {
            Answer::Leased(claim) => Some(Action::EndLease { claim, killed }),
            Answer::Started(owner) => Some(Action::EndOwner { owner, killed }),
            Answer::Ran { run, .. } => Some(Action::EndRun { run, killed }),
            _ => None,
        }
    }

    /// Returns the claims that it tells of, without those of a list of all.
    pub(super) fn claims(&self) -> Vec<Seen> {
        match self {
            Answer::Given(all) => all.iter().map(|given| given.claim).collect(),
            Answer::Found(Some(claim))
            | Answer::Renewed(claim)
            | Answer::Leased(claim)
            | Answer::Ran {
                claim: Some(claim), ..
            } => {
                vec![*claim]
            }
            Answer::Released(all)
            | Answer::Moved(all)
            | Answer::Leases(all)
            | Answer::Pruned(all) => all.clone(),
            _ => Vec::new(),
        }
    }
}

/// An action from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// Which worker; `None` for what is asked after the run.
    pub(super) worker: Option<u32>,
    pub(super) action: Action,
    /// Not after its first effect.
    pub(super) start: Moment,
    /// Not before its last effect: where the worker was killed, a moment after its death.
    pub(super) end: Moment,
    /// `None` where the worker was killed: it may have taken effect or not.
    pub(super) answer: Option<Answer>,
    /// Whether the worker was stopped for a while meanwhile, or may have been held up as long.
    pub(super) stopped: bool,
    /// What the library told besides.
    pub(super) notices: Vec<String>,
}

/// A line that a worker writes. It is shorter than `PIPE_BUF` (or, for long lists, read as
/// torn if its writer is killed), so a killed worker leaves whole lines and perhaps a piece.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Line {
    /// Written before the action.
    Begin { at: Moment, action: Action },
    /// Written after it.
    End {
        at: Moment,
        answer: Answer,
        notices: Vec<String>,
    },
}
