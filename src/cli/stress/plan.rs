//! What a run consists of: workers, projects, ports, time and chance.
//!
//! Projects and ports come in two lots. The *few* ports are half as many again as workers, and
//! three times as many projects want them: they run out and change hands all the time. The *many* ports are
//! more than their projects need.

use std::ops::RangeInclusive;

use portclaim::{Holder, Port, PortRange, ProjectPath};
use serde::{Deserialize, Serialize};

use super::history::Moment;

/// How many ports the projects of the second lot share.
const MANY_PORTS: u16 = 64;

/// Where the projects lie, which need not exist.
const PROJECTS: &str = "/portclaim-stress";

/// The plan of a run; each worker gets a copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) workers: u32,
    pub(super) seed: u64,
    /// The share of operations during which the worker is killed or stopped.
    pub(super) kill_rate: f64,
    /// The registry's directory.
    pub(super) root: String,
    /// The first of the ports: the few, then the many.
    pub(super) first_port: u16,
    /// When the workers come to an end.
    pub(super) until: Moment,
}

impl Plan {
    /// Returns how many ports a run with this many workers needs, in a row.
    pub(super) fn ports_needed(workers: u32) -> u16 {
        few_ports(workers) + MANY_PORTS
    }

    /// Returns the ports of both lots.
    pub(super) fn ports(&self) -> RangeInclusive<u16> {
        self.first_port..=self.first_port + (Plan::ports_needed(self.workers) - 1)
    }

    /// Returns the ports that a project is given one of.
    pub(super) fn ports_of(&self, project: u32) -> RangeInclusive<u16> {
        let first_of_many = self.first_port + few_ports(self.workers);
        if project < self.few_projects() {
            self.first_port..=first_of_many - 1
        } else {
            first_of_many..=*self.ports().end()
        }
    }

    /// Returns how many projects share the few ports; they have the lowest numbers.
    pub(super) fn few_projects(&self) -> u32 {
        3 * u32::from(few_ports(self.workers))
    }

    /// Returns how many projects there are.
    pub(super) fn projects(&self) -> u32 {
        self.few_projects() + u32::from(MANY_PORTS / 2)
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

/// Returns the holder of this number.
pub(super) fn holder(project: u32) -> Holder {
    Holder::new(path(project))
}

/// Returns the path of this project.
pub(super) fn path(project: u32) -> ProjectPath {
    ProjectPath::from_normal(format!("{PROJECTS}/{project}")).expect("the path is normal")
}

/// Returns the number of a project, `None` where it is none of a run.
pub(super) fn project_of(path: &ProjectPath) -> Option<u32> {
    let number = path.as_str().strip_prefix(PROJECTS)?.strip_prefix('/')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lots_do_not_meet_and_cover_all_ports() {
        for workers in [1, 2, 8, 255] {
            let plan = Plan {
                workers,
                seed: 1,
                kill_rate: 0.0,
                root: "/tmp".to_owned(),
                first_port: 20_000,
                until: Moment::NEVER,
            };
            let few = plan.ports_of(0);
            let many = plan.ports_of(plan.projects() - 1);
            assert_eq!(plan.ports_of(plan.few_projects() - 1), few);
            assert_eq!(*few.end() + 1, *many.start());
            assert_eq!(*few.start()..=*many.end(), plan.ports());
            assert!(few.len() < plan.few_projects() as usize);
            assert!(many.len() > (plan.projects() - plan.few_projects()) as usize);
        }
    }

    #[test]
    fn a_project_is_known_by_its_path() {
        assert_eq!(project_of(&path(7)), Some(7));
        let other = ProjectPath::from_normal("/elsewhere/7").expect("normal");
        assert_eq!(project_of(&other), None);
    }
}
