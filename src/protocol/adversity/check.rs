//! What must hold after anything: the guarantees, seen by processes that come later.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use crate::fs::Dir;
use crate::fs::sim::{Disk, START};

use super::super::testing::ports;
use super::super::{Lookup, Standing, expires, is_staged_record, lookup, marks, standing};
use super::file::{REGISTRY, registry};
use super::holders::of;
use super::op::{Answer, Op};
use super::told::Told;
use super::{Process, World};
use crate::term::Term;

/// The process that comes later.
const LATER: u8 = 99;

/// Ports for everybody, and for what they had: while a commit is damaged, its claim is not swept.
const PORTS: &[u16] = &[
    1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
];

/// Longer than anything is given for, in seconds.
const LONG: u64 = 100_000;

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
    let mut held = Vec::new();
    for name in told.holders().collect::<Vec<_>>() {
        let op = Op::Acquire(name, PORTS);
        told.begin(op);
        let answer = op.run(&process);
        // What was told before, and only that, is told again.
        told.end(op, Some(&answer));
        let Ok(Answer::Held(record)) = answer else {
            panic!("{name} gets no port: {answer:?}");
        };
        assert!(taken.insert(record.port().get()), "two holders: {record:?}");
        held.push((name, record));
    }
    expect_told(&process, &told);
    run(&process, Op::Sweep);
    expect_clean(&process, &taken.into_iter().collect::<Vec<_>>());
    run(&process, Op::Rewrite);
    let index = &process.store.index;
    let shown = index.read(REGISTRY, 1000).expect("the registry file");
    assert_eq!(shown, shows(&process), "the registry file is stale");
    assert_eq!(marks(index).expect("marks"), [], "a mark is left");
    run(&process, Op::Pass(LONG));
    for (name, record) in held {
        // What was given for a time can be had again when that is over.
        let op = match record.term() {
            Term::Ttl(_) => Op::Reclaim(name),
            _ => Op::Release(name),
        };
        let answer = run(&process, op);
        assert_eq!(answer, Answer::Released(record));
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

/// Every holder finds what it was told.
pub(super) fn expect_told(process: &Process, told: &Told) {
    for name in told.holders() {
        let found = lookup(&process.store, of(name)).expect("lookup");
        told.expect(name, &found);
        let Lookup::Held(record, _) = found else {
            continue;
        };
        let end = expires(&process.store, &record).expect("a date");
        if let Some(end) = end {
            let since = end.duration_since(UNIX_EPOCH).expect("later than 1970");
            told.expect_end(&record, since.as_secs().saturating_sub(START));
        }
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
