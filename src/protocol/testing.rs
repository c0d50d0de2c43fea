//! What tests of the protocol share: a store on a simulated disk, and a picker that is told.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(loom)]
use super::{Acquired, acquire};
use super::{
    Durability, HandedOver, Lookup, Picker, ROUNDS_MAX, Rejection, Store, hand_over, lookup, pause,
};
use crate::error::{Error, Result};
use crate::fs::Dir;
use crate::fs::sim::{Fault, SimDir};
use crate::net::Availability;
use crate::port::Port;
use crate::project::{Holder, ProjectPath};
use crate::record::{Draft, Nonce, Record, claim_port};

pub(super) fn port(number: u16) -> Port {
    Port::new(number).expect("a port")
}

pub(super) fn holder(project: &str) -> Holder {
    Holder::new(ProjectPath::from_normal(project).expect("a path"))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the protocol asks for a fallible one"
)]
pub(super) fn quarantine() -> Result<SimDir> {
    let [dir] = SimDir::disk(["quarantine"], &[]);
    Ok(dir)
}

/// One store for each of `N` threads, all on one disk. Nonces are counted, not drawn: a
/// model checker needs each run to do the same.
pub(super) fn store<const N: usize>(faults: &[Fault]) -> [Store<SimDir>; N] {
    let dirs = SimDir::disk(
        ["ports", "projects", "staging", "index", "quarantine"],
        faults,
    );
    let mut thread = 0;
    [(); N].map(|()| {
        thread += 1;
        let [ports, projects, staging, index, _] = dirs.clone();
        let count = AtomicU8::new(0);
        let draw = Box::new(move || -> io::Result<Nonce> {
            let mut bytes = [0; 16];
            bytes[0] = thread;
            bytes[1] = count.fetch_add(1, Ordering::Relaxed);
            Ok(Nonce::from_bytes(bytes))
        });
        Store {
            ports,
            projects,
            staging,
            index,
            durability: Durability::Durable,
            draw,
        }
    })
}

/// Tries the ports that it was given, in that order.
pub(super) struct Fixed(VecDeque<Port>);

impl Fixed {
    pub(super) fn new(ports: &[u16]) -> Fixed {
        Fixed(ports.iter().copied().map(port).collect())
    }
}

impl Picker for Fixed {
    fn next(&mut self) -> Result<Option<Port>> {
        Ok(self.0.pop_front())
    }

    fn rejected(&mut self, _: Port, _: Rejection) {}

    fn prefer(&mut self, port: Port) {
        self.0.push_front(port);
    }

    fn availability(&mut self, _: Port) -> Result<Availability> {
        Ok(Availability::Free)
    }
}

/// Acquires a port and returns it, `None` where the ports are exhausted.
#[cfg(loom)]
pub(super) fn take(store: &Store<SimDir>, project: &str, ports: &[u16]) -> Option<Port> {
    match acquire(store, &holder(project), &mut Fixed::new(ports), quarantine).expect("acquire") {
        Some(Acquired::Existing(record) | Acquired::New(record)) => Some(record.port()),
        None => None,
    }
}

/// Moves a holder's port, as the registry does: again, where another process was at its files.
/// `None` where it has none; else its record, and what came of it.
pub(super) fn move_port(
    store: &Store<SimDir>,
    from: &Holder,
    to: &Holder,
) -> Result<Option<(Record, HandedOver)>> {
    for round in 0..ROUNDS_MAX {
        let Lookup::Held(old, _) = lookup(store, from)? else {
            return Ok(None);
        };
        let new = |old: &Record, nonce| old.moved(nonce, Draft::from(to.clone()));
        match hand_over(store, std::slice::from_ref(&old), new)? {
            HandedOver::Changed => pause(round),
            done => return Ok(Some((old, done))),
        }
    }
    Err(Error::contended(from.project().as_str()))
}

pub(super) fn held(store: &Store<SimDir>, project: &str) -> Option<Port> {
    match lookup(store, &holder(project)).expect("lookup") {
        Lookup::Held(record, _) => Some(record.port()),
        _ => None,
    }
}

/// The ports that have a claim, in order.
pub(super) fn ports(store: &Store<SimDir>) -> Vec<u16> {
    let names = store.ports.names().expect("names");
    let mut ports: Vec<u16> = names
        .iter()
        .filter_map(|name| claim_port(name))
        .map(Port::get)
        .collect();
    ports.sort_unstable();
    ports
}
