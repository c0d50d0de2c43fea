//! The guard of a lease.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::error::{Error, Op, Result};
use crate::fs::os::OsDir;
use crate::net::listen;
use crate::port::Port;
use crate::protocol::Leased;
use crate::record::{Record, claim_name};
use crate::registry::Registry;

/// A port that is held as long as this value lives, or a child process that has inherited it.
///
/// What holds it is the lock of the claim's file. Dropping the value gives the port back at once;
/// if the process is killed, the kernel drops the lock. Nothing is flushed, and nobody needs to
/// clean up: a lease that has ended is swept by whoever wants its port.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// let registry = Registry::options().range("20500-20599".parse()?).open(root)?;
/// let test = Holder::new(ProjectPath::from_normal("/home/a/shop/tests")?);
/// let [one, two] = [(), ()].map(|()| registry.lease(&Request::new(test.clone())).unwrap());
/// assert_ne!(one.port(), two.port(), "each call is a lease of its own");
/// let server = one.bind()?;
/// assert_eq!(server.local_addr()?.port(), one.port().get());
/// drop((one, two));
/// assert_eq!(registry.leases()?, []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a lease that is not kept ends at once"]
pub struct Lease {
    registry: Registry,
    /// `None` only while it is dropped.
    leased: Option<Leased<OsDir>>,
    is_shared: bool,
}

impl Lease {
    pub(crate) fn new(registry: Registry, leased: Leased<OsDir>) -> Lease {
        Lease {
            registry,
            leased: Some(leased),
            is_shared: false,
        }
    }

    fn leased(&self) -> &Leased<OsDir> {
        self.leased
            .as_ref()
            .expect("it is there until it is dropped")
    }

    /// Returns the port. [`Lease`] has an example.
    #[must_use]
    pub fn port(&self) -> Port {
        self.record().port()
    }

    /// Returns what is written about the claim. [`Term`](crate::Term) has an example.
    #[must_use]
    pub fn record(&self) -> &Record {
        self.leased().record()
    }

    /// Binds the port on 127.0.0.1 and listens, as [`Claim::bind`](crate::Claim::bind).
    ///
    /// # Errors
    ///
    /// As [`Claim::bind`](crate::Claim::bind).
    ///
    /// # Races
    ///
    /// As [`Claim::bind`](crate::Claim::bind).
    ///
    /// [`Lease`] has an example.
    pub fn bind(&self) -> Result<TcpListener> {
        self.bind_to(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Binds the port on `address` and listens, as [`Claim::bind_to`](crate::Claim::bind_to),
    /// which has an example.
    ///
    /// # Errors
    ///
    /// As [`Claim::bind`](crate::Claim::bind).
    ///
    /// # Races
    ///
    /// As [`Claim::bind`](crate::Claim::bind).
    ///
    /// # Security
    ///
    /// An address other than loopback lets other machines in.
    pub fn bind_to(&self, address: IpAddr) -> Result<TcpListener> {
        listen(self.port(), address)
    }

    /// Lets the programs that this process becomes or starts from now on inherit the lease: it
    /// ends when the last of them has ended, and dropping this value gives only this process's
    /// share up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the system refuses it.
    ///
    /// # Races
    ///
    /// Every program that any thread starts from now on inherits it. A program that closes the
    /// descriptors which it does not know (Python's `subprocess` in its children, daemons) gives
    /// its share up.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20600-20699".parse()?).open(root)?;
    /// # let test = Holder::new(ProjectPath::from_normal("/home/a/shop/tests")?);
    /// let mut lease = registry.lease(&Request::new(test))?;
    /// lease.share()?;
    /// let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn()?;
    /// drop(lease);
    /// assert_eq!(registry.leases()?.len(), 1, "the child holds it");
    /// drop(child.stdin.take());
    /// child.wait()?;
    /// assert_eq!(registry.leases()?, []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn share(&mut self) -> Result<()> {
        if let Some(leased) = &self.leased {
            fcntl_setfd(leased.file(), FdFlags::empty()).map_err(|error| {
                let path = self.registry.root().join("ports");
                let name = claim_name(self.port());
                Error::io(Op::Lock, path.join(name), error.into())
            })?;
        }
        self.is_shared = true;
        Ok(())
    }
}

impl AsFd for Lease {
    /// Returns the descriptor whose lock is the lease.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20600-20699".parse()?).open(root)?;
    /// # let test = Holder::new(ProjectPath::from_normal("/home/a/shop/tests")?);
    /// use std::os::fd::AsFd;
    /// let lease = registry.lease(&Request::new(test))?;
    /// let share = lease.as_fd().try_clone_to_owned()?; // To be handed to another process.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.leased().file().as_fd()
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("record", self.record())
            .field("is_shared", &self.is_shared)
            .finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(leased) = self.leased.take() else {
            return;
        };
        // A shared one is closed and no more: to unlock it would take it from all who share it.
        if !self.is_shared
            && let Ok(Some(place)) = self.registry.place()
        {
            leased.end(&place.store);
        }
    }
}
