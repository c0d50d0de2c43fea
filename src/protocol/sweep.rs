//! Removes what killed processes left half done: claims that nobody will ever commit.

use crate::error::{Corruption, Op, Result};
use crate::fs::Dir;
use crate::port::Port;
use crate::record::{LEN_MAX, Nonce, Record, claim_name, claim_port};

use super::lookup::{check_port, is_committed, read_claim, read_record};
use super::withdraw::{Aside, Withdrawal, remove_spare, take_out, withdraw};
use super::{Context, Store, hand_over};

/// What a sweep did with one port's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swept {
    /// It is committed, of a later format, no file, or another user's; or there is none.
    Kept,
    /// Its claimer is alive.
    Busy,
    /// Somebody holds it as a lease.
    Leased,
    /// It was an orphan, and is removed.
    Removed,
    /// It was damaged, and is in quarantine.
    Quarantined,
}

/// What a claim file is, as far as sweeping goes.
enum State {
    Kept,
    Orphan,
    Damaged,
}

/// Sweeps the claim of `port`.
///
/// Lock first, then the commit: the other order would miss a commit that is published
/// between the two (ALIVE). Never commits on another process's behalf. Does nothing where
/// there are no locks: there is no other proof that the claimer is gone.
pub(crate) fn sweep_port<D: Dir>(
    store: &Store<D>,
    port: Port,
    quarantine: impl Fn() -> Result<D>,
) -> Result<Swept> {
    let dir = &store.ports;
    if !dir.has_locks() {
        return Ok(Swept::Kept);
    }
    let name = claim_name(port);
    let orphan = |bytes: &[u8]| Ok(matches!(state(store, port, bytes)?, State::Orphan));
    match withdraw(dir, &name, LEN_MAX, &Aside::Nowhere, orphan)? {
        Withdrawal::Done => return Ok(Swept::Removed),
        Withdrawal::Busy => {
            return Ok(match read_claim(store, port)? {
                // Whose lock is held is not to be taken away; `portclaim stress` must find it (.ci/run).
                Some(Ok(claim)) if cfg!(portclaim_mutant = "lease_swept") && claim.is_lease() => {
                    take_out(dir, &name, &Aside::Nowhere)?;
                    Swept::Removed
                }
                Some(Ok(claim)) if claim.is_lease() => Swept::Leased,
                _ => Swept::Busy,
            });
        }
        Withdrawal::Gone | Withdrawal::Denied => return Ok(Swept::Kept),
        Withdrawal::Other => {}
    }
    let damaged = |bytes: &[u8]| Ok(matches!(state(store, port, bytes)?, State::Damaged));
    // The quarantine is opened only for a file that goes there.
    let Ok(bytes) = dir.read(&name, LEN_MAX) else {
        return Ok(Swept::Kept);
    };
    if !damaged(&bytes)? {
        return Ok(Swept::Kept);
    }
    let aside = quarantine()?;
    Ok(
        match withdraw(dir, &name, LEN_MAX, &Aside::To(&aside), damaged)? {
            Withdrawal::Done => Swept::Quarantined,
            Withdrawal::Busy => Swept::Busy,
            Withdrawal::Gone | Withdrawal::Other | Withdrawal::Denied => Swept::Kept,
        },
    )
}

fn state<D: Dir>(store: &Store<D>, port: Port, bytes: &[u8]) -> Result<State> {
    let claim = match Record::decode(bytes).and_then(|claim| check_port(claim, port)) {
        Ok(claim) => claim,
        Err(Corruption::NewerFormat(_) | Corruption::Denied) => return Ok(State::Kept),
        // Nothing is lost with an empty file.
        Err(Corruption::Empty) => return Ok(State::Orphan),
        Err(_) => return Ok(State::Damaged),
    };
    Ok(match read_record(&store.projects, claim.holder().key())? {
        Some(Ok(commit)) if commit.nonce() == claim.nonce() => State::Kept,
        Some(Ok(_)) | None => State::Orphan,
        // It never had one.
        Some(Err(_)) if claim.is_lease() => State::Orphan,
        // It may have been this claim's: `repair` looks into it first.
        Some(Err(_)) => State::Kept,
    })
}

/// What a sweep of all claims found.
pub(crate) struct Sweep {
    /// The ports that are free now, ascending.
    pub(crate) freed: Vec<Port>,
    /// The ports that are being claimed at this moment.
    pub(crate) busy: Vec<Port>,
}

/// Sweeps every claim, and the staged commits that nobody will publish.
pub(crate) fn sweep<D: Dir>(store: &Store<D>, quarantine: impl Fn() -> Result<D>) -> Result<Sweep> {
    let names = store.ports.names().on(Op::List, &store.ports)?;
    let mut swept = Sweep {
        freed: Vec::new(),
        busy: Vec::new(),
    };
    for port in names.iter().filter_map(|name| claim_port(name)) {
        match sweep_port(store, port, &quarantine)? {
            Swept::Removed | Swept::Quarantined => swept.freed.push(port),
            Swept::Busy => swept.busy.push(port),
            Swept::Kept | Swept::Leased => {}
        }
    }
    sweep_staging(store)?;
    swept.freed.sort_unstable();
    Ok(swept)
}

/// Removes what processes staged that are gone. A staged commit is alive exactly while the claim of
/// the same nonce is there, uncommitted (ALIVE): run it after the claims were swept. What is
/// to be handed over is alive while its own lock is held.
pub(crate) fn sweep_staging<D: Dir>(store: &Store<D>) -> Result<()> {
    let dir = &store.staging;
    if !dir.has_locks() {
        return Ok(());
    }
    for name in dir.names().on(Op::List, dir)? {
        if hand_over::is_staged(&name) {
            hand_over::sweep_staged(dir, &name)?;
            continue;
        }
        let Some((port, nonce)) = staged_commit(&name) else {
            continue;
        };
        let claim = read_record(&store.ports, &claim_name(port))?;
        let alive = match claim {
            // A claim that is being written: not this nonce's, or not yet readable.
            Some(Err(_)) => true,
            Some(Ok(claim)) => claim.nonce() == nonce && !is_committed(store, &claim)?,
            None => false,
        };
        if !alive {
            remove_spare(dir, &name)?;
        }
    }
    Ok(())
}

/// Reads the name of a staged commit.
fn staged_commit(name: &str) -> Option<(Port, Nonce)> {
    let (port, nonce) = name.split_once('-')?;
    Some((port.parse().ok()?, Nonce::from_hex(nonce)?))
}

/// Returns whether a file in `staging/` is one that becomes a claim or commit.
pub(crate) fn is_staged_record(name: &str) -> bool {
    staged_commit(name).is_some() || hand_over::is_staged(name)
}
