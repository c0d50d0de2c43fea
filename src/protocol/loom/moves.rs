//! A port that moves from one project to another, beside all that may happen to the two.

use loom::thread;

use super::super::testing::{held, holder, move_port, port, ports, quarantine, store, take};
use super::super::{HandedOver, Released, Store, marks, release, sweep};
use super::explore;
use super::index::{content, refreshed, write_index};
use crate::fs::Dir;
use crate::fs::sim::{Fault, SimDir};
use crate::record::LEN_MAX;

/// Moves the port of `/a`, and returns whether it did.
fn move_to(store: &Store<SimDir>, to: &str) -> bool {
    let moved = move_port(store, &holder("/a"), &holder(to)).expect("move");
    matches!(moved, Some((_, HandedOver::Done(_))))
}

/// What must be so when all is quiet.
fn check(end: &Store<SimDir>, held_by: &[&str]) {
    let shown = end.index.read("registry", LEN_MAX).expect("the index");
    let is_marked = !marks(&end.index).expect("marks").is_empty();
    assert!(is_marked || shown == content(end), "stale without a mark");
    sweep(end, quarantine).expect("sweep");
    let mut all: Vec<u16> = held_by
        .iter()
        .filter_map(|project| held(end, project))
        .map(crate::port::Port::get)
        .collect();
    all.sort_unstable();
    assert_eq!(ports(end), all, "a port leaked");
    let staged = end.staging.names().expect("names");
    assert!(staged.is_empty(), "a staged file is left: {staged:?}");
}

fn move_against_claim(faults: &'static [Fault]) {
    explore(Some(3), || {
        let [start, a, b, end] = store(faults);
        take(&start, "/a", &[1]).expect("a port");
        write_index(&start).expect("the index");
        let mover = thread::spawn(move || move_to(&a, "/b"));
        let told = take(&b, "/b", &[2, 3]);
        let is_moved = mover.join().expect("join");
        assert_eq!(held(&end, "/b"), told, "a claim was lost");
        let expected = if is_moved {
            (None, 1)
        } else {
            (Some(port(1)), 2)
        };
        let found = (held(&end, "/a"), told.map_or(0, crate::port::Port::get));
        assert_eq!(found, expected, "one port, one project");
        check(&end, &["/a", "/b"]);
    });
}

#[test]
fn a_move_against_a_claim_of_the_new_project() {
    move_against_claim(&[]);
}

#[test]
#[should_panic(expected = "one port, one project")]
fn a_move_against_a_claim_of_the_new_project_needs_the_lock_of_the_new_commit() {
    move_against_claim(&[Fault::StagedLocksGranted]);
}

fn move_against_release(faults: &'static [Fault]) {
    explore(Some(3), || {
        let [start, a, b, end] = store(faults);
        take(&start, "/a", &[1]).expect("a port");
        write_index(&start).expect("the index");
        let mover = thread::spawn(move || move_to(&a, "/b"));
        let released = release(&b, &holder("/a"), None, None).expect("release");
        let rival = take(&b, "/c", &[1]);
        let is_moved = mover.join().expect("join");
        assert_eq!(held(&end, "/c"), rival, "a claim was lost");
        let is_released = matches!(released, Released::Done(_));
        assert!(is_moved != is_released, "one of them takes it");
        assert_eq!(held(&end, "/a"), None);
        assert_eq!(
            held(&end, "/b"),
            is_moved.then(|| port(1)),
            "told and not kept"
        );
        assert!(is_moved != rival.is_some(), "2 winners");
        check(&end, &["/b", "/c"]);
    });
}

#[test]
fn a_move_against_a_release_and_a_claim_of_the_port() {
    move_against_release(&[]);
}

#[test]
#[should_panic(expected = "one of them takes it")]
fn a_move_against_a_release_and_a_claim_of_the_port_needs_the_lock_and_the_name() {
    move_against_release(&[Fault::LocksGranted, Fault::AnyNameMeans]);
}

fn move_against_sweep(faults: &'static [Fault]) {
    explore(Some(3), || {
        let [start, a, b, end] = store(faults);
        take(&start, "/a", &[1]).expect("a port");
        write_index(&start).expect("the index");
        let sweeper = thread::spawn(move || sweep(&b, quarantine).map(drop));
        let is_moved = move_to(&a, "/b");
        sweeper.join().expect("join").expect("sweep");
        assert!(is_moved, "a sweep is in nobody's way");
        assert_eq!(held(&end, "/b"), Some(port(1)), "a claim was lost");
        check(&end, &["/a", "/b"]);
    });
}

#[test]
fn a_move_against_a_sweep() {
    move_against_sweep(&[]);
}

#[test]
fn a_move_against_a_refresh() {
    explore(Some(2), || {
        let [start, a, b, end] = store(&[]);
        take(&start, "/a", &[1]).expect("a port");
        refreshed(&start);
        let refresher = thread::spawn(move || refreshed(&b));
        assert!(move_to(&a, "/b"), "nobody is in the way");
        refreshed(&a);
        refresher.join().expect("join");
        let shown = end.index.read("registry", LEN_MAX).expect("the index");
        assert_eq!(shown, content(&end), "stale when all is quiet");
        check(&end, &["/a", "/b"]);
    });
}

#[test]
fn a_move_against_another_move() {
    explore(Some(3), || {
        let [start, a, b, end] = store(&[]);
        take(&start, "/a", &[1]).expect("a port");
        write_index(&start).expect("the index");
        let other = thread::spawn(move || move_to(&b, "/c"));
        let to_b = move_to(&a, "/b");
        let to_c = other.join().expect("join");
        assert!(to_b != to_c, "one of them takes it");
        assert_eq!(held(&end, "/b").is_some(), to_b, "told and not kept");
        assert_eq!(held(&end, "/c").is_some(), to_c, "told and not kept");
        check(&end, &["/b", "/c"]);
    });
}
