//! How a port changes hands. Generic over [`Dir`], so that the same code runs on the real
//! disk and on the simulated one. It knows no policy, no clock and no environment.
//!
//! ```text
//!         create in ports/                publish in projects/ (the commit)
//!    none ───────────────────▶ PENDING ─────────────────────▶ COMMITTED
//!                                │ under the claimer's lock      │ release: withdraw exactly n from ports/
//!      given up, or swept:       ▼                               ▼
//!    none ◀──────────────────────┘     none ◀───────────────── DANGLING (projects/ = n, ports/ ≠ n)
//!                                        withdrawn by anyone who meets it
//! ```
//!
//! Invariants, named where the code keeps them:
//!
//! - **MATCHING** a claim with nonce n is committed exactly when `ports/<port>.claim` and
//!   `projects/<key>.claim` both carry n. A port has one file, a holder has one file: so
//!   one port has one holder, and one holder one port.
//! - **IMMUTABLE** a complete record never changes; it appears and goes as a whole, and only
//!   `hand_over` puts another one in its place.
//! - **LOCK-THEN-NAME** whoever withdraws a file holds the lock of its inode and has seen,
//!   under that lock, that the name still means it.
//! - **ALIVE** a pending claim's lock is held from its creation until its commit. An
//!   obtainable lock on an uncommitted claim proves that nobody will ever commit it.
//! - **NO-WAIT** no step waits for another process; every loop has a bound. One operation can
//!   fail because of a process that is stopped: acquiring a port for a holder whose commit that
//!   process is withdrawing at this very moment, or handing over. Nobody else is affected.

use std::io;

use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::record::Nonce;

mod acquire;
#[cfg(all(test, not(loom)))]
mod adversity;
mod claim;
mod hand_over;
mod lease;
mod lookup;
#[cfg(all(test, loom))]
mod loom;
mod mark;
mod release;
mod renewal;
mod standing;
mod sweep;
#[cfg(test)]
mod testing;
#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(all(test, not(loom)))]
mod told_apart;
mod withdraw;

pub(crate) use acquire::{
    Acquired, Picker, Rejection, acquire, acquire_as, acquire_set, is_damaged, make_durable,
};
pub(crate) use claim::withdraw_dangling;
pub(crate) use hand_over::{HandedOver, hand_over};
pub(crate) use lease::{Leased, lease};
pub(crate) use lookup::{
    Flushed, Lookup, committed, held, is_unreadable, lookup, lookup_seal, read_claim, read_record,
};
pub(crate) use mark::{LOCK_NAME, Marked, Refreshed, is_mark, marks, refresh};
pub(crate) use release::{Archive, Released, release, release_ended};
pub(crate) use renewal::{expires, renew};
pub(crate) use standing::{Standing, standing};
pub(crate) use sweep::{Swept, is_staged_record, sweep, sweep_port, sweep_staging};
pub(crate) use withdraw::{Aside, Withdrawal, set_aside, withdraw};

/// How often an operation starts again because another process changed what it looked at.
/// Each round means that some other operation went through, so this many in a row are not
/// bad luck but damage, or a file system that shows stale names.
pub(crate) const ROUNDS_MAX: u32 = 64;

/// Lets a process finish that holds a lock for the few system calls of a withdrawal. Short,
/// and growing: all [`ROUNDS_MAX`] of them take about a second, in which a process that runs
/// at all has come on.
pub(crate) fn pause(round: u32) {
    #[cfg(loom)]
    {
        let _ = round;
        ::loom::thread::yield_now();
    }
    #[cfg(all(test, not(loom)))]
    if adversity::is_alone() {
        return;
    }
    #[cfg(not(loom))]
    match pause_len(round) {
        std::time::Duration::ZERO => std::thread::yield_now(),
        len => std::thread::sleep(len),
    }
}

#[cfg(not(loom))]
const fn pause_len(round: u32) -> std::time::Duration {
    let micros = match round {
        0..4 => 0,
        4..12 => 100 << (round - 4),
        12.. => 20_000,
    };
    std::time::Duration::from_micros(micros)
}

/// Whether a claim must survive a power cut. Claims survive killed processes in any case.
///
/// # Examples
///
/// ```
/// # use portclaim::{Durability, Holder, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// // For the time of a test run.
/// let registry = Registry::options().durability(Durability::Volatile).open(root)?;
/// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// let record = registry.claim(&Request::new(shop.clone()))?.keep();
/// assert_eq!(registry.find(&shop)?, Some(record));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A port is told only when its claim would survive a power cut (the default).
    #[default]
    Durable,
    /// Nothing is flushed: after a power cut, recent claims may be gone; those that are damaged
    /// are found and removed. For registries that do not outlive the machine's uptime.
    Volatile,
}

/// The directories of a registry that the protocol works on.
pub(crate) struct Store<D> {
    /// `<port>.claim`: the claims.
    pub(crate) ports: D,
    /// `<key>.claim`: the commits.
    pub(crate) projects: D,
    /// Commits that are being written.
    pub(crate) staging: D,
    /// The marks: ports that the index does not show as they are. See [`mark`].
    pub(crate) index: D,
    pub(crate) durability: Durability,
    /// Draws a nonce: no two draws are equal.
    pub(crate) draw: Box<dyn Fn() -> io::Result<Nonce> + Send + Sync>,
}

impl<D: Dir> Store<D> {
    fn is_durable(&self) -> bool {
        self.durability == Durability::Durable
    }

    fn nonce(&self) -> Result<Nonce> {
        (self.draw)().map_err(|error| Error::io(Op::Draw, self.ports.path(), error))
    }

    /// Makes the names of claims and commits durable. Their content is already, because it
    /// was flushed before its name was published.
    fn sync_names(&self) -> Result<()> {
        if self.is_durable() {
            for dir in [&self.ports, &self.projects] {
                dir.sync().on(Op::Sync, dir)?;
            }
        }
        Ok(())
    }
}

/// Names the file in errors that come from a directory.
pub(crate) trait Context<T> {
    fn at<D: Dir>(self, op: Op, dir: &D, name: &str) -> Result<T>;

    /// The same, where it is about the directory itself.
    fn on<D: Dir>(self, op: Op, dir: &D) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn at<D: Dir>(self, op: Op, dir: &D, name: &str) -> Result<T> {
        self.map_err(|error| Error::io(op, dir.path().join(name), error))
    }

    fn on<D: Dir>(self, op: Op, dir: &D) -> Result<T> {
        self.map_err(|error| Error::io(op, dir.path(), error))
    }
}
