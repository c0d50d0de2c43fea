//! Takes over what others wrote into the registry file: the Python system, a running copy of
//! it, or a person. Each mapping becomes a claim. Any number of processes may do it at once.

use std::sync::{Arc, MutexGuard, PoisonError};

use crate::error::{Op, Result};
use crate::fs::Dir;
use crate::fs::fingerprint::Fingerprint;
use crate::index::{self, Document, IndexFile, Loaded, PortSet, Settled, salvage};
use crate::notice::Notice;
use crate::place::Place;
use crate::port::{Port, PortRange};
use crate::project::{Holder, ProjectPath};
use crate::protocol::{Context, ROUNDS_MAX};

mod only;
mod source;
mod unadopted;
mod write;

pub(crate) use only::Only;
pub(crate) use unadopted::{Unadopted, unadopted};
pub(crate) use write::{establish, read, write_index};

use source::Source;

/// The name in `ports/` and `projects/` that says that a registry file was written for these claims.
pub(crate) const ESTABLISHED: &str = ".portclaim";

/// How often a mapping is tried that could not be adopted when it was found: its port's claimer
/// may be stopped, and no command waits for that.
const AGAIN_ROUNDS_MAX: u32 = 3;

/// What the registry file said before it was taken over.
pub(crate) struct Adopted {
    /// The file, where it was read and sound.
    pub(crate) document: Option<Arc<Document>>,
    /// Its bytes, where it was read.
    pub(crate) bytes: Option<Vec<u8>>,
    /// What is known of a file that says what the claims say.
    settled: Option<Arc<Settled>>,
    /// What a user should hear of.
    pub(crate) notices: Vec<Notice>,
    /// Whether the file must be written anew, whatever the marks say.
    pub(crate) rewrite: bool,
    /// Whether the file was the one that portclaim wrote last.
    is_last: bool,
}

impl Adopted {
    /// Returns the file's `next_available`.
    pub(crate) fn next_available(&self) -> Option<Port> {
        match (&self.settled, &self.document) {
            (Some(settled), _) => settled.next,
            (None, document) => document.as_ref()?.next_available(),
        }
    }

    /// Returns the ports of entries that can be no claims.
    pub(crate) fn spared(&self) -> PortSet {
        match (&self.settled, &self.document) {
            (Some(settled), _) => settled.spared.clone(),
            (None, document) => document.as_deref().map(index::spared).unwrap_or_default(),
        }
    }

    /// Returns the port that the file shows for a holder.
    pub(crate) fn port_of(
        &self,
        place: &Place,
        name: &str,
        holder: &Holder,
    ) -> Result<Option<Port>> {
        match (&self.settled, &self.document) {
            (Some(settled), _) => settled.port_of(&file_of(place, name), holder),
            (None, document) => Ok(document
                .as_deref()
                .and_then(|document| index::port_of(document, holder))),
        }
    }
}

fn file_of<'a>(place: &'a Place, name: &'a str) -> IndexFile<'a> {
    IndexFile {
        root: &place.root,
        name,
    }
}

/// Makes claims of the mappings that portclaim did not write. The file is read only if it is
/// not as it was the last time that portclaim wrote it.
pub(crate) fn adopt_changes(place: &Place, name: &str, range: PortRange) -> Result<Adopted> {
    if let Some(seen) = fingerprint(place, name)?
        && let Some(settled) = recall(place, seen)?
    {
        return Ok(Adopted {
            document: None,
            bytes: None,
            settled: Some(settled),
            notices: Vec::new(),
            rewrite: false,
            is_last: true,
        });
    }
    adopt(place, name, range)
}

/// Returns what is known of the file as it is now.
fn recall(place: &Place, seen: Fingerprint) -> Result<Option<Arc<Settled>>> {
    let there = settled(place).clone().filter(|there| there.is(seen));
    if there.is_some() {
        return Ok(there);
    }
    let found = index::recall(&place.store.index, seen);
    if found.is_none() || !is_established(place)? {
        return Ok(None);
    }
    let found = found.map(Arc::new);
    settled(place).clone_from(&found);
    Ok(found)
}

