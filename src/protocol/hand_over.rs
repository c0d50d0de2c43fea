//! Hands ports over from one holder to another: the same port, at every moment held by one of them.
//!
//! ```text
//!     lock the claim and the commit of the old holder: nobody can withdraw either
//!     publish the new holder's commit, locked: it dangles, and nobody can withdraw it
//!     rename the new claim over the old one: in this step the new holder has the port
//!     withdraw the old holder's commit, which dangles now
//! ```
//!
//! The only place where a claim is renamed over. What makes it sound is the lock of the claim that is
//! there: its name cannot come to mean another file meanwhile (LOCK-THEN-NAME), so that no other
//! claim than this one is replaced. Killed before that step, the old holder has the port; after it,
//! the new one. Each step is flushed before the next one relies on it, so a power cut leaves no less.
//!
//! A process that is stopped here keeps the two holders from being changed, and nobody else.

use std::io;
use std::time::SystemTime;

use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::record::{LEN_MAX, Nonce, Record, claim_name};
use crate::term::Term;

use super::claim::{Published, publish};
use super::lookup::carries;
use super::mark::Mark;
use super::{Context, Store, pause};

/// How often a staged file is made that a sweep finds before it is locked.
const SWEPT_RETRIES_MAX: u32 = 4;

/// How the staged files are called: this, what they become, and the nonce.
const STAGED: [&str; 2] = ["moved-claim-", "moved-commit-"];

/// What came of handing ports over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HandedOver {
    /// The new holders have them: their records.
    Done(Vec<Record>),
    /// A new holder has this port already. Nothing was changed.
    Occupied(Box<Record>),
    /// Another process is at one of the claims or commits, or has changed it. Nothing was changed.
    Changed,
}

/// Hands the ports of `from` over to the holders that `to` names. `to` is told what the holder has
/// now and a nonce, and returns the new record, of the same port.
///
/// Only where there are locks. After an error, some may have been handed over: where the disk failed in the middle.
pub(crate) fn hand_over<D: Dir>(
    store: &Store<D>,
    from: &[Record],
    to: impl Fn(&Record, Nonce) -> Record,
) -> Result<HandedOver> {
    let mut all = Vec::with_capacity(from.len());
    for old in from {
        let failed = match Prepared::new(store, old, &to) {
            Ok(Ok(prepared)) => {
                all.push(prepared);
                continue;
            }
            Ok(Err(answer)) => Ok(answer),
            Err(error) => Err(error),
        };
        undo_all(store, all);
        return failed;
    }
    if store.is_durable() {
        // Before any claim is replaced: after a power cut, it would have no commit, and the old
        // holder no claim.
        let dir = &store.projects;
        if let Err(error) = dir.sync().on(Op::Sync, dir) {
            undo_all(store, all);
            return Err(error);
        }
    }
    replace_all(store, all)
}

fn undo_all<D: Dir>(store: &Store<D>, all: Vec<Prepared<'_, D>>) {
    for it in all {
        it.undo(store);
    }
}

fn replace_all<D: Dir>(store: &Store<D>, all: Vec<Prepared<'_, D>>) -> Result<HandedOver> {
    let (staging, ports, projects) = (&store.staging, &store.ports, &store.projects);
    let mut failed = None;
    let mut replaced = Vec::with_capacity(all.len());
    for it in all {
        if failed.is_some() {
            it.undo(store);
            continue;
        }
        let name = claim_name(it.old.port());
        let claim = &it.files.claim;
        let Err(error) = staging.replace(&claim.name, ports, &name) else {
            replaced.push(it);
            continue;
        };
        let is_replaced = ports.means(&name, &claim.locked.file);
        if matches!(is_replaced, Ok(true)) {
            replaced.push(it);
            continue;
        }
        failed = Some(Error::io(Op::Replace, ports.path().join(&name), error));
        match is_replaced {
            Ok(_) => it.undo(store),
            // Which of the two has it is not known: both commits stay, and the one that dangles
            // is withdrawn by whoever meets it.
            Err(_) => it.mark.finish(),
        }
    }
    let flushed = if store.is_durable() && !replaced.is_empty() {
        ports.sync().on(Op::Sync, ports)
    } else {
        Ok(())
    };
    let mut records = Vec::with_capacity(replaced.len());
    for it in replaced {
        let files = it.files;
        // Not before the new claim's name is durable: after a power cut, the old one may be back.
        if flushed.is_ok() {
            if store.is_durable() {
                let _ = projects.seal(&files.commit.file);
            }
            // Where this fails it dangles, and whoever meets it withdraws it; so it need not be
            // flushed either.
            remove_own(projects, it.old.holder().key(), &files.old_commit.file);
        }
        it.mark.finish();
        records.push(files.new);
    }
    match failed {
        Some(error) => Err(error),
        None => flushed.map(|()| HandedOver::Done(records)),
    }
}

