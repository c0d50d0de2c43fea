//! The registry file that readers of the Python system's format see: derived from the
//! claims, never authoritative. What others wrote into it becomes claims (`migrate`).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::fs::fingerprint::Fingerprint;
use crate::fs::os::OsDir;
use crate::port::{Port, PortRange};
use crate::project::{Holder, ProjectPath};
use crate::protocol::{Context, Durability, Marked, Store, committed, is_unreadable, pause};
use crate::record::claim_port;

mod damage;
pub(crate) mod document;
mod json;
mod port_set;
mod salvage;
mod services;
pub(crate) mod turn;
pub(crate) mod written;

pub(crate) use damage::Damage;
pub(crate) use document::{Document, NextAvailable};
pub(crate) use port_set::PortSet;
pub(crate) use salvage::salvage;
pub(crate) use services::Services;
pub(crate) use turn::{Turn, next_available};
pub(crate) use written::{Settled, is_written_last, note_written, recall};

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
        let free = self
            .root
            .try_lock(&file)
            .at(Op::Lock, self.root, self.name)?;
        self.root.unlock(&file);
        Ok(!free)
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
    fn contains(&self, bytes: &[u8]) -> Result<bool> {
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
            let name = match number {
                0 => format!("{}{BACKUP_SUFFIX}", self.name),
                _ => format!("{}{BACKUP_SUFFIX}.{number}", self.name),
            };
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
                            self.root.sync().at(Op::Sync, self.root, "")?;
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
    /// it did not. The Python
    /// system's lock is held meanwhile; between the look and the replacement lie two system
    /// calls, in which such a writer can truncate the file, and then loses what it writes.
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

/// Returns whether a staged file is one of this room's.
pub(crate) fn is_staged_name(name: &str) -> bool {
    name.starts_with("registry-") || name.starts_with("backup-")
}

fn draw<D>(store: &Store<D>, dir: &OsDir) -> Result<crate::record::Nonce> {
    (store.draw)().map_err(|error| Error::io(Op::Draw, dir.path(), error))
}

/// Writes a new file. Its content is made durable where what it replaces says more than the
/// claims do: that must not be empty after a power cut.
fn write_new(dir: &OsDir, name: &str, bytes: &[u8], durability: Durability) -> Result<OwnedFd> {
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
fn create_locked(dir: &OsDir, name: &str) -> Result<OwnedFd> {
    for round in 0..WRITER_ROUNDS_MAX {
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
    let names = staging
        .names()
        .map_err(|error| Error::io(Op::List, staging.path(), error))?;
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

/// Returns the port that the file shows for a holder.
pub(crate) fn port_of(document: &Document, holder: &Holder) -> Option<Port> {
    if !holder.service().is_empty() {
        let mut services = document.services().iter();
        return services
            .find(|(_, there)| *there == holder)
            .map(|(port, _)| *port);
    }
    let mut mappings = document.mappings();
    // By text: camino compares paths component by component, which is slow.
    let project = holder.project().as_str();
    let found = mappings.find(|(path, _)| path.as_str() == project);
    found.map(|(_, port)| port)
}

/// Returns the ports of entries that can be no claims, or are none yet: whoever wrote them uses
/// them all the same.
pub(crate) fn spared(document: &Document) -> PortSet {
    let is_ours = |port| document.ours().is_some_and(|ours| ours.contains(port));
    let others = document.mappings().map(|(_, port)| port);
    let kept = document.kept().filter_map(|kept| kept.port);
    kept.chain(others.filter(|&port| !is_ours(port))).collect()
}

/// Returns the ports that have a claim of any kind.
pub(crate) fn present<D: Dir>(ports: &D) -> Result<PortSet> {
    let mut present = PortSet::new();
    for name in ports
        .names()
        .map_err(|error| Error::io(Op::List, ports.path(), error))?
    {
        if let Some(port) = claim_port(&name) {
            present.insert(port);
        }
    }
    Ok(present)
}

/// Brings `document` up to date with the claims. Reads the claims whose ports are marked, and
/// those that the file and the directory disagree about; all of them where portclaim did not
/// write the file. `turn` is the port that was picked last, and the range of new ports.
pub(crate) fn update<D: Dir>(
    document: &mut Document,
    store: &Store<D>,
    marked: &[Marked],
    turn: (Option<Port>, PortRange),
) -> Result<Vec<Dropped>> {
    update_from(document, store, marked, turn, false)
}

/// The same, and reads all claims.
pub(crate) fn update_fully<D: Dir>(
    document: &mut Document,
    store: &Store<D>,
    marked: &[Marked],
    turn: (Option<Port>, PortRange),
) -> Result<Vec<Dropped>> {
    update_from(document, store, marked, turn, true)
}

/// A mapping that portclaim did not write and that leaves the file: the port is another's.
pub(crate) struct Dropped {
    pub(crate) project: ProjectPath,
    pub(crate) port: Port,
    pub(crate) holder: Holder,
}

fn update_from<D: Dir>(
    document: &mut Document,
    store: &Store<D>,
    marked: &[Marked],
    turn: (Option<Port>, PortRange),
    fully: bool,
) -> Result<Vec<Dropped>> {
    let present = present(&store.ports)?;
    let mut known = PortSet::new();
    let mut mapped = PortSet::new();
    for (_, port) in document.mappings() {
        mapped.insert(port);
    }
    // What the file shows as portclaim wrote it, and nothing says that it changed.
    if !fully
        && !document.is_edited()
        && let Some(ours) = document.ours()
    {
        for port in ours
            .iter()
            .filter(|&port| present.contains(port) && mapped.contains(port))
        {
            known.insert(port);
        }
    }
    let mut services = Services::new();
    if !fully && !document.is_edited() && document.is_ours() {
        services.clone_from(document.services());
        services.retain(|&port, _| present.contains(port) && !mapped.contains(port));
    }
    for mark in marked {
        known.remove(mark.port);
        services.remove(&mark.port);
    }

    let ours = document.ours().cloned().unwrap_or_else(PortSet::new);
    let mut claims = BTreeMap::new();
    for port in present.iter() {
        if known.contains(port) || services.contains_key(&port) {
            continue;
        }
        if let Some(record) = committed(store, port)? {
            claims.insert(port, record.holder().clone());
        } else if ours.contains(port) && mapped.contains(port) && is_unreadable(store, port)? {
            // Nothing says that it was released.
            known.insert(port);
        } else if let Some(holder) = document.services().get(&port)
            && is_unreadable(store, port)?
        {
            services.insert(port, holder.clone());
        }
    }

    let mut seen = PortSet::new();
    let mut dropped = Vec::new();
    let is_edited = document.is_edited();
    document.retain(|path, port| {
        let first = seen.insert(port);
        if known.contains(port) {
            return first;
        }
        match claims.get(&port).or(services.get(&port)) {
            Some(holder) if holder.service().is_empty() && holder.project() == path => true,
            Some(holder) => {
                // What portclaim wrote itself, its own changes supersede.
                if is_edited {
                    dropped.push(Dropped {
                        project: path.clone(),
                        port,
                        holder: holder.clone(),
                    });
                }
                false
            }
            // Released since, if portclaim wrote it; else not adopted yet, and kept.
            None => !ours.contains(port),
        }
    });
    let (unnamed, named): (Services, Services) = claims
        .into_iter()
        .partition(|(_, holder)| holder.service().is_empty());
    services.extend(named);
    let mut now_ours = known;
    now_ours.extend(unnamed.keys().copied());
    let unnamed = unnamed.into_iter();
    document.assign(unnamed.map(|(port, holder)| (holder.project().clone(), port)));
    let (last, range) = turn;
    match document.next_available() {
        // What stands there holds until a port is picked: others may have gone on since.
        NextAvailable::Port(_) if marked.iter().all(|mark| Some(mark.port) != last) => {}
        NextAvailable::Port(written) => {
            document.set_next_available(next_available(last, Some(written), range));
        }
        NextAvailable::Missing | NextAvailable::Invalid => {
            document.set_next_available(next_available(last, None, range));
        }
    }
    document.set_ours(now_ours);
    document.set_checksum();
    document.set_services(services);
    Ok(dropped)
}
