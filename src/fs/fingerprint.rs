//! Tells whether a file is as it was.

use std::os::fd::AsFd;

use rustix::fs::{self, AtFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::{Errno, retry_on_intr};

use super::os::OsDir;

/// How far a file is dated back, nanoseconds: more than any kernel's clock tick.
const BACK_NANOS: i64 = 50_000_000;

/// What changes when anybody replaces a file or writes to it: device, inode, length, time of
/// the last write. Renaming the file changes none of them. Times may be as coarse as the kernel's
/// clock tick: a second write within one, of the same length, does not show; see
/// [`dated_back`](Fingerprint::dated_back).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    file: (i128, i128),
    len: u64,
    written: (i128, i128),
    dated_back: bool,
}

impl Fingerprint {
    /// Returns the fingerprint of the file `name`; `None` where there is none.
    pub(crate) fn of(dir: &OsDir, name: &str) -> std::io::Result<Option<Fingerprint>> {
        let stat = dir.ask(|| match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            answer => answer.map(Some),
        })?;
        Ok(stat.as_ref().map(Fingerprint::of_stat))
    }

    /// Sets the time of an open file's last write back a little, and returns its fingerprint:
    /// so any write that follows shows, however coarse the clock is.
    pub(crate) fn dated_back(file: impl AsFd) -> std::io::Result<Fingerprint> {
        let stat = fs::fstat(&file)?;
        let (seconds, nanos) = match (
            stat.st_mtime,
            i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ) {
            (seconds, nanos) if nanos >= BACK_NANOS => (seconds, nanos - BACK_NANOS),
            (seconds, nanos) => (seconds - 1, nanos + 1_000_000_000 - BACK_NANOS),
        };
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: seconds,
                tv_nsec: nanos,
            },
        };
        // Where that is refused, it is as it is.
        let _ = retry_on_intr(|| fs::futimens(&file, &times));
        Ok(Fingerprint::of_stat(&fs::fstat(file)?))
    }

    fn of_stat(stat: &fs::Stat) -> Fingerprint {
        Fingerprint {
            file: (i128::from(stat.st_dev), i128::from(stat.st_ino)),
            len: u64::try_from(stat.st_size).unwrap_or(0),
            written: (i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec)),
            dated_back: (i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec))
                < (i128::from(stat.st_ctime), i128::from(stat.st_ctime_nsec)),
        }
    }

    /// Returns whether any later write shows: the time of the last write lies before that of
    /// the last change of any kind, which no later write can precede.
    pub(crate) fn is_dated_back(&self) -> bool {
        self.dated_back
    }

    /// Returns the file's length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

/// One line, to be compared.
impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Fingerprint {
            file, len, written, ..
        } = self;
        write!(
            f,
            "{:x}:{:x}:{len:x}:{:x}.{:x}",
            file.0, file.1, written.0, written.1
        )
    }
}
