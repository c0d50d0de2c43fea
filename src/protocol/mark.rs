//! Marks: which ports the index does not show as they are, and who brings it up to date.
//!
//! A mark is a file in `index/`, named by port and a nonce: made before a port changes
//! hands, locked until it has. A mark whose lock is obtainable is *finished*: its change is
//! done, or its maker is dead. Whoever brings the index up to date first takes the locks of
//! the finished marks, then reads the claims, writes the index, removes exactly those marks,
//! and only then gives their locks up (so a mark that was caught between its creation and its
//! lock is noticed by its maker, who makes another). So a mark goes only after an index that
//! was read after its change was written; a refresh that is killed leaves all marks; and as
//! long as there is a mark, the index is known to be stale. At the end, after it gave up the index lock, the refresher looks once more: a change
//! that met its lock relied on it (the lost wake-up).

use std::io;

use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::port::Port;
use crate::record::Nonce;

use super::{Context, Store};

/// How often a refresh starts again because changes went on meanwhile. Each further round
/// serves only the others; their own refresh or the next one serves them as well.
const ROUNDS_MAX: u32 = 4;

/// Most marks whose locks are held at once: each is an open file, and a process may have as
/// few as 256 of them.
const BATCH_MAX: usize = 100;

/// The file whose lock the refresher holds.
const LOCK_NAME: &str = "lock";

/// Why a port is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It was picked in turn: `next_available` moves on.
    Picked,
    /// Anything else.
    Changed,
}

/// A change that is under way.
pub(super) struct Mark<'a, D: Dir> {
    dir: &'a D,
    /// `None` where there are no locks: a mark could not be told from a finished one.
    made: Option<(String, D::File)>,
}

impl<'a, D: Dir> Mark<'a, D> {
    /// Makes a mark named by a nonce that no other mark of the port has.
    pub(super) fn make(
        store: &'a Store<D>,
        port: Port,
        reason: Reason,
        nonce: Nonce,
    ) -> Result<Mark<'a, D>> {
        let dir = &store.index;
        if !dir.has_locks() {
            return Ok(Mark { dir, made: None });
        }
        let mut nonce = nonce;
        for _ in 0..ROUNDS_MAX {
            let name = mark_name(port, reason, nonce);
            let file = dir.create(&name).at(Op::Create, dir, &name)?;
            // A refresher that finds the mark before it is locked takes it for finished, and
            // may have removed it: then another one is made.
            if dir.try_lock(&file).at(Op::Lock, dir, &name)?
                && dir.means(&name, &file).at(Op::Inspect, dir, &name)?
            {
                return Ok(Mark {
                    dir,
                    made: Some((name, file)),
                });
            }
            nonce = store.nonce()?;
        }
        Err(Error::contended(dir.path()))
    }

    /// Says that the change is done.
    pub(super) fn finish(self) {
        if let Some((_, file)) = &self.made {
            self.dir.unlock(file);
        }
    }

    /// Takes the mark back: nothing was changed.
    pub(super) fn discard(self) {
        // What cannot be removed is a finished mark, and costs one more refresh.
        if let Some((name, file)) = &self.made {
            let _ = self.dir.remove(name);
            self.dir.unlock(file);
        }
    }
}

fn mark_name(port: Port, reason: Reason, nonce: Nonce) -> String {
    let word = match reason {
        Reason::Picked => "picked",
        Reason::Changed => "changed",
    };
    format!("{word}-{port}-{nonce}")
}

/// A port that is marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    pub(crate) port: Port,
    pub(crate) reason: Reason,
    name: String,
}

impl Marked {
    fn parse(name: String) -> Option<Marked> {
        let mut parts = name.split('-');
        let reason = match parts.next()? {
            "picked" => Reason::Picked,
            "changed" => Reason::Changed,
            _ => return None,
        };
        let port = parts.next()?.parse().ok()?;
        Nonce::from_hex(parts.next()?)?;
        parts.next().is_none().then_some(())?;
        Some(Marked { port, reason, name })
    }
}

