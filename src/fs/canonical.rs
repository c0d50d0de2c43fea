//! Paths in normal form: links and `..` resolved, missing tails kept, names as the disk
//! spells them.
//!
//! One directory must be one project, however it is typed. Links and `..` are followed
//! the way the kernel does it. What remains is that some file systems find a name in
//! another spelling: in other case, or in another normal form of Unicode. Which do is not
//! asked of the file system's type (on ext4 each directory decides for itself, and the
//! rules differ by version), but found out name by name: if the name with the case of
//! all its letters flipped is there as well and is the same file, the directory is
//! listed, and the name in the list counts.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Op, Result};
use crate::project::ProjectPath;

mod spelling;

use spelling::spell;

/// How many symbolic links are followed for one path; Linux follows as many.
const LINKS_MAX: usize = 40;

/// How many bytes the system takes as a path, the NUL at the end included.
const PATH_LEN_MAX: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    4096
} else {
    1024
};

impl ProjectPath {
    /// Returns the normal form of any path: the same one for every way to write the path
    /// of a directory.
    ///
    /// A relative path is taken from the current directory, an empty one is the current
    /// directory. `~` means nothing special. Symbolic links and `..` are resolved from left
    /// to right as the system does it, so `link/..` is the directory around the link's
    /// target. Components that do not exist, or that this user may not look at, are kept
    /// (and `..` takes them away again). So is a link that leads back to itself, and any
    /// after the fortieth.
    ///
    /// On a file system that ignores case or normalizes Unicode, components that exist are
    /// spelled as in the list of their directory, unless that cannot be read or is very long.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath) where the path, or its
    /// normal form, contains a NUL byte or is longer than the system allows, and where the
    /// normal form is not UTF-8. [`ErrorKind::Io`](crate::ErrorKind::Io) where the path is
    /// relative and the current directory has been deleted or cannot be reached from `/`.
    ///
    /// # Races
    ///
    /// The disk is looked at component by component: where somebody moves a directory or changes a
    /// link meanwhile, the answer may be a mixture of before and after.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::ProjectPath;
    /// let here = ProjectPath::resolve(".")?;
    /// assert_eq!(ProjectPath::resolve("no-such-directory/..")?, here);
    /// assert_eq!(ProjectPath::resolve("//no-such/a/")?.as_str(), "/no-such/a");
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn resolve(path: impl AsRef<Path>) -> Result<ProjectPath> {
        resolve_on(&Kernel, path.as_ref().as_os_str().as_bytes())
    }

    /// Returns whether anything exists at this path. What this user may not look at counts
    /// as existing. The answer held at some moment during the call.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::ProjectPath;
    /// assert!(ProjectPath::resolve(".")?.exists());
    /// assert!(!ProjectPath::from_normal("/no-such-directory/a")?.exists());
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn exists(&self) -> bool {
        !matches!(
            rustix::fs::access(self.as_str(), rustix::fs::Access::EXISTS),
            Err(Errno::NOENT | Errno::NOTDIR)
        )
    }
}

/// What tells two files apart: device and inode number, in a type that holds those of
/// every system.
type Identity = (i128, i128);

/// What is asked of the system. Tests have one of their own: a disk that ignores case.
trait Disk {
    /// Returns the path of the current directory.
    fn current(&self) -> Result<Vec<u8>, Errno>;

    /// Returns the target of a symbolic link; `INVAL` is "exists, and is none".
    fn target(&self, path: &[u8]) -> Result<Vec<u8>, Errno>;

    /// Returns what file this is; a link is not followed.
    fn identity(&self, path: &[u8]) -> Result<Identity, Errno>;

    /// Returns the name in its directory of a file that is no link, where the system has
    /// a call for that.
    fn name(&self, path: &[u8]) -> Option<Vec<u8>>;

    /// Shows the names in a directory, with the inode numbers that the list gives, until
    /// `see` returns `false`.
    fn list(&self, dir: &[u8], see: &mut dyn FnMut(&[u8], i128) -> bool) -> Result<(), Errno>;
}

/// The disk there is.
struct Kernel;

impl Disk for Kernel {
    fn current(&self) -> Result<Vec<u8>, Errno> {
        rustix::process::getcwd(Vec::new()).map(std::ffi::CString::into_bytes)
    }

    fn target(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        rustix::fs::readlink(path, Vec::new()).map(std::ffi::CString::into_bytes)
    }

    fn identity(&self, path: &[u8]) -> Result<Identity, Errno> {
        let stat = rustix::fs::lstat(path)?;
        Ok((stat.st_dev.into(), stat.st_ino.into()))
    }

