//! Blocks: ports in a row, one claim for each, under one name.

use super::search::{Cleared, clear_all, drafts, look_all, wanted};
use super::terms::{Reclaimed, has_ended, reclaim};
use super::{Registry, Request};
use crate::claim::Claim;
use crate::error::{Error, ErrorKind, Result};
use crate::fs::Dir;
use crate::index::{PortSet, next_available, present};
use crate::migrate::Adopted;
use crate::place::Place;
use crate::port::{BLOCK_MAX, Port, PortRange};
use crate::project::Holder;
use crate::protocol::{Lookup, ROUNDS_MAX, acquire_set, held, pause};
use crate::record::{Nonce, Record};

impl Registry {
    /// Returns `count` ports in a row, in ascending order, and gives them to the request's holder
    /// if it has none. The first is the holder's own, the one that [`Registry::find`] tells.
    ///
    /// A block grows: where the holder has fewer, the ports behind them are claimed as well. It does
    /// not shrink by being asked for with a smaller count; then its first ports are returned. Where all that is left
    /// of a block has ended and cannot grow, the holder is given another one.
    ///
    /// # Errors
    ///
    /// As [`Registry::claim_all`]. [`ErrorKind::Taken`] where a block cannot grow because a port
    /// behind it is claimed or in use: nothing is moved. [`ErrorKind::Exhausted`] where
    /// the range has not as many free ports in a row, or ends before the block would. [`ErrorKind::InvalidCount`] where `count` is
    /// 0 or more than [`BLOCK_MAX`].
    ///
    /// # Races
    ///
    /// As [`Registry::claim`]. Of several processes that ask for one holder's block at once, one
    /// chooses where it lies.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// let registry = Registry::options().range("20300-20399".parse()?).open(root)?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let ports = |count| -> portclaim::Result<Vec<u16>> {
    ///     let block = registry.claim_block(&Request::new(shop.clone()), count)?;
    ///     Ok(block.iter().map(|claim| claim.port().get()).collect())
    /// };
    /// let three = ports(3)?;
    /// assert_eq!(three[2], three[0] + 2);
    /// assert_eq!(ports(5)?[..3], three);
    /// assert_eq!(registry.release_block(&shop)?.len(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim_block(&self, request: &Request, count: u16) -> Result<Vec<Claim>> {
        if !(1..=BLOCK_MAX).contains(&count) {
            return Err(Error::invalid_count(count));
        }
        let place = self.place_for_writing()?;
        let members: Vec<Request> = (0..count).map(|number| request.member(number)).collect();
        let made = &mut Vec::new();
        for _ in 0..ROUNDS_MAX {
            let seen = look_all(place, &members)?;
            if let Some((first, held)) = start(&seen) {
                match self.grow(request, &members, first, held, &seen, made) {
                    Err(error) if has_no_room(&error) && give_up(place, &seen)? => continue,
                    block => return block,
                }
            }
            if let Some(first) = request.port {
                let requests = in_a_row(&members, first, IsProbed::AllButFirst)?;
                return self.claim_and_extend(&requests, made);
            }
            let file = self.adopt(place)?;
            let rewrite = file.rewrite;
            let block = self.new_block(place, request, &members, &file, made);
            drop(file);
            self.changed(place, rewrite);
            match block {
                Ok(block) if block.iter().all(Claim::is_new) => return Ok(block),
                // Another process of the holder was first: its terms may be others.
                Ok(_) => {}
                // Another process of the holder chose where the block lies.
                Err(error) if error.kind() == ErrorKind::HasAnother => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::contended(place.store.projects.path()))
    }

    /// Claims what a block lacks that begins at `first`, if there is such a port; of its members, the holder has `held`.
    fn grow(
        &self,
        request: &Request,
        members: &[Request],
        first: Option<Port>,
        held: Record,
        seen: &[Lookup],
        made: &mut Vec<Nonce>,
    ) -> Result<Vec<Claim>> {
        let first = first.ok_or_else(|| Error::taken(held.port(), Some(held.clone())))?;
        if let Some(wanted) = request.port.filter(|&wanted| wanted != first) {
            return Err(Error::has_another(wanted, held));
        }
        let requests = in_a_row(members, first, IsProbed::AllButFirst)?;
        self.check_growth(request, first, &requests, seen)?;
        self.claim_and_extend(&requests, made)
    }

    /// Returns an error where a block that begins in the range would grow out of it. What it has is its own.
    fn check_growth(
        &self,
        request: &Request,
        first: Port,
        requests: &[Request],
        seen: &[Lookup],
    ) -> Result<()> {
        let range = request.range.unwrap_or(self.range());
        let is_outside = |port: Option<Port>| port.is_some_and(|port| !range.contains(port));
        let mut new = requests.iter().zip(seen);
        let leaves =
            new.any(|(member, seen)| !matches!(seen, Lookup::Held(..)) && is_outside(member.port));
        if range.contains(first) && leaves {
            return Err(Error::no_row(first, requests.len()));
        }
        Ok(())
    }

