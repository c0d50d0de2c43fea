//! How long a claim holds.

use serde::{Deserialize, Serialize};

/// How long a claim holds, as its record says.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Registry, Request, Term};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// let registry = Registry::options().range("20400-20499".parse()?).open(root)?;
/// let request = Request::new(Holder::new(ProjectPath::from_normal("/home/a/shop")?));
/// assert_eq!(*registry.claim(&request)?.record().term(), Term::Kept);
/// assert_eq!(*registry.lease(&request)?.record().term(), Term::Lease);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Term {
    /// Until it is released.
    #[default]
    Kept,
    /// As long as a process holds the lock of the claim's file: the one that took it, or one that
    /// inherited it. The kernel drops the lock when the last of them ends, however it ends.
    Lease,
    /// For so many seconds from when it was given or renewed. It ends only when somebody wants
    /// the port afterwards, and nobody listens on it.
    Ttl(u64),
    /// As long as this process lives. It ends only when somebody wants the port afterwards, the
    /// process is known to be dead, and nobody listens on the port.
    Owner(Box<Owner>),
}

/// A process, told from every other one that has, had or will have its number.
///
/// # Examples
///
/// ```
/// let owner = portclaim::Owner::of(std::process::id())?;
/// assert_eq!(owner.pid, std::process::id());
/// assert_eq!(owner, portclaim::Owner::of(std::process::id())?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// When it was started, in the kernel's ticks since it booted; 0 where that cannot be known.
    pub start: u64,
    /// Which boot of the machine that is; empty where that cannot be known.
    pub boot: String,
    /// Which name space the number is of (containers have their own); 0 where there are none.
    pub space: u64,
}

impl Term {
    pub(crate) fn is_kept(&self) -> bool {
        *self == Term::Kept
    }
}
