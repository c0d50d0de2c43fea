//! How a registry is opened, and what is asked of it.

use std::path::Path;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::Registry;
use crate::error::{Error, Result};
use crate::fs::registry_file::registry_file;
use crate::port::{Port, PortRange};
use crate::project::Holder;
use crate::protocol::Durability;
use crate::record::Record;
use crate::term::{Owner, Term};

/// How the registry file is called where nothing else is said: the Python system's name.
///
/// # Examples
///
/// ```
/// use portclaim::{DEFAULT_FILE_NAME, Registry};
/// let registry = Registry::open("/no-such-directory")?;
/// assert_eq!(registry.index_path().file_name(), Some(DEFAULT_FILE_NAME));
/// # Ok::<(), portclaim::Error>(())
/// ```
pub const DEFAULT_FILE_NAME: &str = "port_registry.json";

/// When the registry file, which is derived from the claims, is brought up to date.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, IndexPolicy, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// let registry = Registry::options().index(IndexPolicy::Mark).open(root)?;
/// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// let _ = registry.claim(&Request::new(shop))?;
/// assert!(!registry.index_path().exists());
/// let file = registry.refresh_index()?;
/// assert!(std::fs::read_to_string(file)?.contains("/home/a/shop"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexPolicy {
    /// After each change (the default), unless another process is at it, which then does it.
    #[default]
    Refresh,
    /// After each change while the file is small (up to 256 KiB: some 2,000 projects). What
    /// changes later is marked, and [`Notice::IndexDeferred`](crate::Notice::IndexDeferred) asks
    /// for [`Registry::refresh_when_quiet`]: so a claim costs the same however many there are.
    Defer,
    /// Never: changes are only marked. The next refresh by anybody, or
    /// [`Registry::refresh_index`], shows them.
    Mark,
}

