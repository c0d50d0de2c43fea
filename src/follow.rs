//! A git repository that was moved is known again, and its ports go along.

use camino::Utf8Path;

use crate::error::Result;
use crate::project::ProjectPath;
use crate::prune::{Kept, is_missing};
use crate::record::Record;
use crate::registry::Registry;
use crate::repository::Repository;

/// What [`Registry::follow_git`] did.
///
/// # Examples
///
/// ```
/// # use portclaim::{Followed, ProjectPath, Registry};
/// let registry = Registry::open("/no-such-directory")?;
/// let text = match registry.follow_git(&ProjectPath::resolve(".")?)? {
///     Followed::Moved { from, records } => format!("{} ports of {from}", records.len()),
///     Followed::Unsure(formers) => format!("it may have been one of {}", formers.len()),
///     _ => "it is new here".to_owned(),
/// };
/// assert_eq!(text, "it is new here");
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Followed {
    /// Nothing: no port was given to this repository elsewhere, or the project is in none.
    Nothing,
    /// The ports of the place where the repository was belong to the project now.
    Moved {
        /// Where it was.
        from: ProjectPath,
        /// The new records, by port.
        records: Vec<Record>,
    },
    /// Nothing either: it was at more than one place, or it is not sure that it is not there any more.
    Unsure(Vec<Former>),
}

/// A place where a project was, or may be still; see [`Followed::Unsure`].
///
/// ```
/// # use portclaim::{Followed, Former, ProjectPath, Registry};
/// # let registry = Registry::open("/no-such-directory")?;
/// # let project = ProjectPath::resolve(".")?;
/// if let Followed::Unsure(formers) = registry.follow_git(&project)? {
///     let is_gone = |former: &Former| former.why.is_none();
///     assert!(formers.len() > 1 || !formers.iter().any(is_gone));
/// }
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Former {
    /// The project that has the ports.
    pub project: ProjectPath,
    /// Why it is not sure that the repository is gone from there; `None` where it is.
    pub why: Option<Kept>,
}

impl Registry {
    /// Moves the ports of the project that this one was, if its git repository was moved here: those of
    /// all its services, as [`Registry::move_project`] does.
    ///
    /// It was, if another project
    ///
    /// - was given its ports in the same [`Repository`] and in none other
    ///   ([`Request::note_repository`](crate::Request::note_repository)), at the same place in it, and on the
    ///   same device, and
    /// - the directory in which that repository was is deleted, as [`Registry::prune`] judges it: its path
    ///   does not exist, the directory around it does, and on that device.
    ///
    /// A port is never taken from a project whose directory is there. A repository that was moved to another file
    /// system is a copy of itself, and is not known again.
    ///
    /// # Errors
    ///
    /// As [`Registry::move_project`], for [`ErrorKind::HasAnother`](crate::ErrorKind::HasAnother) where the
    /// project has a port of its own for one of the services already. [`ErrorKind::Io`](crate::ErrorKind::Io)
    /// where it cannot be told in which repository the project is.
    ///
    /// # Races
    ///
    /// Whoever makes the old directory again, and asks for its port, between the look and the move is told
    /// a port that the project loses. Of several calls at once, one moves the ports, and for the others
    /// there is nothing to follow.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Followed, Holder, ProjectPath, Registry, Repository, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let home = dir.path();
    /// # let root = dir.path().join("registry");
    /// # let registry = Registry::open(root.to_str().unwrap())?;
    /// std::fs::create_dir_all(home.join("shop/.git"))?;
    /// let request = Request::new(Holder::new(ProjectPath::resolve(home.join("shop"))?));
    /// let port = registry.claim(&request.note_repository())?.port();
    /// std::fs::rename(home.join("shop"), home.join("store"))?;
    /// let store = ProjectPath::resolve(home.join("store"))?;
    /// # if Repository::of(&store)?.is_some() {
    /// let followed = registry.follow_git(&store)?;
    /// assert!(matches!(followed, Followed::Moved { records, .. } if records[0].port() == port));
    /// assert_eq!(registry.claim(&Request::new(Holder::new(store)))?.port(), port);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow_git(&self, project: &ProjectPath) -> Result<Followed> {
        let Some((repository, device)) = Repository::locate(project)? else {
            return Ok(Followed::Nothing);
        };
        let formers = self.formers(project, &repository, device)?;
        let from = match &formers[..] {
            [] => return Ok(Followed::Nothing),
            [Former { project, why: None }] => project.clone(),
            _ => return Ok(Followed::Unsure(formers)),
        };
        let records = self.move_project(&from, project)?;
        if records.is_empty() {
            // Another process was first.
            return Ok(Followed::Nothing);
        }
        Ok(Followed::Moved { from, records })
    }

    /// Returns the other projects that were given ports where this one is in the same repository.
    fn formers(
        &self,
        project: &ProjectPath,
        repository: &Repository,
        device: u64,
    ) -> Result<Vec<Former>> {
        let depth = repository.depth();
        let Some((_, within)) = split(project, depth) else {
            return Ok(Vec::new());
        };
        let mut formers = Vec::new();
        for (other, records) in self.projects()? {
            if other == *project || !is_noted(&records, repository) {
                continue;
            }
            let Some((top, _)) = split(&other, depth).filter(|(_, there)| *there == within) else {
                continue;
            };
            let why = is_missing(&top, &records).err();
            let mut devices = records.iter().filter_map(Record::device);
            // What differs in nothing but the device is a snapshot of it; unless devices have other
            // numbers now than they had.
            if devices.all(|noted| noted == device) || why == Some(Kept::OtherDevice) {
                formers.push(Former {
                    project: other,
                    why,
                });
            }
        }
        Ok(formers)
    }
}

/// Returns whether a project's claims name this repository, and no other.
fn is_noted(records: &[Record], repository: &Repository) -> bool {
    let mut noted = records.iter().filter_map(Record::repository).peekable();
    noted.peek().is_some() && noted.all(|noted| noted == repository)
}

/// Returns the top of the repository that a project lies so deep in, and its path from there.
fn split(project: &ProjectPath, depth: u16) -> Option<(ProjectPath, &Utf8Path)> {
    let mut top = project.clone();
    for _ in 0..depth {
        top = top.parent()?;
    }
    let within = project.as_path().strip_prefix(top.as_path()).ok()?;
    Some((top, within))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_the_top_of_its_repository() {
        let project = ProjectPath::from_normal("/home/a/shop/api").expect("normal");
        for (depth, top, within) in [
            (0, "/home/a/shop/api", ""),
            (1, "/home/a/shop", "api"),
            (3, "/home", "a/shop/api"),
            (4, "/", "home/a/shop/api"),
        ] {
            let (there, path) = split(&project, depth).expect("it is not as deep");
            assert_eq!((there.as_str(), path.as_str()), (top, within));
        }
        assert_eq!(split(&project, 5), None);
        assert_eq!(split(&project, u16::MAX), None);
    }
}
