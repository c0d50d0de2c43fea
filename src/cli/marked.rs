//! `env --write`: one marked block in a file that is somebody else's. What stands around it stays
//! byte for byte, and whoever reads finds the old file or the new one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::{Errno, retry_on_intr};

use super::quote::unguessable;
use super::report::Failure;

const BEGIN: &str = "# portclaim: begin";
const END: &str = "# portclaim: end";

/// Longest file that is rewritten, bytes: such files are written by hand.
const LEN_MAX: u64 = 1024 * 1024;

/// How often the file is read again that others change meanwhile.
const ROUNDS_MAX: u32 = 3;

/// Puts these lines between the marks in the file, or behind its end where it has none.
pub(super) fn replace_block(path: &Path, lines: &str) -> Result<(), Failure> {
    let place = Place::of(path)?;
    for _ in 0..ROUNDS_MAX {
        let old = place.read()?;
        let new = with_block(&old.bytes, lines).map_err(|why| {
            Failure::new(&format!("{} is left as it is: {why}", path.display()))
                .hint(&format!("let one line \"{BEGIN}\" stand in front of what is portclaim's, and one \"{END}\" behind it, or neither"))
        })?;
        if new == old.bytes || place.replace(&old, &new)? {
            return Ok(());
        }
    }
    let text = format!("{} was changed each time that it was read", path.display());
    Err(Failure::new(&text).hint("try again"))
}

/// Returns a file's content with these lines as its block.
fn with_block(bytes: &[u8], lines: &str) -> Result<Vec<u8>, &'static str> {
    let (mut begin, mut end, mut at) = (None, None, 0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let text = line.trim_ascii_end();
        if text == BEGIN.as_bytes() {
            if begin.replace(at).is_some() {
                return Err("it has two lines that begin the block");
            }
        } else if text == END.as_bytes() {
            if begin.is_none() {
                return Err("the block ends before it begins");
            }
            if end.replace(at + line.len()).is_some() {
                return Err("it has two lines that end the block");
            }
        }
        at += line.len();
    }
    let (from, to) = match (begin, end) {
        (Some(from), Some(to)) => (from, to),
        (Some(_), None) => return Err("the block has no end"),
        (None, _) => (bytes.len(), bytes.len()),
    };
    let mut new = bytes[..from].to_vec();
    if new.last().is_some_and(|&last| last != b'\n') {
        new.push(b'\n');
    }
    new.extend_from_slice(format!("{BEGIN}\n{lines}{END}\n").as_bytes());
    new.extend_from_slice(&bytes[to..]);
    Ok(new)
}

/// A name in an open directory.
struct Place<'a> {
    path: &'a Path,
    dir: OwnedFd,
    name: OsString,
}

/// A file as it was read; nothing where there was none.
struct Old {
    bytes: Vec<u8>,
    stat: Option<Stat>,
}

