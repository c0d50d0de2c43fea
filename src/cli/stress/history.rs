//! What workers do and are told: actions, answers, and when they began and ended.

use std::fmt;

use portclaim::Record;
use serde::{Deserialize, Serialize};

use super::plan::{ROW, SET, all_holders, holder_at, holder_of, project_of};

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

/// How long a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Term {
    Kept,
    /// For so many seconds from when it was given or renewed.
    Ttl(u64),
    /// As long as somebody has its lock.
    Lease,
}

/// A claim as answers tell it. Holders are numbered; see [`Plan`](super::plan::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) holder: u32,
    pub(super) port: u16,
    pub(super) nonce: Nonce,
    pub(super) term: Term,
}

impl Seen {
    /// Reads a record of this run; the error says what is wrong with it.
    pub(super) fn of(record: &Record) -> Result<Seen, String> {
        let holder = record.holder();
        let number = holder_of(holder)
            .ok_or_else(|| format!("a record of {holder}, which nobody claimed"))?;
        let nonce = Nonce::try_from(record.nonce().to_string());
        Ok(Seen {
            holder: number,
            port: record.port().get(),
            nonce: nonce.map_err(|error| format!("a nonce that is none: {error}"))?,
            term: match record.term() {
                portclaim::Term::Kept => Term::Kept,
                portclaim::Term::Ttl(ttl) => Term::Ttl(*ttl),
                portclaim::Term::Lease => Term::Lease,
                other => return Err(format!("a record with the term {other:?}")),
            },
        })
    }

    pub(super) fn is_lease(self) -> bool {
        self.term == Term::Lease
    }
}

/// Who holds a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LeasedBy {
    /// The worker alone.
    Worker,
    /// A child that has inherited it; the worker has given its share up.
    Child,
    /// The worker, after a child that had inherited it has ended.
    Survivor,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    /// `Registry::claim`, for good or for so many seconds.
    Claim { holder: u32, ttl: Option<u64> },
    /// `Registry::claim_all`: the named services of a project, all of them or none.
    ClaimSet { project: u32 },
    /// `Registry::claim_block`: two ports in a row.
    ClaimRow { project: u32 },
    /// `Registry::find`.
    Find { holder: u32 },
    /// `Registry::release_holder`.
    Release { holder: u32 },
    /// `Registry::release`: this claim and no later one.
    ReleaseExactly { claim: Seen },
    /// `Registry::release_block`.
    ReleaseRow { project: u32 },
    /// `Registry::renew`, for so many seconds.
    Renew { claim: Seen, ttl: u64 },
    /// `Registry::lease`.
    Lease { project: u32, by: LeasedBy },
    /// The last one that holds a lease ends, or is killed.
    EndLease { claim: Seen, killed: bool },
    /// `Registry::move_project`.
    Move { from: u32, to: u32 },
    /// `Registry::lookup`, which sees no leases.
    Lookup { port: u16 },
    /// `Registry::port_state`, which does.
    State { port: u16 },
    /// `Registry::records`.
    List,
    /// `Registry::leases`.
    ListLeases,
    /// `Registry::repair`, which sweeps.
    Repair,
    /// `Registry::refresh_index`.
    Index,
    /// `Registry::check`.
    Check,
}

/// How many kinds of actions there are.
pub(super) const KINDS: [&str; 14] = [
    "claim", "set", "row", "find", "release", "renew", "lease", "end", "move", "lookup", "list",
    "repair", "index", "check",
];

impl Action {
    /// Returns the action's place in [`KINDS`].
    pub(super) fn kind(self) -> usize {
        match self {
            Action::Claim { .. } => 0,
            Action::ClaimSet { .. } => 1,
            Action::ClaimRow { .. } => 2,
            Action::Find { .. } => 3,
            Action::Release { .. } | Action::ReleaseExactly { .. } | Action::ReleaseRow { .. } => 4,
            Action::Renew { .. } => 5,
            Action::Lease { .. } => 6,
            Action::EndLease { .. } => 7,
            Action::Move { .. } => 8,
            Action::Lookup { .. } | Action::State { .. } => 9,
            Action::List | Action::ListLeases => 10,
            Action::Repair => 11,
            Action::Index => 12,
            Action::Check => 13,
        }
    }

    /// Returns the holders that may be given a port by it.
    pub(super) fn gives_to(self) -> Vec<u32> {
        match self {
            Action::Claim { holder, .. } => vec![holder],
            Action::ClaimSet { project } => SET.map(|service| holder_at(project, service)).into(),
            Action::ClaimRow { project } => ROW.map(|service| holder_at(project, service)).into(),
            Action::Move { to, .. } => all_holders(to).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the holders from which it may take their port, if it is not about one claim.
    pub(super) fn takes_from(self) -> Vec<u32> {
        match self {
            Action::Release { holder } => vec![holder],
            Action::ReleaseRow { project } => ROW.map(|service| holder_at(project, service)).into(),
            Action::Move { from, .. } => all_holders(from).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the holder that it is about, if it is about one.
    pub(super) fn holder(self) -> Option<u32> {
        match self {
            Action::Claim { holder, .. } | Action::Find { holder } | Action::Release { holder } => {
                Some(holder)
            }
            Action::ReleaseExactly { claim } | Action::Renew { claim, .. } => Some(claim.holder),
            Action::ReleaseRow { project } => Some(holder_at(project, ROW[0])),
            _ => None,
        }
    }

    /// Returns the project from whose range it takes ports.
    pub(super) fn picks_for(self) -> Option<u32> {
        match self {
            Action::Claim { holder, .. } => Some(project_of(holder)),
            Action::ClaimSet { project }
            | Action::ClaimRow { project }
            | Action::Lease { project, .. } => Some(project),
            _ => None,
        }
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
    /// Nobody holds the lease any more.
    Ended,
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
    /// Returns the claims that it tells of, without those of a list of all.
    pub(super) fn claims(&self) -> Vec<Seen> {
        match self {
            Answer::Given(all) => all.iter().map(|given| given.claim).collect(),
            Answer::Found(Some(claim)) | Answer::Renewed(claim) | Answer::Leased(claim) => {
                vec![*claim]
            }
            Answer::Released(all) | Answer::Moved(all) | Answer::Leases(all) => all.clone(),
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
