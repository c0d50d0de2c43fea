//! Claims that hold for a time, or as long as a process lives: when they are over by the clock, and
//! who takes them away then.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use super::{Registry, Request};
use crate::claim::Claim;
use crate::error::{Corruption, Error, Result};
use crate::fs::Dir;
use crate::index::present;
use crate::net::is_free;
use crate::place::Place;
use crate::protocol::{ROUNDS_MAX, Withdrawal, committed, expires, pause, release_ended, renew};
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
        let Some(place) = self.place()? else {
            return Ok(None);
        };
        let expires = expires(&place.store, record)?;
        // What has its port now may be another claim, whose date that was.
        let there = committed(&place.store, record.port())?;
        let is_it = there.is_some_and(|there| there.nonce() == record.nonce());
        Ok(expires.filter(|_| is_it))
    }

    /// Gives a claim that was given for a time so long from now on, in whole seconds, and returns
    /// whether it could: not where it is gone, or was not given for a time. One that has expired
    /// and that nobody took away is given anew.
    ///
    /// # Errors
    ///
    /// After an error the claim ends when it would have, or at the new time.
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
        match self.place()? {
            Some(place) => renew(&place.store, record, end_after(time)),
            None => Ok(false),
        }
    }
}

impl Registry {
    /// Gives holders their ports, and begins the terms of what is held anew. What is held on terms that are over
    /// is claimed again, as the request says.
    pub(super) fn claim_and_extend(
        &self,
        requests: &[Request],
        made: &mut Vec<Nonce>,
    ) -> Result<Vec<Claim>> {
        let mut requests = Cow::Borrowed(requests);
        for round in 0..ROUNDS_MAX {
            let claims = self.claim_as_it_is(&requests, made)?;
            let mut is_again = false;
            for (at, claim) in claims.iter().enumerate() {
                let extended = if claim.is_new() {
                    Extended::Holds
                } else {
                    self.extend(&requests[at], claim.record())?
                };
                if extended == Extended::Holds {
                    continue;
                }
                is_again = true;
                let request = &mut requests.to_mut()[at];
                request.preferred = Some(claim.port());
                // What uses it is most likely the holder's own server.
                request.is_probed = false;
                if extended == Extended::Busy {
                    pause(round);
                }
            }
            if !is_again {
                return Ok(claims);
            }
        }
        Err(Error::contended(self.root()))
    }

    /// Begins the term of a claim anew. One that was given for good, or on terms that are not over, is as it was.
    fn extend(&self, request: &Request, record: &Record) -> Result<Extended> {
        match (&request.term, record.term(), self.place()?) {
            (_, Term::Kept, _) | (_, _, None) => Ok(Extended::Holds),
            (Term::Ttl(time), Term::Ttl(_), _) => {
                let is_renewed = self.renew(record, Duration::from_secs(*time))?;
                Ok(if is_renewed {
                    Extended::Holds
                } else {
                    Extended::Gone
                })
            }
            // A record never changes: what is asked for now is another one, of the same port.
            (_, _, Some(place)) if is_over(place, record)? => {
                let taken = release_ended(&place.store, record, || is_over(place, record))?;
                match taken {
                    Withdrawal::Busy => Ok(Extended::Busy),
                    Withdrawal::Denied => {
                        let path = place.store.ports.path().join(claim_name(record.port()));
                        Err(Error::corrupt(path, Corruption::Denied))
                    }
                    Withdrawal::Done | Withdrawal::Gone | Withdrawal::Other => Ok(Extended::Gone),
                }
            }
            _ => Ok(Extended::Holds),
        }
    }
}

/// What became of a claim whose holder asks for it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extended {
    /// It holds.
    Holds,
    /// It is over, or was taken away: it is to be claimed again.
    Gone,
    /// The same, and another process is about to take it away.
    Busy,
}

/// Returns when so much time from now on is over, in whole seconds.
fn end_after(time: Duration) -> SystemTime {
    let time = Duration::from_secs(time.as_secs());
    // What is later than can be told is as late as can be told.
    let latest = Duration::from_secs(i64::MAX.unsigned_abs());
    now()
        .checked_add(time)
        .unwrap_or(SystemTime::UNIX_EPOCH + latest)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what was given until a certain time ends by the clock, and nothing else does"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns whether the terms are over that the claim was given on. Where there are no locks, that is never known:
/// somebody may be renewing it, and processes of other machines cannot be judged.
fn is_over(place: &Place, record: &Record) -> Result<bool> {
    if !place.store.ports.has_locks() {
        return Ok(false);
    }
    Ok(match record.term() {
        Term::Kept | Term::Lease => false,
        Term::Ttl(_) => expires(&place.store, record)?.is_some_and(|end| end <= now()),
        // An owner that lives must not lose its claim: `portclaim stress` must find it (.ci/run).
        Term::Owner(owner) => owner.is_dead() || cfg!(portclaim_mutant = "owner_ignored"),
    })
}

/// Returns whether nothing holds the claim any more. A port that a program uses is held.
pub(super) fn has_ended(place: &Place, record: &Record) -> Result<bool> {
    Ok(is_over(place, record)? && is_free(record.port())?)
}

/// What became of claims whose terms may have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reclaimed {
    /// They hold, or cannot be taken away.
    Kept,
    /// Another process is taking one away, or renews it.
    Busy,
    /// One is gone, whoever took it away.
    Gone,
}

/// Takes a claim away whose term has ended.
pub(super) fn reclaim(place: &Place, record: &Record) -> Result<Reclaimed> {
    if !has_ended(place, record)? {
        return Ok(Reclaimed::Kept);
    }
    let taken = release_ended(&place.store, record, || has_ended(place, record))?;
    Ok(match taken {
        Withdrawal::Done | Withdrawal::Gone => Reclaimed::Gone,
        Withdrawal::Busy => Reclaimed::Busy,
        Withdrawal::Other | Withdrawal::Denied => Reclaimed::Kept,
    })
}

/// The same of all claims but those that are spared.
pub(super) fn reclaim_all(place: &Place, is_spared: impl Fn(&Record) -> bool) -> Result<Reclaimed> {
    let mut all = Reclaimed::Kept;
    for port in present(&place.store.ports)?.iter() {
        if let Some(record) = committed(&place.store, port)?
            && !is_spared(&record)
        {
            all = all.max(reclaim(place, &record)?);
        }
    }
    Ok(all)
}
