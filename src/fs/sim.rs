//! A simulated disk: each call is one atomic step. Under loom every interleaving of the
//! steps of several threads is tried. A [`Fault`] takes one of the disk's guarantees away,
//! to show that the protocol needs it and that the tests would notice.

use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

#[cfg(loom)]
use loom::sync::{Arc, Mutex};
#[cfg(not(loom))]
use std::sync::{Arc, Mutex};

use super::Dir;

/// A guarantee that the disk does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `create` opens a file that exists: `O_CREAT` without `O_EXCL`.
    CreateShares,
    /// `try_lock` always says that it got the lock.
    LocksGranted,
    /// `means` always says yes: no check after the lock.
    AnyNameMeans,
    /// `publish` replaces: `rename` without `NOREPLACE`.
    PublishReplaces,
    /// The first lock fails, and by then somebody has removed the file, and another has its name.
    FirstLockFails,
    /// The first flush of a directory fails, and later ones succeed, as on Linux.
    FirstSyncFails,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    dirs: Vec<BTreeMap<String, usize>>,
    opens: usize,
    locks: usize,
    syncs: usize,
    faults: Vec<Fault>,
}

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    sealed: bool,
    /// The open file that holds the lock.
    lock: Option<usize>,
}

/// A directory of a simulated disk. Clones are the same directory.
#[derive(Clone)]
pub(crate) struct SimDir {
    state: Arc<Mutex<State>>,
    dir: usize,
    path: Utf8PathBuf,
}

/// An open file of a simulated disk.
pub(crate) struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    open: usize,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        with(&self.state, |state| state.drop_lock(self.inode, self.open));
    }
}

fn with<T>(state: &Mutex<State>, step: impl FnOnce(&mut State) -> T) -> T {
    step(&mut state.lock().expect("no step panics"))
}

fn failure<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

impl State {
    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn find(&self, dir: usize, name: &str) -> io::Result<usize> {
        self.dirs[dir]
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn drop_lock(&mut self, inode: usize, open: usize) {
        let lock = &mut self.inodes[inode].lock;
        if *lock == Some(open) {
            *lock = None;
        }
    }
}

impl SimDir {
    /// Returns the directories of these names on a new disk without `faults`.
    pub(crate) fn disk<const N: usize>(names: [&str; N], faults: &[Fault]) -> [SimDir; N] {
        let state = Arc::new(Mutex::new(State {
            dirs: vec![BTreeMap::new(); N],
            faults: faults.to_vec(),
            ..State::default()
        }));
        let mut dir = 0;
        names.map(|name| {
            dir += 1;
            SimDir {
                state: state.clone(),
                dir: dir - 1,
                path: Utf8PathBuf::from(name),
            }
        })
    }

    /// Puts a file there, as another program would.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        with(&self.state, |state| {
            state.inodes.push(Inode {
                content: content.to_vec(),
                ..Inode::default()
            });
            let inode = state.inodes.len() - 1;
            state.dirs[self.dir].insert(name.to_owned(), inode);
        });
    }

    fn step<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        with(&self.state, step)
    }

    fn opened(&self, state: &mut State, inode: usize) -> SimFile {
        state.opens += 1;
        SimFile {
            state: self.state.clone(),
            inode,
            open: state.opens,
        }
    }
}

impl Dir for SimDir {
    type File = SimFile;

    fn create(&self, name: &str) -> io::Result<SimFile> {
        self.step(|state| {
            if let Some(&inode) = state.dirs[self.dir].get(name) {
                if state.has(Fault::CreateShares) {
                    return Ok(self.opened(state, inode));
                }
                return failure(io::ErrorKind::AlreadyExists);
            }
            state.inodes.push(Inode::default());
            let inode = state.inodes.len() - 1;
            state.dirs[self.dir].insert(name.to_owned(), inode);
            Ok(self.opened(state, inode))
        })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        self.step(|state| {
            let inode = state.find(self.dir, name)?;
            Ok(self.opened(state, inode))
        })
    }

