//! Moves what is no regular file out of the way, and never a claim.

use std::io;

use rustix::fs::{self, AtFlags};
use rustix::io::{Errno, retry_on_intr};

use super::os::OsDir;
use super::{Dir, numbered};

/// Most things of one name that are moved aside.
const SPECIALS_MAX: u32 = 10_000;

impl OsDir {
    /// Moves anything but a regular file to the directory `to`, under its own name or with a
    /// number, and returns whether it did.
    ///
    /// # Races
    ///
    /// Call it with the one directory that all repairs move to. Nobody can claim a name that is
    /// taken, and of all that portclaim does only this takes a special file's name away: so what is
    /// one under the lock of `to` stays one until it is moved. Whoever finds that lock held moves
    /// nothing, for another repair is at it.
    ///
    /// A hand that removes the name at this very moment knows nothing of locks, and network
    /// file systems have none. So what was moved is looked at, and a claim that had taken the
    /// name is put back. `AlreadyExists` where the name was claimed once more before that: one of
    /// the two claims lies in `to` then, and its project gets another port.
    pub(crate) fn move_special(&self, name: &str, to: &OsDir) -> io::Result<bool> {
        // The lock of the directory itself.
        if to.has_locks() && !to.try_lock(&to.fd)? {
            return Ok(false);
        }
        let moved = self.move_special_locked(name, to);
        to.unlock(&to.fd);
        moved
    }

    fn move_special_locked(&self, name: &str, to: &OsDir) -> io::Result<bool> {
        let is_dir = match self.inspect(name)? {
            Some(meta) if !meta.is_file => meta.is_dir,
            _ => return Ok(false),
        };
        // With a slash behind its name, nothing but a directory can be moved.
        let from = if is_dir {
            format!("{name}/")
        } else {
            name.to_owned()
        };
        for number in 0..SPECIALS_MAX {
            let new = numbered(name, number);
            match self.rename_new(&from, to, &new) {
                Ok(()) if !is_dir && to.inspect(&new)?.is_some_and(|moved| moved.is_file) => {
                    to.publish(&new, self, name)?;
                    return Ok(false);
                }
                Ok(()) => return Ok(true),
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Renames a file of any kind to a name that is not taken.
    fn rename_new(&self, name: &str, to: &OsDir, new: &str) -> rustix::io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            let flags = fs::RenameFlags::NOREPLACE;
            match retry_on_intr(|| fs::renameat_with(self, name, to, new, flags)) {
                Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {}
                answer => return answer,
            }
        }
        // What is moved is no claim, and where it goes nobody else puts anything by this name.
        match fs::statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => retry_on_intr(|| fs::renameat(self, name, to, new)),
            Err(error) => Err(error),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const NAME: &str = "8888.claim";

    fn dirs() -> (tempfile::TempDir, OsDir, impl Fn() -> OsDir) {
        let temporary = tempfile::tempdir().expect("a directory");
        let path = camino::Utf8Path::from_path(temporary.path()).expect("UTF-8");
        let root = OsDir::open_root(path).expect("opens");
        let ports = root.create_dir("ports").expect("a directory");
        let aside = move || root.create_dir("quarantine").expect("a directory");
        (temporary, ports, aside)
    }

    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn has_locks(dir: &OsDir) -> bool {
        if !dir.has_locks() {
            eprintln!("skipped: {}: its locks cannot be trusted", dir.path());
        }
        dir.has_locks()
    }

    fn put_link(dir: &OsDir) -> io::Result<()> {
        symlink("nowhere", dir.path().join(NAME))
    }

    #[test]
    fn what_is_no_regular_file_is_moved_and_what_is_one_stays() {
        let (_temporary, ports, aside) = dirs();
        for _ in 0..2 {
            put_link(&ports).expect("a link");
            assert!(ports.move_special(NAME, &aside()).expect("moves it"));
        }
        ports.create_dir(NAME).expect("a directory");
        assert!(ports.move_special(NAME, &aside()).expect("moves it"));
        assert!(!ports.move_special(NAME, &aside()).expect("it is gone"));
        ports.create(NAME).expect("a file");
        assert!(!ports.move_special(NAME, &aside()).expect("looks at it"));
        let there = ports.inspect(NAME).expect("it can be looked at");
        assert!(there.expect("it stays").is_file);
        let mut moved = aside().names().expect("its names");
        moved.sort();
        assert_eq!(moved, ["8888.claim", "8888.claim.1", "8888.claim.2"]);
    }

    #[test]
    fn what_another_repair_is_moving_is_left_to_it() {
        let (_temporary, ports, aside) = dirs();
        let other = aside();
        if !has_locks(&other) {
            return;
        }
        put_link(&ports).expect("a link");
        assert!(other.try_lock(&other.fd).expect("nobody else does"));
        assert!(!ports.move_special(NAME, &aside()).expect("leaves it"));
        let there = ports.inspect(NAME).expect("it can be looked at");
        assert!(there.expect("it stays").is_link);
        other.unlock(&other.fd);
        assert!(ports.move_special(NAME, &aside()).expect("moves it"));
    }
}
