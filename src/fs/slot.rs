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
    /// Opens the slot `name`, and creates it where it is missing.
    pub(crate) fn open(dir: &OsDir, name: &str) -> io::Result<Slot> {
        // NONBLOCK: a FIFO in its place must not make anybody wait.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match retry_on_intr(|| fs::openat(dir, name, flags, Mode::empty())) {
            Err(Errno::NOENT) => match super::Dir::create(dir, name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Slot {
                    file: retry_on_intr(|| fs::openat(dir, name, flags, Mode::empty()))?,
                }),
                created => Ok(Slot { file: created? }),
            },
            opened => Ok(Slot { file: opened? }),
        }
    }

    /// Returns the file, for its lock.
    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// The same, to be kept open.
    pub(crate) fn into_file(self) -> OwnedFd {
        self.file
    }

    /// Returns the slot's first line: empty where it was never written, or is no text. What
    /// stands behind it, no writer removes.
    pub(crate) fn read(&self) -> io::Result<String> {
        let mut bytes = [0; LEN_MAX];
        let len = retry_on_intr(|| rustix::io::pread(&self.file, &mut bytes, 0))?;
        let line = bytes[..len].split(|&byte| byte == b'\n').next();
        let line = line.and_then(|line| std::str::from_utf8(line).ok());
        Ok(line.unwrap_or_default().to_owned())
    }

    /// Writes the text, padded with spaces to `len` bytes, so that a shorter one leaves
    /// nothing of a longer one.
    pub(crate) fn write(&self, text: &str, len: usize) -> io::Result<()> {
        let line = format!("{text:<len$}\n");
        retry_on_intr(|| rustix::io::pwrite(&self.file, line.as_bytes(), 0))?;
        Ok(())
    }
}
