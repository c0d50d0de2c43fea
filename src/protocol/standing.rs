//! What a port is to whoever asks: somebody's, for good or as a lease, or nobody's.

use crate::error::{Corruption, Error, Result};
use crate::fs::Dir;
use crate::port::Port;
use crate::record::{Record, claim_name};

use super::Store;
use super::lease::is_locked;
use super::lookup::{LOOKS, read_claim, read_record};

/// Whose a port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has no claim.
    Free,
    /// Its claim is committed.
    Held(Record),
    /// Somebody holds it as a lease.
    Leased(Record),
    /// It was a lease, which has ended. Nobody's: whoever wants the port sweeps it.
    Ended,
    /// Its claim is not, or not yet, committed.
    Unsettled,
}

/// Returns whose `port` is. A claim that cannot be read is an error, and a commit that may not be.
///
/// # Races
///
/// The answer held at some moment during the call, but for one: the lock of a lease is tried, for two system calls, and
/// a lease that ends then is told as held.
pub(crate) fn standing<D: Dir>(store: &Store<D>, port: Port) -> Result<Standing> {
    let mut standing = Standing::Free;
    for _ in 0..LOOKS {
        let claim = match read_claim(store, port)? {
            Some(Ok(claim)) => claim,
            None => return Ok(Standing::Free),
            // Most likely somebody is writing it at this moment.
            Some(Err(Corruption::Empty)) => return Ok(Standing::Unsettled),
            Some(Err(damage)) => {
                let path = store.ports.path().join(claim_name(port));
                return Err(Error::corrupt(path, damage));
            }
        };
        let key = claim.holder().key();
        match read_record(&store.projects, key)? {
            Some(Err(Corruption::Denied)) => {
                let path = store.projects.path().join(key);
                return Err(Error::corrupt(path, Corruption::Denied));
            }
            Some(Ok(commit)) if commit.nonce() == claim.nonce() => {
                return Ok(Standing::Held(claim));
            }
            _ if !claim.is_lease() => standing = Standing::Unsettled,
            _ if is_locked(store, port)? => return Ok(Standing::Leased(claim)),
            _ => standing = Standing::Ended,
        }
    }
    Ok(standing)
}
