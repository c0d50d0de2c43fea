//! A simulated disk: each call is one atomic step. Under loom every interleaving of the
//! steps of several threads is tried. Elsewhere a [`Probe`] is asked before each step of a
//! process: it can make the step fail, let others act, copy the disk, or kill the process.
//! A [`Fault`] takes one of the disk's guarantees away, to show that the protocol needs it and
//! that the tests would notice.

use std::io;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::io::Errno;

#[cfg(loom)]
use loom::sync::{Arc, Mutex};
#[cfg(not(loom))]
use std::sync::{Arc, Mutex};

use super::Dir;
use state::{Folder, State};

mod fault;
#[cfg(not(loom))]
mod power;
#[cfg(not(loom))]
mod probe;
mod state;

pub(crate) use fault::Fault;
#[cfg(not(loom))]
pub(crate) use power::{Disk, Fingerprint};
#[cfg(not(loom))]
pub(crate) use probe::{Probe, Step, is_killed, kill};

/// How a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    loom,
    expect(
        dead_code,
        reason = "under loom nobody is asked, and all goes as it should"
    )
)]
pub(crate) enum Verdict {
    /// As it should.
    Go,
    /// It has no effect and fails. (A write to a full disk leaves one half.)
    Fail(Errno),
    /// It has its effect, and fails all the same.
    DoneAndFail(Errno),
}

/// A directory of a simulated disk. Clones are the same directory.
#[derive(Clone)]
pub(crate) struct SimDir {
    state: Arc<Mutex<State>>,
    dir: usize,
    path: Utf8PathBuf,
    #[cfg(not(loom))]
    probe: Option<Probe>,
}

/// An open file of a simulated disk.
pub(crate) struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    open: usize,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        with(&self.state, |state| {
            if !state.has(Fault::LocksOutlive) {
                state.drop_lock(self.inode, self.open);
            }
        });
    }
}

fn with<T>(state: &Mutex<State>, step: impl FnOnce(&mut State) -> T) -> T {
    step(&mut state.lock().expect("no step panics"))
}

/// What the clock of a new disk says, in seconds since 1970: more than any claim is given for.
pub(crate) const START: u64 = 1_000_000;

fn failure<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

impl SimDir {
    /// Returns the directories of these names on a new disk without `faults`.
    pub(crate) fn disk<const N: usize>(names: [&str; N], faults: &[Fault]) -> [SimDir; N] {
        let state = State {
            folders: vec![Folder::default(); N],
            faults: faults.to_vec(),
            now: START,
            ..State::default()
        };
        SimDir::of(state, names)
    }

    fn of<const N: usize>(state: State, names: [&str; N]) -> [SimDir; N] {
        let state = Arc::new(Mutex::new(state));
        let mut dir = 0;
        names.map(|name| {
            dir += 1;
            SimDir {
                state: state.clone(),
                dir: dir - 1,
                path: Utf8PathBuf::from(name),
                #[cfg(not(loom))]
                probe: None,
            }
        })
    }

    /// Puts a file there, as another program would.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        with(&self.state, |state| {
            let inode = state.add(content);
            state.set(self.dir, name, Some(inode));
        });
    }

    /// Returns what the clock says. It goes with the disk: one clock for all that work on it.
    pub(crate) fn now(&self) -> SystemTime {
        time(with(&self.state, |state| state.now))
    }

    /// Lets so many seconds pass.
    pub(crate) fn pass(&self, seconds: u64) {
        with(&self.state, |state| state.now += seconds);
    }

    #[cfg(loom)]
    fn judge(&self, _call: &'static str, _name: &str) -> Verdict {
        Verdict::Go
    }

    fn step<T>(
        &self,
        call: &'static str,
        name: &str,
        step: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.step_or(call, name, step, |_, _| {})
    }

    /// The same for a step that leaves something where it fails.
    fn step_or<T>(
        &self,
        call: &'static str,
        name: &str,
        step: impl FnOnce(&mut State) -> io::Result<T>,
        fail: impl FnOnce(&mut State, Errno),
    ) -> io::Result<T> {
        match self.judge(call, name) {
            Verdict::Go => with(&self.state, step),
            Verdict::Fail(errno) => {
                with(&self.state, |state| fail(state, errno));
                Err(errno.into())
            }
            Verdict::DoneAndFail(errno) => {
                with(&self.state, step)?;
                Err(errno.into())
            }
        }
    }

    fn opened(&self, state: &mut State, inode: usize) -> SimFile {
        state.opens += 1;
        SimFile {
            state: self.state.clone(),
            inode,
            open: state.opens,
        }
    }

    fn hides_failure(&self) -> bool {
        with(&self.state, |state| state.has(Fault::SyncHidesFailure))
    }
}

impl Dir for SimDir {
    type File = SimFile;

    fn create(&self, name: &str) -> io::Result<SimFile> {
        self.step("create", name, |state| {
            if let Ok(inode) = state.find(self.dir, name) {
                if state.has(Fault::CreateShares) {
                    return Ok(self.opened(state, inode));
                }
                return failure(io::ErrorKind::AlreadyExists);
            }
            let inode = state.add(b"");
            state.set(self.dir, name, Some(inode));
            Ok(self.opened(state, inode))
        })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        self.step("open", name, |state| {
            let inode = state.find(self.dir, name)?;
            Ok(self.opened(state, inode))
        })
    }

