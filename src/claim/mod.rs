//! The guards of a claim and of a lease.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use crate::error::{Error, Result};
use crate::net::listen;
use crate::port::Port;
use crate::record::Record;
use crate::registry::Registry;

mod lease;
mod running;

pub use lease::Lease;
pub use running::{Running, Start};

/// A port that the registry gave to a holder.
///
/// The claim belongs to the holder, not to this value: dropping it changes nothing, because
/// another process of the same project may have been told the same port meanwhile. To give
/// the port back, [`release`](Claim::release) it.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
/// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// let claim = registry.claim(&Request::new(shop.clone()))?;
/// let port = claim.port();
/// drop(claim);
/// assert_eq!(registry.find(&shop)?.map(|record| record.port()), Some(port));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the claim stands whether or not this is used: take its port, or release it"]
pub struct Claim {
    registry: Registry,
    record: Record,
    is_new: bool,
}

impl Claim {
    pub(crate) fn new(registry: Registry, record: Record, is_new: bool) -> Claim {
        Claim {
            registry,
            record,
            is_new,
        }
    }

    /// Returns the port.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let claim = registry.claim(&Request::new(shop))?;
    /// assert!(registry.range().contains(claim.port()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn port(&self) -> Port {
        self.record.port()
    }

    /// Returns what is written about the claim.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let claim = registry.claim(&Request::new(shop))?;
    /// assert_eq!(claim.record().project().name(), "shop");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Returns whether the holder got the port by this claim, rather than having had it before. Of
    /// any number of processes that claim for one holder at once, one is told that it is new.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let request = Request::new(shop);
    /// assert!(registry.claim(&request)?.is_new());
    /// assert!(!registry.claim(&request)?.is_new());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Binds the port on 127.0.0.1 and listens.
    ///
    /// `SO_REUSEADDR` is set: a server that was restarted does not wait for `TIME_WAIT`. The
    /// listener blocks, and no child process inherits it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), with `AddrInUse` as its source where a program
    /// listens on the port. The claim stands in any case.
    ///
    /// # Races
    ///
    /// A claim keeps other users of the registry away, and nobody else: a program that does not ask
    /// the registry can bind the port first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20100-20199".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let claim = registry.claim(&Request::new(shop))?;
    /// let listener = claim.bind()?;
    /// assert_eq!(listener.local_addr()?.port(), claim.port().get());
    /// // One server at a time.
    /// let error = claim.bind().unwrap_err();
    /// assert_eq!(error.io_error().unwrap().kind(), std::io::ErrorKind::AddrInUse);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bind(&self) -> Result<TcpListener> {
        self.bind_to(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Binds the port on `address` and listens, otherwise as [`Claim::bind`]. Whether `[::]` takes
    /// IPv4 connections too is the system's setting.
    ///
    /// # Errors
    ///
    /// As [`Claim::bind`].
    ///
    /// # Security
    ///
    /// An address other than loopback lets other machines in.
    ///
    /// # Races
    ///
    /// As [`Claim::bind`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20200-20299".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let claim = registry.claim(&Request::new(shop))?;
    /// let listener = claim.bind_to("127.0.0.1".parse()?)?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bind_to(&self, address: IpAddr) -> Result<TcpListener> {
        listen(self.port(), address)
    }

    /// Returns the record, and leaves the claim standing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let record = registry.claim(&Request::new(shop))?.keep();
    /// assert_eq!(registry.lookup(record.port())?, Some(record));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keep(self) -> Record {
        self.record
    }

    /// Gives the port back: exactly this claim, never a later one of the same port or holder.
    ///
    /// # Errors
    ///
    /// A [`ReleaseError`] with the claim in it, so that it can be tried again, and with the error
    /// of [`Registry::release`]: [`ErrorKind::Superseded`](crate::ErrorKind::Superseded) where the
    /// claim is not there any more, and what kept it from being removed otherwise.
    ///
    /// # Races
    ///
    /// As [`Registry::release`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let claim = registry.claim(&Request::new(shop.clone()))?;
    /// claim.release()?;
    /// assert_eq!(registry.find(&shop)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(self) -> Result<(), ReleaseError> {
        match self.registry.release(&self.record) {
            Ok(()) => Ok(()),
            Err(error) => Err(ReleaseError(Box::new((self, error)))),
        }
    }
}

/// A release that failed, with the claim that was to be released. The claim still stands, unless
/// the error is [`ErrorKind::Superseded`](crate::ErrorKind::Superseded), or
/// [`ErrorKind::Io`](crate::ErrorKind::Io) from a disk that failed in the middle.
///
/// # Examples
///
/// ```
/// # use portclaim::{ErrorKind, Holder, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// # let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
/// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// let claim = registry.claim(&Request::new(shop.clone()))?;
/// registry.release_holder(&shop)?; // Somebody else was faster.
/// let failed = claim.release().unwrap_err();
/// assert!(failed.to_string().starts_with("failed to release port 20"));
/// assert_eq!(failed.error().kind(), ErrorKind::Superseded);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReleaseError(Box<(Claim, Error)>);

impl ReleaseError {
    /// Returns why the release failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{ErrorKind, Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let claim = registry.claim(&Request::new(shop))?;
    /// std::fs::remove_dir_all(root)?;
    /// let failed = claim.release().unwrap_err();
    /// assert_eq!(failed.error().port().map(|port| port.get() / 100), Some(200));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// Returns the claim, to try again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// # let claim = registry.claim(&Request::new(shop.clone()))?;
    /// # registry.release_holder(&shop)?;
    /// let failed = claim.release().unwrap_err();
    /// let port = failed.error().port();
    /// assert_eq!(Some(failed.into_claim().port()), port);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_claim(self) -> Claim {
        self.0.0
    }
}

impl std::fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failed to release port {}", self.0.0.port())
    }
}

impl std::error::Error for ReleaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.1)
    }
}
