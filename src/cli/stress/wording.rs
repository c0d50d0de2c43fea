//! Operations in words, for people.

use super::action::{Action, LeasedBy};
use super::history::{Answer, Given};
use super::plan::Plan;
use super::seen::{Seen, Term};

/// Words for what is done in a run.
pub(super) struct Wording<'a>(pub(super) &'a Plan);

impl Wording<'_> {
    pub(super) fn action(&self, action: Action) -> String {
        let plan = self.0;
        match action {
            Action::Claim { holder, ttl: None } => format!("claim {}", plan.name(holder)),
            Action::Claim {
                holder,
                ttl: Some(ttl),
            } => format!("claim {} for {ttl} s", plan.name(holder)),
            Action::ClaimOwned { holder, owner } => {
                format!("claim {} for process {}", plan.name(holder), owner.pid)
            }
            Action::ClaimSet { project } => format!("claim the services of {}", plan.path(project)),
            Action::ClaimRow { project } => format!("claim a row for {}", plan.path(project)),
            Action::Find { holder } => format!("find {}", plan.name(holder)),
            Action::Release { holder } => format!("release {}", plan.name(holder)),
            Action::ReleaseExactly { claim } => format!("release exactly {}", self.seen(claim)),
            Action::ReleaseRow { project } => format!("release the row of {}", plan.path(project)),
            Action::Renew { claim, ttl } => format!("renew {} for {ttl} s", self.seen(claim)),
            Action::Lease { project, by } => {
                let by = match by {
                    LeasedBy::Worker => "itself",
                    LeasedBy::Child => "a child",
                    LeasedBy::Command => "a command of portclaim run",
                    LeasedBy::Survivor => "itself, after a child's end",
                };
                format!("lease for {}, held by {by}", plan.path(project))
            }
            Action::EndLease { claim, killed } => {
                let how = if killed { " by a kill" } else { "" };
                format!("end{how} of the lease {}", self.seen(claim))
            }
            Action::Move { from, to } => format!("move {} to {}", plan.path(from), plan.path(to)),
            Action::StartOwner => "start of a process".to_owned(),
            Action::EndOwner { owner, killed } => {
                let how = if killed { " by a kill" } else { "" };
                format!("end{how} of process {}", owner.pid)
            }
            Action::Run { project } => format!("run a command of {}", plan.path(project)),
            Action::EndRun { run, killed } => {
                let how = if killed { " by a kill" } else { "" };
                format!(
                    "end{how} of the command of {} on {}",
                    plan.name(run.holder),
                    run.port
                )
            }
            Action::MakeDirectory { project } => format!("make {}", plan.path(project)),
            Action::RemoveDirectory { project, moved } => {
                let how = if moved { "move away" } else { "remove" };
                format!("{how} {}", plan.path(project))
            }
            Action::Prune => "prune".to_owned(),
            Action::Lookup { port } => format!("lookup {port}"),
            Action::State { port } => format!("state of {port}"),
            Action::List => "list".to_owned(),
            Action::ListLeases => "list of leases".to_owned(),
            Action::Repair => "repair".to_owned(),
            Action::Index => "index".to_owned(),
            Action::Check => "check".to_owned(),
        }
    }

    pub(super) fn answer(&self, answer: &Answer) -> String {
        match answer {
            Answer::Given(all) => {
                let all: Vec<String> = all.iter().map(|given| self.given(given)).collect();
                all.join("; ")
            }
            Answer::Exhausted { unbindable } => format!("exhausted ({unbindable} ports in use)"),
            Answer::Found(None) => "none".to_owned(),
            Answer::Found(Some(claim)) => self.seen(*claim),
            Answer::Released(all) if all.is_empty() => "there was none".to_owned(),
            Answer::Released(all) => format!("released {}", self.seen_all(all)),
            Answer::Superseded => "it is not there any more".to_owned(),
            Answer::Renewed(_) => "renewed".to_owned(),
            Answer::Leased(claim) => format!("leased {}", self.seen(*claim)),
            Answer::Ended => "ended".to_owned(),
            Answer::Started(owner) => format!("process {}", owner.pid),
            Answer::Ran {
                claim: Some(claim), ..
            } => format!("it runs on {}", self.seen(*claim)),
            Answer::Ran { run, claim: None } => format!("it runs on {}", run.port),
            Answer::Killed => "(what the worker had started was killed by it)".to_owned(),
            Answer::Pruned(all) if all.is_empty() => "nothing was removed".to_owned(),
            Answer::Pruned(all) => format!("removed {}", self.seen_all(all)),
            Answer::Moved(all) if all.is_empty() => "there was nothing to move".to_owned(),
            Answer::Moved(all) => format!("moved, now {}", self.seen_all(all)),
            Answer::Listed(all) | Answer::Leases(all) => format!("[{}]", self.seen_all(all)),
            Answer::Done => "done".to_owned(),
            Answer::Refused => "refused".to_owned(),
            Answer::Contended => "contended".to_owned(),
            Answer::Failed(why) => why.clone(),
        }
    }

    fn given(&self, given: &Given) -> String {
        let when = if given.new { "new" } else { "as before" };
        format!("{}, {when}", self.seen(given.claim))
    }

    fn seen_all(&self, all: &[Seen]) -> String {
        let all: Vec<String> = all.iter().map(|claim| self.seen(*claim)).collect();
        all.join(", ")
    }

    /// A claim in an excerpt: its port, whose it is, for how long, and the beginning of its nonce.
    pub(super) fn seen(&self, claim: Seen) -> String {
        let term = match claim.term {
            Term::Kept => String::new(),
            Term::Ttl(ttl) => format!(" for {ttl} s"),
            Term::Lease => " as a lease".to_owned(),
            Term::Owner(owner) => format!(" for process {}", owner.pid),
        };
        let (port, name, nonce) = (claim.port, self.0.name(claim.holder), claim.nonce);
        format!("{port} of {name}{term} ({nonce:?})")
    }
}
