//! A claim that was given for a time: renewed beside whoever takes it away or gives it to another.

use std::time::{Duration, SystemTime};

use loom::thread;

use super::super::testing::{Fixed, held, holder, move_port, ports, quarantine, store};
use super::super::{
    Acquired, Lookup, Store, Withdrawal, acquire_set, expires, lookup, release, release_ended,
    renew, sweep,
};
use super::{explore, report};
use crate::fs::Dir;
use crate::fs::sim::{Fault, SimDir};
use crate::record::{Draft, Record};
use crate::term::Term;

/// How long claims are given for, in seconds.
const TIME: u64 = 60;

/// Gives a project the first of these ports for a time.
fn give(store: &Store<SimDir>, project: &str, ports: &[u16]) -> Record {
    let draft = Draft {
        term: Term::Ttl(TIME),
        ..Draft::from(holder(project))
    };
    let seen = vec![lookup(store, &draft.holder).expect("look")];
    let picker = |_| Ok(Fixed::new(ports));
    let accept = |_: usize, _: &Record| Ok(());
    let made = &mut Vec::new();
    let acquired = acquire_set(store, &[draft], seen, picker, accept, quarantine, made);
    let one = acquired
        .expect("acquire")
        .ok()
        .and_then(|mut one| one.pop());
    let Some(Acquired::Existing(record) | Acquired::New(record)) = one else {
        panic!("no port for {project}");
    };
    record
}

fn is_held(store: &Store<SimDir>, record: &Record) -> bool {
    let found = lookup(store, record.holder()).expect("look");
    matches!(found, Lookup::Held(found, _) if found == *record)
}

fn after(store: &Store<SimDir>, seconds: u64) -> SystemTime {
    store.ports.now() + Duration::from_secs(seconds)
}

fn is_over(store: &Store<SimDir>, record: &Record) -> bool {
    let end = expires(store, record).expect("a date");
    end.is_some_and(|end| end <= store.ports.now())
}

/// Takes the claim away if its time is over.
fn reclaim(store: &Store<SimDir>, record: &Record) -> bool {
    let has_ended = || Ok(is_over(store, record));
    is_over(store, record)
        && release_ended(store, record, has_ended).expect("release") == Withdrawal::Done
}

fn reclaim_without_another_look(store: &Store<SimDir>, record: &Record) -> bool {
    is_over(store, record)
        && release_ended(store, record, || Ok(true)).expect("release") == Withdrawal::Done
}

/// Somebody renews a claim whose time is over, and somebody else wants the port.
fn renewal_against_reclaim(faults: &'static [Fault], reclaim: fn(&Store<SimDir>, &Record) -> bool) {
    let count = explore(Some(3), move || {
        let [start, a, b, end] = store(faults);
        let record = give(&start, "/a", &[1]);
        start.ports.pass(TIME + 1);
        let seen = record.clone();
        let other = thread::spawn(move || {
            let is_gone = reclaim(&b, &seen);
            (is_gone, give(&b, "/b", &[1, 2]))
        });
        let is_renewed = renew(&a, &record, after(&a, TIME)).expect("renew");
        let (is_gone, told) = other.join().expect("join");
        if is_renewed {
            assert!(is_held(&end, &record), "a renewed claim was lost");
            assert!(!is_over(&end, &record), "a term is cut short");
        }
        assert!(is_renewed || is_gone, "neither renewed nor taken away");
        assert!(is_held(&end, &told), "a claim was lost");
        sweep(&end, quarantine).expect("sweep");
        let mut left: Vec<u16> = ["/a", "/b"]
            .iter()
            .filter_map(|project| held(&end, project))
            .map(crate::port::Port::get)
            .collect();
        left.sort_unstable();
        assert_eq!(ports(&end), left, "a port leaked");
    });
    report("a renewal and who takes ended claims away", count);
}

#[test]
fn a_renewal_against_who_takes_ended_claims_away() {
    renewal_against_reclaim(&[], reclaim);
}

#[test]
#[should_panic(expected = "a renewed claim was lost")]
fn a_renewal_against_who_takes_ended_claims_away_needs_the_lock() {
    renewal_against_reclaim(&[Fault::LocksGranted], reclaim);
}

