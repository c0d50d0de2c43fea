//! Takes over what others wrote into the registry file: the Python system, a running copy of
//! it, or a person. Each mapping becomes a claim. Any number of processes may do it at once.

use std::sync::{Arc, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Op, Result};
use crate::fs::Dir;
use crate::fs::os::Fingerprint;
use crate::index::{self, Document, Dropped, IndexFile, Loaded, PortSet, remove_staged, salvage};
use crate::net::Availability;
use crate::notice::Notice;
use crate::place::{Place, Settled};
use crate::port::{Port, PortRange};
use crate::project::{Holder, ProjectPath};
use crate::protocol::{
    Acquired, Context, Durability, Lookup, Marked, Picker, ROUNDS_MAX, Rejection, Swept, acquire,
    committed, lookup, pause, sweep_port,
};

/// The name in `ports/` and `projects/` that says that a registry file was written for these claims.
pub(crate) const ESTABLISHED: &str = ".portclaim";

/// How often a port is looked at whose claim can be neither swept nor read.
const LOOKS_MAX: u32 = 3;

/// What the registry file said before it was taken over.
pub(crate) struct Adopted {
    /// The file, where it was sound.
    pub(crate) document: Option<Arc<Document>>,
    /// Its bytes, where there was one.
    pub(crate) bytes: Option<Arc<Vec<u8>>>,
    /// What a user should hear of.
    pub(crate) notices: Vec<Notice>,
    /// Whether the file must be written anew, whatever the marks say.
    pub(crate) rewrite: bool,
}

/// Makes claims of the mappings that portclaim did not write.
///
/// A mapping whose port is another project's is reported; one whose port is being claimed
/// this moment stays in the file, and is looked at again the next time.
pub(crate) fn adopt(place: &Place, name: &str) -> Result<Adopted> {
    let file = IndexFile {
        root: &place.root,
        name,
    };
    let path = place.root.path().join(name);
    let mut notices = Vec::new();
    // Taken before the file is read: what is written in between shows the next time.
    let seen = fingerprint(place, name)?;
    if let Some(settled) = settled(place).clone()
        && Some(settled.seen) == seen
    {
        let Settled {
            document, bytes, ..
        } = settled;
        return Ok(Adopted {
            document: Some(document),
            bytes: Some(bytes),
            notices,
            rewrite: false,
        });
    }
    *settled(place) = None;
    let mut source = Source {
        place,
        name,
        seen,
        ours: PortSet::new(),
    };
    match file.load()? {
        Loaded::Missing => Ok(Adopted {
            document: None,
            bytes: None,
            notices,
            rewrite: true,
        }),
        Loaded::Damaged(damage, bytes) => {
            let backup = file.back_up(&place.store, &place.store.staging, &bytes)?;
            let claims = source.adopt_all(salvage(&bytes), false, &mut notices)?;
            let backup = place.root.path().join(backup);
            notices.push(Notice::Damaged {
                path,
                why: damage.to_string(),
                backup,
                claims,
            });
            Ok(Adopted {
                document: None,
                bytes: Some(Arc::new(bytes)),
                notices,
                rewrite: true,
            })
        }
        Loaded::Sound(document, bytes) if is_current(place, &document)? => {
            let rewrite = document.is_edited();
            if rewrite {
                let mut foreign = foreign(&document);
                let present = index::present(&place.store.ports)?;
                source.ours = document.ours().cloned().unwrap_or_default();
                // What portclaim wrote and has no claim any more was released.
                foreign.retain(|&(_, port)| !source.ours.contains(port) || present.contains(port));
                source.adopt_all(foreign, true, &mut notices)?;
            }
            let (document, bytes) = (Arc::new(document), Arc::new(bytes));
            if let (Some(seen), false) = (seen, rewrite) {
                let (document, bytes) = (document.clone(), bytes.clone());
                *settled(place) = Some(Settled {
                    seen,
                    document,
                    bytes,
                });
            }
            Ok(Adopted {
                document: Some(document),
                bytes: Some(bytes),
                notices,
                rewrite,
            })
        }
        Loaded::Sound(document, bytes) => {
            let backup = file.back_up(&place.store, &place.store.staging, &bytes)?;
            let all = mappings(&document);
            let claims = source.adopt_all(all, false, &mut notices)?;
            notices.extend(document.kept().map(|kept| Notice::Kept {
                key: kept.key,
                why: kept.why.to_string(),
            }));
            let backup = place.root.path().join(backup);
            notices.push(Notice::TakenOver {
                path,
                backup,
                claims,
            });
            Ok(Adopted {
                document: Some(Arc::new(document)),
                bytes: Some(Arc::new(bytes)),
                notices,
                rewrite: true,
            })
        }
    }
}

