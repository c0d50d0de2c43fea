//! What a worker draws to do next.

use portclaim::Record;

use super::action::Action;
use super::history::Moment;
use super::plan::{NAMED, SET, holder_at, project_of, ttl_of};
use super::seen::{Seen, Term};
use super::worker::Worker;

/// How long one holder gets three quarters of all actions, in nanoseconds: workers must meet, also those that are
/// stopped for a while.
const FOCUS: u64 = 100_000_000;

/// How many claims a process owns, about, before it ends.
const OWNER_ACTIONS: u8 = 8;

/// A third of the time that a placed project's directory is there and not there, nanoseconds.
const PLACED_TURN: u64 = 150_000_000;

impl Worker {
    /// Draws an action, and the record that it is about.
    pub(super) fn draw(&mut self) -> (Action, Option<Record>) {
        let now = Moment::now();
        let (project, service) = if self.random.u8(..4) > 0 {
            // The same for all workers, which read the same clock.
            let holders = self.plan.few_projects() * NAMED;
            let turn = now.0 / FOCUS % u64::from(holders);
            let turn = u32::try_from(turn).expect("below a u32");
            (turn / NAMED, turn % NAMED)
        } else {
            let project = self.random.u32(..self.plan.projects());
            (project, self.random.u32(..NAMED))
        };
        if self.plan.is_timed(project) {
            return (self.draw_timed(project, now), None);
        }
        let holder = holder_at(project, service);
        let is_own = self.plan.is_own(project);
        let action = match self.random.u8(..115) {
            // Nobody claims for another worker's own project, and its own are claimed together.
            0..37 if is_own => self.draw_own(),
            // Without locks nothing is taken away from a dead owner, and commands are not told of each other.
            102..109 if is_own || !self.plan.locks => Action::Find { holder },
            0..26 => Action::Claim { holder, ttl: None },
            26..31 => Action::Claim {
                holder,
                ttl: Some(ttl_of(holder)),
            },
            31..35 => Action::ClaimSet { project },
            35..37 => Action::ClaimRow { project },
            37..60 => Action::Release { holder },
            60..64 => Action::ReleaseRow { project },
            64..72 => return self.draw_known(holder),
            72..76 => Action::Find { holder },
            76..82 if self.plan.locks => self.leases.draw(project, &mut self.random),
            76..88 if self.plan.locks && !is_own => Action::Move {
                from: project,
                to: self.random.u32(..self.plan.few_projects()),
            },
            76..91 => Action::Lookup {
                port: self.random.u16(self.plan.ports()),
            },
            91..93 => Action::State {
                port: self.random.u16(self.plan.ports()),
            },
            93..95 => Action::List,
            95 => Action::ListLeases,
            96..98 => Action::Repair,
            98..100 => Action::Index,
            100..102 => Action::Check,
            102..107 => self.draw_owned(holder),
            107..109 => self.commands.draw(project, &self.leases, &mut self.random),
            _ => self.draw_placed(now),
        };
        match action {
            Action::Move { from, to } if from == to => (Action::Find { holder }, None),
            action => (action, None),
        }
    }

    /// A project of the third lot is looked at, whoever's turn it is.
    fn draw_timed(&mut self, project: u32, now: Moment) -> Action {
        let holder = holder_at(project, 0);
        if self.random.bool() {
            return Action::Find { holder };
        }
        let project = self.random.u32(self.plan.timed_projects_at(now));
        let holder = holder_at(project, 0);
        match self.random.u8(..3) {
            0 if self.plan.locks => self.draw_owned(holder),
            _ => Action::Claim {
                holder,
                ttl: Some(ttl_of(holder)),
            },
        }
    }

    /// A process of the worker's owns claims, for a while. It inherits no lease: none is held when it starts.
    fn draw_owned(&mut self, holder: u32) -> Action {
        match self.owners.living() {
            Some(owner) if self.random.u8(..OWNER_ACTIONS) == 0 => Action::EndOwner {
                owner,
                killed: self.random.bool(),
            },
            Some(owner) => Action::ClaimOwned { holder, owner },
            None if self.leases.is_empty() => Action::StartOwner,
            None => Action::Find { holder },
        }
    }

    /// The placed projects' directories are there two thirds of the time, if not all workers think so.
    fn draw_placed(&mut self, now: Moment) -> Action {
        let project = self.random.u32(self.plan.placed_projects());
        let holder = holder_at(project, self.random.u32(..NAMED));
        let is_there = now.0 % (3 * PLACED_TURN) >= PLACED_TURN;
        match self.random.u8(..8) {
            0 => Action::Find { holder },
            1 if self.plan.locks => Action::Prune,
            1..4 if is_there => Action::MakeDirectory { project },
            1..4 => Action::RemoveDirectory {
                project,
                moved: self.random.bool(),
            },
            _ if is_there => Action::Claim { holder, ttl: None },
            _ if self.plan.locks => Action::Prune,
            _ => Action::Find { holder },
        }
    }

    /// As many ports are given back as are taken, or these projects would hold most of the few.
    fn draw_own(&mut self) -> Action {
        let project = self.plan.own_project(self.number);
        match self.random.u8(..6) {
            0 => Action::ClaimRow { project },
            1 | 2 => Action::ClaimSet { project },
            3 => Action::ReleaseRow { project },
            _ => Action::Release {
                holder: holder_at(project, SET[0]),
            },
        }
    }

    fn draw_known(&mut self, holder: u32) -> (Action, Option<Record>) {
        if self.known.is_empty() {
            return (Action::Find { holder }, None);
        }
        let record = self
            .known
            .swap_remove(self.random.usize(..self.known.len()));
        // It was told as a failure when it was met.
        let Ok(claim) = Seen::of(&record, &self.plan) else {
            return (Action::Find { holder }, None);
        };
        let is_timed = self.plan.is_timed(project_of(claim.holder));
        match claim.term {
            Term::Ttl(_) if is_timed || self.random.bool() => {
                let ttl = ttl_of(claim.holder);
                (Action::Renew { claim, ttl }, Some(record))
            }
            _ if is_timed => (Action::Find { holder }, None),
            _ => (Action::ReleaseExactly { claim }, Some(record)),
        }
    }
}
