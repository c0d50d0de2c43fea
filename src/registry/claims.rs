//! A holder's port: claimed, found, released.

use super::search::look_all;
use super::{Registry, Request};
use crate::claim::Claim;
use crate::error::{Error, Result};
use crate::project::Holder;
use crate::protocol::{Acquired, Lookup, Released, held, make_durable, release};
use crate::record::{Nonce, Record};

impl Registry {
    /// Returns the holder's port, and gives it one if it has none. Idempotent: whoever asks,
    /// and how often, is told the same port until it is released.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) where the range has no port left,
    /// [`ErrorKind::Taken`](crate::ErrorKind::Taken) where a certain port was asked for and
    /// is not to be had, [`ErrorKind::HasAnother`](crate::ErrorKind::HasAnother) where the holder
    /// has another one, [`ErrorKind::Contended`](crate::ErrorKind::Contended) where others kept it
    /// from an answer, [`ErrorKind::Io`](crate::ErrorKind::Io) and
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where the registry cannot be used.
    /// After an error the holder has no port that it had not before, with one exception: a claim
    /// that the disk failed to flush may stand, and the next call flushes and returns it.
    ///
    /// # Races
    ///
    /// A port is probed after it was claimed, and is free at that moment. Programs that do
    /// not ask the registry can still bind it before the holder does; see [`Claim::bind`].
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// let registry = Registry::open(root)?;
    /// let request = Request::new(Holder::new(ProjectPath::resolve(".")?));
    /// let port = registry.claim(&request)?.port();
    /// assert_eq!(registry.claim(&request)?.port(), port);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim(&self, request: &Request) -> Result<Claim> {
        let mut claims = self.claim_all(std::slice::from_ref(request))?;
        Ok(claims.remove(0))
    }

    /// Returns the ports of several holders, as [`Registry::claim`] does, in the order of the
    /// requests: of all of them, or after an error of none that had not one before.
    ///
    /// # Errors
    ///
    /// As [`Registry::claim`], for the first that cannot be had. Only a disk that fails in the
    /// middle can leave some of them with a port; the next call returns those.
    ///
    /// # Races
    ///
    /// As [`Registry::claim`]. Where another process gives one of the holders a port and takes it
    /// away again during the call, those before it in the row may keep theirs after an error: it
    /// may have been told to others by then.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// let registry = Registry::options().range("20000-20001".parse()?).open(root)?;
    /// let shop = ProjectPath::from_normal("/home/a/shop")?;
    /// let request = |service| Holder::of_service(shop.clone(), service).map(Request::new);
    /// let two = registry.claim_all(&[request("web")?, request("db")?])?;
    /// assert_ne!(two[0].port(), two[1].port());
    /// // There are two ports: nobody is given one of three.
    /// let [a, b, c] = ["/a", "/b", "/c"].map(|path| ProjectPath::from_normal(path).map(Holder::new));
    /// assert!(registry.claim_all(&[a, b, c].map(|holder| Request::new(holder.unwrap()))).is_err());
    /// assert_eq!(registry.records()?.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim_all(&self, requests: &[Request]) -> Result<Vec<Claim>> {
        self.claim_and_extend(requests, &mut Vec::new())
    }

    /// The same without looking at the terms of what is held. What the call has `made` before is new as well.
    pub(super) fn claim_as_it_is(
        &self,
        requests: &[Request],
        made: &mut Vec<Nonce>,
    ) -> Result<Vec<Claim>> {
        let place = self.place_for_writing()?;
        let seen = look_all(place, requests)?;
        for (request, seen) in requests.iter().zip(&seen) {
            if let Lookup::Held(record, _) = seen {
                request.check_existing(record)?;
            }
        }
        if seen.iter().all(|seen| matches!(seen, Lookup::Held(..))) {
            let mut claims = Vec::with_capacity(seen.len());
            for seen in seen {
                if let Lookup::Held(record, flushed) = seen {
                    make_durable(&place.store, &record, flushed)?;
                    let is_new = made.contains(&record.nonce());
                    claims.push(Claim::new(self.clone(), record, is_new));
                }
            }
            return Ok(claims);
        }
        let file = self.adopt(place)?;
        let rewrite = file.rewrite;
        let acquired = self.acquire_all(place, requests, seen, &file, made);
        drop(file);
        self.changed(place, rewrite);
        Ok(self.claims(acquired?))
    }

    /// Returns the record of the holder's port, `None` where it has none.
    ///
    /// A mapping that others wrote into the registry file becomes a claim first. Where nothing can
    /// be written, it is told all the same; see [`Notice::NotTakenOver`](crate::Notice::NotTakenOver).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt)
    /// where the registry cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// assert_eq!(registry.find(&shop)?, None);
    /// let record = registry.claim(&Request::new(shop.clone()))?.keep();
    /// assert_eq!(registry.find(&shop)?, Some(record));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find(&self, holder: &Holder) -> Result<Option<Record>> {
        if let Some(place) = self.place()?
            && let Some(record) = held(&place.store, holder)?
        {
            return Ok(Some(record));
        }
        let look = self.look()?;
        if let Some(place) = look.place
            && let Some(record) = held(&place.store, holder)?
        {
            return Ok(Some(record));
        }
        let mut unadopted = look.unadopted.records.into_values();
        Ok(unadopted.find(|record| record.holder() == holder))
    }

    /// Releases exactly this claim, never a later one of the same port or holder. The
    /// [crate](crate) has an example.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Superseded`](crate::ErrorKind::Superseded) where it is not there any more;
    /// otherwise as [`Registry::release_holder`], whose races it shares.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = camino::Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
    /// # let request = Request::new(Holder::new(ProjectPath::from_normal("/home/a/shop")?));
    /// let registry = Registry::open(root)?;
    /// let record = registry.claim(&request)?.keep();
    /// registry.release(&record)?;
    /// assert_eq!(registry.lookup(record.port())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&self, record: &Record) -> Result<()> {
        let Some(place) = self.place()? else {
            return Err(Error::superseded(record.port()));
        };
        self.adopt_before_release(place, record.holder())?;
        match release(&place.store, record.holder(), Some(record.nonce()), None)? {
            Released::Done(_) => {
                self.changed(place, false);
                Ok(())
            }
            Released::Absent | Released::Superseded(_) => Err(Error::superseded(record.port())),
        }
    }

    /// Releases the holder's port, and returns the record of it; `None` where it had none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt)
    /// where the registry cannot be read or changed;
    /// [`ErrorKind::Contended`](crate::ErrorKind::Contended) where others do not come to an end.
    ///
    /// # Races
    ///
    /// Where locks are not used ([`Filesystem::locks`](crate::Filesystem::locks)), it is safe only while nobody else releases
    /// and claims this port.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let record = registry.claim(&Request::new(shop.clone()))?.keep();
    /// assert_eq!(registry.release_holder(&shop)?, Some(record));
    /// assert_eq!(registry.release_holder(&shop)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release_holder(&self, holder: &Holder) -> Result<Option<Record>> {
        let Some(place) = self.place_with_file()? else {
            return Ok(None);
        };
        self.adopt_before_release(place, holder)?;
        let released = release(&place.store, holder, None, None)?;
        self.changed(place, false);
        Ok(match released {
            Released::Done(record) => Some(record),
            Released::Absent | Released::Superseded(_) => None,
        })
    }

    pub(super) fn claims(&self, acquired: Vec<Acquired>) -> Vec<Claim> {
        let claims = acquired.into_iter().map(|acquired| match acquired {
            Acquired::Existing(record) => Claim::new(self.clone(), record, false),
            Acquired::New(record) => Claim::new(self.clone(), record, true),
        });
        claims.collect()
    }
}
