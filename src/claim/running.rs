//! Says that a program runs on a claimed port, so that a second one is told of the first.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};

use super::Claim;
use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::fs::slot::Slot;
use crate::place::RUNNING;
use crate::protocol::Context;

/// Digits of the highest process number.
const LEN: usize = 10;

/// What [`Claim::start`] found. [`Running`] has an example.
#[derive(Debug)]
#[must_use = "a program that runs already must not be started again"]
pub enum Start {
    /// Nobody else runs there.
    First(Running),
    /// A program was started there before, and it, or a child of it, still runs.
    Second {
        /// The process that was started, where it is known. It may have ended, and a child run on.
        pid: Option<u32>,
    },
}

/// Says that this process, and every one that inherits this, runs on a claimed port. The
/// kernel takes it back when the last of them ends.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Registry, Request, Start};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// # let registry = Registry::options().range("20700-20799".parse()?).open(root)?;
/// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// let claim = registry.claim(&Request::new(shop))?;
/// let Start::First(running) = claim.start()? else { panic!("nobody else runs") };
/// let Start::Second { pid } = claim.start()? else { panic!("this process runs") };
/// assert_eq!(pid, Some(std::process::id()));
/// drop(running);
/// assert!(matches!(claim.start()?, Start::First(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it says so only as long as it lives"]
pub struct Running {
    /// `None` where there are no locks.
    file: Option<OwnedFd>,
    path: camino::Utf8PathBuf,
}

impl Claim {
    /// Says that this process runs on the port, unless another one does. It is for those who
    /// would start the same server twice; [`Claim::bind`] does not ask.
    ///
    /// Where locks cannot be trusted ([`Filesystem::locks`](crate::Filesystem::locks)), nobody
    /// is told of anybody.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be written.
    ///
    /// # Races
    ///
    /// One of any number of callers is the first. The process number is written after the
    /// lock was taken: who asks in between is told that of the program before, or none.
    ///
    /// [`Running`] has an example.
    pub fn start(&self) -> Result<Start> {
        let place = self.registry.place_for_writing()?;
        let dir = place.create_dir(RUNNING)?;
        let name = self.port().to_string();
        let path = dir.path().join(&name);
        if !dir.has_locks() {
            return Ok(Start::First(Running { file: None, path }));
        }
        // Never removed: two programs could each hold the lock of another inode.
        let slot = Slot::open(&dir, &name).at(Op::Open, &dir, &name)?;
        if !dir.try_lock(slot.file()).at(Op::Lock, &dir, &name)? {
            return Ok(Start::Second { pid: slot.read() });
        }
        let pid = std::process::id().to_string();
        slot.write(&pid, LEN).at(Op::Write, &dir, &name)?;
        let file = Some(slot.into_file());
        Ok(Start::First(Running { file, path }))
    }
}

impl Running {
    /// Lets the programs that this process becomes or starts from now on inherit it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the system refuses it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20700-20799".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// # let claim = registry.claim(&Request::new(shop))?;
    /// # let Start::First(running) = claim.start()? else { panic!("nobody else runs") };
    /// running.share()?;
    /// // The server: std::process::Command::new("server").exec()
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn share(&self) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        fcntl_setfd(file, FdFlags::empty())
            .map_err(|error| Error::io(Op::Lock, &self.path, error.into()))
    }

    /// Returns the descriptor that says so; `None` where there are no locks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request, Start};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20700-20799".parse()?).open(root)?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// # let claim = registry.claim(&Request::new(shop))?;
    /// # let Start::First(running) = claim.start()? else { panic!("nobody else runs") };
    /// assert!(running.descriptor().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }
}
