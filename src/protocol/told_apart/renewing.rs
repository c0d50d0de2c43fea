//! What a renewal finds, and what it changes.

use std::time::{Duration, SystemTime};

use super::*;
use crate::term::Term;

/// How long the claim is given for, in seconds.
const TIME: u64 = 60;

/// Gives `/a` port 1 for a time.
fn given(store: &Store<SimDir>) -> Record {
    let draft = Draft {
        term: Term::Ttl(TIME),
        ..Draft::from(holder("/a"))
    };
    let answer = acquire_as(store, draft, &mut Fixed::new(&[1]), quarantine);
    match answer.expect("acquires") {
        Some(Acquired::New(record)) => record,
        other => panic!("{other:?}"),
    }
}

fn ends(store: &Store<SimDir>, record: &Record) -> SystemTime {
    let end = expires(store, record).expect("told");
    end.expect("it was given for a time")
}

#[test]
fn a_renewal_dates_its_claim_and_nobody_elses() {
    let [store] = store(&[]);
    let there = given(&store);
    let later = store.ports.now() + Duration::from_secs(2 * TIME);
    assert!(renew(&store, &there, later).expect("told"));
    assert_eq!(ends(&store, &there), later);
    // A claim of the port that has another nonce is another one.
    let mut other = Draft::from(&there).record(port(1), Nonce::from_bytes([7; 16]));
    assert!(!renew(&store, &other, later + Duration::from_secs(1)).expect("told"));
    assert_eq!(ends(&store, &there), later);
    // What is kept has no time.
    other = record("/b", 2, 8);
    assert!(!renew(&store, &other, later).expect("told"));
    assert_eq!(expires(&store, &other).expect("told"), None);
}

#[test]
fn a_renewal_of_what_is_gone_is_none_and_a_disk_that_fails_is_an_error() {
    let [store] = store(&[]);
    let there = given(&store);
    let later = store.ports.now() + Duration::from_secs(2 * TIME);
    for call in ["open", "lock", "means", "touch", "sync_file"] {
        let failing = failing(&store, "ports", call, Errno::IO);
        assert!(renew(&failing, &there, later).is_err(), "{call}");
    }
    store.ports.remove("1.claim").expect("removes");
    assert!(!renew(&store, &there, later).expect("told"));
}