    fn read(&self, name: &str, len_max: usize) -> io::Result<Vec<u8>> {
        self.read_file(&self.open(name)?, len_max)
    }

    fn read_file(&self, file: &SimFile, len_max: usize) -> io::Result<Vec<u8>> {
        self.step("read", "", |state| {
            let content = &state.inodes[file.inode].content;
            Ok(content[..content.len().min(len_max + 1)].to_vec())
        })
    }

    fn read_sealed(&self, name: &str, len_max: usize) -> io::Result<(Vec<u8>, bool)> {
        let file = self.open(name)?;
        let sealed = self.step("stat", name, |state| Ok(state.inodes[file.inode].sealed))?;
        Ok((self.read_file(&file, len_max)?, sealed))
    }

    fn seal(&self, file: &SimFile) -> io::Result<()> {
        self.step("seal", "", |state| {
            if !state.has(Fault::SealsNothing) {
                state.change(file.inode).sealed = true;
            }
            Ok(())
        })
    }

    fn unseal(&self, file: &SimFile) -> io::Result<()> {
        self.step("unseal", "", |state| {
            let sealed = state.has(Fault::AllSealed);
            state.change(file.inode).sealed = sealed;
            Ok(())
        })
    }

    fn write(&self, file: &SimFile, bytes: &[u8]) -> io::Result<()> {
        self.step_or(
            "write",
            "",
            |state| {
                state.write(file.inode, bytes);
                Ok(())
            },
            |state, errno| {
                if errno == Errno::NOSPC {
                    state.write(file.inode, &bytes[..bytes.len() / 2]);
                }
            },
        )
    }

    fn try_lock(&self, file: &SimFile) -> io::Result<bool> {
        self.step("lock", "", |state| {
            let is_staged = self.path == "staging" && state.has(Fault::StagedLocksGranted);
            if is_staged || state.has(Fault::LocksGranted) {
                return Ok(true);
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
        // It cannot fail.
        let _ = self.judge("unlock", "");
        with(&self.state, |state| state.drop_lock(file.inode, file.open));
    }

    fn has_locks(&self) -> bool {
        with(&self.state, |state| !state.has(Fault::NoLocks))
    }

    fn means(&self, name: &str, file: &SimFile) -> io::Result<bool> {
        self.step("means", name, |state| {
            let means = state.find(self.dir, name).is_ok_and(|it| it == file.inode);
            Ok(means || state.has(Fault::AnyNameMeans))
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step("remove", name, |state| {
            state.find(self.dir, name)?;
            state.set(self.dir, name, None);
            Ok(())
        })
    }

    fn publish(&self, name: &str, to: &SimDir, new: &str) -> io::Result<()> {
        let mut links = false;
        self.step("publish", new, |state| {
            let inode = state.find(self.dir, name)?;
            if state.find(to.dir, new).is_ok() && !state.has(Fault::PublishReplaces) {
                return failure(io::ErrorKind::AlreadyExists);
            }
            if state.has(Fault::SyncsBeforePublish) {
                state.sync(self.dir);
                state.sync(to.dir);
            }
            links = state.has(Fault::PublishLinks);
            if !links {
                state.set(self.dir, name, None);
            }
            state.set(to.dir, new, Some(inode));
            Ok(())
        })?;
        if links {
            // As on the real disk: what is left of the old name, a sweep removes.
            let _ = self.remove(name);
        }
        Ok(())
    }

    fn replace(&self, name: &str, to: &SimDir, new: &str) -> io::Result<()> {
        self.step("replace", new, |state| {
            let inode = state.find(self.dir, name)?;
            state.set(self.dir, name, None);
            state.set(to.dir, new, Some(inode));
            Ok(())
        })
    }

    fn written(&self, name: &str) -> io::Result<Option<SystemTime>> {
        self.step("written", name, |state| {
            let inode = state.find(self.dir, name).ok();
            Ok(inode.map(|inode| time(state.inodes[inode].date)))
        })
    }

    fn touch(&self, file: &SimFile, time: SystemTime) -> io::Result<()> {
        self.step("touch", "", |state| {
            if !state.has(Fault::DatesNothing) {
                let inode = state.change(file.inode);
                inode.date = seconds(time);
                // What is written anew is flushed anew.
                inode.date_lost = false;
            }
            Ok(())
        })
    }

    fn sync_file(&self, file: &SimFile) -> io::Result<()> {
        let answer = self.step_or(
            "sync_file",
            "",
            |state| {
                if !state.has(Fault::SyncFileKeepsNothing) {
                    state.sync_file(file.inode);
                }
                Ok(())
            },
            |state, _| state.lose(file.inode),
        );
        if self.hides_failure() { Ok(()) } else { answer }
    }

    fn sync(&self) -> io::Result<()> {
        let answer = self.step("sync", "", |state| {
            state.syncs += 1;
            if state.syncs == 1 && state.has(Fault::FirstSyncFails) {
                return Err(io::Error::other("the disk failed"));
            }
            if !state.has(Fault::SyncKeepsNothing) && !state.has(Fault::SyncsBeforePublish) {
                state.sync(self.dir);
            }
            Ok(())
        });
        if self.hides_failure() { Ok(()) } else { answer }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.step("names", "", |state| {
            Ok(state.folders[self.dir].names.keys().cloned().collect())
        })
    }

    fn path(&self) -> &Utf8Path {
        &self.path
    }
}
