//! Looking at a registry: its ports, its figures.

use std::collections::BTreeMap;

use super::Registry;
use crate::error::{Error, Result};
use crate::index::{self, Document, NextAvailable, PortSet, next_available, present};
use crate::migrate;
use crate::net::{Availability, probe};
use crate::place::Place;
use crate::port::{Port, PortRange};
use crate::protocol::{committed, read_held};
use crate::record::Record;

/// What a registry says of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortState {
    /// Who holds it.
    pub claim: Option<Record>,
    /// Whether the port has a claim that is not, or not yet, committed to a holder, or that
    /// cannot be read: nobody is told this port before that is settled.
    pub unsettled: bool,
    /// Whether programs could bind it.
    pub availability: Availability,
}

/// Figures about a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The range that new ports come from.
    pub range: PortRange,
    /// Ports that are held, in the range or outside.
    pub allocated: u32,
    /// Ports of the range that have no claim.
    pub available: u32,
    /// The first port without a claim that the next search comes to; programs that use it
    /// are not looked for. `None` where there is none.
    pub next_available: Option<Port>,
}

impl Registry {
    /// Returns the record of whoever holds `port`, `None` where nobody does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read.
    pub fn lookup(&self, port: Port) -> Result<Option<Record>> {
        let mut look = self.look()?;
        match look.unadopted.records.remove(&port) {
            Some(record) => Ok(Some(record)),
            None => look
                .place
                .map_or(Ok(None), |place| committed(&place.store, port)),
        }
    }

    /// Iterates over the held ports, ascending. A claim that cannot be read is an `Err`
    /// among them and hides no other; one that is not committed is not listed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read at all.
    ///
    /// # Races
    ///
    /// Claims that are held from the call until the iterator is at its end are all listed.
    pub fn records(&self) -> Result<Records<'_>> {
        self.look()?.into_records()
    }

    /// Returns figures about the registry.
    ///
    /// # Errors
    ///
    /// As [`Registry::records`].
    pub fn summary(&self) -> Result<Summary> {
        let range = self.range();
        let mut look = self.look()?;
        let (mut taken, document, last) = match look.place {
            Some(place) => (
                present(&place.store.ports)?,
                migrate::read(place, self.file_name())?,
                place.turn().last(),
            ),
            None => (PortSet::new(), look.unadopted.document.take(), None),
        };
        for &port in look.unadopted.records.keys() {
            taken.insert(port);
        }
        let allocated = look.into_records()?.flatten().count();
        let spared = document.as_ref().map(index::spared).unwrap_or_default();
        let written = match document.as_ref().map(Document::next_available) {
            Some(NextAvailable::Port(port)) => Some(port),
            Some(NextAvailable::Missing | NextAvailable::Invalid) | None => None,
        };
        let start = next_available(last, written, range);
        let is_free = |&port: &Port| !taken.contains(port) && !spared.contains(port);
        Ok(Summary {
            range,
            allocated: u32::try_from(allocated).unwrap_or(u32::MAX),
            available: u32::try_from(range.cycle_from(start).filter(is_free).count()).unwrap_or(0),
            next_available: range.cycle_from(start).find(is_free),
        })
    }

    /// Returns what is known of a port: its claim, and whether a program could bind it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read or no socket
    /// can be had.
    pub fn port_state(&self, port: Port) -> Result<PortState> {
        let claim = self.lookup(port)?;
        let unsettled = match self.place()? {
            Some(place) if claim.is_none() => present(&place.store.ports)?.contains(port),
            _ => false,
        };
        let availability = probe(port).map_err(|error| Error::bind(None, port, error))?;
        Ok(PortState {
            claim,
            unsettled,
            availability,
        })
    }
}

/// The held ports of a registry; see [`Registry::records`].
pub struct Records<'a> {
    pub(super) place: Option<&'a Place>,
    pub(super) ports: std::vec::IntoIter<Port>,
    /// Those of the ports that are no claims; see [`Look`](super::look::Look).
    pub(super) unadopted: BTreeMap<Port, Record>,
}

impl Iterator for Records<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        loop {
            let port = self.ports.next()?;
            if let Some(record) = self.unadopted.remove(&port) {
                return Some(Ok(record));
            }
            match read_held(&self.place?.store, port) {
                Ok(None) => {}
                Ok(Some(record)) => return Some(Ok(record)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
