//! Looking at a registry: its ports, its figures.

use super::Registry;
use crate::error::{Error, Result};
use crate::index::{self, Document, NextAvailable, next_available, present};
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
        match self.place_with_file()? {
            Some(place) => {
                self.adopt_and_refresh(place)?;
                committed(&place.store, port)
            }
            None => Ok(None),
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
        let Some(place) = self.place_with_file()? else {
            return Ok(Records {
                place: None,
                ports: Vec::new().into_iter(),
            });
        };
        self.adopt_and_refresh(place)?;
        let ports: Vec<Port> = present(&place.store.ports)?.iter().collect();
        Ok(Records {
            place: Some(place),
            ports: ports.into_iter(),
        })
    }

    /// Returns figures about the registry.
    ///
    /// # Errors
    ///
    /// As [`Registry::records`].
    pub fn summary(&self) -> Result<Summary> {
        let range = self.range();
        let Some(place) = self.place_with_file()? else {
            return Ok(Summary {
                range,
                allocated: 0,
                available: range.len(),
                next_available: Some(range.first()),
            });
        };
        let allocated = self.records()?.flatten().count();
        let present = present(&place.store.ports)?;
        let document = migrate::read(place, self.file_name())?;
        let spared = document.as_ref().map(index::spared).unwrap_or_default();
        let written = match document.as_ref().map(Document::next_available) {
            Some(NextAvailable::Port(port)) => Some(port),
            Some(NextAvailable::Missing | NextAvailable::Invalid) | None => None,
        };
        let start = next_available(place.turn().last(), written, range);
        let is_free = |&port: &Port| !present.contains(port) && !spared.contains(port);
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
    place: Option<&'a Place>,
    ports: std::vec::IntoIter<Port>,
}

impl Iterator for Records<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        let place = self.place?;
        loop {
            match read_held(&place.store, self.ports.next()?) {
                Ok(None) => {}
                Ok(Some(record)) => return Some(Ok(record)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