/// A port that is about to be handed over.
struct Prepared<'a, D: Dir> {
    old: &'a Record,
    mark: Mark<'a, D>,
    files: Files<'a, D>,
}

impl<'a, D: Dir> Prepared<'a, D> {
    fn new(
        store: &'a Store<D>,
        old: &'a Record,
        to: &impl Fn(&Record, Nonce) -> Record,
    ) -> Result<Result<Prepared<'a, D>, HandedOver>> {
        let mark = Mark::changed(store, old.port())?;
        match Files::new(store, old, to) {
            Ok(Ok(files)) => Ok(Ok(Prepared { old, mark, files })),
            failed => {
                mark.discard();
                failed.map(|answer| Err(answer.err().unwrap_or(HandedOver::Changed)))
            }
        }
    }

    /// Takes everything back. Best effort: what a failing disk keeps is a commit that dangles and
    /// a staged file, and both go by themselves.
    fn undo(self, store: &Store<D>) {
        let files = self.files;
        remove_own(
            &store.projects,
            files.new.holder().key(),
            &files.commit.file,
        );
        files.claim.discard();
        self.mark.discard();
    }
}

/// All that is in place before the new claim is. The locks are held until this is dropped.
struct Files<'a, D: Dir> {
    new: Record,
    claim: Staged<'a, D>,
    /// The new holder's, published.
    commit: Locked<'a, D>,
    old_commit: Locked<'a, D>,
    /// What the new claim replaces: nobody else may replace or withdraw it.
    _old_claim: Locked<'a, D>,
}

impl<'a, D: Dir> Files<'a, D> {
    fn new(
        store: &'a Store<D>,
        old: &Record,
        to: &impl Fn(&Record, Nonce) -> Record,
    ) -> Result<Result<Files<'a, D>, HandedOver>> {
        // The claim first, as a release does: one that has withdrawn it goes on undisturbed.
        let Some(old_claim) = lock(&store.ports, &claim_name(old.port()), old.nonce())? else {
            return Ok(Err(HandedOver::Changed));
        };
        let Some(old_commit) = lock(&store.projects, old.holder().key(), old.nonce())? else {
            return Ok(Err(HandedOver::Changed));
        };
        let new = to(old, store.nonce()?);
        let [for_claim, for_commit] = STAGED;
        let date = match old.term() {
            Term::Ttl(_) => {
                let (dir, name) = (&store.ports, claim_name(old.port()));
                dir.written(&name).at(Op::Inspect, dir, &name)?
            }
            _ => None,
        };
        let claim = Staged::new(store, for_claim, &new, date)?;
        let commit = match Staged::new(store, for_commit, &new, None) {
            Ok(commit) => commit,
            Err(error) => {
                claim.discard();
                return Err(error);
            }
        };
        let published = publish(store, &commit.name, &new);
        if matches!(published, Ok(Published::Own)) {
            return Ok(Ok(Files {
                new,
                claim,
                commit: commit.locked,
                old_commit,
                _old_claim: old_claim,
            }));
        }
        // What failed may have been done all the same.
        remove_own(&store.projects, new.holder().key(), &commit.locked.file);
        commit.discard();
        claim.discard();
        published.map(|published| match published {
            Published::Other(there) => Err(HandedOver::Occupied(Box::new(there))),
            Published::Own => Err(HandedOver::Changed),
        })
    }
}

/// A file whose lock is held until this is dropped.
struct Locked<'a, D: Dir> {
    dir: &'a D,
    file: D::File,
}

