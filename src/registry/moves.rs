//! A project that moves takes its ports along.

use super::Registry;
use crate::error::{Error, Result};
use crate::fs::Dir;
use crate::fs::whereabouts::device;
use crate::place::Place;
use crate::project::{Holder, ProjectPath};
use crate::protocol::{HandedOver, ROUNDS_MAX, hand_over, held, pause};
use crate::record::{Draft, Record};
use crate::repository::Repository;

/// How many ports are handed over at once: each takes five open files, and a process may have as few as
/// 256 of them.
const AT_ONCE: usize = 32;

impl Registry {
    /// Gives all ports of the project `old`, those of its services too, to the project `new`, and
    /// returns the new records, by port. Empty where `old` has none. Neither directory needs to exist.
    ///
    /// At every moment each port is held by one of the two projects: nobody else can be given it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::HasAnother`](crate::ErrorKind::HasAnother) where a service has a port in both
    /// projects, and nothing was changed. [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath)
    /// where both are the same. [`ErrorKind::NoLocks`](crate::ErrorKind::NoLocks) where locks are not used
    /// ([`Filesystem::locks`](crate::Filesystem::locks)). [`ErrorKind::Io`](crate::ErrorKind::Io) where
    /// a disk failed: then some ports may have been moved, and another call moves the rest.
    /// [`ErrorKind::Contended`](crate::ErrorKind::Contended) where others did not come to an end.
    ///
    /// # Races
    ///
    /// A port that `old` is given during the call may stay with it. A listing of all ports beside it may
    /// miss one that is moving. The time of a claim that was given for a time begins anew, unless it was renewed for longer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// let [old, new] = ["/home/a/shop", "/home/a/store"].map(ProjectPath::from_normal);
    /// let (old, new) = (old?, new?);
    /// let port = registry.claim(&Request::new(Holder::new(old.clone())))?.port();
    /// let moved = registry.move_project(&old, &new)?;
    /// assert_eq!((moved[0].port(), moved[0].project()), (port, &new));
    /// assert_eq!(registry.find(&Holder::new(old))?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn move_project(&self, old: &ProjectPath, new: &ProjectPath) -> Result<Vec<Record>> {
        if old == new {
            let why = "a project cannot be moved to where it is";
            return Err(Error::invalid_path(new.as_str().as_bytes(), why));
        }
        let Some(place) = self.place_with_file()? else {
            return Ok(Vec::new());
        };
        let filesystem = place.root.filesystem();
        if !filesystem.locks() {
            let why = ", and nothing else keeps others from a claim that is being moved";
            return Err(Error::no_locks(self.root(), filesystem.to_string(), why));
        }
        let mut moved = Vec::new();
        let answer = self.move_all(place, old, new, &mut moved);
        self.changed(place, false);
        answer?;
        moved.sort_unstable_by_key(Record::port);
        Ok(moved)
    }

    fn move_all(
        &self,
        place: &Place,
        old: &ProjectPath,
        new: &ProjectPath,
        moved: &mut Vec<Record>,
    ) -> Result<()> {
        let device = device(new.as_path());
        // Where it cannot be told, the next move is told by hand.
        let repository = Repository::of(new).ok().flatten();
        for round in 0..ROUNDS_MAX {
            let all = self.records_of(old)?;
            // Before the first one moves: of a project, all ports are moved or none.
            let mut is_done = self.can_move(place, &all, new)?;
            let chunks = if is_done { &all[..] } else { &[] }.chunks(AT_ONCE);
            for some in chunks {
                let to = |record: &Record, nonce| {
                    let holder = at(record.holder(), new);
                    let term = record.term().clone();
                    let draft = Draft {
                        holder,
                        term,
                        device,
                        repository: repository.clone(),
                    };
                    record.moved(nonce, draft)
                };
                match hand_over(&place.store, some, to)? {
                    HandedOver::Done(records) => moved.extend(records),
                    HandedOver::Occupied(there) => {
                        let wanted = some
                            .iter()
                            .find(|it| at(it.holder(), new) == *there.holder());
                        let wanted = wanted.map_or(there.port(), Record::port);
                        return Err(Error::has_another(wanted, *there));
                    }
                    HandedOver::Changed => {
                        is_done = false;
                        break;
                    }
                }
            }
            if is_done {
                return Ok(());
            }
            pause(round);
        }
        Err(Error::contended(place.store.projects.path()))
    }

    /// Returns whether these are to be moved still, and not by another process meanwhile.
    fn can_move(&self, place: &Place, all: &[Record], new: &ProjectPath) -> Result<bool> {
        for record in all {
            match held(&place.store, &at(record.holder(), new))? {
                None => self.adopt_before_release(place, record.holder())?,
                Some(there) if there.port() == record.port() => return Ok(false),
                Some(there) => return Err(Error::has_another(record.port(), there)),
            }
        }
        Ok(true)
    }

    /// Returns the records of a project. One that is damaged is passed over: whose it is is not known.
    fn records_of(&self, project: &ProjectPath) -> Result<Vec<Record>> {
        let is_other =
            |record: &Result<Record>| matches!(record, Ok(record) if record.project() != project);
        let records = self.records()?.readable();
        records.filter(|record| !is_other(record)).collect()
    }
}

/// Returns the same service of another project.
fn at(holder: &Holder, project: &ProjectPath) -> Holder {
    Holder::with_service(project.clone(), holder.service().to_owned())
}
