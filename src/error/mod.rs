//! The one error type of the crate.

use std::fmt;
use std::io;
use std::net::IpAddr;

use camino::{Utf8Path, Utf8PathBuf};

use crate::port::Port;
use crate::record::Record;

mod corruption;
mod exhaustion;
mod inner;
mod op;

pub use corruption::Corruption;
pub use exhaustion::Exhaustion;
use inner::Inner;
pub(crate) use op::Op;

/// A result with this crate's [`Error`].
///
/// ```
/// let port: portclaim::Result<portclaim::Port> = "8888".parse();
/// assert_eq!(port.unwrap().get(), 8888);
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
///
/// Opaque: [`kind`](Error::kind) says what sort of failure it is, the accessors name the
/// port or path, [`source`](std::error::Error::source) the cause. It is one word in size.
///
/// `Display` gives a lower-case fragment fit to follow "error: ", without its source. It turns
/// into a [`std::io::Error`] of a fitting kind, with itself as the cause.
///
/// # Examples
///
/// ```
/// let error = "9-8".parse::<portclaim::PortRange>().unwrap_err();
/// assert_eq!(error.to_string(), "9-8 is no range of ports: 9 is above 8");
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidInput);
/// ```
pub struct Error(Box<Inner>);

/// What sort of failure an [`Error`] is.
///
/// # Examples
///
/// ```
/// let error = portclaim::ProjectPath::from_normal("no/slash/in/front").unwrap_err();
/// assert_eq!(error.kind(), portclaim::ErrorKind::InvalidPath);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Every port of the range is claimed, in use, or closed to this user.
    Exhausted,
    /// The port that was asked for is another holder's, or a program uses it.
    Taken,
    /// The holder has another port, which it keeps until that is released. [`Error::held`] tells it.
    HasAnother,
    /// The claim that was to be released is not there any more.
    Superseded,
    /// A file of the registry does not say what it should.
    Corrupt,
    /// A path cannot be that of a project or of a registry, or a name that of a registry file.
    InvalidPath,
    /// This is no port, or no range of ports.
    InvalidPort,
    /// This cannot be the name of a service.
    InvalidService,
    /// A block has 1 to [`BLOCK_MAX`](crate::BLOCK_MAX) ports.
    InvalidCount,
    /// Other processes changed the same files each time this one looked: it may be tried again.
    Contended,
    /// A lease, a move or a prune was asked for on a file system whose locks cannot be trusted.
    NoLocks,
    /// The system refused a call; the source says why.
    Io,
}

impl Error {
    fn new(inner: Inner) -> Error {
        Error(Box::new(inner))
    }

    pub(crate) fn io(op: Op, path: impl Into<Utf8PathBuf>, source: io::Error) -> Error {
        Error::new(Inner::Io {
            op,
            path: path.into(),
            source,
        })
    }

    /// `address` is `None` where it was every one.
    pub(crate) fn bind(address: Option<IpAddr>, port: Port, source: io::Error) -> Error {
        Error::new(Inner::Bind {
            address,
            port,
            source,
        })
    }

    pub(crate) fn exhausted(exhaustion: Exhaustion) -> Error {
        Error::new(Inner::Exhausted(exhaustion))
    }

    pub(crate) fn taken(port: Port, by: Option<Record>) -> Error {
        Error::new(Inner::Taken { port, by })
    }

    pub(crate) fn has_another(wanted: Port, held: Record) -> Error {
        Error::new(Inner::HasAnother { wanted, held })
    }

    pub(crate) fn superseded(port: Port) -> Error {
        Error::new(Inner::Superseded { port })
    }

    pub(crate) fn corrupt(path: impl Into<Utf8PathBuf>, why: Corruption) -> Error {
        Error::new(Inner::Corrupt {
            path: path.into(),
            why,
        })
    }

    pub(crate) fn contended(what: impl Into<Utf8PathBuf>) -> Error {
        Error::new(Inner::Contended { what: what.into() })
    }

