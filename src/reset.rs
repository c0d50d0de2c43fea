//! Empties a registry: every claim is released one by one, and its files are moved to a
//! numbered backup. Other processes may go on; what they claim meanwhile stands.

use std::io;

use camino::Utf8PathBuf;

use crate::error::{Error, ErrorKind, Op, Result};
use crate::fs::Dir;
use crate::fs::os::OsDir;
use crate::index::{self, Document, IndexFile};
use crate::migrate;
use crate::place::{BACKUPS, MISSING, PORTS, PROJECTS, Place};
use crate::protocol::{Archive, Context, Durability, Refreshed, Released, refresh, release, sweep};
use crate::record::Record;
use crate::registry::Registry;

/// Most numbered backups.
const BACKUPS_MAX: u32 = 10_000;

/// What a reset did.
///
/// # Examples
///
/// ```
/// // There is no registry, and it is not created.
/// let reset = portclaim::Registry::open("/no-such-directory")?.reset()?;
/// assert_eq!(reset.backup, None);
/// assert!(reset.released.is_empty());
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reset {
    /// The directory that holds the old state; `None` where there was none.
    pub backup: Option<Utf8PathBuf>,
    /// The claims that this call released, by port.
    pub released: Vec<Record>,
}

impl Registry {
    /// Releases every claim. The claims, their commits and the registry file (in the Python
    /// system's form, so that it can be put back and is taken over again) are moved to a
    /// new directory `backups/<number>`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt)
    /// where something cannot be read or moved;
    /// [`ErrorKind::Contended`](crate::ErrorKind::Contended) where another process is writing the
    /// registry file or a claim and does not come to an end. What was released until then is in the
    /// backup, the rest is as before.
    ///
    /// # Races
    ///
    /// Other processes may go on meanwhile: what they claim after the claims were listed stands.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let record = registry.claim(&Request::new(shop))?.keep();
    /// let reset = registry.reset()?;
    /// assert_eq!(reset.released, [record]);
    /// assert!(reset.backup.expect("there were claims").join("port_registry.json").exists());
    /// assert_eq!(registry.records()?.count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset(&self) -> Result<Reset> {
        let Some(place) = self.place_with_file()? else {
            return Ok(Reset {
                backup: None,
                released: Vec::new(),
            });
        };
        // What others wrote into the file belongs to the old state.
        self.refresh_now(place)?;
        let backup = create_backup(place)?;
        let create = |name| {
            let created = backup.create_dir(name);
            created.at(Op::CreateDirectory, &backup, name)
        };
        let (ports, projects) = (create(PORTS)?, create(PROJECTS)?);
        self.export(place, &backup)?;

        let archive = Archive {
            ports: &ports,
            projects: &projects,
        };
        let mut released = Vec::new();
        // What cannot be read, a sweep puts aside, or a person has to look at it.
        for record in self.records()?.readable() {
            let record = record?;
            if let Released::Done(record) = release(
                &place.store,
                record.holder(),
                Some(record.nonce()),
                Some(&archive),
            )? {
                released.push(record);
            }
        }
        sweep(&place.store, || place.quarantine())?;
        // What is known of missing projects belongs to the old state as well.
        match place.root.replace(MISSING, &backup, MISSING) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).at(Op::Replace, &backup, MISSING);
            }
            _ => {}
        }
        for dir in [&ports, &projects] {
            dir.sync().on(Op::Sync, dir)?;
        }
        self.write_empty(place)?;
        Ok(Reset {
            backup: Some(backup.path().to_owned()),
            released,
        })
    }

    /// Writes the registry file as it is now to the backup, without portclaim's own key.
    fn export(&self, place: &Place, backup: &OsDir) -> Result<()> {
        if let Some(document) = migrate::read(place, self.file_name())? {
            let file = IndexFile {
                root: backup,
                name: self.file_name(),
            };
            file.replace(
                &place.store,
                &place.store.staging,
                &document.without_own_key().to_bytes(),
            )?;
            backup.sync().on(Op::Sync, backup)?;
        }
        Ok(())
    }

    /// Writes a new registry file, with whatever was claimed since.
    fn write_empty(&self, place: &Place) -> Result<()> {
        let file = IndexFile {
            root: &place.root,
            name: self.file_name(),
        };
        for round in 0..crate::protocol::ROUNDS_MAX {
            let mut is_written = false;
            let refreshed = refresh(&place.store, true, |marked| {
                // What others wrote since the export is adopted first, and stands.
                let adopted = migrate::adopt(place, self.file_name(), self.range())?;
                let read = adopted.bytes.as_deref();
                let mut document = Document::new(self.range());
                place.turn().clear();
                let turn = (None, self.range());
                index::update_fully(&mut document, &place.store, marked, turn)?;
                migrate::establish(place)?;
                let (store, staging) = (&place.store, &place.store.staging);
                let bytes = document.to_bytes();
                is_written = file
                    .replace_if(store, staging, read, &bytes, Durability::Durable)?
                    .is_some();
                // Somebody is writing the file: once more, after what they write was read.
                if is_written {
                    Ok(())
                } else {
                    Err(Error::contended(self.index_path()))
                }
            });
            match refreshed {
                Ok(Refreshed::Done) => return Ok(()),
                Err(error) if is_written || error.kind() != ErrorKind::Contended => {
                    return Err(error);
                }
                Ok(Refreshed::Elsewhere) | Err(_) => crate::protocol::pause(round),
            }
        }
        Err(Error::contended(self.index_path()))
    }
}

fn create_backup(place: &Place) -> Result<OsDir> {
    let backups = place.create_dir(BACKUPS)?;
    for number in 1..=BACKUPS_MAX {
        let name = number.to_string();
        match backups.create_new_dir(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            answer => return answer.at(Op::CreateDirectory, &backups, &name),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists)).on(Op::CreateDirectory, &backups)
}
