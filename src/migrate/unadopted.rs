//! What the registry file says and cannot be made claims of: nothing can be written.

use std::collections::{BTreeMap, HashSet};

use super::{foreign, is_current, mappings};
use crate::error::Result;
use crate::fs::os::OsDir;
use crate::index::{self, Document, IndexFile, Loaded, PortSet, salvage};
use crate::place::Place;
use crate::port::Port;
use crate::project::{Holder, ProjectPath};
use crate::protocol::{Lookup, lookup};
use crate::record::{Nonce, Record};

/// The mappings of a registry file that would become claims if they could.
#[derive(Default)]
pub(crate) struct Unadopted {
    /// What the claims would say, by port. Their nonce is no claim's.
    pub(crate) records: BTreeMap<Port, Record>,
    /// The file, where it is sound.
    pub(crate) document: Option<Document>,
}

/// Reads the registry file `name` of `root` as [`adopt`](super::adopt) does, and writes nothing.
/// `place` is `None` where there are no directories for claims yet.
///
/// A project that has a claim, a port that has one, and the second project of a port are left
/// out: the file would be overruled there.
pub(crate) fn unadopted(root: &OsDir, name: &str, place: Option<&Place>) -> Result<Unadopted> {
    let file = IndexFile { root, name };
    let mut found = Unadopted::default();
    let mut taken = match place {
        Some(place) => index::present(&place.store.ports)?,
        None => PortSet::new(),
    };
    let mappings = match file.load()? {
        Loaded::Missing => Vec::new(),
        Loaded::Damaged(_, bytes) => salvage(&bytes),
        Loaded::Sound(document, _) => {
            let mappings = adoptable(&document, place)?;
            found.document = Some(document);
            mappings
        }
    };
    let mut projects = HashSet::new();
    for (project, port) in mappings {
        let holder = Holder::new(project.clone());
        // A commit that cannot be read is its project's all the same.
        let is_held = place.is_some_and(|place| {
            matches!(
                lookup(&place.store, &holder),
                Ok(Lookup::Held(..) | Lookup::Hidden(_)) | Err(_)
            )
        });
        if !is_held && projects.insert(project) && taken.insert(port) {
            let record = Record::new(port, Nonce::NONE, holder);
            found.records.insert(port, record);
        }
    }
    Ok(found)
}

/// Returns the mappings that portclaim did not write.
fn adoptable(document: &Document, place: Option<&Place>) -> Result<Vec<(ProjectPath, Port)>> {
    let is_current = match place {
        Some(place) => is_current(place, document)?,
        None => false,
    };
    if !is_current {
        return Ok(mappings(document));
    }
    let mut foreign = foreign(document);
    // Whose claim is gone was released.
    foreign.retain(|&(_, port)| !document.wrote(port));
    Ok(foreign)
}
