//! Brings the registry file up to date with the claims: at once, or when all is quiet.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::{IndexPolicy, Registry};
use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::fs::fingerprint::Fingerprint;
use crate::fs::os::OsDir;
use crate::migrate;
use crate::notice::Notice;
use crate::place::Place;
use crate::project::Holder;
use crate::protocol::{Context, LOCK_NAME, ROUNDS_MAX, Refreshed, marks, pause, refresh};

/// How often the index lock is tried by those who need a refresh of their own: a few seconds.
const REFRESH_ROUNDS_MAX: u32 = 4 * ROUNDS_MAX;

/// Longest registry file that [`IndexPolicy::Defer`] writes anew after each change, bytes: some
/// 2,000 projects, and less than a millisecond.
const SMALL_LEN: u64 = 256 * 1024;

/// The file in `index/` whose lock is held by who waits for quiet.
pub(crate) const WAITER_NAME: &str = "waiter";

/// How often that lock is tried: some milliseconds in all.
const WAITER_TRIES_MAX: u32 = 10;

/// How long nothing must change for it to be quiet.
const QUIET: Duration = Duration::from_millis(50);

/// How often it is looked whether something has changed: two seconds in all.
const LOOKS_MAX: u32 = 40;

/// What a refresh of the registry file looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What is marked, if anything is.
    Changes,
    /// The same, and what others wrote into the file, whether or not something is marked.
    File,
    /// All claims.
    All,
}

impl Registry {
    /// Before a release, what others wrote into the file must have become claims and the file
    /// must show that: else it would go on saying that the holder has the port.
    pub(super) fn adopt_before_release(&self, place: &Place, holder: &Holder) -> Result<()> {
        let file = self.adopt(place)?;
        if !file.rewrite || file.port_of(place, self.file_name(), holder)?.is_none() {
            return Ok(());
        }
        drop(file);
        for round in 0..REFRESH_ROUNDS_MAX {
            let done = self.refresh(place, Extent::File)? == Refreshed::Done;
            // Another process may have written it.
            if done || !self.adopt(place)?.rewrite {
                return Ok(());
            }
            pause(round);
        }
        Err(Error::contended(self.index_path()))
    }

    /// Writes the registry file anew from the claims, and returns its path; [`IndexPolicy`] has an
    /// example. Where there is no registry, it is created.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read or the file not be
    /// written; [`ErrorKind::Contended`](crate::ErrorKind::Contended) where another process
    /// is writing it, and did not come to an end within some seconds.
    pub fn refresh_index(&self) -> Result<Utf8PathBuf> {
        let place = self.place_for_writing()?;
        self.refresh_now(place)?;
        Ok(self.index_path())
    }

    /// Refreshes the index by force, and waits a little for another process that is at it.
    pub(crate) fn refresh_now(&self, place: &Place) -> Result<()> {
        for round in 0..REFRESH_ROUNDS_MAX {
            if self.refresh(place, Extent::All)? == Refreshed::Done {
                return Ok(());
            }
            pause(round);
        }
        Err(Error::contended(place.store.index.path().join(LOCK_NAME)))
    }

    fn refresh(&self, place: &Place, extent: Extent) -> Result<Refreshed> {
        // All claims once; after that, what changes meanwhile.
        let mut fully = extent == Extent::All;
        refresh(&place.store, extent != Extent::Changes, |marked| {
            let fully = std::mem::take(&mut fully);
            let notices =
                migrate::write_index(place, self.file_name(), self.range(), marked, fully)?;
            self.notice(notices);
            Ok(())
        })
    }

    /// After a change: the index follows, if that is wanted. A claim that stands is not taken
    /// back because of it.
    pub(crate) fn changed(&self, place: &Place, rewrite: bool) {
        match self.inner.options.index {
            IndexPolicy::Mark => return,
            IndexPolicy::Defer if !rewrite && self.is_large(place) => return self.defer(place),
            IndexPolicy::Defer | IndexPolicy::Refresh => {}
        }
        let extent = if rewrite {
            Extent::File
        } else {
            Extent::Changes
        };
        if let Err(error) = self.refresh(place, extent) {
            self.notice(vec![Notice::IndexBehind {
                path: self.index_path(),
                why: error.with_cause(),
            }]);
        }
    }

    /// Returns whether to write the file anew takes long. Where there are no marks, it is
    /// written all the same: nothing would tell that it is behind.
    fn is_large(&self, place: &Place) -> bool {
        let file = Fingerprint::of(&place.root, self.file_name());
        place.store.index.has_locks() && matches!(file, Ok(Some(file)) if file.len() > SMALL_LEN)
    }

    /// Asks for a refresh later, unless somebody waits for that already: who does looks at the
    /// marks after giving up the lock that was met here.
    fn defer(&self, place: &Place) {
        let dir = &place.store.index;
        let is_waiting = dir
            .open(WAITER_NAME)
            .and_then(|file| dir.is_locked(&file))
            .unwrap_or(false);
        if !is_waiting {
            self.notice(vec![Notice::IndexDeferred {
                path: self.index_path(),
            }]);
        }
    }

    /// Waits until nothing changes any more, at most two seconds, and brings the registry
    /// file up to date. What [`Notice::IndexDeferred`] asks for: from a thread or a process that
    /// nobody waits for. Returns at once where another one waits already.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read or the file not be
    /// written; the marks stay, and the next refresh makes up for it.
    ///
    /// # Races
    ///
    /// Whatever was changed before the call is in the file after it, unless another process
    /// is waiting or writing: then it soon is.
    pub fn refresh_when_quiet(&self) -> Result<()> {
        let Some(place) = self.place()? else {
            return Ok(());
        };
        let dir = &place.store.index;
        // Where something else lies in its place, all who are asked to wait do.
        if let Some(file) = open_waiter(dir).filter(|_| dir.has_locks()) {
            if !lock_waiter(dir, &file)? {
                return Ok(());
            }
            let waited = wait_for_quiet(place);
            // Before the marks are looked at: whoever met the lock relies on that.
            dir.unlock(&file);
            waited?;
        } else {
            wait_for_quiet(place)?;
        }
        self.refresh(place, Extent::Changes)?;
        Ok(())
    }
}

fn open_waiter(dir: &OsDir) -> Option<OwnedFd> {
    match dir.open(WAITER_NAME) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Another one may have created it meanwhile, and then waits.
            dir.create(WAITER_NAME).or_else(|_| dir.open(WAITER_NAME))
        }
        opened => opened,
    }
    .ok()
}

/// Takes the lock of who waits; `false` where another one waits. Again for a moment, because
/// those who ask whether somebody waits hold a shared lock for two system calls.
fn lock_waiter(dir: &OsDir, file: &OwnedFd) -> Result<bool> {
    for round in 0..WAITER_TRIES_MAX {
        if dir.try_lock(file).at(Op::Lock, dir, WAITER_NAME)? {
            return Ok(true);
        }
        pause(round);
    }
    Ok(false)
}

fn wait_for_quiet(place: &Place) -> Result<()> {
    let names = || -> Result<BTreeSet<String>> {
        let marks = marks(&place.store.index)?;
        Ok(marks.into_iter().map(|mark| mark.name).collect())
    };
    let mut seen = names()?;
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(QUIET);
        let there = names()?;
        if there == seen {
            break;
        }
        seen = there;
    }
    Ok(())
}
