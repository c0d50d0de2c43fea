//! A registry's directories, open.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use camino::{Utf8Path, Utf8PathBuf};

use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::fs::os::OsDir;
use crate::index::{Settled, Turn};
use crate::protocol::{Context, Durability, Store};
use crate::record::Nonce;

/// The claims.
pub(crate) const PORTS: &str = "ports";

/// The commits.
pub(crate) const PROJECTS: &str = "projects";

/// Files that are being written.
const STAGING: &str = "staging";

/// What is known of the registry file: marks, hints, locks.
const INDEX: &str = "index";

/// Where damaged files are moved to.
pub(crate) const QUARANTINE: &str = "quarantine";

/// Where it is noted since when projects are missing.
pub(crate) const MISSING: &str = "missing";

/// Locks that say which ports programs run on.
pub(crate) const RUNNING: &str = "running";

/// What resets released.
pub(crate) const BACKUPS: &str = "backups";

/// All of them: no registry file can be called so.
pub(crate) const DIRECTORIES: [&str; 8] = [
    PORTS, PROJECTS, STAGING, INDEX, QUARANTINE, MISSING, RUNNING, BACKUPS,
];

/// How the user's configuration is called that lies beside a registry file: nor can one be called so.
pub(crate) const CONFIGURATION: &str = "portclaim.toml";

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
        match open_with(root, OsDir::open_root, OsDir::open_dir, durability) {
            Ok(place) => Ok(Some(place)),
            Err((error, _)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err((error, path)) => Err(Error::io(Op::Open, path, error)),
        }
    }

    /// Opens the registry in `root`, and creates what is missing of it.
    pub(crate) fn create(root: &Utf8Path, durability: Durability) -> Result<Place> {
        open_with(root, OsDir::create_root, OsDir::create_dir, durability)
            .map_err(|(error, path)| Error::io(Op::CreateDirectory, path, error))
    }

    /// Opens the directory for damaged files, and creates it where it is missing.
    pub(crate) fn quarantine(&self) -> Result<OsDir> {
        self.create_dir(QUARANTINE)
    }

    /// Opens the directory for what is known of missing projects; `None` where there is none.
    pub(crate) fn missing(&self) -> Result<Option<OsDir>> {
        match self.root.open_dir(MISSING) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at(Op::Open, &self.root, MISSING),
        }
    }

    /// Opens one of the directories that most registries do not have; `None` where there is none, or
    /// its mode keeps this user out.
    pub(crate) fn side(&self, name: &str) -> Result<Option<OsDir>> {
        match self.root.open_dir(name) {
            Ok(dir) => Ok(Some(dir)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).at(Op::Open, &self.root, name),
        }
    }

    /// Opens one of the registry's directories, and creates it where it is missing.
    pub(crate) fn create_dir(&self, name: &str) -> Result<OsDir> {
        let root = &self.root;
        root.create_dir(name).at(Op::CreateDirectory, root, name)
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

/// Opens the directory of a registry; `None` where there is none.
pub(crate) fn open_root(path: &Utf8Path) -> Result<Option<OsDir>> {
    match OsDir::open_root(path) {
        Ok(root) => Ok(Some(root)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(Op::Open, path, error)),
    }
}

/// Where it fails, the error and the directory that it is about.
fn open_with(
    path: &Utf8Path,
    root: fn(&Utf8Path) -> io::Result<OsDir>,
    dir: fn(&OsDir, &str) -> io::Result<OsDir>,
    durability: Durability,
) -> Result<Place, (io::Error, Utf8PathBuf)> {
    let root = root(path).map_err(|error| (error, path.to_owned()))?;
    let open = |name: &str| dir(&root, name).map_err(|error| (error, root.path().join(name)));
    // `ports` is created last: where it exists, the others do.
    let projects = open(PROJECTS)?;
    let staging = open(STAGING)?;
    let index = open(INDEX)?;
    let ports = open(PORTS)?;
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
