//! The registry file on the disk: read, backed up, replaced.

use std::io;
use std::os::fd::OwnedFd;

use super::damage::Damage;
use super::document::{self, Document};
use super::staged::{draw, write_new};
use crate::error::{Op, Result};
use crate::fs::fingerprint::Fingerprint;
use crate::fs::os::OsDir;
use crate::fs::{Dir, numbered};
use crate::protocol::{Context, Durability, Store, pause};

#[cfg(all(test, not(loom)))]
mod tests;

/// How a copy of the registry file is called: behind its name, with a number from the second on.
const BACKUP_SUFFIX: &str = ".backup";

/// Most numbered backups. Equal files are not backed up twice, so this many differed.
const BACKUPS_MAX: u32 = 10_000;

/// How often a file is looked at that somebody is writing: about a second in all.
const WRITER_ROUNDS_MAX: u32 = 64;

/// How often an empty file is looked at: some milliseconds in all.
const EMPTY_ROUNDS_MAX: u32 = 9;

/// The registry file in its directory.
pub(crate) struct IndexFile<'a> {
    pub(crate) root: &'a OsDir,
    pub(crate) name: &'a str,
}

/// What the registry file is.
pub(crate) enum Loaded {
    Missing,
    Sound(Document, Vec<u8>),
    Damaged(Damage, Vec<u8>),
}

impl IndexFile<'_> {
    /// Reads the file. While a running copy of the Python system writes it (it truncates the
    /// file, then locks it), it is looked at again for a while.
    pub(crate) fn load(&self) -> Result<Loaded> {
        self.load_after(pause)
    }

    /// The same; `pause` is what lies between two looks.
    fn load_after(&self, mut pause: impl FnMut(u32)) -> Result<Loaded> {
        for round in 0..WRITER_ROUNDS_MAX {
            match self.load_once()? {
                Loaded::Damaged(..) if self.is_locked()? => pause(round),
                // Truncated, and not locked yet.
                Loaded::Damaged(Damage::Empty, _) if round < EMPTY_ROUNDS_MAX => pause(round),
                loaded => return Ok(loaded),
            }
        }
        self.load_once()
    }

    /// Returns whether somebody holds the file's lock, as the Python system does to write it.
    fn is_locked(&self) -> Result<bool> {
        let Some(file) = self.open()? else {
            return Ok(false);
        };
        self.root
            .is_locked(&file)
            .at(Op::Lock, self.root, self.name)
    }

    /// Opens the file for its lock; `None` where there is none, or no locks.
    fn open(&self) -> Result<Option<OwnedFd>> {
        if !self.root.has_locks() {
            return Ok(None);
        }
        match self.root.open(self.name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at(Op::Open, self.root, self.name),
        }
    }

    /// Returns whether the file contains these bytes.
    pub(super) fn contains(&self, bytes: &[u8]) -> Result<bool> {
        self.root
            .contains(self.name, bytes)
            .at(Op::Read, self.root, self.name)
    }

    fn load_once(&self) -> Result<Loaded> {
        let bytes = match self.root.read(self.name, document::LEN_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Missing),
            Err(error) => return Err(error).at(Op::Read, self.root, self.name),
        };
        Ok(match Document::parse(&bytes) {
            Ok(document) => Loaded::Sound(document, bytes),
            Err(damage) => Loaded::Damaged(damage, bytes),
        })
    }

    /// Keeps `bytes` beside the file as a backup that replaces none, and returns its name.
    /// A backup of the same content is not made twice, whoever made it.
    pub(crate) fn back_up<D>(
        &self,
        store: &Store<D>,
        staging: &OsDir,
        bytes: &[u8],
    ) -> Result<String> {
        let staged = format!("backup-{}", draw(store, self.root)?);
        let mut file: Option<OwnedFd> = None;
        for number in 0..BACKUPS_MAX {
            let name = numbered(&format!("{}{BACKUP_SUFFIX}", self.name), number);
            match self.root.read(&name, document::LEN_MAX) {
                Ok(there) if there == bytes => {
                    if file.is_some() {
                        let _ = staging.remove(&staged);
                    }
                    return Ok(name);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if file.is_none() {
                        file = Some(write_new(staging, &staged, bytes, Durability::Durable)?);
                    }
                    // Published whole: who finds the name can compare the content.
                    match staging.publish(&staged, self.root, &name) {
                        Ok(()) => {
                            self.root.sync().on(Op::Sync, self.root)?;
                            return Ok(name);
                        }
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            if self
                                .root
                                .read(&name, document::LEN_MAX)
                                .is_ok_and(|there| there == bytes)
                            {
                                let _ = staging.remove(&staged);
                                return Ok(name);
                            }
                        }
                        Err(error) => return Err(error).at(Op::Publish, self.root, &name),
                    }
                }
                // Another one, or no file: the next number.
                _ => {}
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists)).at(Op::Publish, self.root, self.name)
    }

    /// Replaces the file if it still says `read`, and returns what it is like then; `None` where
    /// it did not. The Python system's lock is held meanwhile; between the look and the replacement
    /// lie two system calls, in which such a writer can truncate the file, and then loses what it
    /// writes.
    pub(crate) fn replace_if<D>(
        &self,
        store: &Store<D>,
        staging: &OsDir,
        read: Option<&[u8]>,
        bytes: &[u8],
        durability: Durability,
    ) -> Result<Option<Fingerprint>> {
        let file = self.open()?;
        if let Some(file) = &file
            && !self
                .root
                .try_lock(file)
                .at(Op::Lock, self.root, self.name)?
        {
            return Ok(None);
        }
        let replaced = self.replace_while(store, staging, bytes, durability, || {
            let there = match self.root.read(self.name, document::LEN_MAX) {
                Ok(there) => Some(there),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error).at(Op::Read, self.root, self.name),
            };
            Ok(there.as_deref() == read)
        });
        if let Some(file) = &file {
            self.root.unlock(file);
        }
        replaced
    }

    /// Replaces the file, or creates it.
    pub(crate) fn replace<D>(&self, store: &Store<D>, staging: &OsDir, bytes: &[u8]) -> Result<()> {
        self.replace_while(store, staging, bytes, Durability::Durable, || Ok(true))
            .map(drop)
    }

    fn replace_while<D>(
        &self,
        store: &Store<D>,
        staging: &OsDir,
        bytes: &[u8],
        durability: Durability,
        still: impl FnOnce() -> Result<bool>,
    ) -> Result<Option<Fingerprint>> {
        let staged = format!("registry-{}", draw(store, self.root)?);
        // Its lock says that it is not a killed process's.
        let file = write_new(staging, &staged, bytes, durability)?;
        let replaced = Fingerprint::dated_back(&file)
            .at(Op::Inspect, staging, &staged)
            .and_then(|fingerprint| {
                // The last thing before the replacement: what comes between, a writer can lose.
                if !still()? {
                    return Ok(None);
                }
                staging.replace(&staged, self.root, self.name).at(
                    Op::Replace,
                    self.root,
                    self.name,
                )?;
                Ok(Some(fingerprint))
            });
        if !matches!(replaced, Ok(Some(_))) {
            let _ = staging.remove(&staged);
        }
        staging.unlock(&file);
        replaced
    }
}
