//! Takes over what others wrote into the registry file: the Python system, a running copy of
//! it, or a person. Each mapping becomes a claim. Any number of processes may do it at once.

use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::fs::os::OsDir;
use crate::index::{self, Document, IndexFile, Loaded, PortSet, salvage};
use crate::net::Availability;
use crate::notice::Notice;
use crate::place::Place;
use crate::port::Port;
use crate::project::{Holder, ProjectPath};
use crate::protocol::{
    Acquired, Context, Lookup, Picker, Rejection, acquire, committed, lookup, marks, sweep_port,
};
use crate::record::claim_name;

/// How often a mapping's port is tried whose claim is neither committed nor removed.
const SWEPT_RETRIES_MAX: u32 = 3;

/// What the registry file said before it was taken over.
pub(crate) struct Adopted {
    /// The file, where it was sound.
    pub(crate) document: Option<Document>,
    /// Its bytes, where there was one.
    pub(crate) bytes: Option<Vec<u8>>,
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
    match file.load()? {
        Loaded::Missing => Ok(Adopted {
            document: None,
            bytes: None,
            notices,
            rewrite: true,
        }),
        Loaded::Damaged(damage, bytes) => {
            let backup = file.back_up(&place.store, &place.store.staging, &bytes)?;
            let claims = adopt_all(place, salvage(&bytes), false, &mut notices)?;
            let backup = place.root.path().join(backup);
            notices.push(Notice::Damaged {
                path,
                why: damage.to_string(),
                backup,
                claims,
            });
            Ok(Adopted {
                document: None,
                bytes: Some(bytes),
                notices,
                rewrite: true,
            })
        }
        Loaded::Sound(document, bytes) => {
            let is_ours = document.is_ours() && !claims_are_lost(place, &document)?;
            let rewrite = if is_ours {
                let foreign = index::foreign(&document);
                let rewrite = !foreign.is_empty();
                adopt_all(place, foreign, true, &mut notices)?;
                rewrite
            } else {
                let backup = file.back_up(&place.store, &place.store.staging, &bytes)?;
                let all = document
                    .mappings()
                    .map(|(path, port)| (path.clone(), port))
                    .collect();
                let claims = adopt_all(place, all, false, &mut notices)?;
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
                true
            };
            Ok(Adopted {
                document: Some(document),
                bytes: Some(bytes),
                notices,
                rewrite,
            })
        }
    }
}

/// Returns whether every claim that the file knows is gone, and no mark says that it was
/// released: somebody removed the directories, or brought only the file along.
fn claims_are_lost(place: &Place, document: &Document) -> Result<bool> {
    let Some(ours) = document.ours() else {
        return Ok(false);
    };
    // A claim that stands is the rule, and ends the search.
    for port in ours.iter() {
        let name = claim_name(port);
        match place.store.ports.inspect(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(_) => return Ok(false),
            Err(error) => return Err(error).at(Op::Inspect, &place.store.ports, &name),
        }
    }
    // The marks after the claims: one that was released in between has its mark by now.
    let mut marked = PortSet::new();
    for mark in marks(&place.store.index)? {
        marked.insert(mark.port);
    }
    Ok(!ours.is_empty() && ours.iter().all(|port| !marked.contains(port)))
}

/// Returns how many became claims. Each is reported by itself if `each` says so.
fn adopt_all(
    place: &Place,
    mappings: Vec<(ProjectPath, Port)>,
    each: bool,
    notices: &mut Vec<Notice>,
) -> Result<usize> {
    let mut claims = 0;
    for (project, port) in mappings {
        match adopt_one(place, project, port)? {
            Some(notice @ Notice::Adopted { .. }) => {
                claims += 1;
                if each {
                    notices.push(notice);
                }
            }
            Some(notice) => notices.push(notice),
            None => {}
        }
    }
    Ok(claims)
}

fn adopt_one(place: &Place, project: ProjectPath, port: Port) -> Result<Option<Notice>> {
    let store = &place.store;
    let holder = Holder::new(project.clone());
    for _ in 0..SWEPT_RETRIES_MAX {
        let claimed = match lookup(store, &holder)? {
            Lookup::Held(record, _) => record.port(),
            _ => match acquire(store, &holder, &mut Only::new(port), || place.quarantine())? {
                Acquired::New(record) if record.port() == port => {
                    return Ok(Some(Notice::Adopted { project, port }));
                }
                Acquired::New(record) | Acquired::Existing(record) => record.port(),
                Acquired::Exhausted => {
                    if let Some(by) = committed(store, port)? {
                        let holder = by.project().clone();
                        return Ok(Some(Notice::Conflict {
                            project,
                            port,
                            holder,
                        }));
                    }
                    sweep_port(store, port, || place.quarantine())?;
                    continue;
                }
            },
        };
        return Ok((claimed != port).then_some(Notice::Differs {
            project,
            written: port,
            claimed,
        }));
    }
    Ok(None)
}

/// Picks one port, whatever uses it: a project's own server, most likely.
pub(crate) struct Only {
    port: Option<Port>,
}

impl Only {
    pub(crate) fn new(port: Port) -> Only {
        Only { port: Some(port) }
    }
}

impl Picker for Only {
    fn next(&mut self) -> Result<Option<Port>> {
        Ok(self.port.take())
    }

    fn rejected(&mut self, _: Port, _: Rejection) {}

    fn prefer(&mut self, _: Port) {}

    fn in_turn(&self, _: Port) -> bool {
        false
    }

    fn availability(&mut self, _: Port) -> Result<Availability> {
        Ok(Availability::Free)
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
/// the index lock.
pub(crate) fn write_index(
    place: &Place,
    name: &str,
    range: crate::PortRange,
    marked: &[crate::protocol::Marked],
) -> Result<Vec<Notice>> {
    let Adopted {
        document,
        bytes,
        notices,
        ..
    } = adopt(place, name)?;
    let mut document = document.unwrap_or_else(|| Document::new(range));
    index::update(&mut document, &place.store, marked, range)?;
    let updated = document.to_bytes();
    if bytes.as_ref() != Some(&updated) {
        IndexFile {
            root: &place.root,
            name,
        }
        .replace(&place.store, &place.store.staging, &updated)?;
    }
    remove_staged(&place.store.staging)?;
    Ok(notices)
}

/// Removes staged files of refreshers that were killed: there is one refresher, and it is us.
/// Backups are staged by others too, and are left to `repair`.
fn remove_staged(staging: &OsDir) -> Result<()> {
    if !staging.has_locks() {
        return Ok(());
    }
    for name in staging
        .names()
        .map_err(|error| Error::io(Op::List, staging.path(), error))?
    {
        if name.starts_with("registry-") {
            let _ = staging.remove(&name);
        }
    }
    Ok(())
}
