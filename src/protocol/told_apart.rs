//! What each answer of the disk means to the protocol, and who is first where two meet: one
//! step of a process at a time. (`adversity` tries all of them together.)

mod claiming;
mod leasing;
mod marks;
mod moving;
mod reading;
mod renewing;
mod taking_away;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

use super::testing::{Fixed, holder, port, ports, quarantine, store};
use super::withdraw::Withdrawal;
use super::*;
use crate::error::Corruption;
use crate::fs::sim::{Fault, Probe, SimDir, Step, Verdict};
use crate::net::Availability;
use crate::port::Port;
use crate::record::{Draft, Record};

/// The same disk, as another process sees it whose steps `judge` watches.
fn watched(store: &Store<SimDir>, judge: impl Fn(Step<'_>) -> Verdict + 'static) -> Store<SimDir> {
    static DRAWS: AtomicU32 = AtomicU32::new(0);
    let probe: Probe = Rc::new(judge);
    Store {
        ports: store.ports.watched(&probe),
        projects: store.projects.watched(&probe),
        staging: store.staging.watched(&probe),
        index: store.index.watched(&probe),
        durability: store.durability,
        draw: Box::new(|| {
            let mut bytes = [0xee; 16];
            bytes[..4].copy_from_slice(&DRAWS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            Ok(Nonce::from_bytes(bytes))
        }),
    }
}

/// One call in one directory always fails.
fn failing(
    store: &Store<SimDir>,
    dir: &'static str,
    call: &'static str,
    errno: Errno,
) -> Store<SimDir> {
    watched(store, move |step| {
        if (step.dir, step.call) == (dir, call) {
            Verdict::Fail(errno)
        } else {
            Verdict::Go
        }
    })
}

/// The first publication fails, and no later one.
fn failing_to_publish(store: &Store<SimDir>, errno: Errno) -> Store<SimDir> {
    let is_first = Cell::new(true);
    watched(store, move |step| {
        if step.call == "publish" && is_first.take() {
            Verdict::Fail(errno)
        } else {
            Verdict::Go
        }
    })
}

/// Before the first such call in such a directory, `act` happens.
fn meeting(
    store: &Store<SimDir>,
    dir: &'static str,
    call: &'static str,
    act: impl FnOnce() + 'static,
) -> Store<SimDir> {
    let act = RefCell::new(Some(act));
    watched(store, move |step| {
        if (step.dir, step.call) == (dir, call)
            && let Some(act) = act.take()
        {
            act();
        }
        Verdict::Go
    })
}

/// Other processes on the same disk.
fn clone(store: &Store<SimDir>) -> Store<SimDir> {
    watched(store, |_| Verdict::Go)
}

fn try_acquire(store: &Store<SimDir>, project: &str, tried: &[u16]) -> Result<Option<Acquired>> {
    acquire(store, &holder(project), &mut Fixed::new(tried), quarantine)
}

fn acquired(store: &Store<SimDir>, project: &str, tried: &[u16]) -> Record {
    match try_acquire(store, project, tried).expect("acquires") {
        Some(Acquired::New(record) | Acquired::Existing(record)) => record,
        None => panic!("exhausted"),
    }
}

/// A record that nobody wrote through the protocol.
fn record(project: &str, number: u16, nonce: u8) -> Record {
    Record::new(
        port(number),
        Nonce::from_bytes([nonce; 16]),
        holder(project),
    )
}