#[test]
#[should_panic(expected = "a renewed claim was lost")]
fn a_renewal_against_who_takes_ended_claims_away_needs_another_look_under_the_lock() {
    renewal_against_reclaim(&[], reclaim_without_another_look);
}

/// Renews whatever has the name.
fn renew_by_name(store: &Store<SimDir>, record: &Record, end: SystemTime) -> bool {
    let date = end - Duration::from_secs(TIME);
    let file = store.ports.open(&crate::record::claim_name(record.port()));
    file.is_ok_and(|file| store.ports.touch(&file, date).is_ok())
}

fn renew_exactly(store: &Store<SimDir>, record: &Record, end: SystemTime) -> bool {
    renew(store, record, end).expect("renew")
}

/// The port is released, and given to `/b` for a time.
fn give_away(store: &Store<SimDir>) {
    release(store, &holder("/a"), None, None).expect("release");
    give(store, "/b", &[1, 2]);
}

/// The port moves to `/b`.
fn give_on(store: &Store<SimDir>) {
    move_port(store, &holder("/a"), &holder("/b")).expect("move");
}

/// Somebody renews a claim, and another process gives its port to `/b`.
fn renewal_against_change(
    change: fn(&Store<SimDir>),
    renew: fn(&Store<SimDir>, &Record, SystemTime) -> bool,
) {
    let count = explore(Some(3), move || {
        let [start, a, b, end] = store(&[]);
        let record = give(&start, "/a", &[1]);
        let other = thread::spawn(move || change(&b));
        // Where the other claim is dated, it is over.
        renew(&a, &record, a.ports.now());
        other.join().expect("join");
        assert_eq!(held(&end, "/a"), None, "a released port is back");
        let Lookup::Held(new, _) = lookup(&end, &holder("/b")).expect("look") else {
            panic!("a claim was lost");
        };
        let date = expires(&end, &new).expect("a date");
        assert_eq!(date, Some(after(&end, TIME)), "another claim was dated");
        sweep(&end, quarantine).expect("sweep");
        assert_eq!(ports(&end), [new.port().get()], "a port leaked");
    });
    report("a renewal and a change", count);
}

#[test]
fn a_renewal_against_a_release_and_a_claim() {
    renewal_against_change(give_away, renew_exactly);
}

#[test]
fn a_renewal_against_a_move() {
    renewal_against_change(give_on, renew_exactly);
}

#[test]
#[should_panic(expected = "another claim was dated")]
fn a_renewal_against_a_release_and_a_claim_needs_the_claim_that_is_meant() {
    renewal_against_change(give_away, renew_by_name);
}

#[test]
#[should_panic(expected = "another claim was dated")]
fn a_renewal_against_a_move_needs_the_claim_that_is_meant() {
    renewal_against_change(give_on, renew_by_name);
}

fn two_renewals_and_a_sweep(faults: &'static [Fault]) {
    let count = explore(Some(2), move || {
        let [start, a, b, c, end] = store(faults);
        let record = give(&start, "/a", &[1]);
        let seen = record.clone();
        let other = thread::spawn(move || renew(&b, &seen, after(&b, 2 * TIME)).expect("renew"));
        let sweeper = thread::spawn(move || {
            sweep(&c, quarantine).expect("sweep");
        });
        let first = renew(&a, &record, after(&a, 3 * TIME)).expect("renew");
        let second = other.join().expect("join");
        sweeper.join().expect("join");
        assert!(first && second, "nobody took it away");
        assert!(is_held(&end, &record), "a renewed claim was lost");
        let date = expires(&end, &record).expect("a date");
        let told = [2, 3].map(|times| Some(after(&end, times * TIME)));
        assert!(told.contains(&date), "neither of the two holds");
    });
    report("two renewals and a sweep", count);
}

#[test]
fn of_two_renewals_one_holds() {
    two_renewals_and_a_sweep(&[]);
}

#[test]
#[should_panic(expected = "neither of the two holds")]
fn of_two_renewals_one_holds_needs_dates() {
    two_renewals_and_a_sweep(&[Fault::DatesNothing]);
}
