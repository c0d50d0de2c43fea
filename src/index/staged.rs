//! What this room writes aside, in `staging/`, before it has its name. A lock says that its
//! process is alive.

use std::io;
use std::os::fd::OwnedFd;

use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::fs::os::OsDir;
use crate::protocol::{Context, Durability, Store, pause};

#[cfg(all(test, not(loom)))]
mod tests;

/// How often a file is created that somebody takes away before it is locked: about a second in all.
const TRIES_MAX: u32 = 64;

/// Returns whether a staged file is one of this room's.
pub(crate) fn is_staged_name(name: &str) -> bool {
    name.starts_with("registry-") || name.starts_with("backup-")
}

pub(super) fn draw<D>(store: &Store<D>, dir: &OsDir) -> Result<crate::record::Nonce> {
    (store.draw)().map_err(|error| Error::io(Op::Draw, dir.path(), error))
}

/// Writes a new file. Its content is made durable where what it replaces says more than the
/// claims do: that must not be empty after a power cut.
pub(super) fn write_new(
    dir: &OsDir,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> Result<OwnedFd> {
    let file = create_locked(dir, name)?;
    let written =
        dir.write(&file, bytes)
            .at(Op::Write, dir, name)
            .and_then(|()| match durability {
                Durability::Durable => dir.sync_file(&file).at(Op::Sync, dir, name),
                Durability::Volatile => Ok(()),
            });
    match written {
        Ok(()) => Ok(file),
        Err(error) => {
            let _ = dir.remove(name);
            Err(error)
        }
    }
}

/// Creates a staged file and locks it for as long as it is open: so nobody takes it for a
/// killed process's. Again, where somebody did before it was locked.
fn create_locked<D: Dir>(dir: &D, name: &str) -> Result<D::File> {
    for round in 0..TRIES_MAX {
        let file = match dir.create(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && round > 0 => {
                pause(round);
                continue;
            }
            answer => answer.at(Op::Create, dir, name)?,
        };
        if !dir.has_locks()
            || dir.try_lock(&file).at(Op::Lock, dir, name)?
                && dir.means(name, &file).at(Op::Inspect, dir, name)?
        {
            return Ok(file);
        }
        pause(round);
    }
    Err(Error::contended(dir.path().join(name)))
}

/// Removes staged files of this room whose processes are gone.
pub(crate) fn remove_staged(staging: &OsDir) -> Result<()> {
    if !staging.has_locks() {
        return Ok(());
    }
    let names = staging.names().on(Op::List, staging)?;
    for name in names.iter().filter(|name| is_staged_name(name)) {
        let Ok(file) = staging.open(name) else {
            continue;
        };
        if staging.try_lock(&file).at(Op::Lock, staging, name)?
            && staging.means(name, &file).at(Op::Inspect, staging, name)?
        {
            // Best effort: the next refresh tries again.
            let _ = staging.remove(name);
        }
        staging.unlock(&file);
    }
    Ok(())
}