/// Returns all marks: while there is one, the index is stale.
pub(crate) fn marks<D: Dir>(dir: &D) -> Result<Vec<Marked>> {
    let names = dir
        .names()
        .map_err(|error| Error::io(Op::List, dir.path(), error))?;
    Ok(names.into_iter().filter_map(Marked::parse).collect())
}

/// Returns the ports that were picked in turn.
pub(crate) fn picked(marks: &[Marked]) -> impl Iterator<Item = Port> {
    marks
        .iter()
        .filter(|mark| mark.reason == Reason::Picked)
        .map(|mark| mark.port)
}

/// Takes the locks of marks whose changes are over, of at most [`BATCH_MAX`].
fn finished<D: Dir>(dir: &D) -> Result<Vec<(Marked, D::File)>> {
    let mut finished = Vec::new();
    for mark in marks(dir)? {
        if let Some(file) = lock_finished(dir, &mark.name)? {
            finished.push((mark, file));
        }
        if finished.len() == BATCH_MAX {
            break;
        }
    }
    Ok(finished)
}

/// Returns whether a mark is finished that nobody is looking at.
fn any_finished<D: Dir>(dir: &D) -> Result<bool> {
    for mark in marks(dir)? {
        if let Some(file) = lock_finished(dir, &mark.name)? {
            dir.unlock(&file);
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock_finished<D: Dir>(dir: &D, name: &str) -> Result<Option<D::File>> {
    let file = match dir.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at(Op::Open, dir, name),
    };
    Ok(dir.try_lock(&file).at(Op::Lock, dir, name)?.then_some(file))
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
    dir: &D,
    mut force: bool,
    mut write: impl FnMut(&[Marked]) -> Result<()>,
) -> Result<Refreshed> {
    if !dir.has_locks() {
        // Nothing says what changed and who is at it: everybody writes, and the last one wins.
        write(&[])?;
        return Ok(Refreshed::Done);
    }
    for _ in 0..ROUNDS_MAX {
        if refresh_once(dir, &mut force, &mut write)? == Refreshed::Elsewhere {
            return Ok(Refreshed::Elsewhere);
        }
        // After the unlock, not before: whoever finished in between met the lock, and left.
        if !any_finished(dir)? {
            return Ok(Refreshed::Done);
        }
    }
    // Others go on changing the registry; each of them refreshes it after its change.
    Ok(Refreshed::Done)
}

/// One turn under the index lock.
pub(super) fn refresh_once<D: Dir>(
    dir: &D,
    force: &mut bool,
    write: &mut impl FnMut(&[Marked]) -> Result<()>,
) -> Result<Refreshed> {
    let lock = open_lock(dir)?;
    if !dir.try_lock(&lock).at(Op::Lock, dir, LOCK_NAME)? {
        return Ok(Refreshed::Elsewhere);
    }
    let written = refresh_locked(dir, force, write);
    dir.unlock(&lock);
    written.map(|()| Refreshed::Done)
}

fn refresh_locked<D: Dir>(
    dir: &D,
    force: &mut bool,
    write: &mut impl FnMut(&[Marked]) -> Result<()>,
) -> Result<()> {
    for _ in 0..ROUNDS_MAX {
        let finished = finished(dir)?;
        if finished.is_empty() && !*force {
            return Ok(());
        }
        let (marks, files): (Vec<Marked>, Vec<D::File>) = finished.into_iter().unzip();
        let written = write(&marks).and_then(|()| remove(dir, &marks));
        for file in &files {
            dir.unlock(file);
        }
        written?;
        *force = false;
    }
    Ok(())
}

fn remove<D: Dir>(dir: &D, marks: &[Marked]) -> Result<()> {
    for mark in marks {
        match dir.remove(&mark.name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at(Op::Remove, dir, &mark.name),
        }
    }
    Ok(())
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
        for reason in [Reason::Picked, Reason::Changed] {
            let name = mark_name(port, reason, nonce);
            let mark = Marked::parse(name.clone()).expect("a mark");
            assert_eq!((mark.port, mark.reason, mark.name), (port, reason, name));
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
