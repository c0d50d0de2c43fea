//! A small file that is overwritten in place: one call to read it, one to write it.
//!
//! Only for hints. A reader that meets a writer may see bytes of both, a power cut may leave
//! anything, and whoever removes the file takes nothing away: readers check what they read.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{self, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::os::OsDir;

/// Longest content, bytes.
const LEN_MAX: usize = 256;

/// An open slot. It may be shared by threads.
#[derive(Debug)]
pub(crate) struct Slot {
    file: OwnedFd,
}

impl Slot {
    /// Opens the slot `name`, and creates it where it is missing. `InvalidInput` where the file has another name
    /// as well: what is written here would be written there, and that may be a claim. A repair
    /// moves it away.
    pub(crate) fn open(dir: &OsDir, name: &str) -> io::Result<Slot> {
        // NONBLOCK: a FIFO in its place must not make anybody wait.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = || retry_on_intr(|| fs::openat(dir, name, flags, Mode::empty()));
        let file = match opened() {
            Err(Errno::NOENT) => match super::Dir::create(dir, name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => opened()?,
                created => return Ok(Slot { file: created? }),
            },
            file => file?,
        };
        if fs::fstat(&file)?.st_nlink > 1 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Slot { file })
    }

    /// Returns the file, for its lock.
    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// The same, to be kept open.
    pub(crate) fn into_file(self) -> OwnedFd {
        self.file
    }

    /// Returns what stands in the slot's first line, without the spaces behind it: `None` where that is no
    /// such thing, was never written, or cannot be read. What stands behind the line, no writer removes.
    pub(crate) fn read<T: std::str::FromStr>(&self) -> Option<T> {
        let mut bytes = [0; LEN_MAX];
        let len = retry_on_intr(|| rustix::io::pread(&self.file, &mut bytes, 0)).ok()?;
        let line = bytes[..len].split(|&byte| byte == b'\n').next()?;
        std::str::from_utf8(line).ok()?.trim_end().parse().ok()
    }

    /// Writes the text, padded with spaces to `len` bytes, so that a shorter one leaves
    /// nothing of a longer one.
    pub(crate) fn write(&self, text: &str, len: usize) -> io::Result<()> {
        let mut line = [b' '; LEN_MAX];
        let end = text.len().max(len).min(LEN_MAX - 1);
        for (place, byte) in line[..end].iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        line[end] = b'\n';
        retry_on_intr(|| rustix::io::pwrite(&self.file, &line[..=end], 0))?;
        Ok(())
    }
}
