//! A holder's port: the one that it has, else a new one. The order in which ports are
//! tried is the caller's policy.

use std::io::ErrorKind;

use crate::error::{Corruption, Error, Op, Result};
use crate::fs::Dir;
use crate::net::Availability;
use crate::port::Port;
use crate::project::Holder;
use crate::record::{LEN_MAX, Record};

use super::claim::{Attempt, Committed, claim, withdraw_commit};
use super::lookup::hidden;
use super::mark::Mark;
use super::sweep::sweep_port;
use super::withdraw::{Aside, Withdrawal, withdraw};
use super::{Context, Flushed, Lookup, ROUNDS_MAX, Store, lookup_seal, pause};

/// Why a port was not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// It has a claim.
    Claimed,
    /// A program uses it without a claim.
    InUse,
    /// This user may not bind it.
    Denied,
}

/// Says which port is tried next.
pub(crate) trait Picker {
    /// Returns the next port to try, `None` where there is none left.
    fn next(&mut self) -> Result<Option<Port>>;

    /// Learns that a port was not had.
    fn rejected(&mut self, port: Port, why: Rejection);

    /// Learns that the holder had this port, and that it is to be tried first.
    fn prefer(&mut self, port: Port);

    /// Asks whether programs could bind the port.
    fn availability(&mut self, port: Port) -> Result<Availability>;
}

/// What [`acquire`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// The holder had this port.
    Existing(Record),
    /// The holder was given this port now.
    New(Record),
    /// The picker knew no port any more.
    Exhausted,
}

/// Returns `holder`'s port, and gives it one where it has none. Where the store is durable,
/// the answer is.
///
/// Damaged files that stand in the way are moved to `quarantine`.
pub(crate) fn acquire<D: Dir>(
    store: &Store<D>,
    holder: &Holder,
    picker: &mut impl Picker,
    quarantine: impl Fn() -> Result<D>,
) -> Result<Acquired> {
    let seen = lookup_seal(store, holder)?;
    acquire_after(store, holder, seen, picker, quarantine)
}

/// The same after a look-up that the caller has made. That it may be outdated does no harm:
/// the commit is published only where there is none.
pub(crate) fn acquire_after<D: Dir>(
    store: &Store<D>,
    holder: &Holder,
    seen: Lookup,
    picker: &mut impl Picker,
    quarantine: impl Fn() -> Result<D>,
) -> Result<Acquired> {
    let mut seen = Some(seen);
    for round in 0..ROUNDS_MAX {
        let found = match seen.take() {
            Some(found) => found,
            None => lookup_seal(store, holder)?,
        };
        match found {
            Lookup::Held(record, flushed) => {
                make_durable(store, &record, flushed)?;
                return Ok(Acquired::Existing(record));
            }
            Lookup::Dangling(record) => {
                // The claim was lost (a power cut, somebody's rm): the holder gets the same
                // port again if it can be had. A damaged claim is moved out of the way.
                picker.prefer(record.port());
                sweep_port(store, record.port(), &quarantine)?;
                if withdraw_commit(store, &record)? == Withdrawal::Busy {
                    pause(round);
                }
                continue;
            }
            // It may be held, and whoever was told the port relies on it.
            Lookup::Hidden(record) => return Err(hidden(store, &record)),
            Lookup::Damaged(damage @ Corruption::NotAFile) => {
                return Err(Error::corrupt(
                    store.projects.path().join(holder.key()),
                    damage,
                ));
            }
            Lookup::Damaged(_) => {
                let aside = quarantine()?;
                withdraw(
                    &store.projects,
                    holder.key(),
                    LEN_MAX,
                    &Aside::To(&aside),
                    |bytes| Ok(is_damaged(bytes, |there| there.holder() == holder)),
                )?;
                continue;
            }
            Lookup::Absent => {}
        }
        if let Some(acquired) = try_ports(store, holder, picker)? {
            return Ok(acquired);
        }
    }
    Err(Error::contended(store.projects.path().join(holder.key())))
}

