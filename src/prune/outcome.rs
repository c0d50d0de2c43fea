//! What a prune did.

use std::fmt;
use std::time::SystemTime;

use crate::port::Port;
use crate::project::ProjectPath;
use crate::record::Record;

/// A project whose directory is not there; see [`Registry::prune`](crate::Registry::prune), which
/// has an example.
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Prune, Pruned, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let registry = Registry::open(dir.path().to_str().unwrap())?;
/// let shop = ProjectPath::from_normal("/no-such-directory/shop")?;
/// let record = registry.claim(&Request::new(Holder::new(shop.clone())))?.keep();
/// let pruned: Vec<Pruned> = registry.prune(&Prune::new(std::time::SystemTime::now()))?;
/// assert_eq!((&pruned[0].project, &pruned[0].records), (&shop, &vec![record]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// The project.
    pub project: ProjectPath,
    /// What it held when it was looked at, by port.
    pub records: Vec<Record>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a project whose directory is not there.
///
/// # Examples
///
/// ```
/// use portclaim::{Fate, Kept};
/// let text = match Fate::Kept(Kept::UnknownDevice) {
///     Fate::Removed => "its ports are free".to_owned(),
///     Fate::Missing { .. } => "to be looked at later".to_owned(),
///     Fate::Kept(why) => why.to_string(),
/// };
/// assert!(text.starts_with("it is not known"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its ports were given back; or would be, in a dry run.
    Removed,
    /// It is missing, and has not been for long enough.
    Missing {
        /// When an earlier call saw that first; `None` where none has.
        since: Option<SystemTime>,
    },
    /// It keeps its ports.
    Kept(Kept),
}

/// Why a project keeps its ports although its directory is not there, or seems not to be.
///
/// `Display` gives a fragment fit to follow the project's name and a colon.
///
/// # Examples
///
/// ```
/// let port = portclaim::Port::try_from(8888)?;
/// assert_eq!(portclaim::Kept::InUse(port).to_string(), "a program uses port 8888");
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// Its directory is there.
    There,
    /// Its path is a symbolic link that leads to nothing.
    Link,
    /// The directory around it does not exist either.
    ParentMissing,
    /// The directory around it lies on another device than the project did: perhaps a disk is not
    /// mounted.
    OtherDevice,
    /// Its device was not recorded: it was given its port before portclaim did that, by way of the
    /// registry file, or before its directory was made.
    UnknownDevice,
    /// The system does not tell, for this reason.
    Unclear(String),
    /// A program uses this port, or whether one does cannot be known.
    InUse(Port),
    /// Its claims were released by somebody else meanwhile, and perhaps made again.
    Again,
}

impl Kept {
    /// Returns the reason's name, as it stands in JSON: lower case, words joined by `-`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(portclaim::Kept::ParentMissing.name(), "parent-missing");
    /// ```
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Kept::There => "there",
            Kept::Link => "link",
            Kept::ParentMissing => "parent-missing",
            Kept::OtherDevice => "other-device",
            Kept::UnknownDevice => "unknown-device",
            Kept::Unclear(_) => "unclear",
            Kept::InUse(_) => "in-use",
            Kept::Again => "again",
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::There => f.write_str("its directory is there"),
            Kept::Link => f.write_str("it is a link that leads to nothing"),
            Kept::ParentMissing => f.write_str("the directory around it does not exist either"),
            Kept::OtherDevice => f.write_str(
                "the directory around it lies on another device than it did: perhaps a disk is not mounted",
            ),
            Kept::UnknownDevice => f.write_str("it is not known which device it lay on"),
            Kept::Unclear(why) => write!(f, "it cannot be looked for: {why}"),
            Kept::InUse(port) => write!(f, "a program uses port {port}"),
            Kept::Again => f.write_str("its ports were given back by somebody else"),
        }
    }
}
