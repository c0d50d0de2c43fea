//! The index beside changes: it shows them when all is quiet, or a mark tells that it does not.

use loom::thread;

use super::super::mark::refresh_once;
use super::super::testing::{held, store, take};
use super::super::{Marked, Store, marks, refresh};
use super::explore;
use crate::error::Result;
use crate::fs::Dir;
use crate::fs::sim::{Fault, SimDir};

/// Writes the index of a model: the ports that are committed, one a line.
pub(super) fn write_index(store: &Store<SimDir>) -> Result<()> {
    store.index.put("registry", &content(store));
    Ok(())
}

pub(super) fn content(store: &Store<SimDir>) -> Vec<u8> {
    let shown: Vec<String> = ["/a", "/b"]
        .into_iter()
        .filter_map(|project| held(store, project).map(|port| format!("{project} {port}\n")))
        .collect();
    shown.concat().into_bytes()
}

fn index_against_changes(faults: &'static [Fault], bring_up_to_date: fn(&Store<SimDir>)) {
    explore(Some(2), move || {
        let [a, b, end] = store(faults);
        let other = thread::spawn(move || {
            take(&a, "/a", &[1]);
            bring_up_to_date(&a);
        });
        take(&b, "/b", &[2]);
        bring_up_to_date(&b);
        other.join().expect("join");
        let shown = end.index.read("registry", 1000).expect("the index");
        let stale = shown != content(&end);
        assert!(
            !stale || !marks(&end.index).expect("marks").is_empty(),
            "stale without a mark"
        );
        assert!(!stale, "stale when all is quiet");
    });
}

pub(super) fn refreshed(store: &Store<SimDir>) {
    refresh(store, false, |_: &[Marked]| write_index(store)).expect("refresh");
}

fn refreshed_without_a_last_look(store: &Store<SimDir>) {
    refresh_once(store, &mut false, &mut |_: &[Marked]| write_index(store)).expect("refresh");
}

#[test]
fn the_index_against_changes() {
    index_against_changes(&[], refreshed);
}

#[test]
#[should_panic(expected = "stale when all is quiet")]
fn the_index_against_changes_needs_the_last_look() {
    index_against_changes(&[], refreshed_without_a_last_look);
}

#[test]
#[should_panic(expected = "stale without a mark")]
fn the_index_against_changes_needs_the_lock_of_the_mark() {
    index_against_changes(&[Fault::LocksGranted], refreshed);
}
