//! What a process does: one call of the protocol.

use std::collections::VecDeque;
use std::sync::LazyLock;

use crate::error::{Error, Op as Call, Result};
use crate::fs::Dir;
use crate::net::Availability;
use crate::port::Port;
use crate::project::Holder;
use crate::record::Record;

use super::super::testing::{holder, move_port, port};
use super::super::{
    Acquired, Archive, Context, HandedOver, Lookup, Marked, Picker, Refreshed, Rejection, Released,
    acquire, lookup, refresh, release, sweep, sweep_staging,
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

/// A call of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// Acquires a port for a project, the first of these that can be had.
    Acquire(&'static str, &'static [u16]),
    /// Acquires this port and no other, as an adopter does.
    TakeOver(&'static str, u16),
    Release(&'static str),
    /// Releases, and keeps the files.
    Archive(&'static str),
    /// Moves the port of the first project to the second.
    Move(&'static str, &'static str),
    Lookup(&'static str),
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
        let projects = |op: Op| [op.acquires(), op.releases(), op.looks_up()];
        let others = projects(other);
        let mut own = projects(self).into_iter().flatten();
        own.any(|project| others.contains(&Some(project)))
    }

    pub(super) fn acquires(self) -> Option<&'static str> {
        match self {
            Op::Acquire(project, _) | Op::TakeOver(project, _) | Op::Move(_, project) => {
                Some(project)
            }
            _ => None,
        }
    }

    pub(super) fn releases(self) -> Option<&'static str> {
        match self {
            Op::Release(project) | Op::Archive(project) | Op::Move(project, _) => Some(project),
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
            Op::TakeOver(project, port) => {
                let picker = &mut Ports::new(&[port], false);
                acquire(store, of(project), picker, quarantine).map(Answer::from)
            }
            Op::Release(project) => release(store, of(project), None, None).map(Answer::from),
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
            Op::Sweep => sweep(store, quarantine).map(|_| Answer::Done),
            Op::SweepStaging => sweep_staging(store).map(|()| Answer::Done),
            Op::Refresh | Op::Rewrite => {
                let write = |_: &[Marked]| write_registry(process);
                refresh(store, self == Op::Rewrite, write).map(|_: Refreshed| Answer::Done)
            }
        }
    }
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
