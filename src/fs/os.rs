//! The real directory: one descriptor, children named by single components relative to it.

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::buffer::spare_capacity;
use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::Dir;
use super::date::date;
use super::mount::{self, Filesystem};

/// Files are for their user alone: they name projects.
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);
/// A sealed file: its user may read it.
const SEALED_MODE: Mode = Mode::from_raw_mode(0o400);
/// Directories likewise.
const DIR_MODE: Mode = Mode::from_raw_mode(0o700);
/// How often a call is repeated that a network file system answered with `ESTALE`.
const STALE_RETRIES_MAX: u32 = 3;

/// How many bytes the first call reads: a record. Each further one, sixteen times as many.
const READ_LEN: usize = 2048;

/// An open directory.
#[derive(Debug)]
pub(crate) struct OsDir {
    pub(super) fd: OwnedFd,
    path: Utf8PathBuf,
    filesystem: Filesystem,
    heir: Option<Heir>,
}

/// Who gets new files, where root works in a user's registry (`sudo`): the owner of its
/// directory, who could not read them otherwise.
#[derive(Clone, Copy, Debug)]
struct Heir {
    user: fs::Uid,
    group: fs::Gid,
}

/// What [`OsDir::inspect`] tells of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) is_file: bool,
    pub(crate) is_dir: bool,
    pub(crate) is_link: bool,
    /// Permission bits, `0o7777`.
    pub(crate) mode: u32,
    /// The user id of the file's owner.
    pub(crate) user: u32,
    /// How many names the file has.
    pub(crate) names: u64,
}

