//! The registry as its users see it: composes the other rooms, decides nothing twice.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use crate::error::{Op, Result};
use crate::fs::mount::Filesystem;
use crate::migrate::{self, Adopted};
use crate::notice::Notice;
use crate::place::{PORTS, PROJECTS, Place, open_root};
use crate::port::PortRange;
use crate::protocol::{Context, marks};

mod block;
mod claims;
mod lease;
mod look;
mod moves;
mod options;
mod overview;
mod refresh;
mod request;
mod search;
mod terms;
mod view;

pub use options::{DEFAULT_FILE_NAME, IndexPolicy, Options};
pub use overview::{Overview, Summary};
pub(crate) use refresh::WAITER_NAME;
pub use request::Request;
pub use view::{PortState, Records};

/// A registry of ports: a directory of claims.
///
/// Clones are the same registry. It may be used from any number of threads and processes
/// at once; every operation opens its own files, so that threads exclude each other just
/// as processes do.
///
/// ```
/// let registry = portclaim::Registry::open("/no-such-directory")?;
/// let clone = registry.clone();
/// assert_eq!(std::thread::spawn(move || clone.range()).join().unwrap(), registry.range());
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    root: Utf8PathBuf,
    options: Options,
    place: OnceLock<Place>,
    notices: Mutex<Vec<Notice>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("root", &self.inner.root)
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens the registry in the directory `root` with the default [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// // Nothing is created before the first claim.
    /// let registry = portclaim::Registry::open("/no-such-directory")?;
    /// assert_eq!(registry.records()?.count(), 0);
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn open(root: impl Into<Utf8PathBuf>) -> Result<Registry> {
        Options::default().open(root)
    }

    fn open_with(root: Utf8PathBuf, options: Options) -> Result<Registry> {
        let registry = Registry {
            inner: Arc::new(Inner {
                root,
                options,
                place: OnceLock::new(),
                notices: Mutex::default(),
            }),
        };
        registry.place()?;
        Ok(registry)
    }

    /// Returns the default options, to be changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Durability, Registry};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = camino::Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
    /// let options = Registry::options().range("20000-20099".parse()?);
    /// let registry = options.durability(Durability::Volatile).open(root)?;
    /// assert_eq!(registry.range().len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn options() -> Options {
        Options::default()
    }

    /// Returns the directory of the registry.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::Registry;
    /// let registry = Registry::options().open_file("/no-such-directory/ports.json")?;
    /// assert_eq!(registry.root(), "/no-such-directory");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.inner.root
    }

    /// Returns the path of the registry file, which may not exist.
    ///
    /// ```
    /// let registry = portclaim::Registry::open("/no-such").unwrap();
    /// assert_eq!(registry.index_path(), "/no-such/port_registry.json");
    /// ```
    #[must_use]
    pub fn index_path(&self) -> Utf8PathBuf {
        self.inner.root.join(&self.inner.options.file_name)
    }

    /// Returns the range that new ports come from.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{PortRange, Registry};
    /// let registry = Registry::open("/no-such-directory")?;
    /// assert_eq!(registry.range(), PortRange::DEFAULT);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn range(&self) -> PortRange {
        self.inner.options.range
    }

    /// Returns the file system of the registry's directory, `None` where that does not exist. It
    /// decides which guarantees hold there; [`Filesystem`] has an example.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the directory cannot be opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::Registry;
    /// # let dir = tempfile::tempdir()?;
    /// # let root = camino::Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
    /// let registry = Registry::open(root)?;
    /// let filesystem = registry.filesystem()?.expect("the directory exists");
    /// if !filesystem.locks() {
    ///     eprintln!("{filesystem}: what killed processes leave is not swept here");
    /// }
    /// assert_eq!(Registry::open("/no-such-directory")?.filesystem()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filesystem(&self) -> Result<Option<Filesystem>> {
        if let Some(place) = self.place()? {
            return Ok(Some(place.root.filesystem().clone()));
        }
        let root = open_root(&self.inner.root)?;
        Ok(root.map(|root| root.filesystem().clone()))
    }

    /// Takes the notices that have gathered: what operations met besides their results.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Notice, Registry};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = camino::Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
    /// std::fs::write(root.join("port_registry.json"), r#"{"mappings": {"/home/a/shop": 9000}}"#)?;
    /// let registry = Registry::open(root)?;
    /// assert_eq!(registry.records()?.count(), 1);
    /// let notices = registry.take_notices();
    /// assert!(matches!(notices[..], [Notice::TakenOver { claims: 1, .. }]));
    /// assert!(registry.take_notices().is_empty(), "they are taken once");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(
            &mut self
                .inner
                .notices
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Makes claims of what others wrote into the registry file. The file is read only if it
    /// is not as it was the last time.
    fn adopt(&self, place: &Place) -> Result<Adopted> {
        let mut adopted = migrate::adopt_changes(place, self.file_name(), self.range())?;
        self.notice(std::mem::take(&mut adopted.notices));
        Ok(adopted)
    }

    /// The same before reading, and the index follows; also where a process was killed
    /// before it could bring it up to date.
    fn adopt_and_refresh(&self, place: &Place) -> Result<()> {
        let rewrite = self.adopt(place)?.rewrite;
        if rewrite || !marks(&place.store.index)?.is_empty() {
            self.changed(place, rewrite);
        }
        Ok(())
    }

    fn notice(&self, notices: Vec<Notice>) {
        if !notices.is_empty() {
            let mut all = self
                .inner
                .notices
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // The index is read more than once; each thing is told once.
            for notice in notices {
                if !all.iter().any(|told| told.is_same_event(&notice)) {
                    all.push(notice);
                }
            }
        }
    }

    /// Returns the open directories, `None` where there is no registry.
    pub(crate) fn place(&self) -> Result<Option<&Place>> {
        if let Some(place) = self.inner.place.get() {
            return Ok(Some(place));
        }
        Ok(
            match Place::open(&self.inner.root, self.inner.options.durability)? {
                Some(place) => Some(self.inner.place.get_or_init(|| place)),
                None => None,
            },
        )
    }

    /// The same, and creates it where there is none.
    pub(crate) fn place_for_writing(&self) -> Result<&Place> {
        if let Some(place) = self.place()? {
            return Ok(place);
        }
        let place = Place::create(&self.inner.root, self.inner.options.durability)?;
        Ok(self.inner.place.get_or_init(|| place))
    }

    /// The same, and creates it where there is a registry file that is to be taken over, or claims
    /// without the other directories: whoever copies files may leave out what is empty.
    pub(crate) fn place_with_file(&self) -> Result<Option<&Place>> {
        if let Some(place) = self.place()? {
            return Ok(Some(place));
        }
        let Some(root) = open_root(&self.inner.root)? else {
            return Ok(None);
        };
        let there = |name: &str| root.inspect(name).at(Op::Inspect, &root, name);
        let is_dir = |name| Ok(there(name)?.is_some_and(|meta| meta.is_dir));
        if there(self.file_name())?.is_some() || is_dir(PORTS)? && is_dir(PROJECTS)? {
            return self.place_for_writing().map(Some);
        }
        Ok(None)
    }

    pub(crate) fn file_name(&self) -> &str {
        &self.inner.options.file_name
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync + 'static>() {}
    shared_between_threads::<Registry>();
};