    /// `why` says why that matters: behind "cannot be trusted".
    pub(crate) fn no_locks(
        root: impl Into<Utf8PathBuf>,
        filesystem: String,
        why: &'static str,
    ) -> Error {
        Error::new(Inner::NoLocks {
            root: root.into(),
            filesystem,
            why,
        })
    }

    /// `path` may be any bytes: they are shown escaped.
    pub(crate) fn invalid_path(path: &[u8], why: &'static str) -> Error {
        Error::new(Inner::InvalidPath {
            shown: path.escape_ascii().to_string(),
            why,
        })
    }

    pub(crate) fn invalid_port(text: &str) -> Error {
        Error::new(Inner::InvalidPort {
            shown: text.escape_debug().to_string(),
        })
    }

    pub(crate) fn invalid_service(name: &str) -> Error {
        Error::new(Inner::InvalidService {
            shown: name.escape_debug().to_string(),
        })
    }

    pub(crate) fn invalid_count(count: u16) -> Error {
        Error::new(Inner::InvalidCount { count })
    }

    /// `first` is the first port of what was searched.
    pub(crate) fn no_row(first: Port, count: usize) -> Error {
        Error::new(Inner::NoRow { count, first })
    }

    pub(crate) fn invalid_range(first: Port, last: Port) -> Error {
        Error::new(Inner::InvalidRange { first, last })
    }