impl OsDir {
    /// Opens the directory `path`, following links in it. `NotFound` where there is none.
    pub(crate) fn open_root(path: &Utf8Path) -> io::Result<OsDir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| fs::open(path.as_str(), flags, Mode::empty()))?;
        let filesystem = mount::identify(&fd)?;
        let heir = OsDir::heir(&fd)?;
        Ok(OsDir {
            fd,
            path: path.to_owned(),
            filesystem,
            heir,
        })
    }

    /// Opens the directory `path`, and creates it and its parents where they are missing.
    pub(crate) fn create_root(path: &Utf8Path) -> io::Result<OsDir> {
        match OsDir::open_root(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            answer => return answer,
        }
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let parent = if parent.as_str().is_empty() {
                Utf8Path::new(".")
            } else {
                parent
            };
            // One level of recursion a component, and a path is at most 4096 bytes long.
            OsDir::create_root(parent)?.make_dir(name)?;
        }
        OsDir::open_root(path)
    }

    /// Opens the directory `name` in this one. `NotFound` where there is none.
    pub(crate) fn open_dir(&self, name: &str) -> io::Result<OsDir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| fs::openat(&self.fd, name, flags, Mode::empty()))?;
        Ok(OsDir {
            fd,
            path: self.path.join(name),
            filesystem: self.filesystem.clone(),
            heir: self.heir,
        })
    }

    /// Opens the directory `name` in this one, and creates it where it is missing.
    pub(crate) fn create_dir(&self, name: &str) -> io::Result<OsDir> {
        match self.open_dir(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            answer => return answer,
        }
        self.make_dir(name)?;
        self.open_dir(name)
    }

    /// Creates the directory `name` and makes its name durable; another process may have
    /// been first.
    fn make_dir(&self, name: &str) -> io::Result<()> {
        match retry_on_intr(|| fs::mkdirat(&self.fd, name, DIR_MODE)) {
            Ok(()) => self.give_away(&self.open_dir(name)?.fd)?,
            // Whoever made it may not have flushed it yet.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.sync()
    }

    /// Gives a new file to whom it is for.
    fn give_away(&self, file: &OwnedFd) -> io::Result<()> {
        if let Some(Heir { user, group }) = self.heir {
            retry_on_intr(|| fs::fchown(file, Some(user), Some(group)))?;
        }
        Ok(())
    }

    fn heir(fd: &OwnedFd) -> io::Result<Option<Heir>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let owner = fs::fstat(fd)?;
        Ok((owner.st_uid != 0).then(|| Heir {
            user: fs::Uid::from_raw(owner.st_uid),
            group: fs::Gid::from_raw(owner.st_gid),
        }))
    }

    /// Creates the directory `name`, which must not exist, and opens it.
    pub(crate) fn create_new_dir(&self, name: &str) -> io::Result<OsDir> {
        retry_on_intr(|| fs::mkdirat(&self.fd, name, DIR_MODE))?;
        let dir = self.open_dir(name)?;
        self.give_away(&dir.fd)?;
        self.sync()?;
        Ok(dir)
    }

    /// Returns the file system that the directory lies on.
    pub(crate) fn filesystem(&self) -> &Filesystem {
        &self.filesystem
    }

    /// Returns what a name is, without following a link or opening it; `None` where it is nothing.
    pub(crate) fn inspect(&self, name: &str) -> io::Result<Option<Meta>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(meta(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns whether another open file holds this one's exclusive lock. Those who ask do not
    /// meet each other: they take shared locks.
    pub(crate) fn is_locked(&self, file: &OwnedFd) -> io::Result<bool> {
        match retry_on_intr(|| fs::flock(file, FlockOperation::NonBlockingLockShared)) {
            Err(Errno::WOULDBLOCK) => return Ok(true),
            answer => answer?,
        }
        self.unlock(file);
        Ok(false)
    }

    /// Returns what this directory is.
    pub(crate) fn inspect_self(&self) -> io::Result<Meta> {
        Ok(meta(&fs::fstat(&self.fd)?))
    }

    /// Gives a regular file or a directory the permissions that it should have, even where its own do not
    /// let this user open it. `InvalidInput` where it is neither.
    pub(crate) fn make_private(&self, name: &str) -> io::Result<()> {
        let meta = self.inspect(name)?.ok_or(Errno::NOENT)?;
        let (opened, mode) = if meta.is_dir {
            (self.open_dir(name).map(|dir| dir.fd), DIR_MODE)
        } else {
            (Dir::open(self, name), FILE_MODE)
        };
        match opened {
            Ok(file) => Ok(retry_on_intr(|| fs::fchmod(&file, mode))?),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(self.permit(name, mode)?)
            }
            Err(error) => Err(error),
        }
    }

    /// Changes the mode of what this user may not open, and of nothing that a link leads to.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn permit(&self, name: &str, mode: Mode) -> rustix::io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = retry_on_intr(|| fs::openat(&self.fd, name, flags, Mode::empty()))?;
        // fchmod refuses such a descriptor; by this name of it, it is the same inode.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        retry_on_intr(|| fs::chmod(&path, mode))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn permit(&self, name: &str, mode: Mode) -> rustix::io::Result<()> {
        retry_on_intr(|| fs::chmodat(&self.fd, name, mode, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// The same of this directory, which is open.
    pub(crate) fn make_self_private(&self) -> io::Result<()> {
        retry_on_intr(|| fs::fchmod(&self.fd, DIR_MODE))?;
        Ok(())
    }

    /// Opens and closes the directory where names may be stale: a network client asks its
    /// server again at an open (close-to-open consistency), and not necessarily before.
    fn revalidate(&self) {
        if self.filesystem.is_network() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // A failure shows in the call that follows.
            drop(fs::openat(&self.fd, ".", flags, Mode::empty()));
        }
    }

    /// Calls `ask` with fresh names, again after `EINTR`, and a few times after `ESTALE`
    /// (the server removed the file between look-up and open).
    pub(super) fn ask<T>(&self, mut ask: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
        for _ in 0..STALE_RETRIES_MAX {
            self.revalidate();
            match retry_on_intr(&mut ask) {
                Err(Errno::STALE) => {}
                answer => return Ok(answer?),
            }
        }
        Ok(retry_on_intr(ask)?)
    }

    fn open_for_reading(&self, name: &str) -> io::Result<OwnedFd> {
        // NONBLOCK: opening a FIFO must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.ask(|| match fs::openat(&self.fd, name, flags, Mode::empty()) {
            // A symbolic link (Linux and macOS, FreeBSD); a socket.
            Err(Errno::LOOP | Errno::MLINK | Errno::NXIO) => Err(Errno::INVAL),
            answer => answer,
        })
    }

    fn publish_by_link(&self, name: &str, to: &OsDir, new: &str) -> io::Result<()> {
        retry_on_intr(|| fs::linkat(&self.fd, name, &to.fd, new, AtFlags::empty()))?;
        // The staged name is spare now; what is left of it, a sweep removes.
        let _ = fs::unlinkat(&self.fd, name, AtFlags::empty());
        Ok(())
    }
}

impl AsFd for OsDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir for OsDir {
    type File = OwnedFd;

