//! Marks: which ports the index does not show as they are, and who brings it up to date.
//!
//! A mark is a file in `index/`, named by port and a nonce, made before a port changes hands.
//! It is *finished* once its change is over, or the process that made it is dead:
//!
//! - `claimed-<port>-<nonce>` is made while the claim of this nonce is pending. The claim tells
//!   the rest: committed, gone, or its lock is obtainable (ALIVE).
//! - `changed-<port>-<nonce>` is locked until the change is over.
//!
//! Whoever brings the index up to date takes the finished marks first (and the locks of the
//! second kind), then reads the claims, writes the index, removes exactly those marks, and only
//! then gives the locks up: so a mark that was caught between its creation and its lock is noticed
//! by its maker, who makes another. A mark goes only after an index that was read after its change
//! was written; a refresh that is killed leaves all marks; and as long as there is a mark, the
//! index is known to be stale. At the end, after it gave up the index lock, the refresher looks
//! once more: a change that met its lock relied on it (the lost wake-up).

use std::io;

use crate::error::{Corruption, Error, Op, Result};
use crate::fs::Dir;
use crate::port::Port;
use crate::record::{Nonce, claim_name};

use super::lookup::is_committed;
use super::withdraw::remove_spare;
use super::{Context, Store, read_claim};

/// How often a refresh starts again because changes went on meanwhile. Each further round
/// serves only the others; their own refresh or the next one serves them as well.
const ROUNDS_MAX: u32 = 4;

/// Most locks of marks that are held at once: each is an open file, and a process may have as
/// few as 256 of them.
const LOCKS_MAX: usize = 100;

/// How often as many are taken: as many marks as there are ports.
const BATCHES_MAX: usize = 65_536 / LOCKS_MAX + 1;

/// The file whose lock the refresher holds.
pub(crate) const LOCK_NAME: &str = "lock";

/// What is changing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The claim of the mark's nonce is being committed.
    Claimed,
    /// Anything else: the mark has a nonce and a lock of its own.
    Changed,
}

/// A change that is under way.
pub(super) struct Mark<'a, D: Dir> {
    dir: &'a D,
    /// `None` where there are no locks: a mark could not be told from a finished one.
    name: Option<String>,
    lock: Option<D::File>,
}

