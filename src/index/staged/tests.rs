//! Staged files, and who sweeps them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::fs::sim::{Probe, SimDir, SimFile, Verdict};
use crate::index::testing::{Disk, locked};

const NAME: &str = "registry-1";

#[test]
fn a_staged_file_is_locked_and_never_somebody_elses() {
    let disk = Disk::new();
    let staging = &disk.store.staging;
    let file = write_new(staging, "registry-1", b"one", Durability::Durable).expect("writes");
    assert_eq!(disk.read("staging/registry-1"), b"one");
    let error = write_new(staging, "registry-1", b"two", Durability::Durable);
    let error = error.expect_err("it is another process's");
    assert!(error.is_from(&[io::ErrorKind::AlreadyExists]), "{error}");
    assert_eq!(disk.read("staging/registry-1"), b"one");
    if staging.has_locks() {
        let other = staging.open("registry-1").expect("opens");
        assert!(!staging.try_lock(&other).expect("told"));
    }
    drop(file);
}

/// Creates a file and locks it. Before its first lock, `meet` happens; before its last try, another
/// process ends that meanwhile had the lock. Returns how often it was tried.
fn tries(meet: impl Fn(&SimDir) -> Option<SimFile> + 'static, last: u32) -> u32 {
    let [dir] = SimDir::disk(["staging"], &[]);
    let tries = Rc::new(Cell::new(0));
    let (counted, other, lock) = (tries.clone(), dir.clone(), RefCell::new(None));
    let is_first = Cell::new(true);
    let probe: Probe = Rc::new(move |step| {
        match step.call {
            "create" => {
                counted.set(counted.get() + 1);
                if counted.get() == last && lock.take().is_some() {
                    other.remove(NAME).expect("it is there");
                }
            }
            "lock" if is_first.replace(false) => {
                lock.replace(meet(&other));
            }
            _ => {}
        }
        Verdict::Go
    });
    let file = create_locked(&dir.watched(&probe), NAME).expect("it is made again");
    assert!(dir.means(NAME, &file).expect("told"));
    let other = dir.open(NAME).expect("opens");
    assert!(!dir.try_lock(&other).expect("told"), "it is locked");
    tries.get()
}

#[test]
fn what_a_sweep_takes_away_before_it_is_locked_is_made_again() {
    assert_eq!(tries(|_| None, 0), 1, "nobody does");
    let swept = |dir: &SimDir| {
        dir.remove(NAME).expect("it is there");
        None
    };
    assert_eq!(tries(swept, 0), 2);
    // The sweep has its lock, and takes its time.
    let locked = |dir: &SimDir| {
        let file = dir.open(NAME).expect("opens");
        assert!(dir.try_lock(&file).expect("a lock"));
        Some(file)
    };
    assert_eq!(tries(locked, 4), 4);
}

#[test]
fn only_what_killed_processes_staged_is_removed() {
    let disk = Disk::new();
    let staging = &disk.store.staging;
    if !staging.has_locks() {
        return;
    }
    for name in ["backup-1", "registry-1", "registry-2", "8888-1"] {
        disk.put(&format!("staging/{name}"), b"half");
    }
    let alive = locked(staging, "registry-2");
    staging.create_dir("registry-3").expect("a directory");
    remove_staged(staging).expect("sweeps");
    assert_eq!(disk.staged(), ["8888-1", "registry-2", "registry-3"]);
    staging.unlock(&alive);
    remove_staged(staging).expect("sweeps");
    assert_eq!(disk.staged(), ["8888-1", "registry-3"]);
}