fn settled(place: &Place) -> MutexGuard<'_, Option<Settled>> {
    place.settled.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the mappings that somebody else may have written: none where the file is as
/// portclaim wrote it, else all, since those that are claims already do no harm.
fn foreign(document: &Document) -> Vec<(ProjectPath, Port)> {
    if document.is_edited() {
        mappings(document)
    } else {
        Vec::new()
    }
}

fn mappings(document: &Document) -> Vec<(ProjectPath, Port)> {
    document
        .mappings()
        .map(|(path, port)| (path.clone(), port))
        .collect()
}

/// Returns whether portclaim wrote the file for the claims that are here. Where the directory
/// of the claims is new (somebody removed it, or brought only the file along), its mappings
/// are taken over like the Python system's.
fn is_current(place: &Place, document: &Document) -> Result<bool> {
    Ok(document.is_ours() && is_established(place)?)
}

/// Returns whether a registry file was ever written for these claims and commits.
fn is_established(place: &Place) -> Result<bool> {
    for dir in [&place.store.ports, &place.store.projects] {
        match dir.inspect(ESTABLISHED) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).at(Op::Inspect, dir, ESTABLISHED),
        }
    }
    Ok(true)
}

/// Notes that a registry file was written for these claims, durably: else a file that is
/// older than a power cut would be taken for one that was brought along.
pub(crate) fn establish(place: &Place) -> Result<()> {
    for dir in [&place.store.ports, &place.store.projects] {
        match dir.create(ESTABLISHED) {
            Ok(_) => dir.sync().at(Op::Sync, dir, "")?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).at(Op::Create, dir, ESTABLISHED),
        }
    }
    Ok(())
}

fn fingerprint(place: &Place, name: &str) -> Result<Option<Fingerprint>> {
    place
        .root
        .fingerprint(name)
        .at(Op::Inspect, &place.root, name)
}

/// The registry file as it was when it was read.
struct Source<'a> {
    place: &'a Place,
    name: &'a str,
    seen: Option<Fingerprint>,
    /// The ports that portclaim wrote: looked at for conflicts, and never claimed from here,
    /// for one whose claim is gone was released.
    ours: PortSet,
}

