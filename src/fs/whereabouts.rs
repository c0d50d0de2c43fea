//! Whether a directory that a path once led to is gone, or only cannot be seen.

use std::io;

use camino::Utf8Path;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::retry_on_intr;

/// How a directory is opened that is only asked for a name: it need not be one that may be listed.
#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const SEARCH: OFlags = OFlags::RDONLY;

/// What is known of a path.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    /// Something has this name.
    There,
    /// A symbolic link has it, which leads to nothing.
    Link,
    /// The directory around it has no such name, and lies on this device.
    Missing { device: Option<u64> },
    /// The directory around it does not exist either.
    ParentMissing,
    /// The system refuses to tell.
    Unclear(io::Error),
}

/// Looks for `path`. The directory around it is opened, and asked for the name itself: so the answer is
/// about that directory, whatever is mounted meanwhile.
pub(crate) fn look(path: &Utf8Path) -> Whereabouts {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Whereabouts::There;
    };
    let flags = SEARCH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match retry_on_intr(|| fs::open(parent.as_str(), flags, Mode::empty())) {
        Ok(parent) => parent,
        Err(rustix::io::Errno::NOENT) => return Whereabouts::ParentMissing,
        Err(error) => return Whereabouts::Unclear(error.into()),
    };
    match fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink => {
            Whereabouts::There
        }
        Ok(_) => match fs::statat(&parent, name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Whereabouts::Link,
            Ok(_) => Whereabouts::There,
            Err(error) => Whereabouts::Unclear(error.into()),
        },
        Err(rustix::io::Errno::NOENT) => match fs::fstat(&parent) {
            Ok(stat) => Whereabouts::Missing {
                device: number(stat.st_dev),
            },
            Err(error) => Whereabouts::Unclear(error.into()),
        },
        Err(error) => Whereabouts::Unclear(error.into()),
    }
}

/// Returns the device that a directory lies on, `None` where there is no such directory.
pub(crate) fn device(path: &Utf8Path) -> Option<u64> {
    let stat = fs::stat(path.as_str()).ok()?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    is_dir.then(|| number(stat.st_dev))?
}

/// `st_dev` has 32 bits and a sign on macOS, and 64 without on Linux.
fn number(device: impl Into<i128>) -> Option<u64> {
    u64::try_from(device.into()).ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_from_what_cannot_be_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(dir.path()).expect("UTF-8");
        std::os::unix::fs::symlink("nowhere", root.join("link")).expect("a link");
        std::os::unix::fs::symlink("loop", root.join("loop")).expect("a link");
        let own = device(root).expect("it exists");
        assert_eq!(device(&root.join("a")), None);
        assert!(matches!(look(root), Whereabouts::There));
        assert!(matches!(look(Utf8Path::new("/")), Whereabouts::There));
        let missing = look(&root.join("a"));
        assert!(
            matches!(missing, Whereabouts::Missing { device } if device == Some(own)),
            "{missing:?}"
        );
        assert!(matches!(
            look(&root.join("a/b")),
            Whereabouts::ParentMissing
        ));
        assert!(matches!(look(&root.join("link")), Whereabouts::Link));
        assert!(matches!(look(&root.join("loop")), Whereabouts::Unclear(_)));
        assert!(matches!(
            look(Utf8Path::new("/dev/null/a")),
            Whereabouts::Unclear(_)
        ));
    }
}
