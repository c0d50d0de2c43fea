//! Gives back the ports of projects whose directories were deleted. Only where that is sure: a disk
//! that is not mounted, and a directory that cannot be read, are no deletions.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, ErrorKind, Result};
use crate::fs::whereabouts::{Whereabouts, device, look};
use crate::net::{Availability, listeners, probe};
use crate::port::Port;
use crate::project::ProjectPath;
use crate::record::Record;
use crate::registry::Registry;

mod outcome;
mod sightings;

pub use outcome::{Fate, Kept, Pruned};
pub(crate) use sightings::is_sighting;

use sightings::Sightings;

/// How long a directory must be missing where nothing else is said.
const OLDER_THAN: Duration = Duration::from_hours(24);

/// How [`Registry::prune`] works. The defaults: what has been missing for 24 hours is removed.
///
/// # Examples
///
/// ```
/// use portclaim::Prune;
/// use std::time::{Duration, SystemTime};
/// let prune = Prune::new(SystemTime::now()).older_than(Duration::from_secs(3600)).dry_run(true);
/// let registry = portclaim::Registry::open("/no-such-directory")?;
/// assert!(registry.prune(&prune)?.is_empty());
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is pruned before `Registry::prune` is called"]
pub struct Prune {
    now: SystemTime,
    older_than: Duration,
    is_dry: bool,
    forced: Option<ProjectPath>,
}

impl Prune {
    /// Prunes as of `now`, the time by the system's clock.
    ///
    /// # Examples
    ///
    /// ```
    /// let prune = portclaim::Prune::new(std::time::SystemTime::now());
    /// assert!(format!("{prune:?}").contains("older_than: 86400s"));
    /// ```
    pub fn new(now: SystemTime) -> Prune {
        Prune {
            now,
            older_than: OLDER_THAN,
            is_dry: false,
            forced: None,
        }
    }

    /// How long ago a directory must have been seen missing, by an earlier call. Even with zero,
    /// it takes two calls.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// let prune = portclaim::Prune::new(SystemTime::now()).older_than(Duration::ZERO);
    /// assert!(format!("{prune:?}").contains("older_than: 0ns"));
    /// ```
    pub fn older_than(mut self, time: Duration) -> Prune {
        self.older_than = time;
        self
    }

    /// Tells what would be done, and changes nothing: it is not noted either what is missing.
    ///
    /// # Examples
    ///
    /// ```
    /// let prune = portclaim::Prune::new(std::time::SystemTime::now()).dry_run(true);
    /// assert!(format!("{prune:?}").contains("is_dry: true"));
    /// ```
    pub fn dry_run(mut self, is_dry: bool) -> Prune {
        self.is_dry = is_dry;
        self
    }

    /// Only this project, and at once: whatever kept its directory from being seen, and however
    /// long it has been missing. It stays if its directory is there, or a port of it in use.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Fate, Holder, ProjectPath, Prune, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// let registry = Registry::options().range("20400-20499".parse()?).open(root)?;
    /// let shop = ProjectPath::from_normal("/no-such-directory/shop")?;
    /// let _ = registry.claim(&Request::new(Holder::new(shop.clone())))?;
    /// let prune = Prune::new(std::time::SystemTime::now()).force(shop);
    /// assert_eq!(registry.prune(&prune)?[0].fate, Fate::Removed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn force(mut self, project: ProjectPath) -> Prune {
        self.forced = Some(project);
        self
    }

    /// Seconds since 1970.
    fn seconds(&self) -> u64 {
        let since = self.now.duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }
}

