//! A holder's port: the one that it has, else a new one. The order in which ports are
//! tried is the caller's policy.

use std::io::ErrorKind;

use crate::error::{Corruption, Error, Op, Result};
use crate::fs::Dir;
use crate::net::Availability;
use crate::port::Port;
use crate::project::Holder;
use crate::record::{Draft, LEN_MAX, Nonce, Record};

use super::claim::{Attempt, Committed, Pending, claim, withdraw_dangling};
use super::lookup::{carries, hidden};
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

impl<P: Picker + ?Sized> Picker for &mut P {
    fn next(&mut self) -> Result<Option<Port>> {
        (**self).next()
    }

    fn rejected(&mut self, port: Port, why: Rejection) {
        (**self).rejected(port, why);
    }

    fn prefer(&mut self, port: Port) {
        (**self).prefer(port);
    }

    fn availability(&mut self, port: Port) -> Result<Availability> {
        (**self).availability(port)
    }
}

/// A port that a holder has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// The holder had this port.
    Existing(Record),
    /// The holder was given this port now.
    New(Record),
}

/// Returns `holder`'s port, and gives it one where it has none. Where the store is durable,
/// the answer is. `None` where the picker knew no port any more.
///
/// Damaged files that stand in the way are moved to `quarantine`.
pub(crate) fn acquire<D: Dir>(
    store: &Store<D>,
    holder: &Holder,
    picker: &mut impl Picker,
    quarantine: impl Fn() -> Result<D>,
) -> Result<Option<Acquired>> {
    acquire_as(store, Draft::from(holder.clone()), picker, quarantine)
}

/// The same for the holder of a draft, whose new claim says what that says.
pub(crate) fn acquire_as<D: Dir>(
    store: &Store<D>,
    draft: Draft,
    picker: &mut impl Picker,
    quarantine: impl Fn() -> Result<D>,
) -> Result<Option<Acquired>> {
    let seen = lookup_seal(store, &draft.holder)?;
    let mut picker = Some(picker);
    let pickers = |_| Ok(picker.take().expect("it is asked for once"));
    let drafts = [draft];
    let accept = |_: usize, _: &Record| Ok(());
    let made = &mut Vec::new();
    let acquired = acquire_set(
        store,
        &drafts,
        vec![seen],
        pickers,
        accept,
        quarantine,
        made,
    )?;
    Ok(acquired.ok().and_then(|mut one| one.pop()))
}

/// Returns the ports of all the drafts' holders, and gives each one where it has none: all of
/// them, or where that cannot be, no new one at all.
///
/// `seen` are look-ups that the caller has made; that they may be outdated does no harm, for a
/// commit is published only where there is none. `picker` is asked once for each holder that
/// needs it, when those before it have their claims; `accept` may refuse a port that a holder
/// has. The one that knew no port any more is returned: then nothing has changed, but where
/// another process gave one of them a port meanwhile, and gave it back.
///
/// `made` are the claims that the caller has made so far, by this or an earlier call; what a holder has by one
/// of them is new.
///
/// After an error, some may have been given a port: a disk that failed in the middle leaves
/// commits that others may have been told.
pub(crate) fn acquire_set<D: Dir, P: Picker>(
    store: &Store<D>,
    drafts: &[Draft],
    seen: Vec<Lookup>,
    mut picker: impl FnMut(usize) -> Result<P>,
    accept: impl Fn(usize, &Record) -> Result<()>,
    quarantine: impl Fn() -> Result<D>,
    made: &mut Vec<Nonce>,
) -> Result<Result<Vec<Acquired>, P>> {
    let mut seen: Vec<Option<Lookup>> = seen.into_iter().map(Some).collect();
    let mut pickers: Vec<Option<P>> = drafts.iter().map(|_| None).collect();
    let mut acquired: Vec<Option<Acquired>> = vec![None; drafts.len()];
    for _ in 0..ROUNDS_MAX {
        let mut claims = Vec::new();
        for (at, draft) in drafts.iter().enumerate() {
            if acquired[at].is_some() {
                continue;
            }
            let mut search = Search {
                store,
                draft,
                seen: seen[at].take(),
                picker: &mut pickers[at],
                new_picker: || picker(at),
                quarantine: &quarantine,
            };
            let found = search.run().and_then(|found| match found {
                Found::Existing(record) => accept(at, &record).map(|()| Found::Existing(record)),
                found => Ok(found),
            });
            match found {
                Ok(Found::Existing(record)) if made.contains(&record.nonce()) => {
                    acquired[at] = Some(Acquired::New(record));
                }
                Ok(Found::Existing(record)) => acquired[at] = Some(Acquired::Existing(record)),
                Ok(Found::Pending(pending)) => claims.push((at, pending)),
                answer => {
                    // Given all the same, `portclaim stress` must find half of a set (.ci/run).
                    if cfg!(portclaim_mutant = "half_set") {
                        commit_all(store, std::mem::take(&mut claims))?;
                    }
                    for (_, claim) in claims {
                        claim.abandon(store);
                    }
                    answer?;
                    let exhausted = pickers[at].take().expect("it was asked");
                    return Ok(Err(exhausted));
                }
            }
        }
        for (at, record) in commit_all(store, claims)? {
            made.push(record.nonce());
            acquired[at] = Some(Acquired::New(record));
        }
        if acquired.iter().all(Option::is_some) {
            return Ok(Ok(acquired.into_iter().flatten().collect()));
        }
        // Another process of a holder was first: looked up again, for it may have been
        // released since, and is to be flushed.
    }
    Err(Error::contended(store.projects.path()))
}

