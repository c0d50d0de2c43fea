//! The guard of a claim.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use crate::error::{Error, Result};
use crate::net::listen;
use crate::port::Port;
use crate::record::Record;
use crate::registry::Registry;

/// A port that the registry gave to a holder.
///
/// The claim belongs to the holder, not to this value: dropping it changes nothing, because
/// another process of the same project may have been told the same port meanwhile. To give
/// the port back, [`release`](Claim::release) it.
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
    #[must_use]
    pub fn port(&self) -> Port {
        self.record.port()
    }

    /// Returns what is written about the claim.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Returns whether the holder got the port now, rather than having had it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Binds the port on 127.0.0.1 and listens.
    ///
    /// `SO_REUSEADDR` is set: a server that was restarted does not wait for `TIME_WAIT`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), with `AddrInUse` as its source where a program
    /// listens on the port. The claim stands in any case.
    pub fn bind(&self) -> Result<TcpListener> {
        self.bind_to(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Binds the port on `address` and listens.
    ///
    /// # Errors
    ///
    /// As [`Claim::bind`].
    ///
    /// # Security
    ///
    /// An address other than loopback lets other machines in.
    pub fn bind_to(&self, address: IpAddr) -> Result<TcpListener> {
        listen(self.port(), address).map_err(|error| Error::bind(Some(address), self.port(), error))
    }

    /// Returns the record, and leaves the claim standing.
    #[must_use]
    pub fn keep(self) -> Record {
        self.record
    }

    /// Gives the port back: exactly this claim, never a later one.
    ///
    /// # Errors
    ///
    /// The claim comes back with the error. [`ErrorKind::Superseded`](crate::ErrorKind::Superseded)
    /// where it is not there any more.
    pub fn release(self) -> Result<(), ReleaseError> {
        match self.registry.release(&self.record) {
            Ok(()) => Ok(()),
            Err(error) => Err(ReleaseError(Box::new((self, error)))),
        }
    }
}

/// A release that failed, with the claim that still stands, if it does.
#[derive(Debug)]
pub struct ReleaseError(Box<(Claim, Error)>);

impl ReleaseError {
    /// Returns why.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// Returns the claim, to try again.
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
