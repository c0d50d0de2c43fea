//! Looks for bytes in a file that may be long.

use std::io;
use std::os::fd::OwnedFd;

use memchr::memmem;
use rustix::io::retry_on_intr;

use super::Dir;
use super::os::{OsDir, again_if_stale};

/// How much of a long file is searched at once, bytes.
const SEARCH_LEN: usize = 64 * 1024;

impl OsDir {
    /// Returns whether the file `name` contains these bytes; not where there is no such file.
    pub(crate) fn contains(&self, name: &str, wanted: &[u8]) -> io::Result<bool> {
        again_if_stale(|| match self.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            opened => search(&opened?, wanted),
        })
    }
}

/// Returns whether an open file contains these bytes.
fn search(file: &OwnedFd, wanted: &[u8]) -> io::Result<bool> {
    // Little more than a window on the file, for it may be long: the end of each piece is
    // kept, where the beginning of what is wanted may be.
    let mut window = vec![0; SEARCH_LEN + wanted.len()];
    let (mut at, mut kept) = (0, 0);
    loop {
        let read = retry_on_intr(|| rustix::io::pread(file, &mut window[kept..], at))?;
        if memmem::find(&window[..kept + read], wanted).is_some() {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        at += read as u64;
        let end = kept + read;
        kept = end.min(wanted.len().saturating_sub(1));
        window.copy_within(end - kept..end, 0);
    }
}
