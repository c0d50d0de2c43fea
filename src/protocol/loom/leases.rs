//! Leases and several holders at once.

use loom::thread;

use super::super::testing::{Fixed, held, holder, port, ports, quarantine, store, take};
use super::super::{Acquired, Standing, Store, acquire_set, lease, lookup, standing, sweep};
use super::explore;
use crate::error::{Error, ErrorKind};
use crate::fs::sim::{Fault, SimDir};
use crate::port::Port;
use crate::record::{Draft, Record};

fn a_lease_and_a_sweep(faults: &'static [Fault]) {
    explore(Some(3), || {
        let [a, b, end] = store(faults);
        let sweeper = thread::spawn(move || {
            sweep(&b, quarantine).expect("sweep");
            take(&b, "/b", &[1, 2])
        });
        let mine = lease(&a, &holder("/a"), &mut Fixed::new(&[1, 2])).expect("lease");
        let lease = mine.expect("there are two ports");
        let mine = lease.record().clone();
        let told = sweeper.join().expect("join");
        assert_ne!(told, Some(mine.port()), "2 holders");
        assert_eq!(held(&end, "/b"), told, "a claim was lost");
        assert_eq!(
            standing(&end, mine.port()).expect("look"),
            Standing::Leased(mine),
            "a lease was lost"
        );
    });
}

#[test]
fn a_lease_against_a_sweep_and_a_claim() {
    a_lease_and_a_sweep(&[]);
}

#[test]
#[should_panic(expected = "2 holders")]
fn a_lease_against_a_sweep_needs_the_lock() {
    a_lease_and_a_sweep(&[Fault::LocksGranted]);
}

fn the_end_of_a_lease(faults: &'static [Fault]) {
    explore(Some(3), || {
        let [a, b, c, end] = store(faults);
        let mine = lease(&a, &holder("/a"), &mut Fixed::new(&[1])).expect("lease");
        let mine = mine.expect("there is a port");
        let sweeper = thread::spawn(move || {
            sweep(&b, quarantine).expect("sweep");
        });
        mine.end(&a);
        let told = take(&c, "/b", &[1, 2]);
        sweeper.join().expect("join");
        assert!(told.is_some(), "no port");
        assert_eq!(held(&end, "/b"), told, "a claim was lost");
        assert_eq!(ports(&end).len(), 1, "the lease is left");
    });
}

#[test]
fn the_end_of_a_lease_against_a_sweep_and_a_claim() {
    the_end_of_a_lease(&[]);
}

#[test]
#[should_panic(expected = "acquire")]
fn the_end_of_a_lease_needs_the_lock_and_the_name() {
    the_end_of_a_lease(&[Fault::LocksGranted, Fault::AnyNameMeans]);
}

/// Returns the ports of these projects, which are given together; `None` where that cannot be.
/// In a row, a project that has another port than the first of its list is refused.
fn take_all(store: &Store<SimDir>, wanted: &[(&str, &[u16])], in_a_row: bool) -> Option<Vec<u16>> {
    let drafts: Vec<Draft> = wanted
        .iter()
        .map(|(project, _)| Draft::from(holder(project)))
        .collect();
    let look = |draft: &Draft| lookup(store, &draft.holder).expect("look");
    let seen = drafts.iter().map(look).collect();
    let picker = |at: usize| Ok(Fixed::new(wanted[at].1));
    let accept = |at: usize, record: &Record| {
        if in_a_row && record.port().get() != wanted[at].1[0] {
            return Err(Error::has_another(port(wanted[at].1[0]), record.clone()));
        }
        Ok(())
    };
    let acquired = match acquire_set(
        store,
        &drafts,
        seen,
        picker,
        accept,
        quarantine,
        &mut Vec::new(),
    ) {
        Err(error) if error.kind() == ErrorKind::HasAnother => return None,
        acquired => acquired.expect("acquire").ok()?,
    };
    let ports = acquired.into_iter().map(|acquired| match acquired {
        Acquired::Existing(record) | Acquired::New(record) => record.port().get(),
    });
    Some(ports.collect())
}

/// Two processes want ports for the same two projects, and would take different ones.
fn two_together(faults: &'static [Fault]) {
    explore(Some(2), || {
        let [a, b, end] = store(faults);
        let first = thread::spawn(move || take_all(&a, &[("/a", &[1]), ("/b", &[2])], false));
        let second = take_all(&b, &[("/a", &[3]), ("/b", &[4])], false);
        let first = first.join().expect("join");
        let told: Vec<&Vec<u16>> = first.iter().chain(&second).collect();
        assert!(!told.is_empty(), "no port");
        let kept = ["/a", "/b"].map(|project| held(&end, project).map(Port::get));
        let kept: Vec<u16> = kept.into_iter().flatten().collect();
        assert!(told.iter().all(|told| **told == kept), "not told the same");
        assert_eq!(ports(&end).len(), 2, "a loser's claim is left");
    });
}

#[test]
fn two_processes_that_want_the_same_ports_are_told_the_same() {
    two_together(&[]);
}

#[test]
#[should_panic(expected = "not told the same")]
fn two_processes_that_want_the_same_ports_need_a_commit_that_replaces_nothing() {
    two_together(&[Fault::PublishReplaces]);
}

#[test]
fn two_processes_that_want_the_same_row_have_one_of_the_two() {
    explore(Some(3), || {
        let [a, b, end] = store(&[]);
        let first = thread::spawn(move || take_all(&a, &[("/a", &[1]), ("/b", &[2])], true));
        let second = take_all(&b, &[("/a", &[3]), ("/b", &[4])], true);
        let first = first.join().expect("join");
        assert!(first.is_some() != second.is_some(), "not one of the two");
        let row = first.or(second).expect("one of the two");
        assert_eq!(ports(&end), row, "a mixture");
    });
}

#[test]
fn what_cannot_be_had_as_a_whole_is_not_had() {
    explore(Some(2), || {
        let [a, b, end] = store(&[]);
        // Two ports, and four wanted: at most one of the two has what it wants.
        let first = thread::spawn(move || take_all(&a, &[("/a", &[1, 2]), ("/b", &[1, 2])], false));
        let second = take_all(&b, &[("/c", &[2, 1]), ("/d", &[2, 1])], false);
        let first = first.join().expect("join");
        assert!(
            first.is_none() || second.is_none(),
            "more ports than there are"
        );
        let count = 2 * usize::from(first.is_some() || second.is_some());
        assert_eq!(ports(&end).len(), count, "half of it is left");
        for (project, told) in [("/a", &first), ("/d", &second)] {
            assert_eq!(held(&end, project).is_some(), told.is_some());
        }
    });
}
