//! Where a process works: what `/proc/PID/cwd` links to, if that is a directory's name here.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::AtFlags;

/// What the kernel writes behind the path of a directory that has been deleted. A directory
/// may be called so as well.
const DELETED: &[u8] = b" (deleted)";

/// The directory that a process works in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    /// Its path, or the one that it had.
    pub(super) path: PathBuf,
    pub(super) deleted: bool,
}

/// Returns the directory that a process works in, `None` where this one may not know, or has
/// no name for it. `process` is the process's own directory in `proc`.
pub(super) fn read_directory(proc: &OwnedFd, process: &OwnedFd) -> Option<Directory> {
    let link = read_link(process, c"cwd")?;
    // In a container, the same path may be another directory.
    let is_foreign = read_link(proc, c"self/ns/mnt") != read_link(process, c"ns/mnt");
    let bytes = link.to_bytes();
    let deleted = bytes.strip_suffix(DELETED);
    let (path, deleted) = match (is_foreign, deleted) {
        // The disk is asked only where it must be: a directory may lie on a server that is gone.
        (false, None) => (bytes, false),
        _ if is_path_of(&link, process) => (bytes, false),
        (false, Some(path)) => (path, true),
        (true, _) => return None,
    };
    let path = PathBuf::from(OsString::from_vec(path.to_vec()));
    Some(Directory { path, deleted })
}

/// Returns whether `path` leads to where the process works.
fn is_path_of(path: &CStr, process: &OwnedFd) -> bool {
    let stat = |at, path| rustix::fs::statat(at, path, AtFlags::empty());
    match (
        stat(rustix::fs::CWD, path),
        rustix::fs::statat(process, c"cwd", AtFlags::empty()),
    ) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

fn read_link(at: &OwnedFd, name: &CStr) -> Option<CString> {
    rustix::fs::readlinkat(at, name, Vec::new()).ok()
}

#[cfg(all(test, not(loom)))]
#[expect(
    clippy::disallowed_methods,
    reason = "tests build a /proc of their own"
)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// A `/proc` of this process and another one, which works where `cwd` says.
    struct Proc {
        dir: tempfile::TempDir,
    }

    impl Proc {
        fn new() -> Proc {
            let dir = tempfile::tempdir().expect("a directory");
            for process in ["self", "7"] {
                fs::create_dir_all(dir.path().join(process).join("ns")).expect("a process");
            }
            Proc { dir }
        }

        fn link(&self, target: impl AsRef<Path>, name: &str) {
            let path = self.dir.path().join(name);
            let _ = fs::remove_file(&path);
            symlink(target, path).expect("a link");
        }

        fn read(&self) -> Option<(PathBuf, bool)> {
            let open = |path: &Path| OwnedFd::from(File::open(path).expect("a directory"));
            let (proc, process) = (self.dir.path(), self.dir.path().join("7"));
            let directory = read_directory(&open(proc), &open(&process))?;
            Some((directory.path, directory.deleted))
        }
    }

    #[test]
    fn a_path_is_taken_as_it_is_without_looking_at_the_disk() {
        let proc = Proc::new();
        assert_eq!(proc.read(), None, "it may not be read");
        for bytes in [
            &b"/no/such/directory"[..],
            b"/",
            b"/not \xff utf-8\n\x1b[2J",
        ] {
            let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
            proc.link(path, "7/cwd");
            assert_eq!(proc.read(), Some((path.to_owned(), false)));
        }
    }

    #[test]
    fn a_deleted_directory_has_the_path_that_it_had() {
        let proc = Proc::new();
        proc.link("/no/such (deleted)", "7/cwd");
        assert_eq!(proc.read(), Some(("/no/such".into(), true)));
        proc.link("/no/such (deleted) (deleted)", "7/cwd");
        assert_eq!(proc.read(), Some(("/no/such (deleted)".into(), true)));
        // One that is only called so.
        let called = proc.dir.path().join("shop (deleted)");
        fs::create_dir(&called).expect("a directory");
        proc.link(&called, "7/cwd");
        assert_eq!(proc.read(), Some((called, false)));
    }

    #[test]
    fn in_another_mount_namespace_a_path_counts_only_if_it_leads_to_the_same_directory() {
        let proc = Proc::new();
        proc.link("mnt:[1]", "self/ns/mnt");
        proc.link("mnt:[2]", "7/ns/mnt");
        for path in ["/no/such/directory", "/no/such (deleted)"] {
            proc.link(path, "7/cwd");
            assert_eq!(proc.read(), None);
        }
        let shared = proc.dir.path().join("shop");
        fs::create_dir(&shared).expect("a directory");
        proc.link(&shared, "7/cwd");
        assert_eq!(proc.read(), Some((shared, false)));
        proc.link("mnt:[1]", "7/ns/mnt");
        proc.link("/no/such/directory", "7/cwd");
        assert_eq!(proc.read(), Some(("/no/such/directory".into(), false)));
    }
}
