//! How each operation calls the protocol: as the registry does, without its policy.

use std::collections::VecDeque;

use super::super::testing::{move_port, port};
use super::super::{
    Acquired, Archive, Lookup, Marked, Picker, ROUNDS_MAX, Refreshed, Rejection, Withdrawal,
    acquire, expires, held, lease, lookup, pause, refresh, release, release_ended, renew, sweep,
    sweep_staging,
};
use super::Process;
use super::file::write_registry;
use super::holders::of;
use super::op::{Answer, Op, TIME, USED};
use super::together::{acquire_all, acquire_row, release_row};
use crate::error::{Error, Result};
use crate::net::Availability;
use crate::port::Port;
use crate::record::Record;
use crate::term::Term;

impl Op {
    pub(super) fn run(self, process: &Process) -> Result<Answer> {
        let store = &process.store;
        let quarantine = || Ok(process.quarantine.clone());
        match self {
            Op::Acquire(name, ports) => {
                let picker = &mut Ports::new(ports, true);
                acquire(store, of(name), picker, quarantine).map(Answer::from)
            }
            Op::AcquireFor(name, ports) => acquire_for(process, name, ports),
            Op::AcquireSet(names, ports) => {
                let answer = |all: Option<Vec<Acquired>>| {
                    let records = |all: Vec<Acquired>| all.into_iter().map(record).collect();
                    all.map_or(Answer::Exhausted, |all| Answer::HeldAll(records(all)))
                };
                acquire_all(process, names, ports, &Term::Kept).map(answer)
            }
            Op::AcquireRow(firsts) => acquire_row(process, firsts),
            Op::TakeOver(name, port) => {
                let picker = &mut Ports::new(&[port], false);
                acquire(store, of(name), picker, quarantine).map(Answer::from)
            }
            Op::Renew(name, time) => {
                let Some(record) = held(store, of(name))? else {
                    return Ok(Answer::Absent);
                };
                let is_renewed = extend(process, &record, time)?;
                Ok(if is_renewed {
                    Answer::Renewed(record)
                } else {
                    Answer::Absent
                })
            }
            Op::Release(name) => release(store, of(name), None, None).map(Answer::from),
            Op::ReleaseRow => release_row(process).map(Answer::ReleasedAll),
            Op::Reclaim(name) => match held(store, of(name))? {
                Some(record) if reclaim(process, &record)? => Ok(Answer::Released(record)),
                Some(_) => Ok(Answer::Done),
                None => Ok(Answer::Absent),
            },
            Op::Archive(name) => {
                let [ports, projects] = &process.archive;
                let archive = Archive { ports, projects };
                release(store, of(name), None, Some(&archive)).map(Answer::from)
            }
            Op::Move(from, to) => move_port(store, of(from), of(to)).map(Answer::from),
            Op::Lookup(name) => Ok(match lookup(store, of(name))? {
                Lookup::Held(record, _) => Answer::Held(record),
                _ => Answer::Absent,
            }),
            Op::Lease(name, ports) => {
                let picker = &mut Ports::new(ports, true);
                let Some(leased) = lease(store, of(name), picker)? else {
                    return Ok(Answer::Exhausted);
                };
                let record = leased.record().clone();
                process.leases.borrow_mut().push_back(leased);
                Ok(Answer::Leased(record))
            }
            Op::EndLease => {
                let lease = process.leases.borrow_mut().pop_front();
                if let Some(lease) = lease {
                    lease.end(store);
                }
                Ok(Answer::Done)
            }
            Op::LeaseDies => {
                drop(process.leases.borrow_mut().pop_front());
                Ok(Answer::Done)
            }
            Op::Sweep => sweep(store, quarantine).map(|_| Answer::Done),
            Op::SweepStaging => sweep_staging(store).map(|()| Answer::Done),
            Op::Refresh | Op::Rewrite => {
                let write = |_: &[Marked]| write_registry(process);
                refresh(store, self == Op::Rewrite, write).map(|_: Refreshed| Answer::Done)
            }
            Op::Pass(seconds) => {
                store.ports.pass(seconds);
                Ok(Answer::Done)
            }
        }
    }
}

pub(super) fn record(acquired: Acquired) -> Record {
    match acquired {
        Acquired::Existing(record) | Acquired::New(record) => record,
    }
}

/// Acquires a port for a time; one that the holder has for a time is renewed.
fn acquire_for(process: &Process, name: &'static str, ports: &'static [u16]) -> Result<Answer> {
    for round in 0..ROUNDS_MAX {
        let Some(mut all) = acquire_all(process, &[name], ports, &Term::Ttl(TIME))? else {
            return Ok(Answer::Exhausted);
        };
        match all.remove(0) {
            Acquired::Existing(record) if matches!(record.term(), Term::Ttl(_)) => {
                if extend(process, &record, TIME)? {
                    return Ok(Answer::Held(record));
                }
                // It was taken away meanwhile.
                pause(round);
            }
            acquired => return Ok(Answer::Held(record(acquired))),
        }
    }
    Err(Error::contended(name))
}

fn extend(process: &Process, record: &Record, time: u64) -> Result<bool> {
    let now = process.store.ports.now();
    renew(
        &process.store,
        record,
        now + std::time::Duration::from_secs(time),
    )
}

/// Takes a claim away if its time is over.
fn reclaim(process: &Process, record: &Record) -> Result<bool> {
    let store = &process.store;
    let has_ended = || {
        let now = store.ports.now();
        Ok(expires(store, record)?.is_some_and(|end| end <= now))
    };
    Ok(has_ended()? && release_ended(store, record, has_ended)? == Withdrawal::Done)
}

/// Tries ports in a given order.
pub(super) struct Ports {
    left: VecDeque<Port>,
    is_range: bool,
}

impl Ports {
    pub(super) fn new(ports: &[u16], is_range: bool) -> Ports {
        Ports {
            left: ports.iter().copied().map(port).collect(),
            is_range,
        }
    }
}

impl Picker for Ports {
    fn next(&mut self) -> Result<Option<Port>> {
        Ok(self.left.pop_front())
    }

    fn rejected(&mut self, _: Port, _: Rejection) {}

    fn prefer(&mut self, port: Port) {
        if self.is_range {
            self.left.push_front(port);
        }
    }

    fn availability(&mut self, port: Port) -> Result<Availability> {
        Ok(if port.get() == USED {
            Availability::InUse
        } else {
            Availability::Free
        })
    }
}