impl<'a, D: Dir> Mark<'a, D> {
    /// Marks a claim that is pending and complete. Two system calls: its lock is the claim's.
    pub(super) fn claimed(store: &'a Store<D>, port: Port, nonce: Nonce) -> Result<Mark<'a, D>> {
        let dir = &store.index;
        let mut name = None;
        if dir.has_locks() {
            let claimed = mark_name(port, Change::Claimed, nonce);
            dir.create(&claimed).at(Op::Create, dir, &claimed)?;
            name = Some(claimed);
        }
        Ok(Mark {
            dir,
            name,
            lock: None,
        })
    }

    /// Marks a port that is about to change in another way.
    pub(super) fn changed(store: &'a Store<D>, port: Port) -> Result<Mark<'a, D>> {
        let dir = &store.index;
        if !dir.has_locks() {
            return Ok(Mark {
                dir,
                name: None,
                lock: None,
            });
        }
        for _ in 0..ROUNDS_MAX {
            let name = mark_name(port, Change::Changed, store.nonce()?);
            let file = dir.create(&name).at(Op::Create, dir, &name)?;
            // A refresher that finds the mark before it is locked takes it for finished, and
            // may have removed it: then another one is made.
            if dir.try_lock(&file).at(Op::Lock, dir, &name)?
                && dir.means(&name, &file).at(Op::Inspect, dir, &name)?
            {
                return Ok(Mark {
                    dir,
                    name: Some(name),
                    lock: Some(file),
                });
            }
        }
        Err(Error::contended(dir.path()))
    }

    /// Says that the change is over.
    pub(super) fn finish(self) {
        if let Some(file) = &self.lock {
            self.dir.unlock(file);
        }
    }

    /// Takes the mark back: nothing was changed.
    pub(super) fn discard(self) {
        // What cannot be removed is a finished mark, and costs one more refresh.
        if let Some(name) = &self.name {
            let _ = self.dir.remove(name);
        }
        self.finish();
    }
}

fn mark_name(port: Port, change: Change, nonce: Nonce) -> String {
    let word = match change {
        Change::Claimed => "claimed",
        Change::Changed => "changed",
    };
    format!("{word}-{port}-{nonce}")
}

/// A port that is marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) port: Port,
    change: Change,
    nonce: Nonce,
    /// The name of the mark.
    pub(crate) name: String,
}

impl Marked {
    fn parse(name: String) -> Option<Marked> {
        let mut parts = name.split('-');
        let change = match parts.next()? {
            "claimed" => Change::Claimed,
            "changed" => Change::Changed,
            _ => return None,
        };
        let port = parts.next()?.parse().ok()?;
        let nonce = Nonce::from_hex(parts.next()?)?;
        parts.next().is_none().then_some(())?;
        Some(Marked {
            port,
            change,
            nonce,
            name,
        })
    }
}

/// Returns whether portclaim gives marks such names.
pub(crate) fn is_mark(name: &str) -> bool {
    Marked::parse(name.to_owned()).is_some()
}

/// Returns all marks: while there is one, the index is stale.
pub(crate) fn marks<D: Dir>(dir: &D) -> Result<Vec<Marked>> {
    let names = dir.names().on(Op::List, dir)?;
    Ok(names.into_iter().filter_map(Marked::parse).collect())
}

/// A mark whose change is over, and its lock, where it has one.
struct Finished<D: Dir> {
    mark: Marked,
    lock: Option<D::File>,
}

/// Takes the marks whose changes are over, with at most [`LOCKS_MAX`] locks. Returns whether
/// that ended it.
fn finished<D: Dir>(store: &Store<D>) -> Result<(Vec<Finished<D>>, bool)> {
    let mut finished = Vec::new();
    let mut locks = 0;
    for mark in marks(&store.index)? {
        if locks < LOCKS_MAX
            && let Some(mark) = take_finished(store, mark)?
        {
            locks += usize::from(mark.lock.is_some());
            finished.push(mark);
        }
    }
    Ok((finished, locks == LOCKS_MAX))
}

/// Returns whether a mark is finished that nobody is looking at.
fn any_finished<D: Dir>(store: &Store<D>) -> Result<bool> {
    for mark in marks(&store.index)? {
        if let Some(mark) = take_finished(store, mark)? {
            release(&store.index, &mark);
            return Ok(true);
        }
    }
    Ok(false)
}

fn take_finished<D: Dir>(store: &Store<D>, mark: Marked) -> Result<Option<Finished<D>>> {
    let lock = match mark.change {
        Change::Claimed if is_settled(store, &mark)? => None,
        Change::Claimed => return Ok(None),
        Change::Changed => match lock_free(&store.index, &mark.name)? {
            Some(file) => Some(file),
            None => return Ok(None),
        },
    };
    Ok(Some(Finished { mark, lock }))
}

/// Returns whether nobody will commit the marked claim any more: it is committed, or gone for
/// good, or its claimer is dead.
fn is_settled<D: Dir>(store: &Store<D>, mark: &Marked) -> Result<bool> {
    let claim = match read_claim(store, mark.port)? {
        Some(Ok(claim)) if claim.nonce() == mark.nonce => claim,
        // It may be this one, and be committed yet.
        Some(Err(Corruption::Denied)) => return Ok(false),
        // Removed, and never to come back under this nonce; or another one's.
        _ => return Ok(true),
    };
    if is_committed(store, &claim)? {
        return Ok(true);
    }
    let dir = &store.ports;
    match dir.open(&claim_name(mark.port)) {
        Ok(file) => {
            let free = dir.try_lock(&file).at(Op::Lock, dir, &mark.name)?;
            if free {
                dir.unlock(&file);
            }
            Ok(free)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).at(Op::Open, dir, &mark.name),
    }
}

/// Opens a mark and takes its lock; `None` where it is gone, or its change is under way.
fn lock_free<D: Dir>(dir: &D, name: &str) -> Result<Option<D::File>> {
    let file = match dir.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // No regular file, and so no mark.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(None),
        Err(error) => return Err(error).at(Op::Open, dir, name),
    };
    Ok(dir.try_lock(&file).at(Op::Lock, dir, name)?.then_some(file))
}

