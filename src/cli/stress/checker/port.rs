//! Whether a port was held by two at once: an argument with intervals.
//!
//! Each claim of a port has a *zone*: from the earliest end of an operation that was told of it to
//! the latest start of one. An operation that tells of a claim met it at some instant of its own. So
//! if the zone's beginning lies before its end, the claim was held throughout the zone: it is
//! *certain*. Else it was held at some instant of the zone turned round.
//!
//! All holds can be placed without two meeting exactly if no two certain zones meet, and no
//! uncertain one lies within a certain one. For if a condition is broken, two were held at
//! once; and if none is, each certain claim can be given its zone and no more, and each
//! uncertain one an instant outside of all of them. This is what Gibbons and Korach showed of registers
//! to which each value is written once. Likewise, a look-up that finds the port free
//! must not lie within a certain zone.
//!
//! A lease is a claim like any other. Its zone ends where the last one that held it was about to
//! end. Look-ups that see no leases say nothing of one.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::super::action::Action;
use super::super::history::{Moment, Operation};
use super::super::seen::{Nonce, Seen};
use super::{Kind, Violation};

struct Zone {
    is_lease: bool,
    /// When the first operation that was told of the claim ended, and that operation.
    first_end: Moment,
    first: Rc<Operation>,
    /// When the last one started.
    last_start: Moment,
    last: Rc<Operation>,
    /// The number of an earlier zone that reaches over this one's `first_end`.
    covered_by: Option<usize>,
    /// The look-up that found the port free, began after `first_end`, and ended first.
    absent: Option<Rc<Operation>>,
}

/// What was told of one port. Operations come in the order in which they ended.
#[derive(Default)]
pub(super) struct Port {
    /// Ascending by `first_end`. Old ones are forgotten.
    zones: Vec<Zone>,
    /// How many were forgotten. Zones are numbered with these counted in.
    forgotten: usize,
    numbers: HashMap<Nonce, usize>,
    /// The last operations that were told of a claim of the port.
    recent: VecDeque<Rc<Operation>>,
}

/// How many zones of a port are remembered, and at times twice as many: one of a claim that
/// so many others followed does not grow any more.
const ZONES_MAX: usize = 512;

/// How many operations on a port are remembered, to be shown beside a violation.
const RECENT_MAX: usize = 32;

impl Port {
    /// An operation was told that the port is, or was, held by this claim.
    pub(super) fn told(&mut self, claim: Seen, operation: &Rc<Operation>) -> Result<(), Violation> {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Rc::clone(operation));
        let next = self.forgotten + self.zones.len();
        let number = *self.numbers.entry(claim.nonce).or_insert(next);
        if number == next {
            self.zones.push(Zone {
                is_lease: claim.is_lease(),
                first_end: operation.end,
                first: Rc::clone(operation),
                last_start: operation.start,
                last: Rc::clone(operation),
                covered_by: None,
                absent: None,
            });
        }
        let at = number - self.forgotten;
        let zone = &mut self.zones[at];
        if operation.start > zone.last_start {
            zone.last_start = operation.start;
            zone.last = Rc::clone(operation);
        }
        self.check(at)?;
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        if self.zones.len() < 2 * ZONES_MAX {
            return;
        }
        self.zones.drain(..ZONES_MAX);
        self.forgotten += ZONES_MAX;
        let forgotten = self.forgotten;
        self.numbers.retain(|_, number| *number >= forgotten);
    }

    /// Returns the last operations that were told of a claim of the port.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Rc<Operation>> {
        self.recent.iter()
    }

    /// An operation found the port free.
    pub(super) fn absent(&mut self, operation: &Rc<Operation>) -> Result<(), Violation> {
        // An earlier zone that reached over this operation would meet the last one.
        let Some(last) = self.zones.last_mut() else {
            return Ok(());
        };
        if last.is_lease && !matches!(operation.action, Action::State { .. }) {
            return Ok(());
        }
        if operation.start > last.first_end && last.absent.is_none() {
            last.absent = Some(Rc::clone(operation));
        }
        self.check(self.zones.len() - 1)
    }

    /// Looks at a zone that may have grown.
    fn check(&mut self, at: usize) -> Result<(), Violation> {
        let end = self.zones[at].last_start;
        for later in at + 1..self.zones.len() {
            if self.zones[later].first_end >= end {
                break;
            }
            self.zones[later].covered_by = Some(self.forgotten + at);
            self.meet(at, later)?;
        }
        let covered_by = self.zones[at].covered_by;
        if let Some(earlier) = covered_by.and_then(|number| number.checked_sub(self.forgotten)) {
            self.meet(earlier, at)?;
        }
        let zone = &self.zones[at];
        match &zone.absent {
            Some(absent) if absent.end < zone.last_start => Err(Violation {
                kind: Kind::LostClaim,
                detail: "a port was found free while it was held".to_owned(),
                holder: None,
                excerpt: vec![
                    Rc::clone(&zone.first),
                    Rc::clone(absent),
                    Rc::clone(&zone.last),
                ],
                beside: Vec::new(),
            }),
            _ => Ok(()),
        }
    }

    /// Two zones of which the first reaches over the second one's `first_end`.
    fn meet(&self, first: usize, second: usize) -> Result<(), Violation> {
        let (first, second) = (&self.zones[first], &self.zones[second]);
        // Else the second claim may have been held, and released, before the first one.
        if second.last_start <= first.first_end {
            return Ok(());
        }
        let mut excerpt = vec![
            Rc::clone(&first.first),
            Rc::clone(&second.first),
            Rc::clone(&second.last),
            Rc::clone(&first.last),
        ];
        excerpt.sort_by_key(|operation| operation.start);
        excerpt.dedup_by(|one, other| Rc::ptr_eq(one, other));
        Err(Violation {
            kind: Kind::TwoHolders,
            detail: "two claims of one port were held at the same time".to_owned(),
            holder: None,
            excerpt,
            beside: Vec::new(),
        })
    }
}