impl Source<'_> {
    /// Returns how many became claims. Each is reported by itself if `each` says so.
    fn adopt_all(
        &self,
        mappings: Vec<(ProjectPath, Port)>,
        each: bool,
        notices: &mut Vec<Notice>,
    ) -> Result<usize> {
        let mut claims = 0;
        for (project, port) in mappings {
            let adopted = self.adopt_one(&project, port);
            match adopted {
                Ok(Some(notice @ Notice::Adopted { .. })) => {
                    claims += 1;
                    if each {
                        notices.push(notice);
                    }
                }
                Ok(Some(notice)) => notices.push(notice),
                Ok(None) => {}
                // One damaged file must not stop all other projects.
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Contended) => {
                    notices.push(Notice::NotAdopted {
                        project,
                        port,
                        why: error.to_string(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(claims)
    }

    fn adopt_one(&self, project: &ProjectPath, port: Port) -> Result<Option<Notice>> {
        let store = &self.place.store;
        let holder = Holder::new(project.clone());
        for round in 0..ROUNDS_MAX {
            let mut picker = Only::if_still(port, || self.still_says(project, port));
            let claimed = match lookup(store, &holder)? {
                Lookup::Held(record, _) => record.port(),
                _ => match acquire(store, &holder, &mut picker, || self.place.quarantine())? {
                    Acquired::New(record) if record.port() == port => {
                        return Ok(Some(Notice::Adopted {
                            project: project.clone(),
                            port,
                        }));
                    }
                    Acquired::New(record) | Acquired::Existing(record) => record.port(),
                    Acquired::Exhausted if picker.is_outdated() => return Ok(None),
                    Acquired::Exhausted => {
                        if let Some(by) = committed(store, port)? {
                            let holder = by.project().clone();
                            let own = holder == *project;
                            return Ok((!own).then_some(Notice::Conflict {
                                project: project.clone(),
                                port,
                                holder,
                            }));
                        }
                        // Most likely another process adopts the same mapping.
                        match sweep_port(store, port, || self.place.quarantine())? {
                            Swept::Busy => pause(round),
                            Swept::Removed | Swept::Quarantined => {}
                            Swept::Kept if round < LOOKS_MAX => pause(round),
                            Swept::Kept => return Ok(None),
                        }
                        continue;
                    }
                },
            };
            return Ok((claimed != port).then_some(Notice::Differs {
                project: project.clone(),
                written: port,
                claimed,
            }));
        }
        Ok(None)
    }

    /// Asked while the claim of `port` is this process's, so that nobody else can adopt the
    /// mapping: does the file still say so? If another process has adopted it and released it
    /// again meanwhile, it does not, for a release writes the file first, and a mark goes only
    /// after the file was written.
    fn still_says(&self, project: &ProjectPath, port: Port) -> Result<bool> {
        if self.ours.contains(port) {
            return Ok(false);
        }
        if fingerprint(self.place, self.name)? == self.seen {
            return Ok(true);
        }
        let file = IndexFile {
            root: &self.place.root,
            name: self.name,
        };
        let says = |all: Vec<(ProjectPath, Port)>| {
            all.iter()
                .any(|(path, there)| path == project && *there == port)
        };
        Ok(match file.load()? {
            Loaded::Missing => false,
            Loaded::Damaged(_, bytes) => says(salvage(&bytes)),
            Loaded::Sound(document, _) if is_current(self.place, &document)? => {
                let is_ours = document.ours().is_some_and(|ours| ours.contains(port));
                !is_ours && says(foreign(&document))
            }

            Loaded::Sound(document, _) => says(mappings(&document)),
        })
    }
}

/// Picks one port, whatever uses it: a project's own server, most likely.
pub(crate) struct Only<'a> {
    port: Option<Port>,
    still: Box<dyn FnMut() -> Result<bool> + 'a>,
    outdated: bool,
}

impl<'a> Only<'a> {
    pub(crate) fn new(port: Port) -> Only<'a> {
        Only::if_still(port, || Ok(true))
    }

    /// `still` is asked when the port is claimed and not yet committed.
    pub(crate) fn if_still(port: Port, still: impl FnMut() -> Result<bool> + 'a) -> Only<'a> {
        Only {
            port: Some(port),
            still: Box::new(still),
            outdated: false,
        }
    }

    fn is_outdated(&self) -> bool {
        self.outdated
    }
}

impl Picker for Only<'_> {
    fn next(&mut self) -> Result<Option<Port>> {
        Ok(self.port.take())
    }

    fn rejected(&mut self, _: Port, _: Rejection) {}

    fn prefer(&mut self, _: Port) {}

    fn in_turn(&self, _: Port) -> bool {
        false
    }

    fn availability(&mut self, _: Port) -> Result<Availability> {
        self.outdated = !(self.still)()?;
        Ok(if self.outdated {
            Availability::InUse
        } else {
            Availability::Free
        })
    }
}

/// Reads the registry file: `None` where there is none, or a damaged one.
pub(crate) fn read(place: &Place, name: &str) -> Result<Option<Document>> {
    Ok(
        match (IndexFile {
            root: &place.root,
            name,
        })
        .load()?
        {
            Loaded::Sound(document, _) => Some(document),
            Loaded::Missing | Loaded::Damaged(..) => None,
        },
    )
}

/// Writes the registry file anew from the claims, and what others added to it. Call it under
/// the index lock. All claims are read if `fully` says so, else those that changed.
pub(crate) fn write_index(
    place: &Place,
    name: &str,
    range: PortRange,
    marked: &[Marked],
    fully: bool,
) -> Result<Vec<Notice>> {
    let file = IndexFile {
        root: &place.root,
        name,
    };
    let mut all = Vec::new();
    for round in 0..ROUNDS_MAX {
        let Adopted {
            document,
            bytes,
            notices,
            ..
        } = adopt(place, name)?;
        all.extend(notices);
        // The file is about to change, and with this the only copy can be worked on.
        *settled(place) = None;
        let is_sound = document.is_some();
        let mut document = document.map_or_else(|| Document::new(range), Arc::unwrap_or_clone);
        let update = if fully || !is_sound {
            index::update_fully
        } else {
            index::update
        };
        let dropped = update(&mut document, &place.store, marked, range)?;
        let updated = document.to_bytes();
        // Before the file says that it is portclaim's: else it would be taken over once more.
        establish(place)?;
        let read = bytes.as_ref().map(|bytes| bytes.as_slice());
        let durability = if document.has_more() {
            Durability::Durable
        } else {
            Durability::Volatile
        };
        let is_written = read == Some(&updated)
            || file.replace_if(
                &place.store,
                &place.store.staging,
                read,
                &updated,
                durability,
            )?;
        if is_written {
            all.extend(dropped.into_iter().map(
                |Dropped {
                     project,
                     port,
                     holder,
                 }| Notice::Conflict {
                    project,
                    port,
                    holder,
                },
            ));
            remove_staged(&place.store.staging)?;
            return Ok(all);
        }
        // Somebody wrote the file meanwhile, or is writing it: what they wrote is read first.
        pause(round);
    }
    Err(Error::contended(place.root.path().join(name)))
}
