//! What a worker does.

use serde::{Deserialize, Serialize};

use super::plan::{Plan, ROW, SET, all_holders, holder_at, project_of};
use super::seen::{Nonce, Process, Seen};

/// Who holds a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LeasedBy {
    /// The worker alone.
    Worker,
    /// A child that has inherited it; the worker has given its share up.
    Child,
    /// The worker, after a child that had inherited it has ended.
    Survivor,
    /// The command of a `portclaim run --lease`.
    Command,
}

/// The command of a `portclaim run`, on the project's own port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) holder: u32,
    pub(super) port: u16,
    /// No other command has the same.
    pub(super) id: Nonce,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    /// `Registry::claim`, for good or for so many seconds.
    Claim { holder: u32, ttl: Option<u64> },
    /// The same, for as long as a process lives.
    ClaimOwned { holder: u32, owner: Process },
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
    /// `Registry::lease`, or `portclaim run --lease`.
    Lease { project: u32, by: LeasedBy },
    /// The last one that holds a lease ends, or is killed.
    EndLease { claim: Seen, killed: bool },
    /// A process begins that may own claims.
    StartOwner,
    /// It ends, or is killed.
    EndOwner { owner: Process, killed: bool },
    /// `portclaim run`, of the unnamed service.
    Run { project: u32 },
    /// The command ends, or is killed.
    EndRun { run: Running, killed: bool },
    /// `Registry::move_project`.
    Move { from: u32, to: u32 },
    /// The project's directory is made, unless it is there.
    MakeDirectory { project: u32 },
    /// It is removed, or first moved somewhere else, unless it is not there.
    RemoveDirectory { project: u32, moved: bool },
    /// `Registry::prune`, of what has been missing for no time.
    Prune,
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
pub(super) const KINDS: [&str; 19] = [
    "claim",
    "set",
    "row",
    "find",
    "release",
    "renew",
    "lease",
    "end",
    "move",
    "lookup",
    "list",
    "repair",
    "index",
    "check",
    "owner",
    "owned",
    "run",
    "directory",
    "prune",
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
            Action::EndLease { .. } | Action::EndOwner { .. } | Action::EndRun { .. } => 7,
            Action::Move { .. } => 8,
            Action::Lookup { .. } | Action::State { .. } => 9,
            Action::List | Action::ListLeases => 10,
            Action::Repair => 11,
            Action::Index => 12,
            Action::Check => 13,
            Action::StartOwner => 14,
            Action::ClaimOwned { .. } => 15,
            Action::Run { .. } => 16,
            Action::MakeDirectory { .. } | Action::RemoveDirectory { .. } => 17,
            Action::Prune => 18,
        }
    }

    /// Returns whether it gives a single port.
    pub(super) fn is_claim(self) -> bool {
        matches!(self, Action::Claim { .. } | Action::ClaimOwned { .. })
    }

    /// Returns whether a process may outlive it that it has started.
    pub(super) fn starts_processes(self) -> bool {
        matches!(
            self,
            Action::Lease { .. } | Action::StartOwner | Action::Run { .. }
        )
    }

    /// Returns it with a kill instead of a quiet end, where it ends something.
    pub(super) fn by_kill(self) -> Action {
        let killed = true;
        match self {
            Action::EndLease { claim, .. } => Action::EndLease { claim, killed },
            Action::EndOwner { owner, .. } => Action::EndOwner { owner, killed },
            Action::EndRun { run, .. } => Action::EndRun { run, killed },
            other => other,
        }
    }

    /// Returns the holders that may be given a port by it.
    pub(super) fn gives_to(self) -> Vec<u32> {
        match self {
            Action::Claim { holder, .. } | Action::ClaimOwned { holder, .. } => vec![holder],
            Action::Run { project } => vec![holder_at(project, 0)],
            Action::ClaimSet { project } => SET.map(|service| holder_at(project, service)).into(),
            Action::ClaimRow { project } => ROW.map(|service| holder_at(project, service)).into(),
            Action::Move { to, .. } => all_holders(to).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the holders from which it may take their port, if it is not about one claim.
    pub(super) fn takes_from(self, plan: &Plan) -> Vec<u32> {
        match self {
            Action::Release { holder } => vec![holder],
            Action::ReleaseRow { project } => ROW.map(|service| holder_at(project, service)).into(),
            Action::Move { from, .. } => all_holders(from).collect(),
            Action::Prune => plan.placed_projects().flat_map(all_holders).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the holder that it is about, if it is about one.
    pub(super) fn holder(self) -> Option<u32> {
        match self {
            Action::Claim { holder, .. }
            | Action::ClaimOwned { holder, .. }
            | Action::Find { holder }
            | Action::Release { holder } => Some(holder),
            Action::Run { project } => Some(holder_at(project, 0)),
            Action::ReleaseExactly { claim } | Action::Renew { claim, .. } => Some(claim.holder),
            Action::ReleaseRow { project } => Some(holder_at(project, ROW[0])),
            _ => None,
        }
    }

    /// Returns the project from whose range it takes ports.
    pub(super) fn picks_for(self) -> Option<u32> {
        match self {
            Action::Claim { holder, .. } | Action::ClaimOwned { holder, .. } => {
                Some(project_of(holder))
            }
            Action::ClaimSet { project }
            | Action::ClaimRow { project }
            | Action::Lease { project, .. } => Some(project),
            _ => None,
        }
    }
}
