//! Writes the registry file, and takes over first what others wrote into it.

use std::sync::Arc;

use super::{Adopted, ESTABLISHED, adopt, file_of, foreign, settled};
use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::index::{self, Document, Dropped, Loaded, Settled, remove_staged};
use crate::notice::Notice;
use crate::place::Place;
use crate::port::PortRange;
use crate::protocol::{Context, Durability, Marked, ROUNDS_MAX, pause};

/// Reads the registry file: `None` where there is none, or a damaged one.
pub(crate) fn read(place: &Place, name: &str) -> Result<Option<Document>> {
    Ok(match file_of(place, name).load()? {
        Loaded::Sound(document, _) => Some(document),
        Loaded::Missing | Loaded::Damaged(..) => None,
    })
}

/// Writes the registry file anew from the claims, and what others added to it. Call it under
/// the index lock. All claims are read if `fully` says so or the file is not the one that portclaim
/// wrote last, else those that changed.
pub(crate) fn write_index(
    place: &Place,
    name: &str,
    range: PortRange,
    marked: &[Marked],
    fully: bool,
) -> Result<Vec<Notice>> {
    let file = file_of(place, name);
    let mut all = Vec::new();
    for round in 0..ROUNDS_MAX {
        let Adopted {
            document,
            bytes,
            notices,
            settled: known,
            is_last,
            ..
        } = adopt(place, name, range)?;
        drop(known);
        all.extend(notices);
        let turn = (place.turn().last(), range);
        let is_sound = document.is_some();
        // With this, the only copy can be worked on.
        *settled(place) = None;
        let mut document = document.map_or_else(|| Document::new(range), Arc::unwrap_or_clone);
        let update = if fully || !is_sound || !is_last {
            index::update_fully
        } else {
            index::update
        };
        let dropped = update(&mut document, &place.store, marked, turn)?;
        let updated = document.to_bytes();
        // Before the file says that it is portclaim's: else it would be taken over once more.
        establish(place)?;
        let read = bytes.as_deref();
        let durability = if document.has_more() {
            Durability::Durable
        } else {
            Durability::Volatile
        };
        let is_as_before = read == Some(&updated);
        let mut written = None;
        if !is_as_before {
            let (store, staging) = (&place.store, &place.store.staging);
            written = file.replace_if(store, staging, read, &updated, durability)?;
        }
        if let Some(seen) = written {
            index::note_written(&place.store.index, seen, &document);
            // What could not be adopted is tried again.
            if foreign(&document).is_empty() {
                *settled(place) = Some(Arc::new(Settled::new(seen, Arc::new(document))));
            }
        }
        if is_as_before || written.is_some() {
            all.extend(dropped.into_iter().map(
                |Dropped {
                     project,
                     port,
                     holder,
                 }| Notice::Conflict {
                    project,
                    port,
                    holder,
                },
            ));
            remove_staged(&place.store.staging)?;
            return Ok(all);
        }
        // Somebody wrote the file meanwhile, or is writing it: what they wrote is read first.
        pause(round);
    }
    Err(Error::contended(place.root.path().join(name)))
}

/// Notes that a registry file was written for these claims, durably: else a file that is
/// older than a power cut would be taken for one that was brought along.
pub(crate) fn establish(place: &Place) -> Result<()> {
    for dir in [&place.store.ports, &place.store.projects] {
        match dir.create(ESTABLISHED) {
            Ok(_) => dir.sync().on(Op::Sync, dir)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).at(Op::Create, dir, ESTABLISHED),
        }
    }
    Ok(())
}
