//! How a registry is opened.

use std::path::Path;

use camino::Utf8PathBuf;

use super::Registry;
use crate::error::{Error, Result};
use crate::fs::registry_file::registry_file;
use crate::place::{CONFIGURATION, DIRECTORIES};
use crate::port::PortRange;
use crate::protocol::Durability;

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
    /// stays, one that is [named](crate::Request::port) is given all the same, and a block that grows takes
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
    /// directory which the registry keeps there, nor `portclaim.toml`, which is the user's
    /// configuration. [`Options::open`] refuses any other.
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
    /// the path is empty, a directory, a link to nothing, not UTF-8, or contains a NUL byte. A link
    /// is refused where it, or what it leads to, is called `portclaim.toml`.
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
        // A link of this name is followed to what it leads to, which may be called otherwise.
        refuse_configuration(path.as_ref())?;
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
    /// one component, that of a directory of the registry or that of the user's configuration, and
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
        if DIRECTORIES.contains(&name) {
            return Err(Error::invalid_path(
                name.as_bytes(),
                "this name is that of a directory of the registry",
            ));
        }
        let root = root.into();
        refuse_configuration(root.join(name).as_std_path())?;
        Registry::open_with(root, self)
    }
}

/// Refuses the user's configuration as a registry file: it would be taken for a damaged one, and
/// replaced. Where the file system ignores case, each spelling is the same file.
fn refuse_configuration(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default();
    if !name.eq_ignore_ascii_case(CONFIGURATION) {
        return Ok(());
    }
    Err(Error::invalid_path(
        path.as_os_str().as_encoded_bytes(),
        "this name is that of the user's configuration, and the registry file needs another one",
    ))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_registry_file_is_one_component_and_neither_a_directory_nor_the_configuration() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::try_from(dir.path().to_owned()).expect("UTF-8");
        for name in ["", ".", "..", "a/b", "x\0y"]
            .into_iter()
            .chain(DIRECTORIES)
            .chain([CONFIGURATION, "Portclaim.TOML"])
        {
            let error = Registry::options()
                .file_name(name)
                .open(&root)
                .expect_err(name);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidPath, "{name:?}");
        }
    }
}