    /// Returns what sort of failure this is.
    ///
    /// ```
    /// let error = "http".parse::<portclaim::Port>().unwrap_err();
    /// assert_eq!(error.kind(), portclaim::ErrorKind::InvalidPort);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match *self.0 {
            Inner::Exhausted(_) | Inner::NoRow { .. } => ErrorKind::Exhausted,
            Inner::Taken { .. } => ErrorKind::Taken,
            Inner::HasAnother { .. } => ErrorKind::HasAnother,
            Inner::Superseded { .. } => ErrorKind::Superseded,
            Inner::Corrupt { .. } => ErrorKind::Corrupt,
            Inner::InvalidPath { .. } => ErrorKind::InvalidPath,
            Inner::InvalidPort { .. } | Inner::InvalidRange { .. } => ErrorKind::InvalidPort,
            Inner::InvalidService { .. } => ErrorKind::InvalidService,
            Inner::InvalidCount { .. } => ErrorKind::InvalidCount,
            Inner::Contended { .. } => ErrorKind::Contended,
            Inner::NoLocks { .. } => ErrorKind::NoLocks,
            Inner::Io { .. } | Inner::Bind { .. } => ErrorKind::Io,
        }
    }

    /// Returns the port that the failure is about: where a certain one was asked for, that one.
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let record = registry.claim(&Request::new(shop))?.keep();
    /// registry.release(&record)?;
    /// assert_eq!(registry.release(&record).unwrap_err().port(), Some(record.port()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn port(&self) -> Option<Port> {
        match *self.0 {
            Inner::Taken { port, .. }
            | Inner::HasAnother { wanted: port, .. }
            | Inner::Superseded { port }
            | Inner::Bind { port, .. } => Some(port),
            _ => None,
        }
    }

    /// Returns the file or directory that the failure is about.
    ///
    /// ```
    /// let error = portclaim::Registry::open("/dev/null").unwrap_err();
    /// assert_eq!(error.path().unwrap(), "/dev/null");
    /// ```
    #[must_use]
    pub fn path(&self) -> Option<&Utf8Path> {
        match &*self.0 {
            Inner::Corrupt { path, .. }
            | Inner::Contended { what: path }
            | Inner::NoLocks { root: path, .. }
            | Inner::Io { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Returns the record of the claim that stands in the way ([`ErrorKind::Taken`]). `None` where a
    /// program is, or a claim that is not committed.
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// # let [shop, blog] = ["/home/a/shop", "/home/a/blog"].map(ProjectPath::from_normal);
    /// let record = registry.claim(&Request::new(Holder::new(shop?)))?.keep();
    /// let request = Request::new(Holder::new(blog?)).port(record.port());
    /// assert_eq!(registry.claim(&request).unwrap_err().taken_by(), Some(&record));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn taken_by(&self) -> Option<&Record> {
        match &*self.0 {
            Inner::Taken { by, .. } => by.as_ref(),
            _ => None,
        }
    }

    /// Returns the record of the port that the holder has, where it was to be given another
    /// ([`ErrorKind::HasAnother`]).
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let record = registry.claim(&Request::new(shop.clone()))?.keep();
    /// let another = Request::new(shop).port("20000".parse()?);
    /// assert_eq!(registry.claim(&another).unwrap_err().held(), Some(&record));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn held(&self) -> Option<&Record> {
        match &*self.0 {
            Inner::HasAnother { held, .. } => Some(held),
            _ => None,
        }
    }

    /// Returns how the ports of an exhausted range are accounted for.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, Port, PortRange, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = camino::Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
    /// # let request = Request::new(Holder::new(ProjectPath::from_normal("/home/a/shop")?));
    /// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let used = Port::new(server.local_addr()?.port()).unwrap();
    /// let registry = Registry::options().range(PortRange::new(used, used)?).open(root)?;
    /// let error = registry.claim(&request).unwrap_err();
    /// assert_eq!(error.exhaustion().unwrap().in_use, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn exhaustion(&self) -> Option<&Exhaustion> {
        match &*self.0 {
            Inner::Exhausted(exhaustion) => Some(exhaustion),
            _ => None,
        }
    }

    /// Returns what is wrong with the content of a file.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Corruption, Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = camino::Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
    /// # let request = Request::new(Holder::new(ProjectPath::from_normal("/home/a/shop")?));
    /// let registry = Registry::open(&root)?;
    /// let port = registry.claim(&request)?.port();
    /// std::fs::write(root.join(format!("ports/{port}.claim")), "{\"format\":")?;
    /// let error = registry.records()?.find_map(Result::err).unwrap();
    /// assert_eq!(error.corruption(), Some(&Corruption::Torn));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn corruption(&self) -> Option<&Corruption> {
        match &*self.0 {
            Inner::Corrupt { why, .. } => Some(why),
            _ => None,
        }
    }

    /// Returns whether the system refused a call for one of these reasons.
    pub(crate) fn is_from(&self, kinds: &[io::ErrorKind]) -> bool {
        self.io_error()
            .is_some_and(|error| kinds.contains(&error.kind()))
    }

    /// Returns the whole text, with what the system says.
    pub(crate) fn with_cause(&self) -> String {
        match self.io_error() {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }

    /// Returns the system's error, where the system refused a call ([`ErrorKind::Io`]).
    ///
    /// ```
    /// let error = portclaim::Registry::open("/dev/null").unwrap_err();
    /// assert_eq!(error.io_error().unwrap().kind(), std::io::ErrorKind::NotADirectory);
    /// ```
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match &*self.0 {
            Inner::Io { source, .. } | Inner::Bind { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Inner::Io { source, .. } | Inner::Bind { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    /// Keeps the whole error as the cause, and the system's kind of error.
    fn from(error: Error) -> io::Error {
        let kind = match &*error.0 {
            Inner::Io { source, .. } | Inner::Bind { source, .. } => source.kind(),
            Inner::Exhausted(_) | Inner::NoRow { .. } | Inner::Taken { .. } => {
                io::ErrorKind::AddrInUse
            }
            Inner::HasAnother { .. } => io::ErrorKind::AlreadyExists,
            Inner::Superseded { .. } => io::ErrorKind::NotFound,
            Inner::Corrupt { .. } => io::ErrorKind::InvalidData,
            Inner::InvalidPath { .. }
            | Inner::InvalidPort { .. }
            | Inner::InvalidService { .. }
            | Inner::InvalidCount { .. }
            | Inner::InvalidRange { .. } => io::ErrorKind::InvalidInput,
            Inner::Contended { .. } => io::ErrorKind::WouldBlock,
            Inner::NoLocks { .. } => io::ErrorKind::Unsupported,
        };
        io::Error::new(kind, error)
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync + 'static>() {}
    shared_between_threads::<Error>();
    assert!(
        size_of::<Error>() == size_of::<usize>(),
        "an error is one word"
    );
};
