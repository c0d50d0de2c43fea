//! Disks that are made ready, and what was told about them meanwhile.

use super::super::testing::port;
use super::holders::of;
use super::op::{Answer, Op};
use super::scenes::CLAIM;
use super::told::Told;
use super::{Process, World};
use crate::fs::Dir;
use crate::fs::sim::{Disk, Fault, Step, Verdict, kill};
use crate::record::{Nonce, Record, claim_name};

/// What happens, and where.
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) disk: Disk,
    pub(super) told: Told,
    pub(super) op: Op,
}

/// The process that makes a disk ready; after each time that all is made durable, the next.
const FIRST: u8 = 10;

/// A process that is killed meanwhile.
const KILLED: u8 = 50;

/// Half a record.
pub(super) const TORN: &[u8] = b"{\"format\":1,\"port\":1,\"nonce\":\"0101";

/// A disk that is being made ready.
pub(super) struct Stage {
    world: World,
    process: Process,
    /// The number of the latest process that made it ready.
    processes: u8,
    told: Told,
}

impl Stage {
    /// `/z` has a port, and the registry file says so.
    pub(super) fn new(faults: &[Fault]) -> Stage {
        let world = World::new(faults);
        let process = world.process(FIRST);
        let mut stage = Stage {
            world,
            process,
            processes: FIRST,
            told: Told::default(),
        };
        stage.run(Op::Acquire("/z", &[9]));
        stage.run(Op::Refresh);
        stage.settle();
        stage
    }

    /// The same, and then these operations.
    pub(super) fn after(faults: &[Fault], ops: &[Op]) -> Stage {
        let mut stage = Stage::new(faults);
        for op in ops {
            stage.run(*op);
        }
        stage
    }

    /// Everything so far is durable.
    pub(super) fn settle(&mut self) {
        let mut disk = self.world.disk();
        disk.settle();
        self.world = World::mount(&disk);
        self.processes += 1;
        self.process = self.world.process(self.processes);
    }

    pub(super) fn run(&mut self, op: Op) -> Answer {
        self.told.begin(op);
        let answer = op.run(&self.process);
        self.told.end(op, Some(&answer));
        answer.expect("nothing is in the way")
    }

    /// Runs an operation that is killed before its first step that `fatal` says so of.
    pub(super) fn run_killed(&mut self, op: Op, fatal: fn(Step<'_>) -> bool) {
        self.told.begin(op);
        let process = self.world.watched(KILLED, move |step| {
            if fatal(step) {
                kill();
            }
            Verdict::Go
        });
        let answer = process.run(op);
        assert!(answer.is_none(), "it was not killed: {answer:?}");
        self.told.end(op, answer.as_ref());
    }

    /// The claim of a project's port is lost, or says `content` now.
    pub(super) fn lose_claim(&mut self, project: &str, number: u16, content: Option<&[u8]>) {
        let ports = &self.process.store.ports;
        let name = claim_name(port(number));
        ports.remove(&name).expect("it has that port");
        if let Some(content) = content {
            ports.put(&name, content);
        }
        self.told.doubt(project);
    }

    pub(super) fn damage_commit(&mut self, project: &str) {
        let projects = &self.process.store.projects;
        let key = of(project).key();
        projects.remove(key).expect("it has a commit");
        projects.put(key, TORN);
        self.told.doubt(project);
    }

    /// What killed claimers and other hands leave: claims without commits.
    pub(super) fn litter(&mut self) {
        let store = &self.process.store;
        let record = Record::new(port(6), Nonce::from_bytes([6; 16]), of("/b").clone());
        store.ports.put("6.claim", &record.encode());
        store.ports.put("7.claim", b"");
        store.ports.put("8.claim", TORN);
        let staged = format!("6-{}", record.nonce());
        store.staging.put(&staged, &record.encode());
        store
            .staging
            .put("5-05050505050505050505050505050505", TORN);
    }

    /// The scene, where everything so far is durable.
    pub(super) fn settled(mut self, name: &'static str, op: Op) -> Scene {
        self.settle();
        self.scene(name, op)
    }

    /// The disk, for several operations.
    pub(super) fn base(self, name: &'static str) -> Base {
        Base {
            name,
            disk: self.world.disk(),
            told: self.told,
        }
    }

    /// What was not flushed may go with a power cut.
    pub(super) fn scene(self, name: &'static str, op: Op) -> Scene {
        Scene {
            name,
            disk: self.world.disk(),
            told: self.told,
            op,
        }
    }
}

pub(super) fn is_first_flush_of_names(step: Step<'_>) -> bool {
    step.call == "sync"
}

pub(super) fn is_first_flush_of_claims(step: Step<'_>) -> bool {
    step.call == "sync" && step.dir == "ports"
}

/// A disk, and what was told about it.
pub(super) struct Base {
    pub(super) name: &'static str,
    pub(super) disk: Disk,
    pub(super) told: Told,
}

/// Disks on which several processes work at once.
pub(super) fn bases(faults: &[Fault]) -> Vec<Base> {
    let free = Stage::new(faults);
    let mut held = Stage::new(faults);
    held.run(CLAIM);
    held.run(Op::Refresh);
    held.settle();
    let mut unsealed = Stage::new(faults);
    unsealed.run_killed(CLAIM, is_first_flush_of_names);
    let mut released = Stage::new(faults);
    released.run(CLAIM);
    released.settle();
    released.run_killed(Op::Release("/a"), |step| {
        step.call == "remove" && step.dir == "projects"
    });
    let mut damaged = Stage::new(faults);
    damaged.run(CLAIM);
    damaged.lose_claim("/a", 1, Some(TORN));
    damaged.litter();
    damaged.settle();
    [
        ("nobody but /z has a port", free),
        ("/a has a port", held),
        ("the claimer of /a died", unsealed),
        ("a release of /a died", released),
        ("/a's claim is damaged", damaged),
    ]
    .map(|(name, stage)| stage.base(name))
    .into()
}