fn release<D: Dir>(dir: &D, mark: &Finished<D>) {
    if let Some(file) = &mark.lock {
        dir.unlock(file);
    }
}

/// What came of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// The index shows every change that was finished when this was called.
    Done,
    /// Another process is refreshing it, and will not finish without those changes.
    Elsewhere,
}

/// Brings the index up to date: `write` reads the claims and replaces the file. It is called
/// only where there is something to do, or once where `force` says so. Never waits: where
/// another process is at it, that one does it.
pub(crate) fn refresh<D: Dir>(
    store: &Store<D>,
    mut force: bool,
    mut write: impl FnMut(&[Marked]) -> Result<()>,
) -> Result<Refreshed> {
    if !store.index.has_locks() {
        // Nothing says what changed and who is at it: everybody writes, and the last one wins.
        write(&[])?;
        return Ok(Refreshed::Done);
    }
    for _ in 0..ROUNDS_MAX {
        if refresh_once(store, &mut force, &mut write)? == Refreshed::Elsewhere {
            return Ok(Refreshed::Elsewhere);
        }
        // After the unlock, not before: whoever finished in between met the lock, and left.
        if !any_finished(store)? {
            return Ok(Refreshed::Done);
        }
    }
    // Others go on changing the registry; each of them refreshes it after its change.
    Ok(Refreshed::Done)
}

/// One turn under the index lock.
pub(super) fn refresh_once<D: Dir>(
    store: &Store<D>,
    force: &mut bool,
    write: &mut impl FnMut(&[Marked]) -> Result<()>,
) -> Result<Refreshed> {
    let dir = &store.index;
    let lock = open_lock(dir)?;
    if !dir.try_lock(&lock).at(Op::Lock, dir, LOCK_NAME)? {
        return Ok(Refreshed::Elsewhere);
    }
    let written = refresh_locked(store, force, write);
    dir.unlock(&lock);
    written.map(|()| Refreshed::Done)
}

fn refresh_locked<D: Dir>(
    store: &Store<D>,
    force: &mut bool,
    write: &mut impl FnMut(&[Marked]) -> Result<()>,
) -> Result<()> {
    let mut rounds = 0;
    for _ in 0..BATCHES_MAX {
        let (finished, is_full) = finished(store)?;
        if finished.is_empty() && !*force {
            return Ok(());
        }
        rounds += u32::from(!is_full);
        let marks: Vec<Marked> = finished.iter().map(|mark| mark.mark.clone()).collect();
        let written = write(&marks).and_then(|()| remove(&store.index, &marks));
        for mark in &finished {
            release(&store.index, mark);
        }
        written?;
        *force = false;
        if rounds == ROUNDS_MAX {
            break;
        }
    }
    Ok(())
}

fn remove<D: Dir>(dir: &D, marks: &[Marked]) -> Result<()> {
    marks
        .iter()
        .try_for_each(|mark| remove_spare(dir, &mark.name))
}

/// Opens the lock file, and creates it where it is missing. It is never removed: two
/// refreshers could each hold the lock of another inode.
fn open_lock<D: Dir>(dir: &D) -> Result<D::File> {
    for _ in 0..ROUNDS_MAX {
        match dir.open(LOCK_NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            answer => return answer.at(Op::Open, dir, LOCK_NAME),
        }
        match dir.create(LOCK_NAME) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            answer => return answer.at(Op::Create, dir, LOCK_NAME),
        }
    }
    Err(Error::contended(dir.path().join(LOCK_NAME)))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_marks_are_read_as_marks() {
        let nonce = Nonce::from_bytes([7; 16]);
        let port = Port::new(80).expect("port");
        for change in [Change::Claimed, Change::Changed] {
            let name = mark_name(port, change, nonce);
            let mark = Marked::parse(name.clone()).expect("a mark");
            assert_eq!((mark.port, mark.change), (port, change));
            assert_eq!((mark.nonce, mark.name), (nonce, name));
        }
        for name in [
            "lock",
            "",
            "changed",
            "changed-80",
            "changed-80-x",
            "changed-0-07070707070707070707070707070707",
            "changed-80-07070707070707070707070707070707-",
        ] {
            assert_eq!(Marked::parse(name.to_owned()), None, "{name}");
        }
    }
}
