//! What a process does: one call of the protocol.

use std::collections::VecDeque;
use std::sync::LazyLock;

use crate::error::{Error, Op as Call, Result};
use crate::fs::Dir;
use crate::net::Availability;
use crate::port::Port;
use crate::project::Holder;
use crate::record::{Draft, Record};
use crate::term::Term;

use super::super::testing::{holder, move_port, port};
use super::super::{
    Acquired, Archive, Context, HandedOver, Lookup, Marked, Picker, Refreshed, Rejection, Released,
    acquire, acquire_set, lease, lookup, lookup_seal, refresh, release, release_ended, sweep,
    sweep_staging,
};
use super::Process;

/// The projects that take part. The last one has a port, and is left alone.
pub(super) const PROJECTS: [&str; 3] = ["/a", "/b", "/z"];

/// A port that some other program uses, as long as the simulation lasts.
pub(super) const USED: u16 = 4;

/// The registry file's name, in the directory of the marks.
pub(super) const REGISTRY: &str = "registry";

static HOLDERS: LazyLock<[Holder; 3]> = LazyLock::new(|| PROJECTS.map(holder));

/// The holder of a project.
pub(super) fn of(project: &str) -> &'static Holder {
    HOLDERS
        .iter()
        .find(|holder| holder.project().as_str() == project)
        .expect("one of the projects")
}

/// The projects that are given ports together.
pub(super) const SET: &[&str] = PROJECTS.split_at(2).0;

