//! Every interleaving of the steps of two threads, and of three with few preemptions, on
//! the simulated disk. Each test has a broken twin: a disk that lacks one guarantee, or a
//! protocol that lacks one step, on which the same test must fail.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=3 \
//!     cargo test --lib --release --no-default-features loom
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

mod index;
mod leases;
mod moves;
mod pairs;
mod renewals;

use super::testing::{Fixed, held, holder, port, ports, quarantine, store, take};
use super::{Acquired, Released, Store, acquire, release, sweep, sweep_port};
use crate::fs::Dir;
use crate::fs::sim::{Fault, SimDir};

/// Runs `model` in every interleaving, or in those with at most `preemptions`, and returns how many
/// these were.
fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) -> usize {
    let mut builder = loom::model::Builder::new();
    if let Some(bound) = preemptions {
        let told = builder.preemption_bound.unwrap_or(bound);
        builder.preemption_bound = Some(told.min(bound));
    }
    builder.max_branches = 10_000;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    count.load(Ordering::Relaxed)
}

/// Says how many interleavings it were. Shown by `--nocapture`.
#[expect(clippy::print_stderr, reason = "a test's output is captured")]
fn report(what: &str, count: usize) {
    eprintln!("{what}: {count} interleavings");
}

fn two_projects_one_port(faults: &'static [Fault]) {
    explore(Some(3), || {
        let [a, b, end] = store(faults);
        let first = thread::spawn(move || take(&a, "/a", &[1]));
        let second = take(&b, "/b", &[1]);
        let first = first.join().expect("join");
        let winners = usize::from(first.is_some()) + usize::from(second.is_some());
        assert!(winners <= 1, "{winners} winners");
        assert_eq!(winners, 1, "no winner");
        assert_eq!(held(&end, "/a"), first);
        assert_eq!(held(&end, "/b"), second);
    });
}

#[test]
fn claim_against_claim_of_one_port() {
    two_projects_one_port(&[]);
}

#[test]
#[should_panic(expected = "2 winners")]
fn claim_against_claim_of_one_port_needs_exclusive_creation() {
    // Creation without O_EXCL opens the rival's file, and the lock alone does not tell.
    two_projects_one_port(&[Fault::CreateShares]);
}

fn one_project_twice(faults: &'static [Fault]) {
    explore(Some(3), || {
        let [a, b, end] = store(faults);
        let first = thread::spawn(move || take(&a, "/a", &[1, 2]));
        let second = take(&b, "/a", &[2, 1]);
        let first = first.join().expect("join");
        assert_eq!(first, second, "2 ports");
        assert_eq!(held(&end, "/a"), first);
        assert_eq!(ports(&end).len(), 1, "the loser's claim is left");
    });
}

#[test]
fn claim_against_claim_of_one_project() {
    one_project_twice(&[]);
}

#[test]
#[should_panic(expected = "2 ports")]
fn claim_against_claim_of_one_project_needs_a_commit_that_replaces_nothing() {
    one_project_twice(&[Fault::PublishReplaces]);
}

fn claim_against_release(faults: &'static [Fault]) {
    explore(Some(3), || {
        let [start, a, b, end] = store(faults);
        take(&start, "/a", &[1]).expect("a port");
        let releaser = thread::spawn(move || {
            release(&a, &holder("/a"), None, None).expect("release");
        });
        let told = take(&b, "/b", &[1, 2]);
        let again = take(&b, "/a", &[1, 2, 3]);
        releaser.join().expect("join");
        assert_eq!(held(&end, "/b"), told, "a claim was lost");
        let kept = held(&end, "/a");
        assert!(
            kept == again || kept.is_none(),
            "another port than was told"
        );
        assert_ne!(kept, told, "2 winners");
        let holders = usize::from(told.is_some()) + usize::from(kept.is_some());
        assert_eq!(ports(&end).len(), holders, "a commit was lost");
    });
}

#[test]
fn a_claim_against_a_release() {
    claim_against_release(&[]);
}

#[test]
#[should_panic(expected = "a commit was lost")]
fn a_claim_against_a_release_needs_the_lock_and_the_name() {
    claim_against_release(&[Fault::LocksGranted, Fault::AnyNameMeans]);
}