/// Makes claims of the mappings that portclaim did not write.
///
/// A mapping whose port is another project's is reported; one whose port is being claimed
/// this moment stays in the file, and is looked at again the next time.
pub(crate) fn adopt(place: &Place, name: &str, range: PortRange) -> Result<Adopted> {
    let file = file_of(place, name);
    let path = place.root.path().join(name);
    let mut notices = Vec::new();
    // Taken before the file is read: what is written in between shows the next time.
    let seen = fingerprint(place, name)?;
    let is_known = matches!(seen, Some(seen) if recall(place, seen)?.is_some());
    let is_last =
        is_known || matches!(seen, Some(seen) if index::is_written_last(&place.store.index, seen));
    *settled(place) = None;
    let mut source = Source {
        place,
        name,
        seen,
        ours: PortSet::new(),
        rounds: ROUNDS_MAX,
    };
    let loaded = file.load()?;
    if let (Loaded::Sound(document, _), false) = (&loaded, is_known)
        && let Some(next) = document.next_available()
    {
        place.turn().follow(next, range);
    }
    match loaded {
        Loaded::Missing => Ok(Adopted {
            document: None,
            bytes: None,
            settled: None,
            notices,
            rewrite: true,
            is_last: false,
        }),
        Loaded::Damaged(damage, bytes) => {
            let backup = file.back_up(&place.store, &place.store.staging, &bytes)?;
            let claims = source.adopt_all(salvage(&bytes), false, &mut notices)?;
            let backup = place.root.path().join(backup);
            notices.push(Notice::Damaged {
                path,
                why: damage.to_string(),
                backup,
                claims,
            });
            Ok(Adopted {
                document: None,
                bytes: Some(bytes),
                settled: None,
                notices,
                rewrite: true,
                is_last: false,
            })
        }
        Loaded::Sound(document, bytes) if is_current(place, &document)? => {
            let mut foreign = foreign(&document);
            let rewrite = document.is_edited() || !foreign.is_empty();
            if rewrite {
                if !document.is_edited() {
                    source.rounds = AGAIN_ROUNDS_MAX;
                }
                let present = index::present(&place.store.ports)?;
                source.ours = document.ours().cloned().unwrap_or_default();
                // What portclaim wrote and has no claim any more was released.
                foreign.retain(|&(_, port)| !source.ours.contains(port) || present.contains(port));
                source.adopt_all(foreign, true, &mut notices)?;
            }
            let document = Arc::new(document);
            // Of another file, a write that follows at once might not show, and an older copy may
            // say what the claims do not.
            let found = seen
                .filter(|seen| !rewrite && is_last && seen.is_dated_back())
                .map(|seen| Arc::new(Settled::new(seen, document.clone())));
            settled(place).clone_from(&found);
            Ok(Adopted {
                document: Some(document),
                bytes: Some(bytes),
                settled: found,
                notices,
                rewrite,
                is_last,
            })
        }
        Loaded::Sound(document, bytes) => {
            let backup = file.back_up(&place.store, &place.store.staging, &bytes)?;
            let all = mappings(&document);
            let claims = source.adopt_all(all, false, &mut notices)?;
            notices.extend(document.kept().map(|kept| Notice::Kept {
                key: kept.key,
                why: kept.why.to_string(),
            }));
            let backup = place.root.path().join(backup);
            notices.push(Notice::TakenOver {
                path,
                backup,
                claims,
            });
            Ok(Adopted {
                document: Some(Arc::new(document)),
                bytes: Some(bytes),
                settled: None,
                notices,
                rewrite: true,
                is_last: false,
            })
        }
    }
}

fn settled(place: &Place) -> MutexGuard<'_, Option<Arc<Settled>>> {
    place.settled.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the mappings that somebody else may have written. Where the file is as portclaim wrote
/// it, those that could not be adopted yet; else all, since those that are claims do no harm.
fn foreign(document: &Document) -> Vec<(ProjectPath, Port)> {
    let mut foreign = mappings(document);
    if !document.is_edited() {
        foreign.retain(|&(_, port)| !document.wrote(port));
    }
    foreign
}

fn mappings(document: &Document) -> Vec<(ProjectPath, Port)> {
    document
        .mappings()
        .map(|(path, port)| (path.clone(), port))
        .collect()
}

/// Returns whether portclaim wrote the file for the claims that are here. Where the directory
/// of the claims is new (somebody removed it, or brought only the file along), its mappings
/// are taken over like the Python system's.
fn is_current(place: &Place, document: &Document) -> Result<bool> {
    Ok(document.is_ours() && is_established(place)?)
}

/// Returns whether a registry file was ever written for these claims and commits.
fn is_established(place: &Place) -> Result<bool> {
    for dir in [&place.store.ports, &place.store.projects] {
        let mark = dir.inspect(ESTABLISHED).at(Op::Inspect, dir, ESTABLISHED)?;
        if mark.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn fingerprint(place: &Place, name: &str) -> Result<Option<Fingerprint>> {
    Fingerprint::of(&place.root, name).at(Op::Inspect, &place.root, name)
}
