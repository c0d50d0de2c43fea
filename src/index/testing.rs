//! What tests of this room share: a registry's directories on the real disk.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};

use camino::Utf8Path;

use super::IndexFile;
use crate::error::Result;
use crate::fs::Dir;
use crate::fs::fingerprint::Fingerprint;
use crate::fs::os::OsDir;
use crate::port::Port;
use crate::project::Holder;
use crate::protocol::{Durability, Marked, Store, marks};
use crate::record::{Nonce, Record, claim_name};

pub(super) const FILE: &str = "registry.json";

pub(super) const SOUND: &[u8] = b"{\"mappings\": {}}";

/// A directory with those of a registry in it.
pub(super) struct Disk {
    /// Removed with all that is in it.
    _temporary: tempfile::TempDir,
    pub(super) root: OsDir,
    pub(super) store: Store<OsDir>,
}

impl Disk {
    pub(super) fn new() -> Disk {
        let temporary = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(temporary.path()).expect("UTF-8");
        let root = OsDir::open_root(path).expect("opens");
        let dir = |name| root.create_dir(name).expect("a directory");
        let count = AtomicU8::new(0);
        let store = Store {
            ports: dir("ports"),
            projects: dir("projects"),
            staging: dir("staging"),
            index: dir("index"),
            durability: Durability::Durable,
            draw: Box::new(move || {
                Ok(Nonce::from_bytes(
                    [count.fetch_add(1, Ordering::Relaxed); 16],
                ))
            }),
        };
        Disk {
            _temporary: temporary,
            root,
            store,
        }
    }

    pub(super) fn file(&self) -> IndexFile<'_> {
        IndexFile {
            root: &self.root,
            name: FILE,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "as another program, which knows nothing of this one"
    )]
    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.root.path().join(name), bytes).expect("writes");
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "as another program, which knows nothing of this one"
    )]
    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.root.path().join(name)).expect("reads")
    }

    /// Somebody removes all of it.
    #[expect(
        clippy::disallowed_methods,
        reason = "as another program, which knows nothing of this one"
    )]
    pub(super) fn vanish(&self) {
        std::fs::remove_dir_all(self.root.path()).expect("it is there");
    }

    pub(super) fn staged(&self) -> Vec<String> {
        let mut names = self.store.staging.names().expect("names");
        names.sort();
        names
    }

    pub(super) fn back_up(&self, bytes: &[u8]) -> Result<String> {
        self.file().back_up(&self.store, &self.store.staging, bytes)
    }

    pub(super) fn replace_if(&self, read: Option<&[u8]>, bytes: &[u8]) -> Option<Fingerprint> {
        let (store, staging) = (&self.store, &self.store.staging);
        let replaced = self
            .file()
            .replace_if(store, staging, read, bytes, Durability::Volatile);
        assert_eq!(self.staged(), [""; 0], "nothing is left");
        replaced.expect("no error")
    }

    /// Puts the claim of a holder there, and its commit.
    pub(super) fn hold(&self, holder: &Holder, number: u16) {
        let record = Record::new(port(number), Nonce::from_bytes([7; 16]), holder.clone());
        let line = record.encode();
        self.put(&format!("ports/{}", claim_name(port(number))), &line);
        self.put(&format!("projects/{}", holder.key()), &line);
    }

    /// Takes it away, as a release does, and leaves no mark.
    pub(super) fn release(&self, holder: &Holder, number: u16) {
        let claim = claim_name(port(number));
        self.store.ports.remove(&claim).expect("it is there");
        self.store
            .projects
            .remove(holder.key())
            .expect("it is there");
    }

    pub(super) fn mark(&self, number: u16) -> Vec<Marked> {
        self.put(&format!("index/changed-{number}-{}", "ef".repeat(16)), b"");
        marks(&self.store.index).expect("marks")
    }
}

pub(super) fn port(number: u16) -> Port {
    Port::new(number).expect("a port")
}

/// Opens a file as another process does that holds its lock.
pub(super) fn locked(dir: &OsDir, name: &str) -> OwnedFd {
    let file = dir.open(name).expect("opens");
    assert!(dir.try_lock(&file).expect("a lock"));
    file
}
