//! Each operation beside each, and beside each two others: what was told stays, one port has
//! one holder, nothing leaks, and the registry file is right or marked.

use loom::thread;

use super::super::testing::{holder, port, ports, quarantine, store, take};
use super::super::{Released, Store, lookup, marks, release, sweep};
use super::index::{content, refreshed, write_index};
use super::{explore, held, report};
use crate::fs::Dir;
use crate::fs::sim::{Fault, SimDir};
use crate::port::Port;
use crate::record::{LEN_MAX, Nonce, Record};

/// An operation of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Acquires a port for `/a`; where it has one, makes it durable.
    Claim,
    /// Acquires a port for `/b`.
    Rival,
    /// Releases `/a`'s port.
    Release,
    Sweep,
    /// Looks `/a` up.
    Lookup,
    Refresh,
}

use Call::{Claim, Lookup, Refresh, Release, Rival, Sweep};

const CALLS: [Call; 6] = [Claim, Rival, Release, Sweep, Lookup, Refresh];

/// Enough for all that claim at once.
const PORTS: &[u16] = &[1, 2, 3, 4, 5];

/// What there is before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Nothing,
    /// `/a` has port 1.
    Held,
    /// Its claimer died before it flushed that.
    Unsealed,
}

use Start::{Held, Nothing, Unsealed};

/// What a call said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    A(Option<Port>),
    B(Option<Port>),
    Seen(Option<Port>),
    Released(bool),
    Done,
}

fn prepare(store: &Store<SimDir>, start: Start) {
    // What a killed claimer left.
    let orphan = Record::new(port(2), Nonce::from_bytes([2; 16]), holder("/b"));
    store.ports.put("2.claim", &orphan.encode());
    if start != Nothing {
        take(store, "/a", &[1]).expect("a port");
    }
    if start == Unsealed {
        let commit = store.projects.open(holder("/a").key()).expect("a commit");
        store.projects.unseal(&commit).expect("unseal");
    }
    write_index(store).expect("the index");
}

fn run(store: &Store<SimDir>, call: Call) -> Said {
    match call {
        Claim => Said::A(take(store, "/a", PORTS)),
        Rival => Said::B(take(store, "/b", PORTS)),
        Release => {
            let answer = release(store, &holder("/a"), None, None).expect("release");
            Said::Released(matches!(answer, Released::Done(_)))
        }
        Sweep => {
            sweep(store, quarantine).expect("sweep");
            Said::Done
        }
        Lookup => {
            lookup(store, &holder("/a")).expect("lookup");
            Said::Seen(held(store, "/a"))
        }
        Refresh => {
            refreshed(store);
            Said::Done
        }
    }
}

/// Checks what is left when all is quiet.
fn check(store: &Store<SimDir>, start: Start, said: &[Said]) {
    let (a, b) = (held(store, "/a"), held(store, "/b"));
    let releases = said.iter().filter(|it| matches!(it, Said::Released(_)));
    let is_released = releases.count() > 0;
    let was_held = (start != Nothing).then(|| port(1));
    let mut told: Vec<Port> = was_held.into_iter().collect();
    for it in said {
        match *it {
            Said::A(answer) => {
                assert!(answer.is_some(), "no port for /a");
                assert!(is_released || a == answer, "a claim was lost");
                told.extend(answer);
            }
            Said::B(answer) => assert!(answer.is_some() && b == answer, "a claim was lost"),
            Said::Released(done) => {
                let is_claimed = said.iter().any(|it| matches!(it, Said::A(_)));
                assert!(is_claimed || a.is_none(), "a released port is back");
                let is_alone = said
                    .iter()
                    .filter(|it| matches!(it, Said::Released(_)))
                    .count()
                    == 1;
                let was_there = was_held.is_some();
                assert!(!is_alone || done || !was_there, "nobody released it");
            }
            Said::Seen(_) | Said::Done => {}
        }
    }
    assert!(
        is_released || was_held.is_none() || a == was_held,
        "a claim was lost"
    );
    for it in said {
        if let Said::Seen(Some(seen)) = it {
            let is_claimed = said.iter().any(|it| matches!(it, Said::A(_)));
            assert!(is_claimed || told.contains(seen), "seen, and never told");
        }
    }
    assert!(a.is_none() || a != b, "2 winners");
    let shown = store.index.read("registry", LEN_MAX).expect("the index");
    let is_marked = !marks(&store.index).expect("marks").is_empty();
    assert!(is_marked || shown == content(store), "stale without a mark");
    if !is_released && said.iter().any(|it| matches!(it, Said::A(_))) {
        let read = store.projects.read_sealed(holder("/a").key(), LEN_MAX);
        assert!(read.expect("a commit").1, "told and not sealed");
    }
    sweep(store, quarantine).expect("sweep");
    assert_eq!((held(store, "/a"), held(store, "/b")), (a, b));
    let mut holders: Vec<u16> = [a, b].into_iter().flatten().map(Port::get).collect();
    holders.sort_unstable();
    assert_eq!(ports(store), holders, "a port leaked");
    let staged = store.staging.names().expect("names");
    assert!(staged.is_empty(), "a staged commit is left: {staged:?}");
}

