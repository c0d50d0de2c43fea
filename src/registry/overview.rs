//! A registry at one look: its ports and its figures.

use super::Registry;
use super::look::Look;
use super::search::ports_of;
use crate::error::{Error, Result};
use crate::index::{self, Document, PortSet, next_available, present};
use crate::migrate;
use crate::port::{Port, PortRange};
use crate::protocol::{Standing, standing};
use crate::record::Record;

/// All that a registry says, each claim read once; see [`Registry::overview`].
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let registry = Registry::open(dir.path().to_str().unwrap())?;
/// let shop = Request::new(Holder::new(ProjectPath::from_normal("/home/a/shop")?));
/// let record = registry.claim(&shop)?.keep();
/// let lease = registry.lease(&shop)?;
/// let overview = registry.overview()?;
/// assert_eq!(overview.records, [record]);
/// assert_eq!(overview.leases[0].port(), lease.port());
/// assert_eq!(overview.summary.allocated, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Overview {
    /// What is held for good, for a time or by a process, by port.
    pub records: Vec<Record>,
    /// The leases that are held, by port.
    pub leases: Vec<Record>,
    /// Why claims cannot be read, by port: most often they are damaged, or another user's.
    pub unreadable: Vec<Error>,
    /// The figures.
    pub summary: Summary,
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
    /// Ports that are held for good, for a time or by a process, in the range or outside. Leases do not count, and neither
    /// do claims that cannot be read.
    pub allocated: u32,
    /// Ports, in the range or outside, whose claims cannot be read, for they are damaged or another user's:
    /// [`Overview::unreadable`] tells why. Who holds them is not known; they are not available.
    pub unreadable: u32,
    /// Ports of the range that have no claim and no lease, and no entry in the registry file that
    /// can be none (see [`Notice::Kept`](crate::Notice::Kept)), without those that
    /// [`Options::exclude`](crate::Options::exclude) leaves out. Programs that use them are not
    /// looked for.
    pub available: u32,
    /// The first of the available ports that the next search comes to. `None` where there is none.
    pub next_available: Option<Port>,
}

/// What the registry file adds to the claims.
struct Written {
    /// Ports that are not given to anybody.
    spared: PortSet,
    /// Where the next search begins.
    next: Port,
}

impl Registry {
    /// Returns all that the registry says, each claim read once.
    ///
    /// Mappings that others wrote into the registry file become claims first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read at all.
    ///
    /// # Races
    ///
    /// Claims that are held throughout the call are all told. Each held at some moment during the call; together they
    /// need never have held.
    ///
    /// [`Overview`] has an example.
    pub fn overview(&self) -> Result<Overview> {
        let mut look = self.look()?;
        let written = self.written(&mut look)?;
        let mut taken = match look.place {
            Some(place) => present(&place.store.ports)?,
            None => PortSet::new(),
        };
        taken.extend(look.unadopted.records.keys().copied());
        let (mut records, mut leases, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for port in taken.clone().iter() {
            if let Some(record) = look.unadopted.records.remove(&port) {
                records.push(record);
                continue;
            }
            let Some(place) = look.place else { continue };
            match standing(&place.store, port) {
                Ok(Standing::Held(record)) => records.push(record),
                Ok(Standing::Leased(record)) => leases.push(record),
                Ok(Standing::Unsettled) => {}
                Ok(Standing::Free | Standing::Ended) => {
                    taken.remove(port);
                }
                Err(error) => unreadable.push(error),
            }
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let range = self.range();
        let excluded = ports_of(&self.inner.options.excluded);
        let is_free = |&port: &Port| {
            !taken.contains(port) && !written.spared.contains(port) && !excluded.contains(port)
        };
        let mut free = range.cycle_from(written.next).filter(is_free);
        let next_available = free.next();
        let summary = Summary {
            range,
            allocated: count(records.len()),
            unreadable: count(unreadable.len()),
            available: count(usize::from(next_available.is_some()) + free.count()),
            next_available,
        };
        Ok(Overview {
            records,
            leases,
            unreadable,
            summary,
        })
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
    /// As [`Registry::overview`], whose figures these are.
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
        Ok(self.overview()?.summary)
    }

    fn written(&self, look: &mut Look<'_>) -> Result<Written> {
        let (document, last) = match look.place {
            Some(place) => (migrate::read(place, self.file_name())?, place.turn().last()),
            None => (look.unadopted.document.take(), None),
        };
        let next = document.as_ref().and_then(Document::next_available);
        Ok(Written {
            spared: document.as_ref().map(index::spared).unwrap_or_default(),
            next: next_available(last, next, self.range()),
        })
    }
}
