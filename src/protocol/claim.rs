//! Claims one port and commits it to a holder.

use std::io;

use crate::error::{Corruption, Error, Op, Result};
use crate::fs::Dir;
use crate::net::Availability;
use crate::port::Port;
use crate::record::{Draft, LEN_MAX, Nonce, Record, claim_name};
use crate::term::Term;

use super::lookup::{carries, hidden, is_claimed, read_claim, read_record};
use super::withdraw::{Aside, Withdrawal, withdraw};
use super::{Context, ROUNDS_MAX, Store, pause};

/// How often one port is tried again when a sweep took the new, still empty claim away.
const SWEPT_RETRIES_MAX: u32 = 3;

/// How often the lock of a new claim is tried that another process holds.
const BUSY_RETRIES_MAX: u32 = 3;

/// What came of trying to claim one port.
pub(super) enum Attempt<D: Dir> {
    /// The claim is this process's, and its lock is held.
    Pending(Pending<D>),
    /// The port has a claim, whatever it says.
    Taken,
    /// Nobody claims the port, but it cannot be bound.
    Unusable(Availability),
}

/// A claim that is not committed yet. Its lock is held for as long as this lives (ALIVE).
pub(super) struct Pending<D: Dir> {
    file: D::File,
    record: Record,
    /// The record as the claim and the commit hold it.
    line: Vec<u8>,
}

/// Whose claim was committed.
pub(super) enum Committed<D: Dir> {
    /// This one. The file is the commit, open, to be sealed.
    Own(Record, D::File),
    /// The holder was given this port by another process first.
    Other,
}

/// Claims `port` for the draft's holder, if it is unclaimed and `availability` says that it is free.
///
/// It is asked after the claim was created: so no other portclaim asks for the same port
/// at the same moment.
pub(super) fn claim<D: Dir>(
    store: &Store<D>,
    draft: &Draft,
    port: Port,
    availability: impl FnOnce(Port) -> Result<Availability>,
) -> Result<Attempt<D>> {
    let dir = &store.ports;
    let name = claim_name(port);
    // A lease is not flushed: no process outlives a power cut.
    let is_flushed = store.is_durable() && draft.term != Term::Lease;
    let record = draft.record(port, store.nonce()?);
    let Some(file) = create_locked(dir, &name)? else {
        return Ok(Attempt::Taken);
    };
    let line = record.encode();
    let pending = Pending { file, record, line };
    let filled = availability(port).and_then(|answer| {
        if answer == Availability::Free {
            dir.write(&pending.file, &pending.line)
                .at(Op::Write, dir, &name)?;
            if is_flushed {
                // Before the commit is published: a commit never outlives its claim's content.
                dir.sync_file(&pending.file).at(Op::Sync, dir, &name)?;
            }
        }
        Ok(answer)
    });
    match filled {
        Ok(Availability::Free) => Ok(Attempt::Pending(pending)),
        Ok(answer) => {
            pending.abandon(store);
            Ok(Attempt::Unusable(answer))
        }
        Err(error) => {
            pending.abandon(store);
            Err(error)
        }
    }
}

