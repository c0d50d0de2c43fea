//! Claims that hold for a time, or as long as a process lives.
//!
//! A record never changes, so that the time of a claim is the date of its file: `renew` dates it
//! anew, under the lock of the file, and whoever takes an ended claim away asks under that lock.

use std::time::{Duration, SystemTime};

use super::{Registry, Request};
use crate::claim::Claim;
use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::index::present;
use crate::net::is_free;
use crate::place::Place;
use crate::protocol::{Context, ROUNDS_MAX, committed, pause, release_ended};
use crate::record::{Nonce, Record, claim_name};
use crate::term::Term;

impl Registry {
    /// Returns when a claim expires that was given for a time: `None` where it was not, or is
    /// gone. It may be over.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read.
    ///
    /// [`Request::for_time`](crate::Request::for_time) has an example.
    pub fn expires(&self, record: &Record) -> Result<Option<SystemTime>> {
        match self.place()? {
            Some(place) => expires(place, record),
            None => Ok(None),
        }
    }

    /// Gives a claim that was given for a time so long from now on, in whole seconds, and returns
    /// whether it could: not where it is gone, or was not given for a time. One that has expired
    /// and that nobody took away is given anew.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be written,
    /// [`ErrorKind::Contended`](crate::ErrorKind::Contended) where others did not come to an end.
    ///
    /// # Races
    ///
    /// Nobody takes the claim away while it is renewed. What another process renews it to at the
    /// same moment may be what holds.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # use std::time::{Duration, SystemTime};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = dir.path().to_str().unwrap();
    /// # let registry = Registry::options().range("20900-20999".parse()?).open(root)?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let [minute, hour] = [60, 3600].map(Duration::from_secs);
    /// let record = registry.claim(&Request::new(shop).for_time(minute))?.keep();
    /// assert!(registry.renew(&record, hour)?);
    /// assert!(registry.expires(&record)?.unwrap() > SystemTime::now() + hour / 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn renew(&self, record: &Record, time: Duration) -> Result<bool> {
        let (Some(place), Term::Ttl(ttl)) = (self.place()?, record.term()) else {
            return Ok(false);
        };
        // What is written in the record is counted from the date.
        let date = now()
            .checked_add(Duration::from_secs(time.as_secs()))
            .and_then(|end| end.checked_sub(Duration::from_secs(*ttl)))
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let (dir, name) = (&place.store.ports, claim_name(record.port()));
        for round in 0..ROUNDS_MAX {
            let file = match dir.open(&name) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                file => file.at(Op::Open, dir, &name)?,
            };
            if dir.has_locks() && !dir.try_lock(&file).at(Op::Lock, dir, &name)? {
                pause(round);
                continue;
            }
            let renewed = (|| {
                // One that was released may lie there until it is swept: its lock was held.
                let is_it = dir.means(&name, &file).at(Op::Inspect, dir, &name)?
                    && committed(&place.store, record.port())?
                        .is_some_and(|there| there.nonce() == record.nonce());
                // Without the date, `portclaim stress` must find that it ends too early (.ci/run).
                if is_it && !cfg!(portclaim_mutant = "unrenewed") {
                    dir.touch(&file, date).at(Op::Write, dir, &name)?;
                }
                Ok(is_it)
            })();
            dir.unlock(&file);
            return renewed;
        }
        Err(Error::contended(dir.path().join(name)))
    }
}

impl Registry {
    /// Claims, and begins the terms of what is held anew.
    pub(super) fn claim_and_extend(
        &self,
        requests: &[Request],
        made: &mut Vec<Nonce>,
    ) -> Result<Vec<Claim>> {
        let mut requests = requests.to_vec();
        for _ in 0..ROUNDS_MAX {
            let claims = self.claim_as_it_is(&requests, made)?;
            let mut are_extended = true;
            for (request, claim) in requests.iter_mut().zip(&claims) {
                if !claim.is_new() && !self.extend(request, claim.record())? {
                    request.preferred = Some(claim.port());
                    are_extended = false;
                }
            }
            if are_extended {
                return Ok(claims);
            }
        }
        Err(Error::contended(self.root()))
    }

    /// Begins the term of a claim anew; `false` where it is gone. A claim that was given for good,
    /// or that another process owns and lives, is as it was.
    fn extend(&self, request: &Request, record: &Record) -> Result<bool> {
        match (&request.term, record.term(), self.place()?) {
            (Term::Ttl(time), Term::Ttl(_), _) => self.renew(record, Duration::from_secs(*time)),
            (Term::Owner(new), Term::Owner(old), Some(place)) if new != old && old.is_dead() => {
                // A record never changes: the new owner's is another one, of the same port.
                release_ended(&place.store, record, || Ok(old.is_dead()))?;
                Ok(false)
            }
            _ => Ok(true),
        }
    }
}

fn expires(place: &Place, record: &Record) -> Result<Option<SystemTime>> {
    let Term::Ttl(ttl) = record.term() else {
        return Ok(None);
    };
    let (dir, name) = (&place.store.ports, claim_name(record.port()));
    let written = dir.written(&name).at(Op::Inspect, dir, &name)?;
    Ok(written.and_then(|time| time.checked_add(Duration::from_secs(*ttl))))
}

#[expect(
    clippy::disallowed_methods,
    reason = "what was given until a certain time ends by the clock, and nothing else does"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns whether nothing holds the claim any more. A port that a program uses is held.
fn has_ended(place: &Place, record: &Record) -> Result<bool> {
    let is_over = match record.term() {
        Term::Kept | Term::Lease => false,
        Term::Ttl(_) => expires(place, record)?.is_some_and(|end| end <= now()),
        Term::Owner(owner) => owner.is_dead(),
    };
    Ok(is_over && is_free(record.port())?)
}

/// Takes a claim away whose term has ended, and returns whether it did. Not where there are no
/// locks: somebody may be renewing it, and processes of other machines cannot be judged.
pub(super) fn reclaim(place: &Place, record: &Record) -> Result<bool> {
    if !place.store.ports.has_locks() || !has_ended(place, record)? {
        return Ok(false);
    }
    release_ended(&place.store, record, || has_ended(place, record))
}

/// The same of all claims but those that are spared; returns whether any was taken away.
pub(super) fn reclaim_all(place: &Place, is_spared: impl Fn(&Record) -> bool) -> Result<bool> {
    let mut any = false;
    for port in present(&place.store.ports)?.iter() {
        if let Some(record) = committed(&place.store, port)?
            && !is_spared(&record)
        {
            any |= reclaim(place, &record)?;
        }
    }
    Ok(any)
}