/// Options of a registry. The defaults: range 8888-9999, durable, the registry file
/// `port_registry.json`, brought up to date after each change.
///
/// # Examples
///
/// ```
/// use portclaim::{Durability, Options};
/// let options = Options::default().range("8000-8099".parse()?).durability(Durability::Volatile);
/// let registry = options.open("/no-such-directory")?;
/// assert_eq!(registry.range().len(), 100);
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open` is called"]
pub struct Options {
    pub(super) range: PortRange,
    pub(super) excluded: Vec<PortRange>,
    pub(super) durability: Durability,
    pub(super) index: IndexPolicy,
    pub(super) file_name: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            range: PortRange::DEFAULT,
            excluded: Vec::new(),
            durability: Durability::default(),
            index: IndexPolicy::default(),
            file_name: DEFAULT_FILE_NAME.to_owned(),
        }
    }
}

impl Options {
    /// New ports come from this range. Ports that are held stay, whatever it is.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = portclaim::Registry::options().range("8000-8099".parse()?);
    /// assert_eq!(options.open("/no-such-directory")?.range().to_string(), "8000-8099");
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn range(mut self, range: PortRange) -> Options {
        self.range = range;
        self
    }

    /// New ports are none of these, besides those that were excluded before. A port that is held
    /// stays, one that is [named](Request::port) is given all the same, and a block that grows takes
    /// the ports behind it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// let options = Registry::options().range("20000-20099".parse()?);
    /// let registry = options.exclude(["20000-20049".parse()?, "20050-20099".parse()?]).open(root)?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let error = registry.claim(&Request::new(shop.clone())).unwrap_err();
    /// assert_eq!(error.exhaustion().map(|exhaustion| exhaustion.excluded), Some(100));
    /// let port = "20050".parse()?;
    /// assert_eq!(registry.claim(&Request::new(shop).port(port))?.port(), port);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn exclude(mut self, ports: impl IntoIterator<Item = PortRange>) -> Options {
        self.excluded.extend(ports);
        self
    }

    /// Whether claims survive a power cut. It is this opener's choice alone: another one whose
    /// registry is durable flushes the claims that it returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Durability, Registry};
    /// let options = Registry::options().durability(Durability::Volatile);
    /// assert!(format!("{options:?}").contains("Volatile"));
    /// ```
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// When the registry file is brought up to date. [`IndexPolicy`] shows what that does.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{IndexPolicy, Registry};
    /// let options = Registry::options().index(IndexPolicy::Mark);
    /// assert!(format!("{options:?}").contains("Mark"));
    /// ```
    pub fn index(mut self, policy: IndexPolicy) -> Options {
        self.index = policy;
        self
    }

    /// The name of the registry file in the registry's directory: one component, and not that of a
    /// directory which the registry keeps there. [`Options::open`] refuses any other.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::Registry;
    /// let registry = Registry::options().file_name("ports.json").open("/no-such-directory")?;
    /// assert_eq!(registry.index_path(), "/no-such-directory/ports.json");
    /// assert!(Registry::options().file_name("a/b").open("/no-such-directory").is_err());
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn file_name(mut self, name: impl Into<String>) -> Options {
        self.file_name = name.into();
        self
    }

    /// Opens the registry of this registry file: the claims lie beside it. The file need not exist.
    /// A symbolic link is followed, once and here: whoever has linked the file elsewhere has the
    /// registry there. It takes the place of [`Options::file_name`].
    ///
    /// # Errors
    ///
    /// As [`Options::open`], and [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath) where
    /// the path is empty, a directory, a link to nothing, not UTF-8, or contains a NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = portclaim::Registry::options();
    /// let registry = options.open_file("/no-such-directory/ports.json")?;
    /// assert_eq!(registry.root(), "/no-such-directory");
    /// assert_eq!(registry.index_path(), "/no-such-directory/ports.json");
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn open_file(self, path: impl AsRef<Path>) -> Result<Registry> {
        let (root, name) = registry_file(path.as_ref())?;
        self.file_name(name).open(root)
    }

    /// Opens the registry in the directory `root`. Nothing is created before the first claim, which
    /// creates the directory as well; only where it holds a registry file, that is taken over by
    /// the first call that looks at the claims.
    ///
    /// A relative path is taken from the current directory, again when the directory is created: a
    /// program that changes its current directory should give an absolute one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath) for a file name that is not
    /// one component or that of a directory of the registry, and
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the directory exists and cannot be opened.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{ErrorKind, Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = camino::Utf8PathBuf::try_from(dir.path().join("ports")).unwrap();
    /// let registry = Registry::options().open(&root)?;
    /// assert!(!root.exists());
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let _ = registry.claim(&Request::new(shop))?;
    /// assert!(root.is_dir());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(self, root: impl Into<Utf8PathBuf>) -> Result<Registry> {
        let name = self.file_name.as_str();
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(Error::invalid_path(
                name.as_bytes(),
                "a registry file's name is one component",
            ));
        }
        if [
            "ports",
            "projects",
            "staging",
            "index",
            "quarantine",
            "missing",
            "backups",
        ]
        .contains(&name)
        {
            return Err(Error::invalid_path(
                name.as_bytes(),
                "this name is that of a directory of the registry",
            ));
        }
        Registry::open_with(root.into(), self)
    }
}

/// What is asked for with [`Registry::claim`].
///
/// A holder that has a port is told that one: [`within`](Request::within) does not move it.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let registry = Registry::open(dir.path().to_str().unwrap())?;
/// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// let request = Request::new(shop);
/// let port = registry.claim(&request)?.port();
/// let request = request.within("20000-20099".parse()?);
/// assert_eq!(registry.claim(&request)?.port(), port);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) holder: Holder,
    pub(super) range: Option<PortRange>,
    pub(super) excluded: Vec<PortRange>,
    pub(super) port: Option<Port>,
    /// Whether that port must not be in use.
    pub(super) is_probed: bool,
    /// How long a new claim holds.
    pub(super) term: Term,
    /// The port that the holder had a moment ago.
    pub(super) preferred: Option<Port>,
}