/// A call of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// Acquires a port for a project, the first of these that can be had.
    Acquire(&'static str, &'static [u16]),
    /// The same for a time.
    AcquireFor(&'static str, &'static [u16]),
    /// Acquires ports for all of [`SET`], or for none.
    AcquireSet(&'static [u16]),
    /// Acquires this port and no other, as an adopter does.
    TakeOver(&'static str, u16),
    Release(&'static str),
    /// Takes the port away if it was given for a time, which is over.
    Reclaim(&'static str),
    /// Releases, and keeps the files.
    Archive(&'static str),
    /// Moves the port of the first project to the second.
    Move(&'static str, &'static str),
    Lookup(&'static str),
    /// Leases a port, for longer than the call.
    Lease(&'static str, &'static [u16]),
    /// Who has held a lease for longest ends it.
    EndLease,
    /// The same is killed.
    LeaseDies,
    Sweep,
    SweepStaging,
    /// Brings the registry file up to date.
    Refresh,
    /// The same by force.
    Rewrite,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The project's port.
    Held(Record),
    /// The ports of all that were to be given one.
    HeldAll(Vec<Record>),
    /// The lease is held.
    Leased(Record),
    /// No port was left.
    Exhausted,
    /// This claim was released.
    Released(Record),
    /// The first claim is the second one now, another project's.
    Moved(Record, Record),
    /// The project that was to get a port has this one already.
    Occupied(Record),
    /// The project has no port.
    Absent,
    /// It is done, or another process does it.
    Done,
}

impl Op {
    /// Returns whether both are about the same project.
    pub(super) fn meets(self, other: Op) -> bool {
        let projects = |op: Op| [op.acquires(), one(op.releases()), one(op.looks_up())].concat();
        let others = projects(other);
        let own = projects(self);
        own.iter().any(|project| others.contains(project))
    }

    pub(super) fn acquires(self) -> &'static [&'static str] {
        match self {
            Op::Acquire(project, _)
            | Op::AcquireFor(project, _)
            | Op::TakeOver(project, _)
            | Op::Move(_, project) => one(Some(project)),
            Op::AcquireSet(_) => SET,
            _ => &[],
        }
    }

    pub(super) fn releases(self) -> Option<&'static str> {
        match self {
            Op::Release(project)
            | Op::Reclaim(project)
            | Op::Archive(project)
            | Op::Move(project, _) => Some(project),
            _ => None,
        }
    }

    fn looks_up(self) -> Option<&'static str> {
        match self {
            Op::Lookup(project) => Some(project),
            _ => None,
        }
    }

    pub(super) fn run(self, process: &Process) -> Result<Answer> {
        let store = &process.store;
        let quarantine = || Ok(process.quarantine.clone());
        match self {
            Op::Acquire(project, ports) => {
                let picker = &mut Ports::new(ports, true);
                acquire(store, of(project), picker, quarantine).map(Answer::from)
            }
            Op::AcquireFor(project, ports) => {
                acquire_all(process, &[project], ports, &Term::Ttl(60)).map(|all| match all {
                    Some(mut all) => Answer::Held(all.remove(0)),
                    None => Answer::Exhausted,
                })
            }
            Op::AcquireSet(ports) => acquire_all(process, SET, ports, &Term::Kept)
                .map(|all| all.map_or(Answer::Exhausted, Answer::HeldAll)),
            Op::TakeOver(project, port) => {
                let picker = &mut Ports::new(&[port], false);
                acquire(store, of(project), picker, quarantine).map(Answer::from)
            }
            Op::Release(project) => release(store, of(project), None, None).map(Answer::from),
            Op::Reclaim(project) => match lookup(store, of(project))? {
                Lookup::Held(record, _) if matches!(record.term(), Term::Ttl(_)) => {
                    let is_gone = release_ended(store, &record, || Ok(true))?;
                    Ok(if is_gone {
                        Answer::Released(record)
                    } else {
                        Answer::Done
                    })
                }
                _ => Ok(Answer::Absent),
            },
            Op::Archive(project) => {
                let [ports, projects] = &process.archive;
                let archive = Archive { ports, projects };
                release(store, of(project), None, Some(&archive)).map(Answer::from)
            }
            Op::Move(from, to) => move_port(store, of(from), of(to)).map(answer_of_move),
            Op::Lookup(project) => Ok(match lookup(store, of(project))? {
                Lookup::Held(record, _) => Answer::Held(record),
                _ => Answer::Absent,
            }),
            Op::Lease(project, ports) => {
                let picker = &mut Ports::new(ports, true);
                let Some(leased) = lease(store, of(project), picker)? else {
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
        }
    }
}

/// Returns the list of one project, or none.
fn one(project: Option<&'static str>) -> &'static [&'static str] {
    let at = |project| PROJECTS.iter().position(|it| *it == project);
    match project.and_then(at) {
        Some(at) => &PROJECTS[at..=at],
        None => &[],
    }
}

/// Acquires ports for all of these projects; `None` where there are not enough.
fn acquire_all(
    process: &Process,
    projects: &[&str],
    ports: &'static [u16],
    term: &Term,
) -> Result<Option<Vec<Record>>> {
    let drafts: Vec<Draft> = projects
        .iter()
        .map(|project| Draft {
            term: term.clone(),
            ..Draft::from(of(project).clone())
        })
        .collect();
    let look = |draft: &Draft| lookup_seal(&process.store, &draft.holder);
    let acquired = acquire_set(
        &process.store,
        &drafts,
        drafts.iter().map(look).collect::<Result<_>>()?,
        |_| Ok(Ports::new(ports, true)),
        |_, _| Ok(()),
        || Ok(process.quarantine.clone()),
        &mut Vec::new(),
    )?;
    let record = |acquired| match acquired {
        Acquired::Existing(record) | Acquired::New(record) => record,
    };
    Ok(acquired
        .ok()
        .map(|all| all.into_iter().map(record).collect()))
}

fn answer_of_move(moved: Option<(Record, HandedOver)>) -> Answer {
    match moved {
        None => Answer::Absent,
        Some((old, HandedOver::Done(mut new))) => Answer::Moved(old, new.remove(0)),
        Some((_, HandedOver::Occupied(there))) => Answer::Occupied(*there),
        Some((_, HandedOver::Changed)) => panic!("it is tried again"),
    }
}

impl From<Option<Acquired>> for Answer {
    fn from(acquired: Option<Acquired>) -> Answer {
        match acquired {
            Some(Acquired::Existing(record) | Acquired::New(record)) => Answer::Held(record),
            None => Answer::Exhausted,
        }
    }
}

impl From<Released> for Answer {
    fn from(released: Released) -> Answer {
        match released {
            Released::Done(record) => Answer::Released(record),
            Released::Absent => Answer::Absent,
            Released::Superseded(record) => Answer::Held(record),
        }
    }
}

/// What the registry file of the simulation should say: the ports that are held.
pub(super) fn registry(process: &Process) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for project in PROJECTS {
        match lookup(&process.store, of(project))? {
            Lookup::Held(record, _) => lines.push(format!("{project} {}\n", record.port())),
            Lookup::Hidden(_) => return Err(Error::contended(project)),
            _ => {}
        }
    }
    Ok(lines.concat().into_bytes())
}

/// Writes the registry file as the index does: aside, then over the old one.
fn write_registry(process: &Process) -> Result<()> {
    let (dir, to) = (&process.store.staging, &process.store.index);
    let text = registry(process)?;
    let nonce = (process.store.draw)().map_err(|error| Error::io(Call::Draw, "", error))?;
    let name = format!("registry-{nonce}");
    let file = dir.create(&name).at(Call::Create, dir, &name)?;
    dir.write(&file, &text).at(Call::Write, dir, &name)?;
    dir.replace(&name, to, REGISTRY)
        .at(Call::Replace, to, REGISTRY)
}

/// Tries ports in a given order.
struct Ports {
    left: VecDeque<Port>,
    is_range: bool,
}

impl Ports {
    fn new(ports: &[u16], is_range: bool) -> Ports {
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
