//! How a directory spells a name that it finds in another spelling too.

use super::{Disk, enter, leave};

/// How many names of a directory are looked at. In a larger one a name stays as typed.
pub(super) const NAMES_MAX: usize = 100_000;

/// Spells the last component of a path that exists as its directory does.
pub(super) fn spell(disk: &impl Disk, path: &mut Vec<u8>) {
    if let Some(name) = spelling(disk, path) {
        leave(path);
        enter(path, &name);
    }
}

/// Returns how the directory spells the last component of a path that exists, `None` if
/// just so, or if that cannot be known.
fn spelling(disk: &impl Disk, path: &[u8]) -> Option<Vec<u8>> {
    let start = path.iter().rposition(|&byte| byte == b'/')? + 1;
    let (dir, typed) = path.split_at(start);
    let in_dir = |name: &[u8]| [dir, name].concat();
    let file = if typed.is_ascii() {
        // Nearly always the flipped name is not there, and this one call has told that the
        // directory is an ordinary one.
        if !typed.iter().any(u8::is_ascii_alphabetic) {
            return None;
        }
        let flipped = disk.identity(&in_dir(&flip(typed))).ok()?;
        disk.identity(path).ok().filter(|file| *file == flipped)?
    } else {
        // Whether these very bytes are on the disk only the list can tell.
        disk.identity(path).ok()?
    };
    let is_file = |name: &[u8]| disk.identity(&in_dir(name)) == Ok(file);
    if let Some(name) = disk.name(path).filter(|name| is_file(name)) {
        return Some(name);
    }
    let mut choice = Choice::new(typed, file.1);
    disk.list(dir, &mut |name, inode| choice.see(name, inode))
        .ok()?;
    choice.name(is_file)
}

/// Returns `name` with the case of its ASCII letters flipped.
fn flip(name: &[u8]) -> Vec<u8> {
    name.iter()
        .map(|byte| {
            if byte.is_ascii_alphabetic() {
                byte ^ 0x20
            } else {
                *byte
            }
        })
        .collect()
}

/// Which name in a directory's list is the one that was typed: the name itself if it is
/// there, even where another name is the same file (a hard link, a bind mount); else one
/// that is.
pub(super) struct Choice<'a> {
    typed: &'a [u8],
    inode: i128,
    seen: usize,
    /// Whether there is nothing to choose: the name is listed, or the list is too long.
    settled: bool,
    candidates: Vec<Vec<u8>>,
}

impl<'a> Choice<'a> {
    pub(super) fn new(typed: &'a [u8], inode: i128) -> Choice<'a> {
        Choice {
            typed,
            inode,
            seen: 0,
            settled: false,
            candidates: Vec::new(),
        }
    }

    /// Takes a name of the list; returns whether to go on.
    pub(super) fn see(&mut self, name: &[u8], inode: i128) -> bool {
        self.seen += 1;
        self.settled = name == self.typed || self.seen > NAMES_MAX;
        // The list's inode number is not to be relied on: that of a mount point is the one
        // beneath the mount, and FUSE may have none. `..` may be the file, but not its name.
        let alike = inode == self.inode
            || self.typed.eq_ignore_ascii_case(name)
            || !(self.typed.is_ascii() || name.is_ascii());
        if alike && !matches!(name, b"." | b"..") {
            self.candidates.push(name.to_vec());
        }
        !self.settled
    }

    /// Returns the name to use instead of the typed one.
    pub(super) fn name(self, is_file: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        if self.settled {
            return None;
        }
        // Of several (one is a bind mount of the other), the more alike; then any, but
        // always the same.
        let lower = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
        let typed = lower(self.typed);
        self.candidates
            .into_iter()
            .filter(|name| is_file(name))
            .min_by_key(|name| (lower(name) != typed, name.clone()))
    }
}