    fn create(&self, name: &str) -> io::Result<OwnedFd> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = retry_on_intr(|| fs::openat(&self.fd, name, flags, FILE_MODE))?;
        self.give_away(&file)?;
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        again_if_stale(|| {
            let file = self.open_for_reading(name)?;
            if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != FileType::RegularFile {
                return Err(Errno::INVAL.into());
            }
            Ok(file)
        })
    }

    fn read(&self, name: &str, len_max: usize) -> io::Result<Vec<u8>> {
        // No fstat: a look-up is two opens, reads and closes. A directory answers the read
        // with an error, a FIFO with nothing, which no caller takes for a record.
        again_if_stale(|| self.read_file(&self.open_for_reading(name)?, len_max))
    }

    fn read_file(&self, file: &OwnedFd, len_max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(READ_LEN.min(len_max + 1));
        loop {
            let from = bytes.len();
            let spare = bytes.capacity() - from;
            match retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut bytes), from as u64))
            {
                Err(Errno::ISDIR | Errno::SPIPE) => return Err(Errno::INVAL.into()),
                answer => answer?,
            };
            // A short read of a regular file is its end.
            if bytes.len() - from < spare || bytes.len() > len_max {
                bytes.truncate(len_max + 1);
                return Ok(bytes);
            }
            bytes.reserve(bytes.len() * 15);
        }
    }

    fn read_sealed(&self, name: &str, len_max: usize) -> io::Result<(Vec<u8>, bool)> {
        again_if_stale(|| {
            let file = self.open_for_reading(name)?;
            let stat = fs::fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(Errno::INVAL.into());
            }
            // Exactly this mode: file systems without modes show others.
            let sealed = Mode::from_raw_mode(stat.st_mode) == SEALED_MODE;
            Ok((self.read_file(&file, len_max)?, sealed))
        })
    }

    fn seal(&self, file: &OwnedFd) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::fchmod(file, SEALED_MODE))?)
    }

    fn unseal(&self, file: &OwnedFd) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::fchmod(file, FILE_MODE))?)
    }

    fn write(&self, file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match retry_on_intr(|| rustix::io::write(file, bytes))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }

    fn try_lock(&self, file: &OwnedFd) -> io::Result<bool> {
        match retry_on_intr(|| fs::flock(file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn unlock(&self, file: &OwnedFd) {
        if self.has_locks() {
            // It cannot fail for a descriptor that is open; closing it would do as well.
            let _ = fs::flock(file, FlockOperation::NonBlockingUnlock);
        }
    }

    fn has_locks(&self) -> bool {
        self.filesystem.locks()
    }

    fn means(&self, name: &str, file: &OwnedFd) -> io::Result<bool> {
        let open = match fs::fstat(file) {
            // Another machine removed it.
            Err(Errno::STALE) => return Ok(false),
            open => open?,
        };
        match self.ask(|| fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(retry_on_intr(|| {
            fs::unlinkat(&self.fd, name, AtFlags::empty())
        })?)
    }

    fn publish(&self, name: &str, to: &OsDir, new: &str) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        // A FUSE server may not know the flag and replace all the same; NFS answers EINVAL.
        if !self.filesystem.is_network() {
            let flags = fs::RenameFlags::NOREPLACE;
            match retry_on_intr(|| fs::renameat_with(&self.fd, name, &to.fd, new, flags)) {
                // This kernel (ENOSYS) or this file system (EINVAL, ENOTSUP) has no such call.
                Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {}
                answer => return Ok(answer?),
            }
        }
        self.publish_by_link(name, to, new)
    }

    fn replace(&self, name: &str, to: &OsDir, new: &str) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::renameat(&self.fd, name, &to.fd, new))?)
    }

    fn written(&self, name: &str) -> io::Result<Option<SystemTime>> {
        self.date_of(name)
    }

    fn touch(&self, file: &OwnedFd, time: SystemTime) -> io::Result<()> {
        date(file, time)
    }

    fn sync_file(&self, file: &OwnedFd) -> io::Result<()> {
        // Darwin's fsync leaves the data in the drive's cache.
        #[cfg(target_vendor = "apple")]
        if retry_on_intr(|| fs::fcntl_fullfsync(file)).is_ok() {
            return Ok(());
        }
        // Never again after an error: Linux reports a lost write once, and the next call succeeds.
        Ok(retry_on_intr(|| fs::fsync(file))?)
    }

    fn sync(&self) -> io::Result<()> {
        match retry_on_intr(|| fs::fsync(&self.fd)) {
            // Some file systems have no such call for directories, because their names are
            // durable at once. EROFS is an error: ext4 gives it where it went read-only by
            // itself, and names may be lost; of one that was mounted so, it flushes nothing.
            Err(Errno::INVAL) => Ok(()),
            answer => Ok(answer?),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.revalidate();
        let mut names = Vec::new();
        for entry in retry_on_intr(|| fs::Dir::read_from(&self.fd))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn path(&self) -> &Utf8Path {
        &self.path
    }
}

/// Opens and reads a few times, as long as the answer is `ESTALE`: the file that was opened was
/// removed by another machine before it was read. The name tells what is there instead.
pub(super) fn again_if_stale<T>(read: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..STALE_RETRIES_MAX {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => {}
            answer => return answer,
        }
    }
    read()
}

fn meta(stat: &fs::Stat) -> Meta {
    let kind = FileType::from_raw_mode(stat.st_mode);
    Meta {
        is_file: kind == FileType::RegularFile,
        is_dir: kind == FileType::Directory,
        is_link: kind == FileType::Symlink,
        mode: widen(stat.st_mode) & 0o7777,
        user: stat.st_uid,
        names: names(stat.st_nlink),
    }
}

/// `st_nlink` has 16 bits on macOS, 32 or 64 on Linux.
fn names(count: impl Into<u64>) -> u64 {
    count.into()
}

/// `st_mode` has 16 bits on macOS and 32 on Linux.
fn widen(mode: impl Into<u32>) -> u32 {
    mode.into()
}