    /// Untested: macOS tells the whole path of an open file, as the disk spells it.
    #[cfg(target_vendor = "apple")]
    fn name(&self, path: &[u8]) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let path = rustix::fs::getpath(file).ok()?.into_bytes();
        parts(&path).next_back().map(<[u8]>::to_vec)
    }

    #[cfg(not(target_vendor = "apple"))]
    fn name(&self, _path: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn list(&self, dir: &[u8], see: &mut dyn FnMut(&[u8], i128) -> bool) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for entry in rustix::fs::Dir::new(rustix::fs::open(dir, flags, Mode::empty())?)? {
            let entry = entry?;
            if !see(entry.file_name().to_bytes(), entry.ino().into()) {
                break;
            }
        }
        Ok(())
    }
}

/// Resolves a path, and checks what came out.
fn resolve_on(disk: &impl Disk, typed: &[u8]) -> Result<ProjectPath> {
    // The system would take a NUL for the path's end.
    if typed.contains(&0) {
        return Err(Error::invalid_path(typed, "it contains a NUL byte"));
    }
    check_len(typed)?;
    let path = normalize(disk, typed)?;
    check_len(&path)?;
    match String::from_utf8(path) {
        Ok(path) => ProjectPath::from_normal(path),
        Err(error) => Err(Error::invalid_path(error.as_bytes(), "it is not UTF-8")),
    }
}

fn check_len(path: &[u8]) -> Result<()> {
    if path.len() < PATH_LEN_MAX {
        return Ok(());
    }
    Err(Error::invalid_path(
        path,
        "it is longer than the system allows",
    ))
}

/// Something that remains to be done to resolve a path.
enum Step {
    /// Go on with this component.
    Enter(Vec<u8>),
    /// The target of the latest open link has been resolved.
    Close,
}

/// Returns the absolute path of what `typed` leads to, without links, `.` and `..`.
fn normalize(disk: &impl Disk, typed: &[u8]) -> Result<Vec<u8>> {
    // What has been resolved; the root is the empty path until the end.
    let mut path = Vec::new();
    if typed.first() != Some(&b'/') {
        // The kernel's answer contains no links, but each name in it may be spelled as
        // the user once typed it.
        for name in parts(&current(disk)?) {
            enter(&mut path, name);
            spell(disk, &mut path);
        }
    }
    let mut steps = Vec::new();
    plan(&mut steps, typed);
    // The links whose targets are being resolved, outermost first.
    let mut open = Vec::new();
    let mut followed = 0;
    while let Some(step) = steps.pop() {
        let name = match step {
            Step::Enter(name) => name,
            Step::Close => {
                open.pop();
                continue;
            }
        };
        if name == b".." {
            leave(&mut path);
            continue;
        }
        enter(&mut path, &name);
        match disk.target(&path) {
            Ok(target) if !open.contains(&path) => {
                // As the kernel does. Taken as a name, the next link would lead elsewhere once it is looked up alone.
                if followed == LINKS_MAX {
                    return Err(Error::invalid_path(
                        typed,
                        "it leads through too many symbolic links",
                    ));
                }
                followed += 1;
                open.push(path.clone());
                steps.push(Step::Close);
                plan(&mut steps, &target);
                if target.first() == Some(&b'/') {
                    path.clear();
                } else {
                    leave(&mut path);
                }
            }
            // No link, or one that leads to itself.
            Ok(_) | Err(Errno::INVAL) => spell(disk, &mut path),
            // Missing, or out of reach: nothing more can be known.
            Err(_) => {}
        }
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Ok(path)
}

/// Returns the path of the current directory, if it has one.
fn current(disk: &impl Disk) -> Result<Vec<u8>> {
    let missing = |why| {
        Error::io(
            Op::Inspect,
            ".",
            io::Error::new(io::ErrorKind::NotFound, why),
        )
    };
    match disk.current() {
        Ok(path) if path.first() == Some(&b'/') => Ok(path),
        // Linux says "(unreachable)/a" of a directory outside of this process's root, or
        // on a file system that has been unmounted.
        Ok(_) => Err(missing(
            "the current directory cannot be reached from the root directory",
        )),
        Err(Errno::NOENT) => Err(missing("the current directory has been deleted")),
        Err(source) => Err(Error::io(Op::Inspect, ".", source.into())),
    }
}

/// Returns the components of a path that lead anywhere.
fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
}

/// Puts the components of `path` on the stack, the first on top.
fn plan(steps: &mut Vec<Step>, path: &[u8]) {
    steps.extend(parts(path).rev().map(|name| Step::Enter(name.to_vec())));
}

/// Appends a component.
fn enter(path: &mut Vec<u8>, name: &[u8]) {
    path.push(b'/');
    path.extend_from_slice(name);
}

/// Removes the last component; the root stays.
fn leave(path: &mut Vec<u8>) {
    path.truncate(path.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
}

#[cfg(all(test, not(loom)))]
mod tests;
