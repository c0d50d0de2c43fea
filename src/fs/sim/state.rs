//! What a simulated disk holds: files and directories as running programs see them, and how
//! much of it a power cut would leave.

use std::collections::BTreeMap;
use std::io;

use super::Fault;

/// A simulated disk.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) inodes: Vec<Inode>,
    pub(super) folders: Vec<Folder>,
    pub(super) faults: Vec<Fault>,
    /// How many files were opened so far: each open file has a number.
    pub(super) opens: usize,
    /// Rises with every change to files and names, and to what is flushed of them.
    pub(super) version: usize,
    /// How many flushes of directories were asked for so far.
    pub(super) syncs: usize,
    /// What the clock says, in seconds. It stands still until somebody sets it.
    pub(super) now: u64,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    pub(super) content: Vec<u8>,
    pub(super) sealed: bool,
    /// When it was written, or what it was dated.
    pub(super) date: u64,
    /// The open file that holds the lock.
    pub(super) lock: Option<usize>,
    /// What a power cut leaves for certain.
    pub(super) flushed: Flushed,
    /// A flush has failed since the content was written. As on Linux, it is lost to later
    /// flushes, although they succeed.
    pub(super) lost: bool,
    /// The same since it was dated.
    pub(super) date_lost: bool,
}

/// What a file was like at its last flush.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Flushed {
    pub(super) content: Vec<u8>,
    pub(super) sealed: bool,
    pub(super) date: u64,
}

/// A directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Folder {
    pub(super) names: BTreeMap<String, usize>,
    /// The names that changed since the last flush, and what each meant before every one of
    /// its changes.
    pub(super) changed: BTreeMap<String, Vec<Option<usize>>>,
}

impl State {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    pub(super) fn find(&self, dir: usize, name: &str) -> io::Result<usize> {
        self.folders[dir]
            .names
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound.into())
    }

    /// Adds a file that has no name yet.
    pub(super) fn add(&mut self, content: &[u8]) -> usize {
        let sealed = self.has(Fault::CreateSeals) || self.has(Fault::AllSealed);
        self.inodes.push(Inode {
            content: content.to_vec(),
            sealed,
            date: self.now,
            flushed: Flushed {
                sealed,
                date: self.now,
                ..Flushed::default()
            },
            ..Inode::default()
        });
        self.inodes.len() - 1
    }

    /// Makes a name mean a file, or none.
    pub(super) fn set(&mut self, dir: usize, name: &str, inode: Option<usize>) {
        self.version += 1;
        let folder = &mut self.folders[dir];
        let before = match inode {
            Some(inode) => folder.names.insert(name.to_owned(), inode),
            None => folder.names.remove(name),
        };
        let changes = folder.changed.entry(name.to_owned()).or_default();
        changes.push(before);
    }

    /// Flushes the names of a directory.
    pub(super) fn sync(&mut self, dir: usize) {
        self.version += 1;
        self.folders[dir].changed.clear();
    }

    /// Returns a file that is about to be changed.
    pub(super) fn change(&mut self, inode: usize) -> &mut Inode {
        self.version += 1;
        &mut self.inodes[inode]
    }

    /// Writes the whole content of a file.
    pub(super) fn write(&mut self, inode: usize, content: &[u8]) {
        let now = self.now;
        let inode = self.change(inode);
        inode.content = content.to_vec();
        inode.date = now;
    }

    /// Flushes the content of a file, and its date.
    pub(super) fn sync_file(&mut self, inode: usize) {
        let keeps_date = !self.has(Fault::SyncFileKeepsNoDate);
        let inode = self.change(inode);
        if !inode.lost {
            inode.flushed.content.clone_from(&inode.content);
            inode.flushed.sealed = inode.sealed;
        }
        if !inode.date_lost && keeps_date {
            inode.flushed.date = inode.date;
        }
    }

    /// Flushes a file, and fails.
    pub(super) fn lose(&mut self, inode: usize) {
        let inode = self.change(inode);
        (inode.lost, inode.date_lost) = (true, true);
    }

    pub(super) fn drop_lock(&mut self, inode: usize, open: usize) {
        let lock = &mut self.inodes[inode].lock;
        if *lock == Some(open) {
            *lock = None;
        }
    }
}
