//! What the registry file was like when portclaim wrote it last: `index/written`. Whoever finds
//! the file like that need not read it: nobody else wrote into it, and it says what the claims say.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Document, IndexFile, Loaded, PortSet, json, spared};
use crate::error::Result;
use crate::fs::Dir;
use crate::fs::fingerprint::Fingerprint;
use crate::fs::os::OsDir;
use crate::fs::slot::Slot;
use crate::port::Port;
use crate::project::Holder;

pub(crate) const NAME: &str = "written";

/// Longest line: five numbers in hexadecimal digits and a port, with room to spare.
const LEN: usize = 120;

/// How often the file is searched for one project before it is read as JSON, which takes as
/// long as some twenty searches.
const SEARCHES_MAX: u32 = 20;

/// A registry file that says nothing new.
pub(crate) struct Settled {
    seen: Fingerprint,
    /// The file, where it was read or written by this process.
    document: Option<Arc<Document>>,
    /// The file's `next_available`.
    pub(crate) next: Option<Port>,
    /// Ports of entries that can be no claims.
    pub(crate) spared: PortSet,
    /// The ports of the file's projects, once they are needed.
    ports: OnceLock<HashMap<String, Port>>,
    /// How often the file was searched, instead of being read.
    searches: AtomicU32,
}

impl Settled {
    pub(crate) fn new(seen: Fingerprint, document: Arc<Document>) -> Settled {
        Settled {
            seen,
            next: document.next_available(),
            spared: spared(&document),
            document: Some(document),
            ports: OnceLock::new(),
            searches: AtomicU32::new(0),
        }
    }

    /// Returns whether the file is still like that.
    pub(crate) fn is(&self, seen: Fingerprint) -> bool {
        seen == self.seen
    }

    /// Returns the port that the file shows for a holder.
    pub(crate) fn port_of(&self, file: &IndexFile<'_>, holder: &Holder) -> Result<Option<Port>> {
        if self.ports.get().is_none() {
            let mut key = String::new();
            json::quote(&mut key, &holder.to_string());
            if self.document.is_none()
                && self.searches.fetch_add(1, Ordering::Relaxed) < SEARCHES_MAX
                && !file.contains(key.as_bytes())?
            {
                return Ok(None);
            }
            let ports = match &self.document {
                Some(document) => ports(document),
                None => match file.load()? {
                    Loaded::Sound(document, _) => ports(&document),
                    Loaded::Missing | Loaded::Damaged(..) => return Ok(None),
                },
            };
            let _ = self.ports.set(ports);
        }
        let ports = self.ports.get();
        Ok(ports.and_then(|ports| ports.get(&*name_of(holder)).copied()))
    }
}

fn ports(document: &Document) -> HashMap<String, Port> {
    let mappings = document.mappings();
    let services = document.services().iter();
    mappings
        .map(|(path, port)| (path.as_str().to_owned(), port))
        .chain(services.map(|(&port, holder)| (name_of(holder).into_owned(), port)))
        .collect()
}

/// Returns what no two holders share. (No path contains a NUL.)
fn name_of(holder: &Holder) -> Cow<'_, str> {
    let project = holder.project().as_str();
    if holder.service().is_empty() {
        return Cow::Borrowed(project);
    }
    Cow::Owned(format!("{project}\0{}", holder.service()))
}

/// Stands in the place of `next_available` where the file must be read all the same.
const READ_IT: &str = "-";

/// Notes what the file is like that portclaim wrote, and where it says what the claims say, and
/// nothing else that a search must know, its `next_available`. Best effort: a file of which nothing
/// is noted is read.
pub(crate) fn note_written(index: &OsDir, seen: Fingerprint, document: &Document) {
    let mut mappings = document.mappings();
    let is_plain =
        document.kept().next().is_none() && mappings.all(|(_, port)| document.wrote(port));
    let next = match document.next_available() {
        Some(next) if is_plain => next.to_string(),
        _ => READ_IT.to_owned(),
    };
    if let Ok(slot) = Slot::open(index, NAME) {
        let _ = slot.write(&format!("{seen} {next}"), LEN);
    }
}

/// Returns whether the file that is like this now is the one that portclaim wrote last. One that
/// it wrote before, and that somebody has put back, may show other holders than the claims.
pub(crate) fn is_written_last(index: &OsDir, seen: Fingerprint) -> bool {
    read(index).is_some_and(|(noted, _)| noted == seen.to_string())
}

fn read(index: &OsDir) -> Option<(String, String)> {
    let line = index.read(NAME, LEN + 1).ok()?;
    // Something may stand behind the line that no writer removes.
    let line = line.split(|&byte| byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (noted, next) = line.trim_end().split_once(' ')?;
    Some((noted.to_owned(), next.to_owned()))
}

/// Returns what the file says that is like this now, if portclaim wrote it last and noted that.
pub(crate) fn recall(index: &OsDir, seen: Fingerprint) -> Option<Settled> {
    let (noted, next) = read(index)?;
    let next: Port = next.parse().ok()?;
    (noted == seen.to_string()).then(|| Settled {
        seen,
        next: Some(next),
        spared: PortSet::new(),
        document: None,
        ports: OnceLock::new(),
        searches: AtomicU32::new(0),
    })
}
