//! What a run consists of: workers, projects and their services, ports, time and chance.
//!
//! Projects and ports come in lots. The *few* ports are half as many again as workers, and about three
//! times as many holders want them: they run out and change hands all the time. The *many* ports are
//! more than their holders need. The *timed* ones are given for a second and released by nobody. Besides, each
//! worker has a project that nobody else claims ports for, of the few. The *placed* projects, with some ports of their own that run
//! out, are the only ones that have directories, which are made and removed, so that they can be pruned.

use std::ops::RangeInclusive;

use portclaim::{Port, PortRange};
use serde::{Deserialize, Serialize};

use super::history::Moment;

/// How many ports the projects of the second lot share.
const MANY_PORTS: u16 = 64;

/// How many projects these are.
const MANY_PROJECTS: u32 = 8;

/// How many ports the projects of the third lot share.
const TIMED_PORTS: u16 = 4;

/// How many projects these are: in turn, as many of them as there are ports ask for one.
const TIMED_PROJECTS: u32 = 3 * TIMED_PORTS as u32;

/// How long each third of them asks, nanoseconds: longer than a port is given for.
const TIMED_TURN: u64 = 1_700_000_000;

/// How many ports the projects share that have directories at times.
const PLACED_PORTS: u16 = 6;

/// How many projects have directories, which are made and removed.
const PLACED_PROJECTS: u32 = 4;

/// How many holders there are in a project.
pub(super) const SERVICES_COUNT: u32 = 4;

/// How many of them can be named.
pub(super) const NAMED: u32 = 3;

/// Those that are given ports together.
pub(super) const SET: [u32; 2] = [1, 2];

/// Those that are given ports in a row.
pub(super) const ROW: [u32; 2] = [2, 3];

/// For how many seconds they are given ports that are not kept. Always the same, also where a port is
/// moved: a renewal that makes the time shorter would leave open which of two that meet was the last.
const TTLS: [u64; SERVICES_COUNT as usize] = [1, 0, 1, 1];

/// The plan of a run; each worker gets a copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) workers: u32,
    pub(super) seed: u64,
    /// The share of operations during which the worker is killed or stopped.
    pub(super) kill_rate: f64,
    /// The run's directory, in normal form.
    pub(super) directory: String,
    /// Whether locks are to be had there; else there are neither leases nor moves.
    pub(super) locks: bool,
    /// The first of the ports: the few, the many, the timed ones, those of placed projects.
    pub(super) first_port: u16,
    /// When the workers come to an end.
    pub(super) until: Moment,
}

impl Plan {
    /// Returns how many ports a run with this many workers needs, in a row.
    pub(super) fn ports_needed(workers: u32) -> u16 {
        few_ports(workers) + MANY_PORTS + TIMED_PORTS + PLACED_PORTS
    }

    /// Returns the ports of all lots.
    pub(super) fn ports(&self) -> RangeInclusive<u16> {
        self.first_port..=self.first_port + (Plan::ports_needed(self.workers) - 1)
    }

    /// Returns the ports that a project is given one of.
    pub(super) fn ports_of(&self, project: u32) -> RangeInclusive<u16> {
        let many = self.first_port + few_ports(self.workers);
        let timed = many + MANY_PORTS;
        let placed = timed + TIMED_PORTS;
        if project < self.own_project(self.workers) {
            self.first_port..=many - 1
        } else if project < self.timed_project(0) {
            many..=timed - 1
        } else if self.is_timed(project) {
            timed..=placed - 1
        } else {
            placed..=*self.ports().end()
        }
    }

    /// Returns how many projects share the few ports; they have the lowest numbers.
    pub(super) fn few_projects(&self) -> u32 {
        u32::from(few_ports(self.workers))
    }

    /// Returns the project for which nobody but this worker claims ports.
    pub(super) fn own_project(&self, worker: u32) -> u32 {
        self.few_projects() + worker
    }

    /// Returns whether only one worker claims ports for this project.
    pub(super) fn is_own(&self, project: u32) -> bool {
        (self.own_project(0)..self.own_project(self.workers)).contains(&project)
    }

    fn timed_project(&self, number: u32) -> u32 {
        self.own_project(self.workers) + MANY_PROJECTS + number
    }

    /// Returns the projects of the third lot whose turn it is.
    pub(super) fn timed_projects_at(&self, now: Moment) -> std::ops::Range<u32> {
        let turn = u32::try_from(now.0 / TIMED_TURN % 3).expect("below three");
        let count = u32::from(TIMED_PORTS);
        self.timed_project(turn * count)..self.timed_project((turn + 1) * count)
    }

