//! When a file was written: the clock of claims that are given for a time.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{self, AtFlags};
use rustix::io::retry_on_intr;

use super::os::OsDir;

impl OsDir {
    /// See [`Dir::written`](super::Dir::written).
    pub(super) fn date_of(&self, name: &str) -> io::Result<Option<SystemTime>> {
        let stat = self.ask(|| fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW));
        let stat = match stat {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            stat => stat?,
        };
        let seconds = Duration::from_secs(stat.st_mtime.unsigned_abs());
        let second = if stat.st_mtime < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(seconds)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(seconds)
        };
        // Signed or not, as the system has it.
        let part = u64::try_from(i128::from(stat.st_mtime_nsec));
        let part = Duration::from_nanos(part.unwrap_or_default());
        let time = second.and_then(|second| second.checked_add(part));
        Ok(Some(time.unwrap_or(SystemTime::UNIX_EPOCH)))
    }
}

/// See [`Dir::touch`](super::Dir::touch).
pub(super) fn date(file: &OwnedFd, time: SystemTime) -> io::Result<()> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let time = fs::Timespec {
        tv_sec: i64::try_from(since.as_secs()).map_err(|_| io::ErrorKind::InvalidInput)?,
        tv_nsec: since.subsec_nanos().into(),
    };
    let times = fs::Timestamps {
        last_access: fs::Timespec {
            tv_sec: 0,
            tv_nsec: fs::UTIME_OMIT,
        },
        last_modification: time,
    };
    Ok(retry_on_intr(|| fs::futimens(file, &times))?)
}