/// Creates the file `name` and returns it with its lock held, or `None` where the name is taken.
fn create_locked<D: Dir>(dir: &D, name: &str) -> Result<Option<D::File>> {
    for round in 0..SWEPT_RETRIES_MAX {
        let file = match dir.create(name) {
            Ok(file) => file,
            // Perhaps still the file of the round before, which a sweep is removing.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && round > 0 => {
                pause(round);
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error).at(Op::Create, dir, name),
        };
        if !dir.has_locks() {
            return Ok(Some(file));
        }
        match lock_new(dir, name, &file) {
            Ok(true) => return Ok(Some(file)),
            // A sweep found the file before its lock was taken, and removes it: it is not
            // this process's to touch any more (LOCK-THEN-NAME).
            Ok(false) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn lock_new<D: Dir>(dir: &D, name: &str, file: &D::File) -> Result<bool> {
    for round in 0..=BUSY_RETRIES_MAX {
        match dir.try_lock(file) {
            Ok(true) => {
                let means = dir.means(name, file).at(Op::Inspect, dir, name);
                if !matches!(means, Ok(true)) {
                    dir.unlock(file);
                }
                return means;
            }
            // A check holds the lock for a moment, and leaves the file; a sweep removes it.
            Ok(false) if dir.means(name, file).at(Op::Inspect, dir, name)? => pause(round),
            Ok(false) => return Ok(false),
            Err(error) => {
                // It was never locked, so nobody takes it for a claim: removed, if it can be, and
                // if nobody has done it and claimed the port since.
                if dir.means(name, file).unwrap_or(false) {
                    let _ = dir.remove(name);
                }
                return Err(error).at(Op::Lock, dir, name);
            }
        }
    }
    Ok(false)
}

impl<D: Dir> Pending<D> {
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn file(&self) -> &D::File {
        &self.file
    }

    pub(super) fn port(&self) -> Port {
        self.record.port()
    }

    pub(super) fn nonce(&self) -> Nonce {
        self.record.nonce()
    }

    /// Removes the claim again. Best effort: what a failing disk keeps, a sweep removes.
    pub(super) fn abandon(self, store: &Store<D>) {
        let name = claim_name(self.port());
        // Removed before it is unlocked: the other order lets a sweep and a new claimer in
        // between, whose claim this would remove.
        if store.ports.means(&name, &self.file).unwrap_or(false) {
            let _ = store.ports.remove(&name);
        }
        store.ports.unlock(&self.file);
    }

    /// Commits the claim, unless the holder has a port already. Where the answer is an
    /// error, or another's record, the claim is given up.
    pub(super) fn commit(self, store: &Store<D>) -> Result<Committed<D>> {
        let staged = format!("{}-{}", self.port(), self.record.nonce());
        let answer = self
            .stage(store, &staged)
            .and_then(|file| self.publish(store, &staged, file));
        if let Ok(Committed::Own(..)) = answer {
            // Nothing is pending any more. Earlier than the flush that follows, so that a
            // release does not meet the lock.
            store.ports.unlock(&self.file);
        } else {
            let _ = store.staging.remove(&staged);
            self.abandon(store);
        }
        answer
    }

    fn stage(&self, store: &Store<D>, staged: &str) -> Result<D::File> {
        let dir = &store.staging;
        let file = dir.create(staged).at(Op::Create, dir, staged)?;
        if store.is_durable() {
            // A umask can make it look sealed.
            dir.unseal(&file).at(Op::Permit, dir, staged)?;
        }
        dir.write(&file, &self.line).at(Op::Write, dir, staged)?;
        if store.is_durable() {
            dir.sync_file(&file).at(Op::Sync, dir, staged)?;
        }
        Ok(file)
    }

    fn publish(&self, store: &Store<D>, staged: &str, file: D::File) -> Result<Committed<D>> {
        Ok(match publish(store, staged, &self.record)? {
            Published::Own => Committed::Own(self.record.clone(), file),
            Published::Other(_) => Committed::Other,
        })
    }
}

/// Whose commit a holder has.
pub(super) enum Published {
    /// The one that was staged.
    Own,
    /// The holder has this port.
    Other(Record),
}

/// Publishes a staged commit, unless its holder has a port. A commit that dangles is withdrawn.
pub(super) fn publish<D: Dir>(
    store: &Store<D>,
    staged: &str,
    record: &Record,
) -> Result<Published> {
    let dir = &store.projects;
    let key = record.holder().key();
    for round in 0..ROUNDS_MAX {
        let failure = match store.staging.publish(staged, dir, key) {
            Ok(()) => return Ok(Published::Own),
            Err(error) => error,
        };
        // The name tells whether it was published: a network server that is asked twice
        // answers the second time that the name exists.
        match read_record(dir, key)? {
            Some(Ok(there)) if there.nonce() == record.nonce() => return Ok(Published::Own),
            Some(Ok(there)) if there.holder() == record.holder() => {
                match read_claim(store, there.port())? {
                    Some(Ok(claim)) if claim.nonce() == there.nonce() => {
                        return Ok(Published::Other(there));
                    }
                    Some(Err(Corruption::Denied)) => return Err(hidden(store, &there)),
                    _ => {}
                }
                if withdraw_dangling(store, &there)? == Withdrawal::Busy {
                    pause(round);
                }
            }
            Some(Ok(_)) => {
                return Err(Error::corrupt(
                    dir.path().join(key),
                    Corruption::WrongProject,
                ));
            }
            Some(Err(damage)) => return Err(Error::corrupt(dir.path().join(key), damage)),
            None if failure.kind() == io::ErrorKind::AlreadyExists => {}
            // A planted fault for tests/syscalls tells a port that was not published.
            #[cfg(portclaim_mutant = "unpublished")]
            None => return Ok(Published::Own),
            #[cfg(not(portclaim_mutant = "unpublished"))]
            None => return Err(failure).at(Op::Publish, dir, key),
        }
    }
    Err(Error::contended(dir.path().join(key)))
}

/// Withdraws exactly this commit, if it dangles. Looked at again under its lock: where the port is
/// being handed over to its holder, it dangles only until the new claim is in place, and is
/// locked until then.
pub(crate) fn withdraw_dangling<D: Dir>(store: &Store<D>, commit: &Record) -> Result<Withdrawal> {
    let key = commit.holder().key();
    withdraw(&store.projects, key, LEN_MAX, &Aside::Nowhere, |bytes| {
        let is_it = carries(bytes, commit.nonce());
        Ok(is_it && is_claimed(store, commit, bytes)? == Some(false))
    })
}

/// Withdraws the file `name` if it carries `record`'s nonce.
pub(super) fn withdraw_record<D: Dir>(
    dir: &D,
    name: &str,
    record: &Record,
    aside: &Aside<'_, D>,
) -> Result<Withdrawal> {
    withdraw(dir, name, LEN_MAX, aside, |bytes| {
        Ok(carries(bytes, record.nonce()))
    })
}
