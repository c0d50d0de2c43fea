//! What a process does: one call of the protocol, and what it says.

use super::super::{Acquired, HandedOver, Released};
use super::holders::{ROW, one};
use crate::record::Record;

/// A port that some other program uses, as long as the simulation lasts.
pub(super) const USED: u16 = 4;

/// How long a claim holds that is given for a time, in seconds.
pub(super) const TIME: u64 = 60;

/// A call of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// Acquires a port for a holder, the first of these that can be had.
    Acquire(&'static str, &'static [u16]),
    /// The same for [`TIME`]. What was given for a time before begins anew.
    AcquireFor(&'static str, &'static [u16]),
    /// Acquires ports for all of these holders, or for none.
    AcquireSet(&'static [&'static str], &'static [u16]),
    /// Acquires ports in a row for [`ROW`], of which the first is one of these, or none.
    AcquireRow(&'static [u16]),
    /// Acquires this port and no other, as an adopter does.
    TakeOver(&'static str, u16),
    /// Lets a claim that was given for a time hold for so many seconds from now on.
    Renew(&'static str, u64),
    Release(&'static str),
    /// Releases the ports of [`ROW`].
    ReleaseRow,
    /// Takes the port away if it was given for a time, which is over.
    Reclaim(&'static str),
    /// Releases, and keeps the files.
    Archive(&'static str),
    /// Moves the port of the first holder to the second.
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
    /// So many seconds pass.
    Pass(u64),
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The holder's port.
    Held(Record),
    /// The ports of all that were to be given one.
    HeldAll(Vec<Record>),
    /// The lease is held.
    Leased(Record),
    /// No port was left.
    Exhausted,
    /// The holders of a row have ports that lie in none.
    Apart,
    /// This claim holds for the new time.
    Renewed(Record),
    /// This claim was released.
    Released(Record),
    /// These were.
    ReleasedAll(Vec<Record>),
    /// The first claim is the second one now, another holder's.
    Moved(Record, Record),
    /// The holder that was to get a port has this one already.
    Occupied(Record),
    /// The holder has no port, or none that was given for a time.
    Absent,
    /// It is done, or another process does it.
    Done,
}

impl Op {
    /// Returns whether both are about the same holder.
    pub(super) fn meets(self, other: Op) -> bool {
        let holders = |op: Op| {
            let looks_up = match op {
                Op::Lookup(name) => one(name),
                _ => &[],
            };
            [op.tells(), op.releases(), looks_up].concat()
        };
        let others = holders(other);
        holders(self).iter().any(|name| others.contains(name))
    }

    /// Whom it may give a port that they have not.
    pub(super) fn acquires(self) -> &'static [&'static str] {
        match self {
            Op::Acquire(name, _)
            | Op::AcquireFor(name, _)
            | Op::TakeOver(name, _)
            | Op::Move(_, name) => one(name),
            Op::AcquireSet(names, _) => names,
            Op::AcquireRow(_) => ROW,
            _ => &[],
        }
    }

    /// Whom it tells that they have a port.
    pub(super) fn tells(self) -> &'static [&'static str] {
        match self {
            Op::Renew(name, _) => one(name),
            _ => self.acquires(),
        }
    }

    /// Whose port it may take away.
    pub(super) fn releases(self) -> &'static [&'static str] {
        match self {
            Op::Release(name) | Op::Reclaim(name) | Op::Archive(name) | Op::Move(name, _) => {
                one(name)
            }
            Op::ReleaseRow => ROW,
            _ => &[],
        }
    }

    /// Whose claim it gives a time, if it is given for one, and how many seconds from now on.
    pub(super) fn dates(self) -> Option<(&'static str, u64)> {
        match self {
            Op::AcquireFor(name, _) | Op::Move(_, name) => Some((name, TIME)),
            Op::Renew(name, time) => Some((name, time)),
            _ => None,
        }
    }

    /// Returns whether it is for several holders at once.
    pub(super) fn is_set(self) -> bool {
        self.acquires().len() > 1
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

impl From<Option<(Record, HandedOver)>> for Answer {
    fn from(moved: Option<(Record, HandedOver)>) -> Answer {
        match moved {
            None => Answer::Absent,
            Some((old, HandedOver::Done(mut new))) => Answer::Moved(old, new.remove(0)),
            Some((_, HandedOver::Occupied(there))) => Answer::Occupied(*there),
            Some((_, HandedOver::Changed)) => panic!("it is tried again"),
        }
    }
}
