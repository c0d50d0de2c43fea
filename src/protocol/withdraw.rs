//! Takes exactly one file out of a directory: POSIX has no conditional unlink, this is one.

use crate::error::{Op, Result};
use crate::fs::{Dir, numbered};

use super::Context;

/// What became of a file that was to be withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// This call took it out.
    Done,
    /// The name does not exist, or means another file now.
    Gone,
    /// The file is not the one that was meant.
    Other,
    /// Another process holds the file's lock: it is claiming or withdrawing it.
    Busy,
    /// This user may not read the file: whether it is the one that is meant cannot be known.
    Denied,
}

/// Where a withdrawn file goes.
pub(crate) enum Aside<'a, D> {
    /// It is unlinked.
    Nowhere,
    /// It is moved to another directory, under its own name with a number where that is taken.
    To(&'a D),
}

/// Most files of one name that a directory for withdrawn files holds.
const NUMBERS_MAX: u32 = 10_000;

/// Withdraws the file `name` of `dir` if `meant` says so of its content.
///
/// `meant` is asked twice: before the lock, so that nobody's lock is disturbed for nothing,
/// and under it, because an incomplete record may have been completed in between. Keeps
/// LOCK-THEN-NAME. Where locks cannot be had, only the names are compared; see DESIGN.md,
/// "Network file systems".
pub(crate) fn withdraw<D: Dir>(
    dir: &D,
    name: &str,
    len_max: usize,
    aside: &Aside<'_, D>,
    mut meant: impl FnMut(&[u8]) -> Result<bool>,
) -> Result<Withdrawal> {
    let file = match dir.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Withdrawal::Gone),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            return Ok(Withdrawal::Other);
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Ok(Withdrawal::Denied);
        }
        Err(error) => return Err(error).at(Op::Open, dir, name),
    };
    let mut spared = || match dir.read_file(&file, len_max) {
        // Another machine removed it.
        Err(error) if error.kind() == std::io::ErrorKind::StaleNetworkFileHandle => {
            Ok(Some(Withdrawal::Gone))
        }
        read => Ok((!meant(&read.at(Op::Read, dir, name)?)?).then_some(Withdrawal::Other)),
    };
    if let Some(answer) = spared()? {
        return Ok(answer);
    }
    // Without the lock, `portclaim stress` must find that claims vanish under it (.ci/run).
    let locks = dir.has_locks() && !cfg!(portclaim_mutant = "no_lock");
    if locks && !dir.try_lock(&file).at(Op::Lock, dir, name)? {
        return Ok(Withdrawal::Busy);
    }
    let answer = (|| {
        if !dir.means(name, &file).at(Op::Inspect, dir, name)? {
            return Ok(Withdrawal::Gone);
        }
        if let Some(answer) = spared()? {
            return Ok(answer);
        }
        take_out(dir, name, aside)
    })();
    // Unlocked only after the name is gone: nobody may find it under a free lock.
    dir.unlock(&file);
    answer
}

/// Takes out whatever the name means.
pub(super) fn take_out<D: Dir>(dir: &D, name: &str, aside: &Aside<'_, D>) -> Result<Withdrawal> {
    let taken = match aside {
        Aside::Nowhere => dir.remove(name),
        Aside::To(to) => {
            return set_aside(dir, name, to);
        }
    };
    match taken {
        Ok(()) => Ok(Withdrawal::Done),
        // Only a hand that knows nothing of locks: somebody's `rm`.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Withdrawal::Gone),
        Err(error) => Err(error).at(Op::Remove, dir, name),
    }
}

/// Removes a name that nobody needs any more, whatever has become of it.
pub(super) fn remove_spare<D: Dir>(dir: &D, name: &str) -> Result<()> {
    match dir.remove(name) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        // Somebody's: a repair moves it aside.
        Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => Ok(()),
        Err(error) => Err(error).at(Op::Remove, dir, name),
    }
}

/// Moves a file to `to` and never over another one.
pub(crate) fn set_aside<D: Dir>(dir: &D, name: &str, to: &D) -> Result<Withdrawal> {
    for number in 0..NUMBERS_MAX {
        let new = numbered(name, number);
        match dir.publish(name, to, &new) {
            Ok(()) => return Ok(Withdrawal::Done),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Withdrawal::Gone);
            }
            Err(error) => return Err(error).at(Op::Publish, to, &new),
        }
    }
    Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists)).at(Op::Publish, to, name)
}
