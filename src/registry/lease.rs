//! Leases, as the registry gives and lists them.

use super::search::{Found, Pick, search, wanted};
use super::{Registry, Request};
use crate::claim::Lease;
use crate::error::{Error, ErrorKind, Result};
use crate::index::present;
use crate::pick::RangePicker;
use crate::protocol::{Standing, lease, standing};
use crate::record::Record;

impl Registry {
    /// Leases a port to the request's holder: for as long as the [`Lease`] lives, or a child
    /// process that inherits it. Each call gives another port; the port that the holder has for
    /// good ([`Registry::claim`]) is not touched.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) where the range has no port left,
    /// [`ErrorKind::Taken`](crate::ErrorKind::Taken) where a certain port was asked for and
    /// is claimed or in use, [`ErrorKind::NoLocks`](crate::ErrorKind::NoLocks) on file systems
    /// whose locks cannot be trusted ([`Filesystem::locks`](crate::Filesystem::locks)),
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be used.
    ///
    /// # Races
    ///
    /// As [`Registry::claim`]. A child that another thread forks in this moment, and that does not
    /// become another program, shares the lease.
    ///
    /// [`Lease`] has an example.
    pub fn lease(&self, request: &Request) -> Result<Lease> {
        let place = self.place_for_writing()?;
        let filesystem = place.root.filesystem();
        if !filesystem.locks() {
            let why = ", and a lease is nothing but a lock";
            return Err(Error::no_locks(self.root(), filesystem.to_string(), why));
        }
        let file = self.adopt(place)?;
        let rewrite = file.rewrite;
        let range = request.range.unwrap_or(self.range());
        let written = file.next_available();
        let is_ours = |_: &Record| false;
        let found = search(place, is_ours, || {
            let mut pick = if let Some(port) = request.port {
                Pick::Only(wanted(port, true))
            } else {
                let (spared, excluded) = (file.spared(), self.excluded(request));
                Pick::Range(RangePicker::new(
                    place, range, written, None, spared, excluded,
                ))
            };
            Ok(match lease(&place.store, &request.holder, &mut pick)? {
                Some(leased) => Found::This(leased),
                None => Found::Exhausted(pick),
            })
        });
        drop(file);
        if rewrite {
            self.changed(place, rewrite);
        }
        Ok(Lease::new(self.clone(), found?))
    }

    /// Returns the leases that are held now, by port. What has ended is not among them, and
    /// neither is what has been claimed for good.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read.
    ///
    /// # Races
    ///
    /// Each was held at some moment during the call.
    ///
    /// [`Lease`] has an example.
    pub fn leases(&self) -> Result<Vec<Record>> {
        let Some(place) = self.place()? else {
            return Ok(Vec::new());
        };
        let mut leases = Vec::new();
        for port in present(&place.store.ports)?.iter() {
            match standing(&place.store, port) {
                Ok(Standing::Leased(record)) => leases.push(record),
                Ok(_) => {}
                // Who can read it knows what it is.
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
        Ok(leases)
    }
}
