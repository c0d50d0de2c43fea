//! Looking at a registry: its ports, its figures.

use std::collections::BTreeMap;

use super::Registry;
use super::search::ports_of;
use crate::error::{ErrorKind, Result};
use crate::index::{self, PortSet, next_available, present};
use crate::migrate;
use crate::net::{Availability, availability};
use crate::place::Place;
use crate::port::{Port, PortRange};
use crate::protocol::{committed, is_lease, leased, read_held};
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

/// Figures about a registry.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
/// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// let port = registry.claim(&Request::new(shop))?.port();
/// let summary = registry.summary()?;
/// assert_eq!((summary.allocated, summary.available), (1, 99));
/// assert_eq!(summary.next_available, Some(registry.range().after(port)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The range that new ports come from.
    pub range: PortRange,
    /// Ports that are held for good, in the range or outside. Leases do not count, and neither do
    /// claims that cannot be read.
    pub allocated: u32,
    /// Ports, in the range or outside, whose claims cannot be read, for they are damaged or another user's:
    /// [`Registry::check`] tells why. Who holds them is not known; they are not available.
    pub unreadable: u32,
    /// Ports of the range that have no claim and no lease, and no entry in the registry file that
    /// can be none (see [`Notice::Kept`](crate::Notice::Kept)), without those that
    /// [`Options::exclude`](crate::Options::exclude) leaves out. Programs that use them are not
    /// looked for.
    pub available: u32,
    /// The first of the available ports that the next search comes to. `None` where there is none.
    pub next_available: Option<Port>,
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

    /// Returns figures about the registry.
    ///
    /// Mappings that others wrote into the registry file become claims first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read.
    ///
    /// # Races
    ///
    /// The figures are counted one after the other: where claims come and go meanwhile, they need
    /// not add up.
    ///
    /// # Examples
    ///
    /// ```
    /// // A registry that does not exist yet.
    /// let summary = portclaim::Registry::open("/no-such-directory")?.summary()?;
    /// assert_eq!((summary.allocated, summary.available), (0, 1112));
    /// # Ok::<(), portclaim::Error>(())
    /// ```
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
        taken.extend(look.unadopted.records.keys().copied());
        let place = look.place;
        let mut ended = taken.clone();
        let (mut allocated, mut unreadable) = (0, 0);
        for record in look.into_records()? {
            match record {
                Ok(record) => {
                    ended.remove(record.port());
                    allocated += 1;
                }
                Err(_) => unreadable += 1,
            }
        }
        // A lease that has ended is swept by whoever wants its port.
        for port in ended.iter() {
            if let Some(place) = place
                && is_lease(&place.store, port)?
                && leased(&place.store, port)?.is_none()
            {
                taken.remove(port);
            }
        }
        let spared = document.as_ref().map(index::spared).unwrap_or_default();
        let written = document.as_ref().and_then(index::Document::next_available);
        let start = next_available(last, written, range);
        let excluded = ports_of(&self.inner.options.excluded);
        let is_free = |&port: &Port| {
            !taken.contains(port) && !spared.contains(port) && !excluded.contains(port)
        };
        Ok(Summary {
            range,
            allocated,
            unreadable,
            available: u32::try_from(range.cycle_from(start).filter(is_free).count()).unwrap_or(0),
            next_available: range.cycle_from(start).find(is_free),
        })
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
        let mut claim = self.lookup(port)?;
        let mut unsettled = false;
        if let Some(place) = self.place()?
            && claim.is_none()
        {
            claim = leased(&place.store, port)?;
            // A lease that has ended is nobody's.
            unsettled = claim.is_none()
                && present(&place.store.ports)?.contains(port)
                && !is_lease(&place.store, port)?;
        }
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
            match read_held(&self.place?.store, port) {
                Ok(None) => {}
                Ok(Some(record)) => return Some(Ok(record)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
