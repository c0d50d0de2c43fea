//! Adopts mappings one by one, as the registry file had them when it was read.

use super::only::Only;
use super::{file_of, fingerprint, foreign, is_current, mappings};
use crate::error::{ErrorKind, Result};
use crate::fs::fingerprint::Fingerprint;
use crate::index::{Loaded, PortSet, salvage};
use crate::notice::Notice;
use crate::place::Place;
use crate::port::Port;
use crate::project::{Holder, ProjectPath};
use crate::protocol::{
    Acquired, Lookup, Standing, Swept, acquire, committed, lookup, pause, standing, sweep_port,
};

/// How often a port is looked at whose claim can be neither swept nor read.
const LOOKS_MAX: u32 = 3;

/// The registry file as it was when it was read.
pub(super) struct Source<'a> {
    pub(super) place: &'a Place,
    pub(super) name: &'a str,
    pub(super) seen: Option<Fingerprint>,
    /// The ports that portclaim wrote: looked at for conflicts, and never claimed from here,
    /// for one whose claim is gone was released.
    pub(super) ours: PortSet,
    /// How often a port is tried that is being claimed this moment.
    pub(super) rounds: u32,
}

impl Source<'_> {
    /// Returns how many became claims. Each is reported by itself if `each` says so.
    pub(super) fn adopt_all(
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
        for round in 0..self.rounds {
            let mut picker = Only::if_still(port, || self.still_says(project, port));
            let claimed = match lookup(store, &holder)? {
                Lookup::Held(record, _) => record.port(),
                _ => match acquire(store, &holder, &mut picker, || self.place.quarantine())? {
                    Some(Acquired::New(record)) if record.port() == port => {
                        return Ok(Some(Notice::Adopted {
                            project: project.clone(),
                            port,
                        }));
                    }
                    Some(Acquired::New(record) | Acquired::Existing(record)) => record.port(),
                    None if picker.is_outdated() => return Ok(None),
                    None => {
                        if let Some(by) = committed(store, port)? {
                            let own = *by.holder() == holder;
                            return Ok((!own).then(|| Notice::Conflict {
                                project: project.clone(),
                                port,
                                holder: by.holder().clone(),
                            }));
                        }
                        // Most likely another process adopts the same mapping.
                        match sweep_port(store, port, || self.place.quarantine())? {
                            Swept::Busy => pause(round),
                            Swept::Leased => {
                                if let Standing::Leased(by) = standing(store, port)? {
                                    return Ok(Some(Notice::Conflict {
                                        project: project.clone(),
                                        port,
                                        holder: by.holder().clone(),
                                    }));
                                }
                            }
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
        let file = file_of(self.place, self.name);
        let says = |all: Vec<(ProjectPath, Port)>| {
            all.iter()
                .any(|(path, there)| path == project && *there == port)
        };
        Ok(match file.load()? {
            Loaded::Missing => false,
            Loaded::Damaged(_, bytes) => says(salvage(&bytes)),
            Loaded::Sound(document, _) if is_current(self.place, &document)? => {
                !document.wrote(port) && says(foreign(&document))
            }
            Loaded::Sound(document, _) => says(mappings(&document)),
        })
    }
}
