//! Which port a holder has: two reads, no lock.

use std::io;

use crate::error::{Corruption, Error, Op, Result};
use crate::fs::Dir;
use crate::port::Port;
use crate::project::Holder;
use crate::record::{LEN_MAX, Nonce, Record, claim_name};

use super::{Context, Store};

/// How often a claim is read that has no commit: its port may have been handed over between the
/// two reads, and then there is another claim, with one.
pub(super) const LOOKS: usize = 2;

/// What is known of a holder's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It has none.
    Absent,
    /// It has this one: both files carry the nonce (MATCHING).
    Held(Record, Flushed),
    /// Its commit is there, and the claim is not, or another's, or damaged.
    Dangling(Record),
    /// Its commit is there, and this user may not read the claim: which of the two it is, held
    /// or dangling, cannot be known.
    Hidden(Record),
    /// Its commit cannot be read as a record.
    Damaged(Corruption),
}

/// Whether a commit is known to survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Its seal says so.
    Yes,
    /// Whoever published it may not have flushed it yet, and may never.
    Unknown,
}

/// Reads the file `name` as a record: `None` where there is no such file.
///
/// A complete record may be read without a lock (IMMUTABLE). What is incomplete may be
/// about to change, and nothing follows from it without the lock.
pub(crate) fn read_record<D: Dir>(
    dir: &D,
    name: &str,
) -> Result<Option<Result<Record, Corruption>>> {
    match dir.read(name, LEN_MAX) {
        Ok(bytes) => Ok(Some(Record::decode(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Ok(Some(Err(Corruption::NotAFile)))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(Some(Err(Corruption::Denied)))
        }
        Err(error) => Err(error).at(Op::Read, dir, name),
    }
}

/// Reads the claim of `port`. A record of another port under this name is damage.
pub(crate) fn read_claim<D: Dir>(
    store: &Store<D>,
    port: Port,
) -> Result<Option<Result<Record, Corruption>>> {
    let record = read_record(&store.ports, &claim_name(port))?;
    Ok(record.map(|record| record.and_then(|record| check_port(record, port))))
}

/// Returns whether these bytes are a record with this nonce.
pub(super) fn carries(bytes: &[u8], nonce: Nonce) -> bool {
    Record::decode(bytes).is_ok_and(|record| record.nonce() == nonce)
}

pub(super) fn check_port(record: Record, port: Port) -> Result<Record, Corruption> {
    if record.port() == port {
        Ok(record)
    } else {
        Err(Corruption::WrongPort(record.port()))
    }
}

/// Looks `holder`'s port up.
///
/// # Races
///
/// The answer held at some moment during the call.
pub(crate) fn lookup<D: Dir>(store: &Store<D>, holder: &Holder) -> Result<Lookup> {
    let read = store.projects.read(holder.key(), LEN_MAX);
    evaluate(store, holder, read.map(|bytes| (bytes, false)))
}

/// Returns the record of `holder`'s port: `None` where it has none, an error where its claim
/// may not be read.
pub(crate) fn held<D: Dir>(store: &Store<D>, holder: &Holder) -> Result<Option<Record>> {
    match lookup(store, holder)? {
        Lookup::Held(record, _) => Ok(Some(record)),
        Lookup::Hidden(record) => Err(hidden(store, &record)),
        Lookup::Absent | Lookup::Dangling(_) | Lookup::Damaged(_) => Ok(None),
    }
}

/// As [`lookup`], and asks for the seal, which takes one more call.
pub(crate) fn lookup_seal<D: Dir>(store: &Store<D>, holder: &Holder) -> Result<Lookup> {
    let read = store.projects.read_sealed(holder.key(), LEN_MAX);
    evaluate(store, holder, read)
}

fn evaluate<D: Dir>(
    store: &Store<D>,
    holder: &Holder,
    read: io::Result<(Vec<u8>, bool)>,
) -> Result<Lookup> {
    let key = holder.key();
    let (bytes, sealed) = match read {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lookup::Absent),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            return Ok(Lookup::Damaged(Corruption::NotAFile));
        }
        Err(error) => return Err(error).at(Op::Read, &store.projects, key),
    };
    let commit = match Record::decode(&bytes) {
        Err(Corruption::NewerFormat(format)) => {
            let path = store.projects.path().join(key);
            return Err(Error::corrupt(path, Corruption::NewerFormat(format)));
        }
        Err(damage) => return Ok(Lookup::Damaged(damage)),
        Ok(record) if record.holder() != holder => {
            return Ok(Lookup::Damaged(Corruption::WrongProject));
        }
        Ok(record) => record,
    };
    let flushed = if sealed {
        Flushed::Yes
    } else {
        Flushed::Unknown
    };
    Ok(match is_claimed(store, &commit, &bytes)? {
        Some(true) => Lookup::Held(commit, flushed),
        Some(false) => Lookup::Dangling(commit),
        None => Lookup::Hidden(commit),
    })
}

/// Returns whether the claim of the commit's port carries its nonce; `None` where this user
/// may not read it. Both files say the same, so that it need not be decoded to be known.
pub(super) fn is_claimed<D: Dir>(
    store: &Store<D>,
    commit: &Record,
    bytes: &[u8],
) -> Result<Option<bool>> {
    let name = claim_name(commit.port());
    let is_same = |claim: &[u8]| claim == bytes || carries(claim, commit.nonce());
    match store.ports.read(&name, LEN_MAX) {
        Ok(claim) => Ok(Some(is_same(&claim))),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => Ok(Some(false)),
            io::ErrorKind::PermissionDenied => Ok(None),
            _ => Err(error).at(Op::Read, &store.ports, &name),
        },
    }
}

/// The error of an operation that needs to know what a claim says that it may not read.
pub(super) fn hidden<D: Dir>(store: &Store<D>, commit: &Record) -> Error {
    let path = store.ports.path().join(claim_name(commit.port()));
    Error::corrupt(path, Corruption::Denied)
}

/// Returns the record of whoever holds `port`: `None` where the port has no claim, or one that
/// is not committed or cannot be read.
pub(crate) fn committed<D: Dir>(store: &Store<D>, port: Port) -> Result<Option<Record>> {
    for _ in 0..LOOKS {
        match read_claim(store, port)? {
            Some(Ok(claim)) if is_committed(store, &claim)? => return Ok(Some(claim)),
            Some(Ok(_)) => {}
            _ => break,
        }
    }
    Ok(None)
}

/// Returns whether a claim is committed (MATCHING).
pub(super) fn is_committed<D: Dir>(store: &Store<D>, claim: &Record) -> Result<bool> {
    let commit = read_record(&store.projects, claim.holder().key())?;
    Ok(matches!(commit, Some(Ok(commit)) if commit.nonce() == claim.nonce()))
}

/// Returns whether `port` has a claim that may be committed, and that this user or this version
/// cannot read.
pub(crate) fn is_unreadable<D: Dir>(store: &Store<D>, port: Port) -> Result<bool> {
    let record = match read_claim(store, port)? {
        Some(Ok(claim)) => read_record(&store.projects, claim.holder().key())?,
        unread => unread,
    };
    Ok(matches!(
        record,
        Some(Err(Corruption::Denied | Corruption::NewerFormat(_)))
    ))
}
