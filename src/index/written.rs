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
    let line = index.read(NAME, LEN).ok()?;
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

#[cfg(all(test, not(loom)))]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::index::services::Services;
    use crate::port::PortRange;
    use crate::project::ProjectPath;

    const FILE: &str = "registry.json";

    fn port(number: u16) -> Port {
        Port::new(number).expect("port")
    }

    fn path(text: &str) -> ProjectPath {
        ProjectPath::from_normal(text).expect("normal")
    }

    /// As portclaim writes it: `/a` has port 1, and its service `web` port 2.
    fn document() -> Document {
        let mut document = Document::new(PortRange::DEFAULT);
        document.assign([(path("/a"), port(1))]);
        document.set_next_available(port(3));
        document.set_ours([port(1)].into_iter().collect());
        document.set_checksum();
        document.set_services(Services::from([(port(2), web("/a"))]));
        document
    }

    fn web(project: &str) -> Holder {
        Holder::with_service(path(project), "web".to_owned())
    }

    /// A directory with the file, which is also that of the hints.
    fn dir_with(document: &Document) -> (tempfile::TempDir, OsDir, Fingerprint) {
        let temporary = tempfile::tempdir().expect("a directory");
        let dir = Utf8Path::from_path(temporary.path()).expect("UTF-8");
        let dir = OsDir::open_root(dir).expect("opens");
        put(&dir, &document.to_bytes());
        let seen = seen(&dir);
        (temporary, dir, seen)
    }

    fn put(dir: &OsDir, bytes: &[u8]) {
        let file = dir.create(FILE).expect("it is new");
        dir.write(&file, bytes).expect("writes");
    }

    fn seen(dir: &OsDir) -> Fingerprint {
        let seen = Fingerprint::of(dir, FILE).expect("told");
        seen.expect("it is there")
    }

    fn file(root: &OsDir) -> IndexFile<'_> {
        IndexFile { root, name: FILE }
    }

    #[test]
    fn a_file_that_is_as_it_was_written_need_not_be_read() {
        let document = document();
        let (_temporary, dir, seen_first) = dir_with(&document);
        assert!(recall(&dir, seen_first).is_none(), "nothing is noted");
        assert!(!is_written_last(&dir, seen_first));
        note_written(&dir, seen_first, &document);
        let settled = recall(&dir, seen_first).expect("it was noted");
        assert_eq!(settled.next, Some(port(3)));
        assert!(settled.is(seen_first) && is_written_last(&dir, seen_first));
        // Somebody writes another file.
        dir.remove(FILE).expect("it is there");
        put(&dir, b"{}");
        let other = seen(&dir);
        assert!(recall(&dir, other).is_none());
        assert!(!settled.is(other) && !is_written_last(&dir, other));
    }

    #[test]
    fn a_file_that_says_more_than_the_claims_is_read_all_the_same() {
        for more in ["\"/b\": 5", "\"relative\": 5", "\"/b\": null"] {
            let text = String::from_utf8(document().to_bytes()).expect("text");
            let text = text.replace("\"/a\": 1", &format!("\"/a\": 1, {more}"));
            let document = Document::parse(text.as_bytes()).expect("sound");
            let (_temporary, dir, seen) = dir_with(&document);
            note_written(&dir, seen, &document);
            assert!(recall(&dir, seen).is_none(), "{more}");
            assert!(is_written_last(&dir, seen), "{more}");
        }
    }

    #[test]
    fn a_hint_that_is_damaged_is_none() {
        let document = document();
        let (_temporary, dir, seen) = dir_with(&document);
        let line = format!("{seen} 3");
        for text in [
            "",
            " ",
            "3",
            &line[1..],
            &line[..line.len() - 1],
            "\u{fffd}",
        ] {
            let slot = Slot::open(&dir, NAME).expect("opens");
            slot.write(text, LEN).expect("writes");
            assert!(recall(&dir, seen).is_none(), "{text}");
        }
        // What stands behind the line, no writer removes.
        let slot = Slot::open(&dir, NAME).expect("opens");
        slot.write(&"x".repeat(200), 0).expect("writes");
        slot.write(&line, LEN).expect("writes");
        assert!(recall(&dir, seen).is_some());
    }

    #[test]
    fn whose_port_the_file_shows_is_told_of_projects_and_services() {
        let document = document();
        let (_temporary, dir, seen) = dir_with(&document);
        note_written(&dir, seen, &document);
        let new = || Settled::new(seen, Arc::new(document.clone()));
        let recalled = || recall(&dir, seen).expect("it was noted");
        for settled in [new(), recalled()] {
            for (holder, expected) in [
                (Holder::new(path("/b")), None),
                (Holder::new(path("/a")), Some(1)),
                (web("/a"), Some(2)),
                (web("/b"), None),
            ] {
                let found = settled.port_of(&file(&dir), &holder).expect("told");
                assert_eq!(found.map(Port::get), expected, "{holder}");
            }
        }
        // Of a file that is gone, what was read before is known.
        let (read, unread) = (new(), recalled());
        dir.remove(FILE).expect("it is there");
        let port_of = |settled: &Settled| {
            let found = settled.port_of(&file(&dir), &web("/a")).expect("told");
            found.map(Port::get)
        };
        assert_eq!((port_of(&read), port_of(&unread)), (Some(2), None));
    }

    #[test]
    fn a_file_that_is_searched_often_is_read_once() {
        let document = document();
        let (_temporary, dir, seen) = dir_with(&document);
        note_written(&dir, seen, &document);
        let settled = recall(&dir, seen).expect("it was noted");
        for _ in 0..SEARCHES_MAX {
            assert!(settled.ports.get().is_none(), "one search is faster");
            let absent = Holder::new(path("/b"));
            assert_eq!(settled.port_of(&file(&dir), &absent).expect("told"), None);
        }
        assert!(settled.ports.get().is_none());
        let absent = Holder::new(path("/b"));
        assert_eq!(settled.port_of(&file(&dir), &absent).expect("told"), None);
        assert!(settled.ports.get().is_some());
        let there = Holder::new(path("/a"));
        let found = settled.port_of(&file(&dir), &there).expect("told");
        assert_eq!(found, Some(port(1)));
    }
}
