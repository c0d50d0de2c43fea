//! What cannot be, and what shows it.

use std::rc::Rc;

use super::super::history::Operation;

/// What sort of thing cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// Two claims of one port were held at the same time.
    TwoHolders,
    /// A claim that was told, and that nobody released, is not there.
    LostClaim,
    /// A holder was told another port than the one that it has.
    ChangedPort,
    /// Ports that should lie in a row do not.
    NoRow,
    /// A claim that was released is its holder's again.
    ReleaseUndone,
    /// A look-up found a claim that was released before it began.
    StaleLookup,
    /// Two were told that they released the same claim.
    ReleasedTwice,
    /// A range was called exhausted that was not.
    ImplausibleExhaustion,
    /// An operation failed for which a sound file system gives no reason.
    Failed,
    /// The library met something that nobody did.
    Notice,
    /// A worker did not come to an end.
    Hung,
    /// What was left could not be repaired.
    Unhealthy,
    /// The registry file does not show the claims.
    IndexDiffers,
    /// Ports of a project were given back whose directory was there, or was seen missing only once.
    WrongPrune,
    /// Ports of a project were kept whose directory was twice seen missing.
    NotPruned,
    /// Two commands ran on one port, each said to be the only one.
    TwoRuns,
    /// A command is said to run that has ended.
    StaleRun,
    /// A port cannot be had, and nobody holds it.
    LeakedPort,
}

impl Kind {
    /// Returns the kind's name, as it stands in JSON.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Kind::TwoHolders => "two-holders",
            Kind::LostClaim => "lost-claim",
            Kind::ChangedPort => "changed-port",
            Kind::NoRow => "no-row",
            Kind::ReleaseUndone => "release-undone",
            Kind::StaleLookup => "stale-lookup",
            Kind::ReleasedTwice => "released-twice",
            Kind::ImplausibleExhaustion => "implausible-exhaustion",
            Kind::Failed => "failed",
            Kind::Notice => "notice",
            Kind::Hung => "hung",
            Kind::Unhealthy => "unhealthy",
            Kind::IndexDiffers => "index-differs",
            Kind::WrongPrune => "wrong-prune",
            Kind::NotPruned => "not-pruned",
            Kind::TwoRuns => "two-runs",
            Kind::StaleRun => "stale-run",
            Kind::LeakedPort => "leaked-port",
        }
    }
}

/// Something that cannot be, and the operations that show it, in the order of their starts.
#[derive(Debug)]
pub(in super::super) struct Violation {
    pub(in super::super) kind: Kind,
    pub(in super::super) detail: String,
    /// The holder that it is about, if it is about one.
    pub(in super::super) holder: Option<u32>,
    pub(in super::super) excerpt: Vec<Rc<Operation>>,
    /// What others were told of the same ports meanwhile.
    pub(in super::super) beside: Vec<Rc<Operation>>,
}

impl Violation {
    /// One that needs no operations to be shown.
    pub(in super::super) fn new(kind: Kind, detail: String) -> Violation {
        Violation {
            kind,
            detail,
            holder: None,
            excerpt: Vec::new(),
            beside: Vec::new(),
        }
    }
}