    /// Returns whether this is a project of the third lot.
    pub(super) fn is_timed(&self, project: u32) -> bool {
        (self.timed_project(0)..self.placed_projects().start).contains(&project)
    }

    /// Returns the projects that have directories at times.
    pub(super) fn placed_projects(&self) -> std::ops::Range<u32> {
        let first = self.timed_project(TIMED_PROJECTS);
        first..first + PLACED_PROJECTS
    }

    /// Returns whether this is one of them.
    pub(super) fn is_placed(&self, project: u32) -> bool {
        self.placed_projects().contains(&project)
    }

    /// Returns how many projects there are.
    pub(super) fn projects(&self) -> u32 {
        self.placed_projects().end
    }

    /// Returns how many holders there are.
    pub(super) fn holders(&self) -> u32 {
        self.projects() * SERVICES_COUNT
    }
}

fn few_ports(workers: u32) -> u16 {
    u16::try_from(workers + workers / 2)
        .unwrap_or(u16::MAX / 4)
        .max(2)
}

/// Returns the range of these ports.
pub(super) fn range(ports: &RangeInclusive<u16>) -> PortRange {
    let port = |number: u16| Port::new(number).expect("no run uses port 0");
    PortRange::new(port(*ports.start()), port(*ports.end())).expect("ascending")
}

/// Returns the number of a service of a project.
pub(super) fn holder_at(project: u32, service: u32) -> u32 {
    project * SERVICES_COUNT + service
}

/// Returns the numbers of all that can have a port in a project.
pub(super) fn all_holders(project: u32) -> impl Iterator<Item = u32> {
    (0..SERVICES_COUNT).map(move |service| holder_at(project, service))
}

/// Returns the project of a holder.
pub(super) fn project_of(holder: u32) -> u32 {
    holder / SERVICES_COUNT
}

/// Returns the same service of another project.
pub(super) fn in_project(holder: u32, project: u32) -> u32 {
    holder_at(project, holder % SERVICES_COUNT)
}

/// Returns for how many seconds a holder is given a port that is not kept.
pub(super) fn ttl_of(holder: u32) -> u64 {
    TTLS[(holder % SERVICES_COUNT) as usize]
}

/// Returns whether requests can name this holder.
pub(super) fn is_named(holder: u32) -> bool {
    holder % SERVICES_COUNT < NAMED
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn plan(workers: u32) -> Plan {
        Plan {
            workers,
            seed: 1,
            kill_rate: 0.0,
            directory: "/tmp".to_owned(),
            locks: true,
            first_port: 20_000,
            until: Moment::NEVER,
        }
    }

    #[test]
    fn the_lots_do_not_meet_and_cover_all_ports() {
        for workers in [1, 2, 8, 255] {
            let plan = plan(workers);
            let few = plan.ports_of(0);
            let many = plan.ports_of(plan.own_project(workers));
            let timed = plan.ports_of(plan.timed_project(0));
            assert_eq!(plan.ports_of(plan.own_project(workers - 1)), few);
            let placed = plan.ports_of(plan.placed_projects().start);
            assert_eq!(*few.end() + 1, *many.start());
            assert_eq!(*many.end() + 1, *timed.start());
            assert_eq!(*timed.end() + 1, *placed.start());
            assert_eq!(*few.start()..=*placed.end(), plan.ports());
            assert!(placed.len() < (PLACED_PROJECTS * NAMED) as usize);
            assert!(few.len() < (plan.few_projects() * NAMED) as usize);
            assert!(many.len() > (MANY_PROJECTS * SERVICES_COUNT) as usize);
            let turn = plan.timed_projects_at(Moment(2 * TIMED_TURN));
            assert_eq!(
                (turn.len(), turn.end),
                (timed.len(), plan.placed_projects().start)
            );
        }
    }

    #[test]
    fn a_worker_s_own_project_is_no_other_one_s() {
        let plan = plan(3);
        let own: Vec<u32> = (0..plan.projects()).filter(|&it| plan.is_own(it)).collect();
        assert_eq!(own, [0, 1, 2].map(|worker| plan.own_project(worker)));
        assert!(
            own.iter()
                .all(|&it| it >= plan.few_projects() && !plan.is_timed(it))
        );
    }
}
