//! Which port is tried next: the preferred ones, then next-fit through a range.

use std::collections::VecDeque;

use crate::error::{Exhaustion, Result};
use crate::index::{PortSet, next_available, present};
use crate::net::{Availability, availability};
use crate::place::Place;
use crate::port::{Port, PortRange};
use crate::protocol::{Picker, Rejection};

/// After how many claimed ports in a row the directory is listed, once: a failed creation
/// costs half a microsecond, a listing of a thousand names a hundred and fifty.
const LIST_AFTER: u32 = 16;

/// Tries the ports of a range.
pub(crate) struct RangePicker<'a> {
    place: &'a Place,
    range: PortRange,
    /// The port that was picked in turn last, when the search began.
    last: Option<Port>,
    preferred: VecDeque<Port>,
    turn: Box<dyn Iterator<Item = Port>>,
    current: Option<Port>,
    /// Ports of entries in the registry file that can be no claims: whoever wrote them uses
    /// them all the same.
    spared: PortSet,
    /// Ports that are not to be given out.
    excluded: PortSet,
    /// Those of the preferred ports that were tried: the turn comes to every other one once.
    tried: Vec<Port>,
    listed: Option<PortSet>,
    claimed: u32,
    in_use: u32,
    denied: u32,
    left_out: u32,
}

impl<'a> RangePicker<'a> {
    /// Returns a picker that tries `preferred`, then the range without `spared` and `excluded`:
    /// from the `written` `next_available` on, or behind the port that was picked last.
    pub(crate) fn new(
        place: &'a Place,
        range: PortRange,
        written: Option<Port>,
        preferred: Option<Port>,
        spared: PortSet,
        excluded: PortSet,
    ) -> RangePicker<'a> {
        let last = place.turn().last();
        RangePicker {
            place,
            range,
            last,
            preferred: preferred.into_iter().collect(),
            turn: Box::new(range.cycle_from(next_available(last, written, range))),
            current: None,
            spared,
            excluded,
            tried: Vec::new(),
            listed: None,
            claimed: 0,
            in_use: 0,
            denied: 0,
            left_out: 0,
        }
    }

    /// Returns whether this port is one that is tried.
    pub(crate) fn tries(&self, port: Port) -> bool {
        self.range.contains(port) && !self.excluded.contains(port) && !self.spared.contains(port)
    }

    /// Returns how the range's ports are accounted for, once it is exhausted.
    pub(crate) fn exhaustion(&self) -> Exhaustion {
        Exhaustion {
            range: self.range,
            claimed: self.claimed,
            in_use: self.in_use,
            denied: self.denied,
            excluded: self.left_out,
        }
    }
}

impl Picker for RangePicker<'_> {
    fn next(&mut self) -> Result<Option<Port>> {
        self.current = None;
        if let Some(port) = self.preferred.pop_front() {
            self.tried.push(port);
            return Ok(Some(port));
        }
        if self.claimed >= LIST_AFTER && self.listed.is_none() {
            self.listed = Some(present(&self.place.store.ports)?);
        }
        for port in self.turn.by_ref() {
            if self.excluded.contains(port) {
                self.left_out += u32::from(!self.tried.contains(&port));
            } else if self.spared.contains(port) {
                self.claimed += 1;
            } else if self
                .listed
                .as_ref()
                .is_some_and(|listed| listed.contains(port))
            {
                self.claimed += u32::from(!self.tried.contains(&port));
            } else if !self.tried.contains(&port) {
                self.current = Some(port);
                return Ok(Some(port));
            }
        }
        Ok(None)
    }

    fn rejected(&mut self, port: Port, why: Rejection) {
        if !self.range.contains(port) {
            return;
        }
        match why {
            Rejection::Claimed => self.claimed += 1,
            Rejection::InUse => self.in_use += 1,
            Rejection::Denied => self.denied += 1,
        }
    }

    fn prefer(&mut self, port: Port) {
        if !self.tried.contains(&port) && !self.preferred.contains(&port) {
            self.preferred.push_front(port);
        }
    }

    fn availability(&mut self, port: Port) -> Result<Availability> {
        if self.current != Some(port) {
            // The holder had it: what uses it is most likely the holder's own server.
            return Ok(Availability::Free);
        }
        let answer = availability(port)?;
        if answer == Availability::Free {
            // Earlier than the commit, so that no kill leaves the turn behind.
            let turn = self.place.turn();
            if self.claimed + self.in_use + self.denied == 0 {
                turn.set(port);
            } else {
                turn.advance(self.last, port, self.range);
            }
        }
        Ok(answer)
    }
}