    fn read(&self, name: &str, len_max: usize) -> io::Result<Vec<u8>> {
        self.read_file(&self.open(name)?, len_max)
    }

    fn read_file(&self, file: &SimFile, len_max: usize) -> io::Result<Vec<u8>> {
        self.step(|state| {
            let content = &state.inodes[file.inode].content;
            Ok(content[..content.len().min(len_max + 1)].to_vec())
        })
    }

    fn read_sealed(&self, name: &str, len_max: usize) -> io::Result<(Vec<u8>, bool)> {
        let file = self.open(name)?;
        let sealed = self.step(|state| state.inodes[file.inode].sealed);
        Ok((self.read_file(&file, len_max)?, sealed))
    }

    fn seal(&self, file: &SimFile) -> io::Result<()> {
        self.step(|state| state.inodes[file.inode].sealed = true);
        Ok(())
    }

    fn unseal(&self, file: &SimFile) -> io::Result<()> {
        self.step(|state| state.inodes[file.inode].sealed = false);
        Ok(())
    }

    fn write(&self, file: &SimFile, bytes: &[u8]) -> io::Result<()> {
        self.step(|state| state.inodes[file.inode].content = bytes.to_vec());
        Ok(())
    }

    fn try_lock(&self, file: &SimFile) -> io::Result<bool> {
        self.step(|state| {
            if state.has(Fault::LocksGranted) {
                return Ok(true);
            }
            state.locks += 1;
            if state.locks == 1 && state.has(Fault::FirstLockFails) {
                let other = state.inodes.len();
                state.inodes.push(Inode::default());
                for named in state.dirs[self.dir].values_mut() {
                    if *named == file.inode {
                        *named = other;
                    }
                }
                return Err(io::Error::other("no lock is left"));
            }
            let lock = &mut state.inodes[file.inode].lock;
            let got = lock.is_none() || *lock == Some(file.open);
            if got {
                *lock = Some(file.open);
            }
            Ok(got)
        })
    }

    fn unlock(&self, file: &SimFile) {
        self.step(|state| state.drop_lock(file.inode, file.open));
    }

    fn has_locks(&self) -> bool {
        true
    }

    fn means(&self, name: &str, file: &SimFile) -> io::Result<bool> {
        self.step(|state| {
            if state.has(Fault::AnyNameMeans) {
                return Ok(true);
            }
            Ok(state.dirs[self.dir].get(name) == Some(&file.inode))
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|state| match state.dirs[self.dir].remove(name) {
            Some(_) => Ok(()),
            None => failure(io::ErrorKind::NotFound),
        })
    }

    fn publish(&self, name: &str, to: &SimDir, new: &str) -> io::Result<()> {
        self.step(|state| {
            let inode = state.find(self.dir, name)?;
            if state.dirs[to.dir].contains_key(new) && !state.has(Fault::PublishReplaces) {
                return failure(io::ErrorKind::AlreadyExists);
            }
            state.dirs[self.dir].remove(name);
            state.dirs[to.dir].insert(new.to_owned(), inode);
            Ok(())
        })
    }

    fn replace(&self, name: &str, to: &SimDir, new: &str) -> io::Result<()> {
        self.step(|state| {
            let inode = state.find(self.dir, name)?;
            state.dirs[self.dir].remove(name);
            state.dirs[to.dir].insert(new.to_owned(), inode);
            Ok(())
        })
    }

    fn sync_file(&self, _: &SimFile) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.step(|state| {
            state.syncs += 1;
            if state.syncs == 1 && state.has(Fault::FirstSyncFails) {
                return Err(io::Error::other("the disk failed"));
            }
            Ok(())
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.step(|state| Ok(state.dirs[self.dir].keys().cloned().collect()))
    }

    fn path(&self) -> &Utf8Path {
        &self.path
    }
}