impl<D: Dir> Drop for Locked<'_, D> {
    fn drop(&mut self) {
        // A process that is killed does nothing any more, in the simulation either.
        if !std::thread::panicking() {
            self.dir.unlock(&self.file);
        }
    }
}

/// Locks the file `name` if it carries this nonce, and nobody else has its lock.
fn lock<'a, D: Dir>(dir: &'a D, name: &str, nonce: Nonce) -> Result<Option<Locked<'a, D>>> {
    let file = match dir.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at(Op::Open, dir, name),
    };
    if !dir.try_lock(&file).at(Op::Lock, dir, name)? {
        return Ok(None);
    }
    let locked = Locked { dir, file };
    if !dir.means(name, &locked.file).at(Op::Inspect, dir, name)? {
        return Ok(None);
    }
    let bytes = dir
        .read_file(&locked.file, LEN_MAX)
        .at(Op::Read, dir, name)?;
    Ok(carries(&bytes, nonce).then_some(locked))
}

/// A file in `staging/`. Its lock says that it is not a killed process's.
struct Staged<'a, D: Dir> {
    name: String,
    locked: Locked<'a, D>,
}

impl<'a, D: Dir> Staged<'a, D> {
    fn new(
        store: &'a Store<D>,
        prefix: &str,
        record: &Record,
        date: Option<SystemTime>,
    ) -> Result<Staged<'a, D>> {
        let dir = &store.staging;
        for round in 0..SWEPT_RETRIES_MAX {
            let name = format!("{prefix}{}", store.nonce()?);
            let file = dir.create(&name).at(Op::Create, dir, &name)?;
            if !dir.try_lock(&file).at(Op::Lock, dir, &name)? {
                pause(round);
                continue;
            }
            let locked = Locked { dir, file };
            if !dir.means(&name, &locked.file).at(Op::Inspect, dir, &name)? {
                continue;
            }
            let staged = Staged { name, locked };
            if let Err(error) = staged.fill(store, record, date) {
                staged.discard();
                return Err(error);
            }
            return Ok(staged);
        }
        Err(Error::contended(dir.path()))
    }

    /// Writes the record. Where the file would be older than this date, it has that: a time that was made longer stays so.
    fn fill(&self, store: &Store<D>, record: &Record, date: Option<SystemTime>) -> Result<()> {
        let (dir, name, file) = (&store.staging, &self.name, &self.locked.file);
        if store.is_durable() {
            // A umask can make it look sealed.
            dir.unseal(file).at(Op::Permit, dir, name)?;
        }
        dir.write(file, &record.encode()).at(Op::Write, dir, name)?;
        if let Some(date) = date
            && dir.written(name).at(Op::Inspect, dir, name)? < Some(date)
        {
            dir.touch(file, date).at(Op::Write, dir, name)?;
        }
        if store.is_durable() {
            // Before it has its name.
            dir.sync_file(file).at(Op::Sync, dir, name)?;
        }
        Ok(())
    }

    fn discard(&self) {
        // What is left, a sweep removes.
        let _ = self.locked.dir.remove(&self.name);
    }
}

/// Removes a file whose lock this process holds, if the name means it (LOCK-THEN-NAME).
fn remove_own<D: Dir>(dir: &D, name: &str, file: &D::File) {
    if dir.means(name, file).unwrap_or(false) {
        let _ = dir.remove(name);
    }
}

/// Returns whether a file in `staging/` is one of this kind.
pub(super) fn is_staged(name: &str) -> bool {
    let nonce = STAGED.iter().find_map(|prefix| name.strip_prefix(prefix));
    nonce.and_then(Nonce::from_hex).is_some()
}

/// Removes a staged file of this kind, unless its process is alive.
pub(super) fn sweep_staged<D: Dir>(dir: &D, name: &str) -> Result<()> {
    let file = match dir.open(name) {
        Ok(file) => file,
        // Gone; or somebody's, and a repair moves it aside.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
            ) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error).at(Op::Open, dir, name),
    };
    if !dir.try_lock(&file).at(Op::Lock, dir, name)? {
        return Ok(());
    }
    let locked = Locked { dir, file };
    if !dir.means(name, &locked.file).at(Op::Inspect, dir, name)? {
        return Ok(());
    }
    dir.remove(name).at(Op::Remove, dir, name)
}
