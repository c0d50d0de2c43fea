//! What must hold after anything: the guarantees, seen by processes that come later.

use std::collections::BTreeSet;

use crate::fs::Dir;
use crate::fs::sim::Disk;

use super::super::testing::ports;
use super::super::{Standing, is_staged_record, lookup, marks, standing};
use super::op::{Answer, Op, PROJECTS, REGISTRY, of, registry};
use super::told::Told;
use super::{Process, World};

/// The process that comes later.
const LATER: u8 = 99;

/// Ports for everybody.
const PORTS: &[u16] = &[1, 2, 3, 5, 6, 7, 8];

/// Starts a new process on a copy of the disk, and checks what it finds and can do.
pub(super) fn check(disk: &Disk, told: &Told) {
    let process = World::mount(disk).process(LATER);
    // Whoever held a lease is dead.
    let told = &told.without_leases();
    expect_told(&process, told);
    run(&process, Op::Sweep);
    expect_told(&process, told);
    let mut told = told.clone();
    let mut taken = BTreeSet::new();
    for project in PROJECTS {
        let op = Op::Acquire(project, PORTS);
        told.begin(op);
        let answer = op.run(&process);
        // What was told before, and only that, is told again.
        told.end(op, Some(&answer));
        let Ok(Answer::Held(record)) = answer else {
            panic!("{project} gets no port: {answer:?}");
        };
        assert!(taken.insert(record.port().get()), "two holders: {record:?}");
    }
    expect_told(&process, &told);
    run(&process, Op::Sweep);
    expect_clean(&process, &taken.into_iter().collect::<Vec<_>>());
    run(&process, Op::Rewrite);
    let index = &process.store.index;
    let shown = index.read(REGISTRY, 1000).expect("the registry file");
    assert_eq!(shown, shows(&process), "the registry file is stale");
    assert_eq!(marks(index).expect("marks"), [], "a mark is left");
    for project in PROJECTS {
        let answer = run(&process, Op::Release(project));
        assert!(matches!(answer, Answer::Released(_)), "{answer:?}");
    }
    expect_clean(&process, &[]);
    let commits = process.store.projects.names().expect("names");
    assert_eq!(commits, [""; 0], "a commit is left");
}

/// Returns whether the registry file shows all claims, or there is a mark (MARKED).
pub(super) fn is_marked(disk: &Disk) -> bool {
    let process = World::mount(disk).process(LATER);
    let index = &process.store.index;
    let shown = index.read(REGISTRY, 1000).expect("the registry file");
    shown == shows(&process) || !marks(index).expect("marks").is_empty()
}

fn shows(process: &Process) -> Vec<u8> {
    registry(process).expect("look-ups")
}

/// Every project finds what it was told.
pub(super) fn expect_told(process: &Process, told: &Told) {
    for project in PROJECTS {
        told.expect(
            project,
            &lookup(&process.store, of(project)).expect("lookup"),
        );
    }
    for lease in told.leases() {
        let found = standing(&process.store, lease.port()).expect("look");
        assert_eq!(found, Standing::Leased(lease.clone()), "a lease is lost");
    }
}

/// Nothing is left of what nobody holds.
fn expect_clean(process: &Process, taken: &[u16]) {
    assert_eq!(ports(&process.store), taken, "a port leaked");
    let mut staged = process.store.staging.names().expect("names");
    staged.retain(|name| is_staged_record(name));
    assert_eq!(staged, [""; 0], "a staged commit is left");
}

fn run(process: &Process, op: Op) -> Answer {
    op.run(process)
        .unwrap_or_else(|error| panic!("{op:?} fails: {error:?}"))
}