/// The first half for one holder: the port that it has, or a claim that is to be committed.
struct Search<'a, D, P, N, Q> {
    store: &'a Store<D>,
    draft: &'a Draft,
    seen: Option<Lookup>,
    picker: &'a mut Option<P>,
    new_picker: N,
    quarantine: Q,
}

enum Found<D: Dir> {
    Existing(Record),
    Pending(Pending<D>),
    /// The picker knew no port any more.
    Exhausted,
}

impl<D: Dir, P: Picker, N: FnMut() -> Result<P>, Q: Fn() -> Result<D>> Search<'_, D, P, N, Q> {
    fn run(&mut self) -> Result<Found<D>> {
        let (store, holder) = (self.store, &self.draft.holder);
        for round in 0..ROUNDS_MAX {
            let found = match self.seen.take() {
                Some(found) => found,
                None => lookup_seal(store, holder)?,
            };
            match found {
                Lookup::Held(record, flushed) => {
                    make_durable(store, &record, flushed)?;
                    return Ok(Found::Existing(record));
                }
                Lookup::Dangling(record) => {
                    // The claim was lost (a power cut, somebody's rm): the holder gets the same
                    // port again if it can be had. A damaged claim is moved out of the way.
                    self.picker()?.prefer(record.port());
                    sweep_port(store, record.port(), &self.quarantine)?;
                    if withdraw_dangling(store, &record)? == Withdrawal::Busy {
                        pause(round);
                    }
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
                    let aside = (self.quarantine)()?;
                    withdraw(
                        &store.projects,
                        holder.key(),
                        LEN_MAX,
                        &Aside::To(&aside),
                        |bytes| Ok(is_damaged(bytes, |there| there.holder() == holder)),
                    )?;
                }
                Lookup::Absent => return self.claim(),
            }
        }
        Err(Error::contended(store.projects.path().join(holder.key())))
    }

    /// Claims the first of the picker's ports that can be had.
    fn claim(&mut self) -> Result<Found<D>> {
        let (store, draft) = (self.store, self.draft);
        let found = first_of(store, draft, self.picker()?)?;
        Ok(found.map_or(Found::Exhausted, Found::Pending))
    }

    fn picker(&mut self) -> Result<&mut P> {
        if self.picker.is_none() {
            *self.picker = Some((self.new_picker)()?);
        }
        Ok(self.picker.as_mut().expect("it was made"))
    }
}

/// Claims the first of the picker's ports that can be had; `None` where it knows none any more.
pub(super) fn first_of<D: Dir>(
    store: &Store<D>,
    draft: &Draft,
    picker: &mut impl Picker,
) -> Result<Option<Pending<D>>> {
    while let Some(port) = picker.next()? {
        let availability = |port| picker.availability(port);
        let why = match claim(store, draft, port, availability)? {
            Attempt::Pending(pending) => return Ok(Some(pending)),
            Attempt::Taken => Rejection::Claimed,
            Attempt::Unusable(Availability::Denied) => Rejection::Denied,
            Attempt::Unusable(_) => Rejection::InUse,
        };
        picker.rejected(port, why);
    }
    Ok(None)
}

/// The second half: commits the claims, and makes that durable. If a holder was given a port by
/// others meanwhile, its claim and those behind it are given up, and missing in the answer: of
/// several processes that commit the same row of holders, one goes through.
fn commit_all<D: Dir>(
    store: &Store<D>,
    claims: Vec<(usize, Pending<D>)>,
) -> Result<Vec<(usize, Record)>> {
    let mut committed = Vec::with_capacity(claims.len());
    let (mut failed, mut is_other) = (None, false);
    for (at, pending) in claims {
        if failed.is_some() || is_other {
            pending.abandon(store);
            continue;
        }
        let mark = match Mark::claimed(store, pending.port(), pending.nonce()) {
            Ok(mark) => mark,
            Err(error) => {
                pending.abandon(store);
                failed = Some(error);
                continue;
            }
        };
        match pending.commit(store) {
            Ok(Committed::Own(record, commit)) => committed.push((at, record, commit, mark)),
            Ok(Committed::Other) => {
                mark.discard();
                is_other = true;
            }
            Err(error) => {
                // What failed may have been done all the same: the mark stays.
                mark.finish();
                failed = Some(error);
            }
        }
    }
    let flushed = if committed.is_empty() {
        Ok(())
    } else {
        // Other processes of the holders may have been told the ports by now: where this fails,
        // they stand, unsealed, though this one does not tell them.
        store.sync_names()
    };
    let mut records = Vec::with_capacity(committed.len());
    for (at, record, commit, mark) in committed {
        if flushed.is_ok() {
            seal(store, &commit);
        }
        mark.finish();
        records.push((at, record));
    }
    match failed {
        Some(error) => Err(error),
        None => flushed.map(|()| records),
    }
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
                if !carries(&bytes, record.nonce()) {
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
