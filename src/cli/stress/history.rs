//! What workers do and are told: actions, answers, and when they began and ended.

use std::fmt;

use portclaim::Record;
use serde::{Deserialize, Serialize};

use super::plan::project_of;

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

/// What tells two claims apart: no two are ever made with the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Nonce(pub(super) u128);

impl TryFrom<String> for Nonce {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Nonce, Self::Error> {
        u128::from_str_radix(&text, 16).map(Nonce)
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> String {
        format!("{:032x}", nonce.0)
    }
}

impl fmt::Debug for Nonce {
    /// The first digits, which tell the claims of one run apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

/// A claim as answers tell it. Projects are numbered; see [`Plan`](super::plan::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) project: u32,
    pub(super) port: u16,
    pub(super) nonce: Nonce,
}

impl Seen {
    /// Reads a record of this run; the error says what is wrong with it.
    pub(super) fn of(record: &Record) -> Result<Seen, String> {
        let path = record.project();
        let project =
            project_of(path).ok_or_else(|| format!("a record of {path}, which nobody claimed"))?;
        let nonce = Nonce::try_from(record.nonce().to_string());
        Ok(Seen {
            project,
            port: record.port().get(),
            nonce: nonce.map_err(|error| format!("a nonce that is none: {error}"))?,
        })
    }
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    /// `Registry::claim`.
    Claim { project: u32 },
    /// `Registry::find`.
    Find { project: u32 },
    /// `Registry::release_holder`.
    Release { project: u32 },
    /// `Registry::release`: this claim and no later one.
    ReleaseExactly { claim: Seen },
    /// `Registry::lookup`.
    Lookup { port: u16 },
    /// `Registry::records`.
    List,
    /// `Registry::repair`, which sweeps.
    Repair,
    /// `Registry::refresh_index`.
    Index,
    /// `Registry::check`.
    Check,
}

/// How many kinds of actions there are.
pub(super) const KINDS: [&str; 8] = [
    "claim", "find", "release", "lookup", "list", "repair", "index", "check",
];

impl Action {
    /// Returns the action's place in [`KINDS`].
    pub(super) fn kind(self) -> usize {
        match self {
            Action::Claim { .. } => 0,
            Action::Find { .. } => 1,
            Action::Release { .. } | Action::ReleaseExactly { .. } => 2,
            Action::Lookup { .. } => 3,
            Action::List => 4,
            Action::Repair => 5,
            Action::Index => 6,
            Action::Check => 7,
        }
    }

    /// Returns the project that it is about, if it is about one.
    pub(super) fn project(self) -> Option<u32> {
        match self {
            Action::Claim { project } | Action::Find { project } | Action::Release { project } => {
                Some(project)
            }
            Action::ReleaseExactly { claim } => Some(claim.project),
            _ => None,
        }
    }
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The project has this port, and got it by this call or had it.
    Given { claim: Seen, new: bool },
    /// The range has no port left. So many of its ports have no claim and cannot be bound.
    Exhausted { unbindable: u32 },
    /// What a project or port has.
    Found(Option<Seen>),
    /// What was released.
    Released(Option<Seen>),
    /// The claim that was to be released is not there any more.
    Superseded,
    /// All claims.
    Listed(Vec<Seen>),
    /// It was done, and says nothing about claims.
    Done,
    /// Other processes were in the way for too long. Nothing was changed.
    Contended,
    /// It failed in a way that a sound file system gives no reason for.
    Failed(String),
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
    /// Whether the worker was stopped for a while meanwhile.
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