    /// Releases the holder's block, or its one port, and returns the records, ascending. Empty
    /// where it had none.
    ///
    /// # Errors
    ///
    /// As [`Registry::release_holder`]. The last ports of a block go first: what is left is a
    /// shorter block.
    ///
    /// # Races
    ///
    /// As [`Registry::release_holder`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry};
    /// # let registry = Registry::open("/no-such-directory")?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// assert!(registry.release_block(&shop)?.is_empty());
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn release_block(&self, holder: &Holder) -> Result<Vec<Record>> {
        let Some(place) = self.place_with_file()? else {
            return Ok(Vec::new());
        };
        let mut released = Vec::new();
        // One in the middle may have gone by itself: all are looked for.
        for number in (0..BLOCK_MAX).rev() {
            let member = holder.member(number);
            if number == 0 || held(&place.store, &member)?.is_some() {
                released.extend(self.release_holder(&member)?);
            }
        }
        released.reverse();
        Ok(released)
    }

    /// Claims the first free ports in a row, from where the search goes on.
    fn new_block(
        &self,
        place: &Place,
        request: &Request,
        members: &[Request],
        file: &Adopted,
        made: &mut Vec<Nonce>,
    ) -> Result<Vec<Claim>> {
        let range = request.range.unwrap_or(self.range());
        let excluded = self.excluded(request);
        let drafts = drafts(members);
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let last = place.turn().last();
        let from = next_available(last, file.next_available(), range);
        let is_wanted = |port: Port| range.contains(port) && !excluded.contains(port);
        for round in 0..=ROUNDS_MAX {
            let mut taken = present(&place.store.ports)?;
            taken.extend(file.spared().iter().chain(excluded.iter()));
            for first in range.cycle_from(from) {
                let Some(row) = row(first, count, range) else {
                    continue;
                };
                if !is_free(row, &taken) {
                    continue;
                }
                let requests = in_a_row(members, row.first(), IsProbed::All)?;
                let pick = |at: usize| Ok(wanted(requests[at].port.unwrap_or(row.first()), true));
                let accept = |at: usize, record: &Record| requests[at].check_existing(record);
                let seen = look_all(place, members)?;
                let quarantine = || place.quarantine();
                match acquire_set(&place.store, &drafts, seen, pick, accept, quarantine, made)? {
                    Ok(acquired) => {
                        place.turn().advance(last, row.last(), range);
                        return Ok(self.claims(acquired));
                    }
                    Err(only) => {
                        taken.insert(only.port());
                    }
                }
            }
            match clear_all(place, is_wanted, |by| !is_wanted(by.port()))? {
                Cleared::Freed => {}
                Cleared::Moving => pause(round),
                Cleared::None => break,
            }
        }
        Err(Error::no_row(range.first(), members.len()))
    }
}

/// Returns the first port of a block of which some members are held, if there is such a port, and the first of these
/// members; `None` where none is.
fn start(seen: &[Lookup]) -> Option<(Option<Port>, Record)> {
    let (number, record) = seen.iter().zip(0..).find_map(|(seen, number)| match seen {
        Lookup::Held(record, _) => Some((number, record)),
        _ => None,
    })?;
    let first = record.port().get().checked_sub(number).and_then(Port::new);
    Some((first, record.clone()))
}

/// Returns whether a block cannot grow where it lies.
fn has_no_room(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Taken | ErrorKind::Exhausted)
}

/// Takes away what a holder has of a block, if all of it has ended. Returns whether it did.
fn give_up(place: &Place, seen: &[Lookup]) -> Result<bool> {
    let held = seen.iter().filter_map(|seen| match seen {
        Lookup::Held(record, _) => Some(record),
        _ => None,
    });
    let held: Vec<&Record> = held.collect();
    for record in &held {
        if !has_ended(place, record)? {
            return Ok(false);
        }
    }
    let mut is_gone = false;
    for record in held {
        is_gone |= reclaim(place, record)? == Reclaimed::Gone;
    }
    Ok(is_gone)
}

/// Which ports of a block must not be in use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IsProbed {
    All,
    /// The first is the holder's, or was named.
    AllButFirst,
}

/// Returns requests for these ports.
fn in_a_row(members: &[Request], first: Port, probed: IsProbed) -> Result<Vec<Request>> {
    let request = |(request, number): (&Request, u16)| {
        let port = first.get().checked_add(number).and_then(Port::new);
        let port = port.ok_or_else(|| Error::no_row(first, members.len()))?;
        let mut request = request.clone().port(port);
        request.is_probed = number > 0 || probed == IsProbed::All;
        Ok(request)
    };
    members.iter().zip(0..).map(request).collect()
}

/// Returns the `count` ports from `first` on, if they lie in the range.
fn row(first: Port, count: u32, range: PortRange) -> Option<PortRange> {
    let last = u32::from(first.get()) + count - 1;
    let last = Port::new(u16::try_from(last).ok()?)?;
    range.contains(last).then_some(())?;
    PortRange::new(first, last).ok()
}

fn is_free(row: PortRange, taken: &PortSet) -> bool {
    row.iter().all(|port| !taken.contains(port))
}