impl Place<'_> {
    fn of(path: &Path) -> Result<Place<'_>, Failure> {
        let name = path
            .file_name()
            .filter(|_| !path.as_os_str().as_bytes().ends_with(b"/"));
        let Some(name) = name else {
            return Err(
                Failure::new(&format!("\"{}\" names no file", path.display()))
                    .hint("name the file to write: --write .env.local"),
            );
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = retry_on_intr(|| fs::open(parent, flags, Mode::empty()))
            .map_err(|error| failed("open the directory of", path, error))?;
        Ok(Place {
            path,
            dir,
            name: name.to_owned(),
        })
    }

    fn read(&self) -> Result<Old, Failure> {
        let refuse = |why: &str, hint: &str| {
            let text = format!("{} {why}", self.path.display());
            Err(Failure::new(&text).hint(hint))
        };
        // NONBLOCK: opening a FIFO must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match retry_on_intr(|| fs::openat(&self.dir, &self.name, flags, Mode::empty())) {
            Ok(file) => file,
            Err(Errno::NOENT) => {
                return Ok(Old {
                    bytes: Vec::new(),
                    stat: None,
                });
            }
            Err(Errno::LOOP | Errno::MLINK) => {
                return refuse(
                    "is a symbolic link, which would be replaced by a file",
                    "name the file that it leads to",
                );
            }
            Err(Errno::NXIO) => return refuse("is no regular file", "name another one"),
            Err(error) => return Err(failed("open", self.path, error)),
        };
        let stat = fs::fstat(&file).map_err(|error| failed("inspect", self.path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return refuse("is no regular file", "name another one");
        }
        let mut bytes = Vec::new();
        File::from(file)
            .take(LEN_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed("read", self.path, error))?;
        if bytes.len() as u64 > LEN_MAX {
            return refuse("is longer than 1 MiB", "name a smaller file");
        }
        Ok(Old {
            bytes,
            stat: Some(stat),
        })
    }

    /// Replaces the file, if it is still the one that was read; otherwise `false`.
    fn replace(&self, old: &Old, bytes: &[u8]) -> Result<bool, Failure> {
        let mut aside = self.name.clone();
        aside.push(format!(".portclaim-{}", &unguessable()[..16]));
        let result = self
            .write(&aside, old.stat.as_ref(), bytes)
            .and_then(|()| {
                let is_same = self.is_still(old.stat.as_ref())?;
                if is_same {
                    fs::renameat(&self.dir, &aside, &self.dir, &self.name)?;
                }
                Ok(is_same)
            })
            .map_err(|error| failed("write", self.path, error));
        if !matches!(result, Ok(true)) {
            // Where it was not even created, there is nothing to remove.
            let _ = fs::unlinkat(&self.dir, &aside, AtFlags::empty());
            return result;
        }
        match fs::fsync(&self.dir) {
            // Some file systems have no such call for directories.
            Ok(()) | Err(Errno::INVAL) => Ok(true),
            Err(error) => Err(failed("make durable", self.path, error)),
        }
    }

    /// Writes the new file beside the old one, for the same readers.
    fn write(&self, aside: &OsString, old: Option<&Stat>, bytes: &[u8]) -> io::Result<()> {
        // Of an old file that is private, not even the beginning is shown.
        let mode = Mode::from_raw_mode(if old.is_some() { 0o600 } else { 0o666 });
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(retry_on_intr(|| fs::openat(&self.dir, aside, flags, mode))?);
        file.write_all(bytes)?;
        if let Some(old) = old {
            let new = fs::fstat(&file)?;
            if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
                let (user, group) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
                fs::fchown(&file, Some(user), Some(group))?;
            }
            fs::fchmod(&file, Mode::from_raw_mode(old.st_mode & 0o7777))?;
        }
        file.sync_all()
    }

    /// Returns whether the name means the file as it was read.
    fn is_still(&self, old: Option<&Stat>) -> io::Result<bool> {
        match fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(now) => Ok(old.is_some_and(|old| {
                (now.st_dev, now.st_ino, now.st_size) == (old.st_dev, old.st_ino, old.st_size)
                    && (now.st_mtime, now.st_mtime_nsec) == (old.st_mtime, old.st_mtime_nsec)
            })),
            Err(Errno::NOENT) => Ok(old.is_none()),
            Err(error) => Err(error.into()),
        }
    }
}

fn failed(verb: &str, path: &Path, error: impl Into<io::Error>) -> Failure {
    Failure::io(
        &format!("failed to {verb} {}", path.display()),
        &error.into(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: &str = "# portclaim: begin\nPORT=1\n# portclaim: end\n";

    fn text(bytes: &[u8]) -> Result<String, &'static str> {
        with_block(bytes, "PORT=1\n").map(|new| String::from_utf8_lossy(&new).into_owned())
    }

    #[test]
    fn a_block_is_put_behind_what_is_there_and_then_replaced_where_it_is() {
        assert_eq!(text(b""), Ok(BLOCK.to_owned()));
        assert_eq!(text(b"A=1\n"), Ok(format!("A=1\n{BLOCK}")));
        assert_eq!(text(b"A=1"), Ok(format!("A=1\n{BLOCK}")));
        for end in ["\n", "\r\n", " \n"] {
            let old = format!("A=1\r\n{BEGIN}{end}PORT=9\nanything\n{END}{end}\nB=2");
            assert_eq!(text(old.as_bytes()), Ok(format!("A=1\r\n{BLOCK}\nB=2")));
        }
        let old = format!("{BEGIN}\n{END}");
        assert_eq!(text(old.as_bytes()), Ok(BLOCK.to_owned()));
        // Only a whole line is a mark.
        let old = format!("x {BEGIN}\n#{END}\n");
        assert_eq!(text(old.as_bytes()), Ok(format!("{old}{BLOCK}")));
    }

    #[test]
    fn marks_that_are_no_pair_are_left_alone() {
        for old in [
            format!("{BEGIN}\nA=1\n"),
            format!("A=1\n{END}\n"),
            format!("{END}\n{BEGIN}\n"),
            format!("{BLOCK}{BLOCK}"),
            format!("{BEGIN}\n{BLOCK}"),
            format!("{BLOCK}{END}\n"),
            format!("{BLOCK}{BEGIN}\n"),
        ] {
            assert!(text(old.as_bytes()).is_err(), "{old}");
        }
    }

    proptest! {
        #[test]
        fn what_is_around_a_block_stays(front: Vec<u8>, behind: Vec<u8>, lines in "([A-Z]+=[^\n]*\n)*") {
            prop_assume!(!front.contains(&b'#') && !behind.contains(&b'#'));
            let mut front = front;
            front.push(b'\n');
            let old = [&front, BLOCK.as_bytes(), &behind].concat();
            let new = with_block(&old, &lines).expect("a pair of marks");
            let block = format!("{BEGIN}\n{lines}{END}\n");
            prop_assert_eq!(&new, &[&front, block.as_bytes(), &behind].concat());
            prop_assert_eq!(with_block(&new, &lines).expect("again"), new);
        }
    }
}
