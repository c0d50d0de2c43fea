//! The only room that touches the disk.

use std::io;
use std::time::SystemTime;

use camino::Utf8Path;

pub(crate) mod canonical;
mod date;
pub(crate) mod fingerprint;
pub(crate) mod mount;
pub(crate) mod os;
pub(crate) mod registry_file;
mod repository;
mod search;
#[cfg(test)]
pub(crate) mod sim;
pub(crate) mod slot;
mod special;
pub(crate) mod whereabouts;

/// Longest name of a file, bytes: on every file system that allows as much.
const NAME_LEN_MAX: usize = 255;

/// Returns the name under which a file goes where others of its name may lie: the first under its
/// own, later ones with a number, for which the longest names make room.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    if number == 0 {
        return name.to_owned();
    }
    let tail = format!(".{number}");
    let len = name.floor_char_boundary(NAME_LEN_MAX - tail.len());
    format!("{}{tail}", &name[..len])
}

/// What the protocol needs of a directory. One call is one step: between two calls, any
/// other process may act. The real directory ([`os::OsDir`]) and a simulated one
/// (`sim::SimDir`, in tests) run the same protocol code.
///
/// Names are single components. No call follows a symbolic link in the last place, and
/// none waits for another process.
pub(crate) trait Dir: Sized {
    /// An open regular file. Dropping it closes it.
    type File;

    /// Creates a file that did not exist, empty, and opens it for reading and writing.
    ///
    /// POSIX `open` with `O_CREAT|O_EXCL`: the check and the creation are one step, so of
    /// any number of callers one wins; the others get `AlreadyExists`, whatever kind of
    /// file has the name.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens an existing regular file for reading and locking. Anything but a regular
    /// file is `InvalidInput` (and a FIFO does not block).
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Returns the first `len_max + 1` bytes of the file of this name.
    ///
    /// A file whose one `write` has returned is seen whole; one whose `write` has not may
    /// be seen empty or cut short.
    fn read(&self, name: &str, len_max: usize) -> io::Result<Vec<u8>>;

    /// The same of an open file. `StaleNetworkFileHandle` where another machine has removed it.
    fn read_file(&self, file: &Self::File, len_max: usize) -> io::Result<Vec<u8>>;

    /// Returns the same of the file of this name, and whether it is [sealed](Dir::seal).
    fn read_sealed(&self, name: &str, len_max: usize) -> io::Result<(Vec<u8>, bool)>;

    /// Seals a file: notes that its name is durable, so that nobody needs to flush it again.
    ///
    /// POSIX `fchmod`: takes the write permission away. Whether the seal itself survives a
    /// power cut does not matter, for it was put on after the flush.
    fn seal(&self, file: &Self::File) -> io::Result<()>;

    /// Makes sure that a new file is not sealed.
    fn unseal(&self, file: &Self::File) -> io::Result<()>;

    /// Writes all of `bytes` at the beginning of a file that [`create`](Dir::create) opened.
    fn write(&self, file: &Self::File, bytes: &[u8]) -> io::Result<()>;

    /// Takes the exclusive lock of the file's inode, or returns `false` where another open
    /// file holds it.
    ///
    /// BSD `flock(LOCK_EX|LOCK_NB)`: the lock belongs to the open file description, so two
    /// threads that opened the file exclude each other like two processes, and the kernel
    /// drops it when the last descriptor of a killed process is closed.
    fn try_lock(&self, file: &Self::File) -> io::Result<bool>;

    /// Gives the lock up. Needed before closing: a child that another thread forked at
    /// this moment may still hold a copy of the descriptor, and with it the lock.
    fn unlock(&self, file: &Self::File);

    /// Returns whether locks exclude across everything that reaches this directory. Where
    /// not (network file systems, FUSE), [`try_lock`](Dir::try_lock) must not be called:
    /// without a lock manager it can block for ever.
    fn has_locks(&self) -> bool;

    /// Returns whether `name` still means the inode that `file` has open.
    ///
    /// POSIX `fstat` and `fstatat(AT_SYMLINK_NOFOLLOW)`: (device, inode) is the identity of a
    /// file for as long as it is open, because the inode number is not reused until then.
    fn means(&self, name: &str, file: &Self::File) -> io::Result<bool>;

    /// Removes a name. POSIX `unlink`: of two callers, one succeeds and the other gets `NotFound`.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives the file `name` the name `new` in the directory `to`, if that one does not exist, in
    /// one step: whoever sees the new name sees the whole content. `AlreadyExists` otherwise.
    ///
    /// Linux `renameat2(RENAME_NOREPLACE)`, macOS `renameatx_np(RENAME_EXCL)`, else POSIX
    /// `linkat` and `unlinkat`.
    fn publish(&self, name: &str, to: &Self, new: &str) -> io::Result<()>;

    /// Gives the file `name` the name `new` in the directory `to`, in place of what was there.
    ///
    /// POSIX `rename`: a reader finds the old file or the new one; a scan of the directory that runs
    /// beside it may miss the name. For the index, and for a claim whose lock the caller holds.
    fn replace(&self, name: &str, to: &Self, new: &str) -> io::Result<()>;

    /// Returns when the file of this name was written, or [dated](Dir::touch); `None` where there
    /// is none.
    fn written(&self, name: &str) -> io::Result<Option<SystemTime>>;

    /// Dates a file, not before 1970.
    ///
    /// POSIX `futimens`. What its lock keeps from others is dated under it.
    fn touch(&self, file: &Self::File, time: SystemTime) -> io::Result<()>;

    /// Makes the content and the date of a file survive a power cut. POSIX `fsync` (`fdatasync`
    /// would leave the date); macOS `F_FULLFSYNC`.
    fn sync_file(&self, file: &Self::File) -> io::Result<()>;

    /// Makes the names in this directory survive a power cut: `fsync` of the directory.
    fn sync(&self) -> io::Result<()>;

    /// Returns the names in this directory, in no order. A name that exists from before
    /// the call until after it is among them; one that comes or goes meanwhile may be.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Returns the directory's path, for messages.
    fn path(&self) -> &Utf8Path;
}