/// Tries the picker's ports. `None`: begin again from the look-up.
fn try_ports<D: Dir>(
    store: &Store<D>,
    holder: &Holder,
    picker: &mut impl Picker,
) -> Result<Option<Acquired>> {
    while let Some(port) = picker.next()? {
        let pending = match claim(store, holder, port, |port| picker.availability(port))? {
            Attempt::Pending(pending) => pending,
            Attempt::Taken => {
                picker.rejected(port, Rejection::Claimed);
                continue;
            }
            Attempt::Unusable(Availability::Denied) => {
                picker.rejected(port, Rejection::Denied);
                continue;
            }
            Attempt::Unusable(_) => {
                picker.rejected(port, Rejection::InUse);
                continue;
            }
        };
        let mark = match Mark::claimed(store, port, pending.nonce()) {
            Ok(mark) => mark,
            Err(error) => {
                pending.abandon(store);
                return Err(error);
            }
        };
        match pending.commit(store) {
            Ok(Committed::Own(record, commit)) => {
                // Another process of the project may have been told the port by now: it stands,
                // unsealed, though this one does not tell it.
                let flushed = store.sync_names();
                if flushed.is_ok() {
                    seal(store, &commit);
                }
                mark.finish();
                flushed?;
                return Ok(Some(Acquired::New(record)));
            }
            Ok(Committed::Other) => {
                mark.discard();
                // Looked up again, for it may have been released since, and is to be flushed.
                return Ok(None);
            }
            Err(error) => {
                // What failed may have been done all the same: the mark stays.
                mark.finish();
                return Err(error);
            }
        }
    }
    Ok(Some(Acquired::Exhausted))
}

/// Returns whether the content of a commit is no record that `belongs` here, and no later
/// version's.
pub(crate) fn is_damaged(bytes: &[u8], belongs: impl FnOnce(&Record) -> bool) -> bool {
    match Record::decode(bytes) {
        Ok(record) => !belongs(&record),
        Err(Corruption::NewerFormat(_)) => false,
        Err(_) => true,
    }
}

/// Makes a commit durable that a look-up found, unless it is known to be.
pub(crate) fn make_durable<D: Dir>(
    store: &Store<D>,
    record: &Record,
    flushed: Flushed,
) -> Result<()> {
    if flushed == Flushed::Yes || !store.is_durable() {
        return Ok(());
    }
    // Opened before the names are flushed: the seal goes on a file whose name that covered. A
    // later commit under the name is not this file. The contents are flushed as well, for a
    // claimer with a volatile store did not.
    let claim = crate::record::claim_name(record.port());
    let files = [
        (&store.ports, claim.as_str()),
        (&store.projects, record.holder().key()),
    ];
    let mut commit = None;
    for (dir, name) in files {
        match dir.open(name) {
            Ok(file) => {
                let bytes = match dir.read_file(&file, LEN_MAX) {
                    // Released since it was opened, by another machine.
                    Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle => {
                        return Ok(());
                    }
                    read => read.at(Op::Read, dir, name)?,
                };
                if !Record::decode(&bytes).is_ok_and(|there| there.nonce() == record.nonce()) {
                    return Ok(());
                }
                dir.sync_file(&file).at(Op::Sync, dir, name)?;
                commit = Some(file);
            }
            // Released since the look-up: there is nothing to keep.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).at(Op::Open, dir, name),
        }
    }
    store.sync_names()?;
    if let Some(commit) = commit {
        seal(store, &commit);
    }
    Ok(())
}

/// Seals a commit whose name was flushed. Where that fails (a read-only disk, another user's
/// file), whoever looks it up flushes it again.
fn seal<D: Dir>(store: &Store<D>, commit: &D::File) {
    if store.is_durable() {
        let _ = store.projects.seal(commit);
    }
}
