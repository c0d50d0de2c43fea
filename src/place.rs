//! A registry's directories, open.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use camino::Utf8Path;

use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::fs::os::OsDir;
use crate::index::{Settled, Turn};
use crate::protocol::{Durability, Store};
use crate::record::Nonce;

/// Where damaged files are moved to.
pub(crate) const QUARANTINE: &str = "quarantine";

/// Where it is noted since when projects are missing.
pub(crate) const MISSING: &str = "missing";

/// A registry's directories.
pub(crate) struct Place {
    pub(crate) root: OsDir,
    pub(crate) store: Store<OsDir>,
    /// The registry file as it was when it was looked at last, and nothing was to be adopted.
    pub(crate) settled: Mutex<Option<Arc<Settled>>>,
    turn: OnceLock<Turn>,
}

impl Place {
    /// Opens a registry in `root` that exists; `None` where there is none.
    pub(crate) fn open(root: &Utf8Path, durability: Durability) -> Result<Option<Place>> {
        match open_with(OsDir::open_root(root), durability, OsDir::open_dir) {
            Err((error, path)) if error.kind() == io::ErrorKind::NotFound => {
                drop(path);
                Ok(None)
            }
            Err((error, path)) => Err(Error::io(
                Op::Open,
                path.unwrap_or_else(|| root.to_owned()),
                error,
            )),
            Ok(place) => Ok(Some(place)),
        }
    }

    /// Opens the registry in `root`, and creates what is missing of it.
    pub(crate) fn create(root: &Utf8Path, durability: Durability) -> Result<Place> {
        open_with(OsDir::create_root(root), durability, OsDir::create_dir).map_err(
            |(error, path)| {
                Error::io(
                    Op::CreateDirectory,
                    path.unwrap_or_else(|| root.to_owned()),
                    error,
                )
            },
        )
    }

    /// Opens the directory for damaged files, and creates it where it is missing.
    pub(crate) fn quarantine(&self) -> Result<OsDir> {
        self.root.create_dir(QUARANTINE).map_err(|error| {
            Error::io(
                Op::CreateDirectory,
                self.root.path().join(QUARANTINE),
                error,
            )
        })
    }

    /// Opens the directory for what is known of missing projects; `None` where there is none.
    pub(crate) fn missing(&self) -> Result<Option<OsDir>> {
        match self.root.open_dir(MISSING) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(Op::Open, self.root.path().join(MISSING), error)),
        }
    }

    /// The same, and creates it where it is missing.
    pub(crate) fn create_missing(&self) -> Result<OsDir> {
        self.root.create_dir(MISSING).map_err(|error| {
            let path = self.root.path().join(MISSING);
            Error::io(Op::CreateDirectory, path, error)
        })
    }

    /// Returns where the search for a free port goes on.
    pub(crate) fn turn(&self) -> &Turn {
        self.turn.get_or_init(|| Turn::open(&self.store.index))
    }

    /// Returns the directories that belong to portclaim alone.
    pub(crate) fn own_dirs(&self) -> [&OsDir; 4] {
        let Store {
            ports,
            projects,
            staging,
            index,
            ..
        } = &self.store;
        [ports, projects, staging, index]
    }
}

type Opened<T> = std::result::Result<T, (io::Error, Option<camino::Utf8PathBuf>)>;

fn open_with(
    root: io::Result<OsDir>,
    durability: Durability,
    dir: fn(&OsDir, &str) -> io::Result<OsDir>,
) -> Opened<Place> {
    let root = root.map_err(|error| (error, None))?;
    let open = |name: &str| dir(&root, name).map_err(|error| (error, Some(root.path().join(name))));
    // `ports` is created last: where it exists, the others do.
    let projects = open("projects")?;
    let staging = open("staging")?;
    let index = open("index")?;
    let ports = open("ports")?;
    let draw = Box::new(Nonce::random);
    Ok(Place {
        store: Store {
            ports,
            projects,
            staging,
            index,
            durability,
            draw,
        },
        root,
        settled: Mutex::default(),
        turn: OnceLock::new(),
    })
}
