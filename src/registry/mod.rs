//! The registry as its users see it: composes the other rooms, decides nothing twice.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use crate::claim::Claim;
use crate::error::{Error, Op, Result};
use crate::fs::mount::Filesystem;
use crate::migrate::{self, Adopted};
use crate::notice::Notice;
use crate::place::{PORTS, PROJECTS, Place, open_root};
use crate::port::PortRange;
use crate::project::Holder;
use crate::protocol::{Context, Lookup, Released, held, make_durable, marks, release};
use crate::record::Record;

mod block;
mod lease;
mod look;
mod moves;
mod options;
mod refresh;
mod request;
mod search;
mod terms;
mod view;

use search::look_all;

pub use options::{DEFAULT_FILE_NAME, IndexPolicy, Options};
pub(crate) use refresh::WAITER_NAME;
pub use request::Request;
pub use view::{PortState, Records, Summary};

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

    /// Returns the holder's port, and gives it one if it has none. Idempotent: whoever asks,
    /// and how often, is told the same port until it is released.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) where the range has no port left,
    /// [`ErrorKind::Taken`](crate::ErrorKind::Taken) where a certain port was asked for and
    /// is not to be had, [`ErrorKind::HasAnother`](crate::ErrorKind::HasAnother) where the holder
    /// has another one, [`ErrorKind::Contended`](crate::ErrorKind::Contended) where others kept it
    /// from an answer, [`ErrorKind::Io`](crate::ErrorKind::Io) and
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where the registry cannot be used.
    /// After an error the holder has no port that it had not before, with one exception: a claim
    /// that the disk failed to flush may stand, and the next call flushes and returns it.
    ///
    /// # Races
    ///
    /// A port is probed after it was claimed, and is free at that moment. Programs that do
    /// not ask the registry can still bind it before the holder does; see [`Claim::bind`].
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// let registry = Registry::open(root)?;
    /// let request = Request::new(Holder::new(ProjectPath::resolve(".")?));
    /// let port = registry.claim(&request)?.port();
    /// assert_eq!(registry.claim(&request)?.port(), port);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim(&self, request: &Request) -> Result<Claim> {
        let mut claims = self.claim_all(std::slice::from_ref(request))?;
        Ok(claims.remove(0))
    }

    /// Returns the ports of several holders, as [`Registry::claim`] does, in the order of the
    /// requests: of all of them, or after an error of none that had not one before.
    ///
    /// # Errors
    ///
    /// As [`Registry::claim`], for the first that cannot be had. Only a disk that fails in the
    /// middle can leave some of them with a port; the next call returns those.
    ///
    /// # Races
    ///
    /// As [`Registry::claim`].
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// let registry = Registry::options().range("20000-20001".parse()?).open(root)?;
    /// let shop = ProjectPath::from_normal("/home/a/shop")?;
    /// let request = |service| Holder::of_service(shop.clone(), service).map(Request::new);
    /// let two = registry.claim_all(&[request("web")?, request("db")?])?;
    /// assert_ne!(two[0].port(), two[1].port());
    /// // There are two ports: nobody is given one of three.
    /// let [a, b, c] = ["/a", "/b", "/c"].map(|path| ProjectPath::from_normal(path).map(Holder::new));
    /// assert!(registry.claim_all(&[a, b, c].map(|holder| Request::new(holder.unwrap()))).is_err());
    /// assert_eq!(registry.records()?.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim_all(&self, requests: &[Request]) -> Result<Vec<Claim>> {
        if requests.iter().all(|request| request.term.is_kept()) {
            return self.claim_as_it_is(requests);
        }
        self.claim_and_extend(requests)
    }

    /// The same without looking at the terms of what is held.
    fn claim_as_it_is(&self, requests: &[Request]) -> Result<Vec<Claim>> {
        let place = self.place_for_writing()?;
        let seen = look_all(place, requests)?;
        for (request, seen) in requests.iter().zip(&seen) {
            if let Lookup::Held(record, _) = seen {
                request.check_existing(record)?;
            }
        }
        if seen.iter().all(|seen| matches!(seen, Lookup::Held(..))) {
            let mut claims = Vec::with_capacity(seen.len());
            for seen in seen {
                if let Lookup::Held(record, flushed) = seen {
                    make_durable(&place.store, &record, flushed)?;
                    claims.push(Claim::new(self.clone(), record, false));
                }
            }
            return Ok(claims);
        }
        let file = self.adopt(place)?;
        let rewrite = file.rewrite;
        let acquired = self.acquire_all(place, requests, seen, &file);
        drop(file);
        self.changed(place, rewrite);
        Ok(self.claims(acquired?))
    }

    /// Returns the record of the holder's port, `None` where it has none.
    ///
    /// A mapping that others wrote into the registry file becomes a claim first. Where nothing can
    /// be written, it is told all the same; see [`Notice::NotTakenOver`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt)
    /// where the registry cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// assert_eq!(registry.find(&shop)?, None);
    /// let record = registry.claim(&Request::new(shop.clone()))?.keep();
    /// assert_eq!(registry.find(&shop)?, Some(record));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find(&self, holder: &Holder) -> Result<Option<Record>> {
        if let Some(place) = self.place()?
            && let Some(record) = held(&place.store, holder)?
        {
            return Ok(Some(record));
        }
        let look = self.look()?;
        if let Some(place) = look.place
            && let Some(record) = held(&place.store, holder)?
        {
            return Ok(Some(record));
        }
        let mut unadopted = look.unadopted.records.into_values();
        Ok(unadopted.find(|record| record.holder() == holder))
    }

    /// Releases exactly this claim, never a later one of the same port or holder. The
    /// [crate](crate) has an example.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Superseded`](crate::ErrorKind::Superseded) where it is not there any more;
    /// otherwise as [`Registry::release_holder`], whose races it shares.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = camino::Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
    /// # let request = Request::new(Holder::new(ProjectPath::from_normal("/home/a/shop")?));
    /// let registry = Registry::open(root)?;
    /// let record = registry.claim(&request)?.keep();
    /// registry.release(&record)?;
    /// assert_eq!(registry.lookup(record.port())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&self, record: &Record) -> Result<()> {
        let Some(place) = self.place()? else {
            return Err(Error::superseded(record.port()));
        };
        self.adopt_before_release(place, record.holder())?;
        match release(&place.store, record.holder(), Some(record.nonce()), None)? {
            Released::Done(_) => {
                self.changed(place, false);
                Ok(())
            }
            Released::Absent | Released::Superseded(_) => Err(Error::superseded(record.port())),
        }
    }

    /// Releases the holder's port, and returns the record of it; `None` where it had none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt)
    /// where the registry cannot be read or changed;
    /// [`ErrorKind::Contended`](crate::ErrorKind::Contended) where others do not come to an end.
    ///
    /// # Races
    ///
    /// Where locks are not used ([`Filesystem::locks`]), it is safe only while nobody else releases
    /// and claims this port.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let record = registry.claim(&Request::new(shop.clone()))?.keep();
    /// assert_eq!(registry.release_holder(&shop)?, Some(record));
    /// assert_eq!(registry.release_holder(&shop)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release_holder(&self, holder: &Holder) -> Result<Option<Record>> {
        let Some(place) = self.place_with_file()? else {
            return Ok(None);
        };
        self.adopt_before_release(place, holder)?;
        let released = release(&place.store, holder, None, None)?;
        self.changed(place, false);
        Ok(match released {
            Released::Done(record) => Some(record),
            Released::Absent | Released::Superseded(_) => None,
        })
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
