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
                    LeasedBy::Survivor => "itself, after a child's end",
                };
                format!("lease for {}, held by {by}", plan.path(project))
            }
            Action::EndLease { claim, killed } => {
                let how = if killed { " by a kill" } else { "" };
                format!("end{how} of the lease {}", self.seen(claim))
            }
            Action::Move { from, to } => format!("move {} to {}", plan.path(from), plan.path(to)),
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
        };
        let (port, name, nonce) = (claim.port, self.0.name(claim.holder), claim.nonce);
        format!("{port} of {name}{term} ({nonce:?})")
    }
}