/// Runs the calls at once, and returns in how many interleavings.
fn meet(faults: &'static [Fault], start: Start, calls: &[Call], preemptions: usize) -> usize {
    let calls = calls.to_vec();
    explore(Some(preemptions), move || {
        let [first, a, b, c, end] = store(faults);
        prepare(&first, start);
        let mut stores = [a, b, c].into_iter();
        let mut threads = Vec::new();
        for &call in &calls[1..] {
            let store = stores.next().expect("a store");
            threads.push(thread::spawn(move || run(&store, call)));
        }
        let mut said = vec![run(&stores.next().expect("a store"), calls[0])];
        said.extend(threads.into_iter().map(|it| it.join().expect("join")));
        check(&end, start, &said);
    })
}

/// This call beside each from itself on.
fn pairs(call: Call) {
    let from = CALLS.iter().position(|it| *it == call).expect("a call");
    let mut count = 0;
    for other in &CALLS[from..] {
        for start in [Nothing, Held, Unsealed] {
            count += meet(&[], start, &[call, *other], 3);
        }
    }
    report(&format!("pairs with {call:?}"), count);
}

#[test]
fn each_pair_with_a_claim() {
    pairs(Claim);
}

#[test]
fn each_pair_with_a_rivals_claim() {
    pairs(Rival);
}

#[test]
fn each_pair_with_a_release() {
    pairs(Release);
}

#[test]
fn each_pair_with_a_sweep() {
    pairs(Sweep);
}

#[test]
fn each_pair_with_a_look_up_or_a_refresh() {
    pairs(Lookup);
    pairs(Refresh);
}

/// Each three of them, of which the first is this call.
fn threes(call: Call) {
    let from = CALLS.iter().position(|it| *it == call).expect("a call");
    let mut count = 0;
    for (at, second) in CALLS[from..].iter().enumerate() {
        for third in &CALLS[from + at..] {
            for start in [Nothing, Held, Unsealed] {
                count += meet(&[], start, &[call, *second, *third], 1);
            }
        }
    }
    report(&format!("threes with {call:?}"), count);
}

#[test]
fn each_three_with_a_claim() {
    threes(Claim);
}

#[test]
fn each_three_of_the_others() {
    for call in &CALLS[1..] {
        threes(*call);
    }
}

#[test]
#[should_panic(expected = "a claim was lost")]
fn a_pair_of_a_release_and_a_rivals_claim_needs_the_lock_and_the_name() {
    let faults = &[Fault::LocksGranted, Fault::AnyNameMeans];
    meet(faults, Held, &[Release, Release, Rival], 2);
}

#[test]
#[should_panic(expected = "told and not sealed")]
fn a_pair_of_claims_needs_a_seal() {
    meet(&[Fault::SealsNothing], Unsealed, &[Claim, Claim], 1);
}
