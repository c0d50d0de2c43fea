//! Claims that hold for a time. A record never changes, so the date of the claim's file is the
//! clock: such a claim ends so many seconds after that date as its record says.

use std::io;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::record::{Record, claim_name};
use crate::term::Term;

use super::{Context, ROUNDS_MAX, Store, committed, pause};

/// Returns when a claim ends that was given for a time; `None` where it was not, is gone, or ends
/// later than times can be told.
///
/// # Races
///
/// Where another claim of the port takes its place meanwhile, that one's date counts. Under the lock
/// of its file, none does.
pub(crate) fn expires<D: Dir>(store: &Store<D>, record: &Record) -> Result<Option<SystemTime>> {
    let Term::Ttl(ttl) = record.term() else {
        return Ok(None);
    };
    let (dir, name) = (&store.ports, claim_name(record.port()));
    let written = dir.written(&name).at(Op::Inspect, dir, &name)?;
    Ok(written.and_then(|time| time.checked_add(Duration::from_secs(*ttl))))
}

/// Lets a claim that was given for a time end at `end`, durably, and returns whether it could: not
/// where it is gone, or was not given for a time.
///
/// After an error it ends when it would have, or at `end`.
///
/// # Races
///
/// The date is set under the lock of the claim's file, and who takes an ended claim away asks for
/// the date under it: a renewal that was told is not overlooked. Of two renewals at once, either
/// may be the one that holds.
pub(crate) fn renew<D: Dir>(store: &Store<D>, record: &Record, end: SystemTime) -> Result<bool> {
    let Term::Ttl(ttl) = record.term() else {
        return Ok(false);
    };
    // What is written in the record is counted from the date.
    let date = end
        .checked_sub(Duration::from_secs(*ttl))
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let (dir, name) = (&store.ports, claim_name(record.port()));
    for round in 0..ROUNDS_MAX {
        let file = match dir.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file.at(Op::Open, dir, &name)?,
        };
        if dir.has_locks() && !dir.try_lock(&file).at(Op::Lock, dir, &name)? {
            pause(round);
            continue;
        }
        let renewed = date_anew(store, record, &name, &file, date);
        dir.unlock(&file);
        return renewed;
    }
    Err(Error::contended(dir.path().join(name)))
}

/// The same under the lock of the claim's file.
fn date_anew<D: Dir>(
    store: &Store<D>,
    record: &Record,
    name: &str,
    file: &D::File,
    date: SystemTime,
) -> Result<bool> {
    let dir = &store.ports;
    // One that was released may lie there until it is swept: its lock was held.
    let is_it = dir.means(name, file).at(Op::Inspect, dir, name)?
        && committed(store, record.port())?.is_some_and(|there| there.nonce() == record.nonce());
    // Without the date, `portclaim stress` must find that it ends too early (.ci/run).
    if is_it && !cfg!(portclaim_mutant = "unrenewed") {
        dir.touch(file, date).at(Op::Write, dir, name)?;
        if store.is_durable() {
            dir.sync_file(file).at(Op::Sync, dir, name)?;
        }
    }
    Ok(is_it)
}
