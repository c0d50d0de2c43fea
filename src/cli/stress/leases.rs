//! The lease that a worker holds, by itself or through a child.

use std::io;
use std::process::Child;

use fastrand::Rng;
use portclaim::Lease;

use super::action::{Action, LeasedBy};
use super::children::{ended, started};
use super::history::Answer;
use super::plan::Plan;
use super::seen::Seen;

/// What holds a lease. One that is shared and was given up is held by the child alone.
enum Held {
    Worker(Box<Lease>),
    Child(Child),
}

/// What a worker leases: one port at a time, for there are few.
#[derive(Default)]
pub(super) struct Leases(Option<(Seen, Held)>);

impl Leases {
    /// Draws what is to become of the lease, or how there is to be one, of the project's ports.
    pub(super) fn draw(&self, project: u32, random: &mut Rng) -> Action {
        if let Some((claim, _)) = self.0 {
            let killed = random.bool();
            return Action::EndLease { claim, killed };
        }
        let by = match random.u8(..8) {
            0 | 1 => LeasedBy::Child,
            2 | 3 => LeasedBy::Survivor,
            4 => LeasedBy::Command,
            // No process needs to be started for these.
            _ => LeasedBy::Worker,
        };
        Action::Lease { project, by }
    }

    /// Returns whether none is held.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Keeps a lease that a command holds.
    pub(super) fn hold_by(&mut self, child: Child, claim: Seen) -> Answer {
        self.0 = Some((claim, Held::Child(child)));
        Answer::Leased(claim)
    }

    /// Keeps a new lease.
    pub(super) fn hold(&mut self, lease: Lease, by: LeasedBy, plan: &Plan) -> Answer {
        let claim = match Seen::of(lease.record(), plan) {
            Ok(claim) => claim,
            Err(why) => return Answer::Failed(why),
        };
        match held(lease, by) {
            Ok(held) => {
                self.0 = Some((claim, held));
                Answer::Leased(claim)
            }
            Err(error) => Answer::Failed(format!("a child cannot be had: {error}")),
        }
    }

    /// Ends the last one that holds the lease.
    pub(super) fn end(&mut self, is_killed: bool) -> Answer {
        match self.0.take() {
            Some((_, Held::Child(child))) => match ended(child, is_killed) {
                Ok(()) => Answer::Ended,
                Err(error) => Answer::Failed(format!("a child does not end: {error}")),
            },
            Some((_, Held::Worker(lease))) => {
                drop(lease);
                Answer::Ended
            }
            None => Answer::Ended,
        }
    }
}

fn held(mut lease: Lease, by: LeasedBy) -> io::Result<Held> {
    if by == LeasedBy::Worker {
        return Ok(Held::Worker(Box::new(lease)));
    }
    lease.share().map_err(io::Error::other)?;
    let child = started()?;
    if by == LeasedBy::Child {
        return Ok(Held::Child(child));
    }
    ended(child, true)?;
    Ok(Held::Worker(Box::new(lease)))
}
