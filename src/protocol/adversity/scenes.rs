//! The disks and the operations that the instruments try.

use crate::fs::Dir;
use crate::fs::sim::{Disk, Fault, Step, Verdict, kill};
use crate::record::{Nonce, Record, claim_name};

use super::super::testing::port;
use super::op::{Answer, Op, USED, of};
use super::told::Told;
use super::{Process, World};

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
const TORN: &[u8] = b"{\"format\":1,\"port\":1,\"nonce\":\"0101";

/// Acquires a port for `/a`, as a project that has none.
pub(super) const CLAIM: Op = Op::Acquire("/a", &[1, 2, 3]);

/// Moves the port of `/a` to `/b`.
pub(super) const MOVE: Op = Op::Move("/a", "/b");

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
    fn new(faults: &[Fault]) -> Stage {
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

    /// Everything so far is durable.
    fn settle(&mut self) {
        let mut disk = self.world.disk();
        disk.settle();
        self.world = World::mount(&disk);
        self.processes += 1;
        self.process = self.world.process(self.processes);
    }

    fn run(&mut self, op: Op) -> Answer {
        self.told.begin(op);
        let answer = op.run(&self.process);
        self.told.end(op, Some(&answer));
        answer.expect("nothing is in the way")
    }

    /// Runs an operation that is killed before its first step that `fatal` says so of.
    fn run_killed(&mut self, op: Op, fatal: fn(Step<'_>) -> bool) {
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
    fn lose_claim(&mut self, project: &str, number: u16, content: Option<&[u8]>) {
        let ports = &self.process.store.ports;
        let name = claim_name(port(number));
        ports.remove(&name).expect("it has that port");
        if let Some(content) = content {
            ports.put(&name, content);
        }
        self.told.doubt(project);
    }

    fn damage_commit(&mut self, project: &str) {
        let projects = &self.process.store.projects;
        let key = of(project).key();
        projects.remove(key).expect("it has a commit");
        projects.put(key, TORN);
        self.told.doubt(project);
    }

    /// What killed claimers and other hands leave: claims without commits.
    fn litter(&mut self) {
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
    fn settled(mut self, name: &'static str, op: Op) -> Scene {
        self.settle();
        self.scene(name, op)
    }

    /// What was not flushed may go with a power cut.
    fn scene(self, name: &'static str, op: Op) -> Scene {
        Scene {
            name,
            disk: self.world.disk(),
            told: self.told,
            op,
        }
    }
}

fn is_first_flush_of_names(step: Step<'_>) -> bool {
    step.call == "sync"
}

/// Every operation, on disks of all kinds.
pub(super) fn all(faults: &[Fault]) -> Vec<Scene> {
    let mut scenes = acquiring(faults);
    scenes.extend(damaged(faults));
    scenes.extend(others(faults));
    scenes.extend(moving(faults));
    scenes
}

/// A port for a project: a new one, or its own.
fn acquiring(faults: &[Fault]) -> Vec<Scene> {
    let stage = |run: &[Op]| {
        let mut stage = Stage::new(faults);
        for op in run {
            stage.run(*op);
        }
        stage
    };
    let mut again = stage(&[CLAIM]);
    again.settle();
    again.run(Op::Release("/a"));
    let mut unsealed = stage(&[]);
    unsealed.run_killed(CLAIM, is_first_flush_of_names);
    let past = Op::Acquire("/a", &[1, USED, 2]);
    vec![
        stage(&[]).settled("a new port", CLAIM),
        stage(&[Op::Acquire("/b", &[1])]).settled("past a claimed port and a used one", past),
        stage(&[CLAIM]).settled("an existing port", CLAIM),
        unsealed.scene("a port whose claimer died", CLAIM),
        again.scene("a port again", CLAIM),
        stage(&[]).settled("take-over", Op::TakeOver("/a", 1)),
        stage(&[Op::Acquire("/b", &[1])])
            .settled("take-over of another's port", Op::TakeOver("/a", 1)),
    ]
}

/// A port for a project whose files are damaged.
fn damaged(faults: &[Fault]) -> Vec<Scene> {
    let stage = |content: Option<&[u8]>| {
        let mut stage = Stage::new(faults);
        stage.run(CLAIM);
        stage.lose_claim("/a", 1, content);
        stage
    };
    let mut taken = stage(None);
    taken.run(Op::Acquire("/b", &[1]));
    let mut commit = Stage::new(faults);
    commit.run(CLAIM);
    commit.damage_commit("/a");
    let mut zeros = Stage::new(faults);
    zeros.run(CLAIM);
    zeros.lose_claim("/a", 1, Some(&[0; 100]));
    zeros.damage_commit("/a");
    vec![
        stage(None).settled("a dangling commit", CLAIM),
        stage(Some(TORN)).settled("a damaged claim", CLAIM),
        stage(Some(b"")).settled("an empty claim", CLAIM),
        taken.settled("a dangling commit of a taken port", CLAIM),
        commit.settled("a damaged commit", CLAIM),
        zeros.settled("a damaged commit and claim", CLAIM),
        stage(None).settled("take-over for a dangling commit", Op::TakeOver("/a", 2)),
    ]
}

/// The other operations.
fn others(faults: &[Fault]) -> Vec<Scene> {
    let stage = |run: &[Op]| {
        let mut stage = Stage::new(faults);
        for op in run {
            stage.run(*op);
        }
        stage
    };
    let mut dangling = stage(&[CLAIM]);
    dangling.lose_claim("/a", 1, None);
    let mut half = stage(&[CLAIM]);
    half.settle();
    half.run_killed(Op::Release("/a"), |step| {
        step.call == "remove" && step.dir == "projects"
    });
    let mut orphans = stage(&[CLAIM]);
    orphans.litter();
    let mut staged = stage(&[CLAIM]);
    staged.litter();
    vec![
        stage(&[CLAIM]).settled("release", Op::Release("/a")),
        stage(&[CLAIM]).settled("release to an archive", Op::Archive("/a")),
        dangling.settled("release of a dangling commit", Op::Release("/a")),
        half.scene("release after a killed one", Op::Release("/a")),
        stage(&[CLAIM]).settled("look-up", Op::Lookup("/a")),
        orphans.settled("sweep", Op::Sweep),
        staged.settled("sweep of staging", Op::SweepStaging),
        stage(&[CLAIM]).settled("refresh", Op::Refresh),
        stage(&[CLAIM]).scene("refresh by force", Op::Rewrite),
    ]
}

/// A port that goes from one project to another.
pub(super) fn moving(faults: &[Fault]) -> Vec<Scene> {
    let stage = |run: &[Op]| {
        let mut stage = Stage::new(faults);
        for op in run {
            stage.run(*op);
        }
        stage
    };
    let mut before = stage(&[CLAIM]);
    before.settle();
    before.run_killed(MOVE, |step| step.call == "replace");
    let mut after = stage(&[CLAIM]);
    after.settle();
    after.run_killed(MOVE, is_first_flush_of_claims);
    let mut dangling = stage(&[CLAIM, Op::Acquire("/b", &[2])]);
    dangling.lose_claim("/b", 2, None);
    vec![
        stage(&[CLAIM]).settled("move", MOVE),
        stage(&[CLAIM]).scene("move of a new port", MOVE),
        before.scene("move after one that was killed before it", MOVE),
        after.scene("move after one that was killed behind it", MOVE),
        dangling.settled("move to a project whose commit dangles", MOVE),
        stage(&[CLAIM, Op::Acquire("/b", &[2])]).settled("move to a project with a port", MOVE),
    ]
}

fn is_first_flush_of_claims(step: Step<'_>) -> bool {
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
    .map(|(name, stage)| Base {
        name,
        disk: stage.world.disk(),
        told: stage.told,
    })
    .into()
}

/// What processes do that meet: each of these inside each.
pub(super) const COMMON: [Op; 4] = [
    CLAIM,
    Op::Acquire("/b", &[1, 2, 3]),
    Op::Release("/a"),
    Op::Sweep,
];

/// The same with all that they may do.
pub(super) const MEETING: [Op; 9] = [
    CLAIM,
    Op::Acquire("/b", &[1, 2, 3]),
    Op::TakeOver("/a", 2),
    Op::Release("/a"),
    Op::Sweep,
    Op::Refresh,
    Op::Lookup("/a"),
    Op::Archive("/a"),
    MOVE,
];
