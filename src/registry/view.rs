//! Looking at a registry's ports, one or one after the other.

use std::collections::BTreeMap;

use super::Registry;
use crate::error::{ErrorKind, Result};
use crate::net::{Availability, availability};
use crate::place::Place;
use crate::port::Port;
use crate::protocol::{Standing, committed, standing};
use crate::record::Record;

/// What a registry says of one port; see [`Registry::port_state`].
///
/// # Examples
///
/// ```
/// # use portclaim::{Port, Registry};
/// # let dir = tempfile::tempdir()?;
/// # let registry = Registry::open(dir.path().to_str().unwrap())?;
/// # registry.refresh_index()?;
/// // A claim that its maker did not finish.
/// std::fs::write(dir.path().join("ports/8888.claim"), "")?;
/// let state = registry.port_state(Port::try_from(8888)?)?;
/// assert_eq!((state.claim, state.unsettled), (None, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortState {
    /// Who holds it, for good or as a [lease](Registry::lease).
    pub claim: Option<Record>,
    /// Whether the port has a claim that is not, or not yet, committed to a holder, or that
    /// cannot be read: nobody is told this port before that is settled.
    pub unsettled: bool,
    /// Whether programs could bind it.
    pub availability: Availability,
}

impl Registry {
    /// Returns the record of whoever holds `port`, `None` where nobody does. A claim that cannot be
    /// read counts as nobody's; [`Registry::port_state`] tells that there is one.
    ///
    /// A mapping that others wrote into the registry file becomes a claim first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read.
    ///
    /// # Races
    ///
    /// The answer held at some moment during the call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let record = registry.claim(&Request::new(shop))?.keep();
    /// assert_eq!(registry.lookup(record.port())?.as_ref(), Some(&record));
    /// registry.release(&record)?;
    /// assert_eq!(registry.lookup(record.port())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// Mappings that others wrote into the registry file become claims first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read at all. Among the
    /// records, [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) and `Io` for single claims.
    ///
    /// # Races
    ///
    /// Claims that are held from the call until the iterator is at its end are all listed. Each
    /// record held at some moment while it was read; together they need never have held.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// for (path, port) in [("/home/a/shop", 3001), ("/home/a/blog", 3000)] {
    ///     let holder = Holder::new(ProjectPath::from_normal(path)?);
    ///     let _ = registry.claim(&Request::new(holder).port(port.try_into()?))?;
    /// }
    /// let mut names = Vec::new();
    /// for record in registry.records()? {
    ///     names.push(record?.project().name().to_owned());
    /// }
    /// assert_eq!(names, ["blog", "shop"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn records(&self) -> Result<Records<'_>> {
        self.look()?.into_records()
    }

    /// Returns what is known of a port: its claim, and whether a program could bind it.
    ///
    /// A mapping that others wrote into the registry file becomes a claim first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read or no socket
    /// can be had.
    ///
    /// # Races
    ///
    /// As [`Registry::lookup`] and [`probe`](crate::probe()), which it calls one after the other.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Availability, Port, Registry};
    /// # let registry = Registry::open("/no-such-directory")?;
    /// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let port = Port::try_from(socket.local_addr()?.port())?;
    /// let state = registry.port_state(port)?;
    /// assert_eq!((state.claim, state.availability), (None, Availability::InUse));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn port_state(&self, port: Port) -> Result<PortState> {
        let mut look = self.look()?;
        let unadopted = look.unadopted.records.remove(&port);
        let (claim, unsettled) = match (unadopted, look.place) {
            (None, Some(place)) => match standing(&place.store, port) {
                Ok(Standing::Held(record) | Standing::Leased(record)) => (Some(record), false),
                Ok(Standing::Free | Standing::Ended) => (None, false),
                Ok(Standing::Unsettled) => (None, true),
                Err(error) if error.kind() == ErrorKind::Corrupt => (None, true),
                Err(error) => return Err(error),
            },
            (unadopted, _) => (unadopted, false),
        };
        let availability = availability(port)?;
        Ok(PortState {
            claim,
            unsettled,
            availability,
        })
    }
}

/// The held ports of a registry; see [`Registry::records`].
///
/// # Examples
///
/// ```
/// let registry = portclaim::Registry::open("/no-such-directory")?;
/// let mut records: portclaim::Records<'_> = registry.records()?;
/// assert!(records.next().is_none());
/// # Ok::<(), portclaim::Error>(())
/// ```
pub struct Records<'a> {
    pub(super) place: Option<&'a Place>,
    pub(super) ports: std::vec::IntoIter<Port>,
    /// Those of the ports that are no claims; see [`Look`](super::look::Look).
    pub(super) unadopted: BTreeMap<Port, Record>,
}

impl<'a> Records<'a> {
    /// Passes over the claims that cannot be read.
    pub(crate) fn readable(self) -> impl Iterator<Item = Result<Record>> + use<'a> {
        self.filter(|record| !matches!(record, Err(error) if error.kind() == ErrorKind::Corrupt))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        loop {
            let port = self.ports.next()?;
            if let Some(record) = self.unadopted.remove(&port) {
                return Some(Ok(record));
            }
            match standing(&self.place?.store, port) {
                Ok(Standing::Held(record)) => return Some(Ok(record)),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