impl Request {
    /// Asks for a port for `holder`, from the registry's range.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let claim = registry.claim(&Request::new(shop))?;
    /// assert!(registry.range().contains(claim.port()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(holder: Holder) -> Request {
        Request {
            holder,
            range: None,
            excluded: Vec::new(),
            port: None,
            is_probed: false,
            term: Term::Kept,
            preferred: None,
        }
    }

    /// Takes a new port from this range instead.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, PortRange, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// let range: PortRange = "20000-20099".parse()?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let claim = registry.claim(&Request::new(shop).within(range))?;
    /// assert!(range.contains(claim.port()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn within(mut self, range: PortRange) -> Request {
        self.range = Some(range);
        self
    }

    /// Takes none of these ports either, as [`Options::exclude`] does for all requests.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, PortRange, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let low: PortRange = "20000-20089".parse()?;
    /// let claim = registry.claim(&Request::new(shop).exclude([low]))?;
    /// assert!(!low.contains(claim.port()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn exclude(mut self, ports: impl IntoIterator<Item = PortRange>) -> Request {
        self.excluded.extend(ports);
        self
    }

    /// Gives the port for so long, in whole seconds, from now on; where the holder has it for a
    /// time already, from now on again. Then whoever wants the port may have it, unless
    /// somebody listens on it.
    ///
    /// A holder that has its port until it is released keeps it so.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20900-20999".parse()?).open(root)?;
    /// use std::time::{Duration, SystemTime};
    /// let shard = Holder::of_service(ProjectPath::from_normal("/home/a/shop")?, "shard-1")?;
    /// let hour = Duration::from_secs(3600);
    /// let record = registry.claim(&Request::new(shard).for_time(hour))?.keep();
    /// let expires = registry.expires(&record)?.expect("it does");
    /// assert!(expires > SystemTime::now() + hour / 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn for_time(mut self, time: Duration) -> Request {
        self.term = Term::Ttl(time.as_secs());
        self
    }

    /// Gives the port for as long as this process lives. After that, whoever wants the port may
    /// have it, unless somebody listens on it.
    ///
    /// A holder that has its port until it is released keeps it so.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, Owner, ProjectPath, Registry, Request, Term};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20900-20999".parse()?).open(root)?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let owner = Owner::of(std::process::id())?;
    /// let claim = registry.claim(&Request::new(shop).owned_by(owner.clone()))?;
    /// assert_eq!(*claim.record().term(), Term::Owner(Box::new(owner)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn owned_by(mut self, owner: Owner) -> Request {
        self.term = Term::Owner(Box::new(owner));
        self
    }

    /// Returns the same request for a member of the holder's block.
    pub(super) fn member(&self, number: u16) -> Request {
        Request {
            holder: self.holder.member(number),
            ..self.clone()
        }
    }

    /// Refuses the port that the holder has, if another one is asked for.
    pub(super) fn check_existing(&self, record: &Record) -> Result<()> {
        match self.port.filter(|&port| port != record.port()) {
            Some(wanted) => Err(Error::has_another(wanted, record.clone())),
            None => Ok(()),
        }
    }

    /// Takes this port and no other, whatever the range and whatever program uses it. A claim of
    /// it that a killed process left is swept first; while another process is claiming it, it is
    /// tried again for about a second.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{ErrorKind, Holder, Port, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let blog = Holder::new(ProjectPath::from_normal("/home/a/blog")?);
    /// let port = Port::try_from(3000)?;
    /// assert_eq!(registry.claim(&Request::new(shop).port(port))?.port(), port);
    /// let error = registry.claim(&Request::new(blog).port(port)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Taken);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn port(mut self, port: Port) -> Request {
        self.port = Some(port);
        self
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_registry_file_is_one_component() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::try_from(dir.path().to_owned()).expect("UTF-8");
        for name in ["", ".", "..", "a/b", "ports", "x\0y"] {
            let error = Registry::options()
                .file_name(name)
                .open(&root)
                .expect_err(name);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidPath, "{name:?}");
        }
    }
}