impl Registry {
    /// Gives back the ports of projects whose directories were deleted, and returns each project
    /// whose directory is not there, with what was done about it, in the order of their ports.
    ///
    /// A project is removed when
    ///
    /// - its path does not exist (and is no link, and nothing keeps the system from telling),
    /// - the directory around it does, on the device on which the project was when it was given its
    ///   port ([`Record::device`]),
    /// - no program listens on any of its ports, and
    /// - an earlier call has seen that it was missing, as long ago as [`Prune::older_than`] says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry, or what it knows of missing
    /// directories, cannot be read or written. [`ErrorKind::NoLocks`](crate::ErrorKind::NoLocks) where locks
    /// are not used ([`Filesystem::locks`](crate::Filesystem::locks)): such a registry may be other machines'
    /// as well, whose directories cannot be seen from here. [`Prune::force`] works there too. Otherwise as
    /// [`Registry::release`]: where it fails in the middle, some ports were given back.
    ///
    /// # Races
    ///
    /// Each directory is looked at once more right before its claims are released, each of them by its
    /// nonce. A project whose directory comes back, and that asks for its port, between these two steps
    /// is told one that it then loses.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Fate, Holder, ProjectPath, Prune, Registry, Request};
    /// # use std::time::{Duration, SystemTime};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let shop = dir.path().join("shop");
    /// let registry = Registry::options().range("20500-20599".parse()?).open(root)?;
    /// std::fs::create_dir(&shop)?;
    /// let holder = Holder::new(ProjectPath::resolve(&shop)?);
    /// let _ = registry.claim(&Request::new(holder.clone()))?;
    /// std::fs::remove_dir(&shop)?;
    /// let now = SystemTime::now();
    /// let seen = &registry.prune(&Prune::new(now))?[0];
    /// assert!(matches!(seen.fate, Fate::Missing { .. }));
    /// let tomorrow = now + Duration::from_secs(24 * 3600);
    /// assert_eq!(registry.prune(&Prune::new(tomorrow))?[0].fate, Fate::Removed);
    /// assert_eq!(registry.find(&holder)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prune(&self, prune: &Prune) -> Result<Vec<Pruned>> {
        let Some(place) = self.place_with_file()? else {
            return Ok(Vec::new());
        };
        let mut projects = self.projects()?;
        if let Some(project) = &prune.forced {
            projects.retain(|there, _| there == project);
            let forced = projects.into_iter();
            return forced
                .map(|(project, records)| self.prune_forced(prune, project, records))
                .collect();
        }
        let filesystem = place.root.filesystem();
        if !filesystem.locks() {
            let why = ": it may hold the claims of other machines as well, whose directories cannot be seen from here";
            return Err(Error::no_locks(self.root(), filesystem.to_string(), why));
        }
        let mut sightings = Sightings::open(place, prune.is_dry)?;
        let mut pruned = Vec::new();
        for (project, records) in projects {
            pruned.extend(self.prune_one(prune, project, records, &mut sightings)?);
        }
        sightings.remove_others()?;
        pruned.sort_by_key(|one| one.records.first().map(Record::port));
        Ok(pruned)
    }

    /// Returns what the projects hold. A claim that cannot be read is passed over.
    pub(crate) fn projects(&self) -> Result<BTreeMap<ProjectPath, Vec<Record>>> {
        let mut projects: BTreeMap<ProjectPath, Vec<Record>> = BTreeMap::new();
        for record in self.records()?.readable() {
            let record = record?;
            let project = record.project().clone();
            projects.entry(project).or_default().push(record);
        }
        Ok(projects)
    }

    /// Looks for one project; `None` where its directory is there.
    fn prune_one(
        &self,
        prune: &Prune,
        project: ProjectPath,
        records: Vec<Record>,
        sightings: &mut Sightings<'_>,
    ) -> Result<Option<Pruned>> {
        let fate = match is_missing(&project, &records) {
            Err(Kept::There) => return Ok(None),
            Err(why) => {
                for record in &records {
                    sightings.keep(record);
                }
                Fate::Kept(why)
            }
            Ok(()) => {
                let now = prune.seconds();
                let mut since = Some(0);
                for record in &records {
                    let seen = sightings.see(record, now)?;
                    since = since.zip(seen).map(|(one, other)| one.max(other));
                }
                let long = prune.older_than.as_secs();
                match (since, used(&records)) {
                    (_, Some(port)) => Fate::Kept(Kept::InUse(port)),
                    (Some(since), None) if now.saturating_sub(since) >= long => {
                        self.remove(prune, &records, || is_missing(&project, &records).is_ok())?
                    }
                    (since, None) => Fate::Missing {
                        since: since.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
                    },
                }
            }
        };
        if fate == Fate::Removed {
            for record in &records {
                sightings.forget(record);
            }
        }
        Ok(Some(Pruned {
            project,
            records,
            fate,
        }))
    }

    fn prune_forced(
        &self,
        prune: &Prune,
        project: ProjectPath,
        records: Vec<Record>,
    ) -> Result<Pruned> {
        let is_gone = || !matches!(look(project.as_path()), Whereabouts::There);
        let fate = match used(&records) {
            _ if !is_gone() => Fate::Kept(Kept::There),
            Some(port) => Fate::Kept(Kept::InUse(port)),
            None => self.remove(prune, &records, is_gone)?,
        };
        Ok(Pruned {
            project,
            records,
            fate,
        })
    }

    /// Releases exactly these claims, if the directory is `still` not there. The last ports of a block go
    /// first: what is left is a shorter block.
    fn remove(&self, prune: &Prune, records: &[Record], still: impl Fn() -> bool) -> Result<Fate> {
        if prune.is_dry {
            return Ok(Fate::Removed);
        }
        if !still() {
            return Ok(Fate::Kept(Kept::There));
        }
        let mut fate = Fate::Kept(Kept::Again);
        for record in records.iter().rev() {
            match self.release(record) {
                Ok(()) => fate = Fate::Removed,
                // It has been released, and perhaps claimed again.
                Err(error) if error.kind() == ErrorKind::Superseded => {}
                Err(error) => return Err(error),
            }
        }
        Ok(fate)
    }
}

/// Returns whether the project's directory was deleted, as far as the disk tells that: where not, why.
pub(crate) fn is_missing(project: &ProjectPath, records: &[Record]) -> Result<(), Kept> {
    let parent = match look(project.as_path()) {
        // Whose directory is there is not pruned: `portclaim stress` must find it.
        Whereabouts::There if cfg!(portclaim_mutant = "there_pruned") => device(project.as_path()),
        Whereabouts::There => return Err(Kept::There),
        Whereabouts::Link => return Err(Kept::Link),
        Whereabouts::ParentMissing => return Err(Kept::ParentMissing),
        Whereabouts::Unclear(error) => return Err(Kept::Unclear(error.to_string())),
        Whereabouts::Missing { device } => device,
    };
    let mut devices = records.iter().map(Record::device);
    if devices.clone().any(|device| device.is_none()) {
        Err(Kept::UnknownDevice)
    } else if devices.any(|device| device != parent) {
        Err(Kept::OtherDevice)
    } else {
        Ok(())
    }
}

/// Returns the first of the ports that a program uses, or where that cannot be known.
fn used(records: &[Record]) -> Option<Port> {
    let mut ports = records.iter().map(Record::port);
    ports.find(|&port| match probe(port) {
        Ok(Availability::Free) => false,
        // This user may not bind it: who listens may be told all the same.
        Ok(Availability::Denied) => {
            !listeners(&|there| there == port).is_ok_and(|there| there.is_empty())
        }
        _ => true,
    })
}
