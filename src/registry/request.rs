//! What is asked of a registry: a port for a holder.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::port::{Port, PortRange};
use crate::project::Holder;
use crate::record::Record;
use crate::term::{Owner, Term};

/// What is asked for with [`Registry::claim`](super::Registry::claim).
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
    /// Whether a new claim says which git repository the project is in.
    pub(super) notes_repository: bool,
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
            notes_repository: false,
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

    /// Takes none of these ports either, as [`Options::exclude`](super::Options::exclude) does for all requests.
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

    /// Notes in a new claim which git repository the project is in, so that
    /// [`Registry::follow_git`](crate::Registry::follow_git) knows it again after it was moved.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Request};
    /// let request = Request::new(Holder::new(ProjectPath::resolve(".")?)).note_repository();
    /// assert!(format!("{request:?}").contains("notes_repository: true"));
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn note_repository(mut self) -> Request {
        self.notes_repository = true;
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
