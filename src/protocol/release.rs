//! Gives a holder's port back.

use crate::error::{Error, Result};
use crate::fs::Dir;
use crate::project::Holder;
use crate::record::{LEN_MAX, Nonce, Record, claim_name};

use super::claim::{withdraw_dangling, withdraw_record};
use super::lookup::{carries, hidden};
use super::mark::Mark;
use super::withdraw::{Aside, Withdrawal, take_out, withdraw};
use super::{Lookup, ROUNDS_MAX, Store, lookup, pause};

/// How often a claim is tried again whose lock another process holds: some milliseconds in
/// all. A claimer that runs holds it for microseconds after its commit.
const BUSY_RETRIES_MAX: u32 = 10;

/// What a release found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// This call released it.
    Done(Record),
    /// The holder has no port.
    Absent,
    /// The holder's claim is not the one that was to be released.
    Superseded(Record),
}

/// Where the files of a released claim go, if they are to be kept.
pub(crate) struct Archive<'a, D> {
    pub(crate) ports: &'a D,
    pub(crate) projects: &'a D,
}

/// Releases the port of `holder`; only the claim with the nonce `only`, where one is given.
///
/// The claim goes first, then the commit: a release that is killed in between has freed the
/// port, and leaves a dangling commit. Where the claim's lock is held by a process that was
/// stopped right after its commit, the commit goes and the claim is left to a sweep (NO-WAIT).
pub(crate) fn release<D: Dir>(
    store: &Store<D>,
    holder: &Holder,
    only: Option<Nonce>,
    archive: Option<&Archive<'_, D>>,
) -> Result<Released> {
    let claims = archive.map_or(Aside::Nowhere, |archive| Aside::To(archive.ports));
    let commits = archive.map_or(Aside::Nowhere, |archive| Aside::To(archive.projects));
    for round in 0..ROUNDS_MAX {
        let record = match lookup(store, holder)? {
            Lookup::Absent => return Ok(Released::Absent),
            Lookup::Damaged(damage) => {
                return Err(Error::corrupt(
                    store.projects.path().join(holder.key()),
                    damage,
                ));
            }
            Lookup::Dangling(record) => {
                if withdraw_dangling(store, &record)? == Withdrawal::Busy {
                    pause(round);
                }
                continue;
            }
            Lookup::Hidden(record) => return Err(hidden(store, &record)),
            Lookup::Held(record, _) => record,
        };
        if only.is_some_and(|nonce| nonce != record.nonce()) {
            return Ok(Released::Superseded(record));
        }
        // A planted fault for tests/syscalls makes it when all is over.
        #[cfg(not(portclaim_mutant = "late_mark"))]
        let mark = Mark::changed(store, record.port())?;
        let mut taken = withdraw_claim(store, &record, &claims);
        if let Ok(answer) = taken
            && answer != Withdrawal::Denied
        {
            let commit = withdraw_record(&store.projects, holder.key(), &record, &commits);
            if answer == Withdrawal::Busy {
                taken = commit;
            }
        }
        let flushed = store.sync_names();
        #[cfg(portclaim_mutant = "late_mark")]
        let mark = Mark::changed(store, record.port())?;
        mark.finish();
        match taken? {
            Withdrawal::Done => {
                flushed?;
                return Ok(Released::Done(record));
            }
            Withdrawal::Denied => return Err(hidden(store, &record)),
            Withdrawal::Gone | Withdrawal::Other | Withdrawal::Busy => pause(round),
        }
    }
    Err(Error::contended(store.projects.path().join(holder.key())))
}

/// Releases exactly this claim if it `has_ended`, which is asked under the lock of its file: nobody
/// renews it meanwhile. Returns what became of its file.
pub(crate) fn release_ended<D: Dir>(
    store: &Store<D>,
    record: &Record,
    has_ended: impl Fn() -> Result<bool>,
) -> Result<Withdrawal> {
    let (dir, name) = (&store.ports, claim_name(record.port()));
    let mark = Mark::changed(store, record.port())?;
    let is_meant = |bytes: &[u8]| Ok(carries(bytes, record.nonce()) && has_ended()?);
    let taken = withdraw(dir, &name, LEN_MAX, &Aside::Nowhere, is_meant);
    match taken {
        Ok(Withdrawal::Done) => {}
        Ok(_) => {
            mark.discard();
            return taken;
        }
        // It may have been done all the same.
        Err(_) => {
            mark.finish();
            return taken;
        }
    }
    // The port is free; what is left dangles, and anybody may take it away.
    let commit = withdraw_dangling(store, record);
    let flushed = store.sync_names();
    mark.finish();
    commit?;
    flushed?;
    taken
}

fn withdraw_claim<D: Dir>(
    store: &Store<D>,
    record: &Record,
    aside: &Aside<'_, D>,
) -> Result<Withdrawal> {
    let name = claim_name(record.port());
    if cfg!(portclaim_mutant = "plain_unlink") {
        // No release: `portclaim stress` must find that it takes others' claims (.ci/run).
        return take_out(&store.ports, &name, aside);
    }
    let mut answer = withdraw_record(&store.ports, &name, record, aside)?;
    for round in 0..BUSY_RETRIES_MAX {
        if answer != Withdrawal::Busy {
            break;
        }
        pause(round);
        answer = withdraw_record(&store.ports, &name, record, aside)?;
    }
    Ok(answer)
}