fn release_against_release(faults: &'static [Fault]) {
    explore(Some(3), || {
        let [start, a, b, end] = store(faults);
        take(&start, "/a", &[1]).expect("a port");
        let releaser =
            thread::spawn(move || release(&a, &holder("/a"), None, None).expect("release"));
        let second = release(&b, &holder("/a"), None, None).expect("release");
        let told = take(&b, "/b", &[1]);
        let first = releaser.join().expect("join");
        assert_eq!(held(&end, "/b"), told, "a claim was lost");
        assert_eq!(held(&end, "/a"), None);
        let done = [&first, &second]
            .into_iter()
            .filter(|answer| matches!(answer, Released::Done(_)))
            .count();
        assert_eq!(done, 1, "one release takes it");
    });
}

#[test]
fn a_release_against_a_release() {
    release_against_release(&[]);
}

#[test]
#[should_panic(expected = "a claim was lost")]
fn a_release_against_a_release_needs_the_lock_and_the_name() {
    // Read, check, unlink: what X servers and browsers do with their lock files.
    release_against_release(&[Fault::LocksGranted, Fault::AnyNameMeans]);
}

#[test]
#[should_panic(expected = "a claim was lost")]
fn a_release_against_a_release_needs_the_name() {
    release_against_release(&[Fault::AnyNameMeans]);
}

fn claim_against_sweep(faults: &'static [Fault], sweep: fn(&Store<SimDir>)) {
    explore(Some(3), move || {
        let [a, b, end] = store(faults);
        let sweeper = thread::spawn(move || sweep(&a));
        let told = take(&b, "/a", &[1, 2]);
        sweeper.join().expect("join");
        assert!(told.is_some(), "a sweep pushed a project off its ports");
        assert_eq!(held(&end, "/a"), told, "a claim was lost");
        assert_eq!(ports(&end).len(), 1, "an orphan is left");
    });
}

/// Without the staged commits, whose loss would show first.
fn sweep_first_port(store: &Store<SimDir>) {
    sweep_port(store, port(1), quarantine).expect("sweep");
}

#[test]
fn a_claim_against_a_sweep() {
    claim_against_sweep(&[], |store| {
        sweep(store, quarantine).expect("sweep");
    });
}

#[test]
#[should_panic(expected = "a claim was lost")]
fn a_claim_against_a_sweep_needs_the_lock() {
    claim_against_sweep(&[Fault::LocksGranted], sweep_first_port);
}

#[test]
#[should_panic(expected = "a claim was lost")]
fn a_claim_against_a_sweep_needs_the_name() {
    claim_against_sweep(&[Fault::AnyNameMeans], sweep_first_port);
}

#[test]
fn a_claim_against_a_look() {
    // What a check does: it takes the lock of a claim for a moment, and leaves the claim.
    explore(Some(3), || {
        let [a, b, end] = store(&[]);
        let checker = thread::spawn(move || {
            if let Ok(file) = a.ports.open("1.claim") {
                a.ports.try_lock(&file).expect("lock");
                a.ports.unlock(&file);
            }
        });
        let told = take(&b, "/a", &[1, 2]);
        checker.join().expect("join");
        assert_eq!(ports(&end), [1], "an orphan is left");
        assert_eq!(told, Some(port(1)), "pushed off its port");
    });
}

#[test]
fn a_failed_flush_takes_nothing_away_that_another_was_told() {
    explore(Some(3), || {
        let [a, b, end] = store(&[Fault::FirstSyncFails]);
        let ask = |store: &Store<SimDir>| {
            let picker = &mut Fixed::new(&[1, 2, 3]);
            match acquire(store, &holder("/a"), picker, quarantine) {
                Ok(Some(Acquired::Existing(record) | Acquired::New(record))) => Some(record.port()),
                Ok(None) | Err(_) => None,
            }
        };
        let first = thread::spawn(move || ask(&a));
        let second = ask(&b);
        let first = first.join().expect("join");
        for told in [first, second].into_iter().flatten() {
            assert_eq!(held(&end, "/a"), Some(told), "told and not kept");
        }
    });
}

#[test]
fn three_projects_and_a_sweep_for_two_ports() {
    explore(Some(2), || {
        let [a, b, c, end] = store(&[]);
        let first = thread::spawn(move || take(&a, "/a", &[1, 2]));
        let sweeper = thread::spawn(move || {
            sweep(&c, quarantine).expect("sweep");
        });
        let second = take(&b, "/b", &[1, 2]);
        let first = first.join().expect("join");
        sweeper.join().expect("join");
        assert_eq!(held(&end, "/a"), first, "a claim was lost");
        assert_eq!(held(&end, "/b"), second, "a claim was lost");
        assert!(first.is_some() && second.is_some(), "a port was free");
        assert_ne!(first, second, "2 winners");
    });
}
