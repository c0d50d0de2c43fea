//! What reading operations answer from: the claims; and the registry file, where what others wrote
//! into it cannot become claims because nothing can be written.

use std::io;

use super::{Records, Registry};
use crate::error::{Error, Result};
use crate::fs::os::OsDir;
use crate::index::{PortSet, present};
use crate::migrate::{self, Unadopted};
use crate::notice::Notice;
use crate::place::Place;

/// How the system refuses to write.
const UNWRITABLE: [io::ErrorKind; 4] = [
    io::ErrorKind::ReadOnlyFilesystem,
    io::ErrorKind::StorageFull,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::PermissionDenied,
];

/// A registry as it can be read.
#[derive(Default)]
pub(super) struct Look<'a> {
    /// Its open directories, if it has any.
    pub(super) place: Option<&'a Place>,
    /// Nothing, unless it could not be adopted.
    pub(super) unadopted: Unadopted,
}

impl<'a> Look<'a> {
    /// Returns what is held, ascending.
    pub(super) fn into_records(self) -> Result<Records<'a>> {
        let mut ports = match self.place {
            Some(place) => present(&place.store.ports)?,
            None => PortSet::new(),
        };
        ports.extend(self.unadopted.records.keys().copied());
        Ok(Records {
            place: self.place,
            ports: ports.iter().collect::<Vec<_>>().into_iter(),
            unadopted: self.unadopted.records,
        })
    }
}

impl Registry {
    /// Before reading, makes claims of what others wrote into the registry file, as far as
    /// there is one.
    pub(super) fn look(&self) -> Result<Look<'_>> {
        let place = match self.place()? {
            Some(place) => place,
            None => match self.place_with_file() {
                Ok(Some(place)) => place,
                Ok(None) => return Ok(Look::default()),
                Err(error) => return self.look_into_file(None, error),
            },
        };
        match self.adopt_and_refresh(place) {
            Ok(()) => Ok(Look {
                place: Some(place),
                unadopted: Unadopted::default(),
            }),
            Err(error) => self.look_into_file(Some(place), error),
        }
    }

    /// After that failed with `error`: reads what the file says, if the reason is that nothing
    /// can be written, and the file can be read.
    fn look_into_file<'a>(&self, place: Option<&'a Place>, error: Error) -> Result<Look<'a>> {
        if !error.is_from(&UNWRITABLE) {
            return Err(error);
        }
        let unadopted = OsDir::open_root(self.root())
            .ok()
            .and_then(|root| migrate::unadopted(&root, self.file_name(), place).ok());
        let Some(unadopted) = unadopted else {
            return Err(error);
        };
        self.notice(vec![Notice::NotTakenOver {
            path: self.index_path(),
            why: error.with_cause(),
        }]);
        Ok(Look { place, unadopted })
    }
}
