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

/// How many symbolic links are followed for one path; Linux follows as many.
const LINKS_MAX: usize = 40;

/// How many bytes the system takes as a path, the NUL at the end included.
const PATH_LEN_MAX: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    4096
} else {
    1024
};

/// How many names of a directory are looked at. In a larger one a name stays as typed.
const NAMES_MAX: usize = 100_000;

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
            Ok(target) if followed < LINKS_MAX && !open.contains(&path) => {
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
            // No link, or a link too many.
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

/// Spells the last component of a path that exists as its directory does.
fn spell(disk: &impl Disk, path: &mut Vec<u8>) {
    if let Some(name) = spelling(disk, path) {
        leave(path);
        enter(path, &name);
    }
}

/// Returns how the directory spells the last component of a path that exists, `None` if
/// just so, or if that cannot be known.
fn spelling(disk: &impl Disk, path: &[u8]) -> Option<Vec<u8>> {
    let start = path.iter().rposition(|&byte| byte == b'/')? + 1;
    let (dir, typed) = path.split_at(start);
    let in_dir = |name: &[u8]| [dir, name].concat();
    let file = if typed.is_ascii() {
        // Nearly always the flipped name is not there, and this one call has told that the
        // directory is an ordinary one.
        if !typed.iter().any(u8::is_ascii_alphabetic) {
            return None;
        }
        let flipped = disk.identity(&in_dir(&flip(typed))).ok()?;
        disk.identity(path).ok().filter(|file| *file == flipped)?
    } else {
        // Whether these very bytes are on the disk only the list can tell.
        disk.identity(path).ok()?
    };
    let is_file = |name: &[u8]| disk.identity(&in_dir(name)) == Ok(file);
    if let Some(name) = disk.name(path).filter(|name| is_file(name)) {
        return Some(name);
    }
    let mut choice = Choice::new(typed, file.1);
    disk.list(dir, &mut |name, inode| choice.see(name, inode))
        .ok()?;
    choice.name(is_file)
}

/// Returns `name` with the case of its ASCII letters flipped.
fn flip(name: &[u8]) -> Vec<u8> {
    name.iter()
        .map(|byte| {
            if byte.is_ascii_alphabetic() {
                byte ^ 0x20
            } else {
                *byte
            }
        })
        .collect()
}

/// Which name in a directory's list is the one that was typed: the name itself if it is
/// there, even where another name is the same file (a hard link, a bind mount); else one
/// that is.
struct Choice<'a> {
    typed: &'a [u8],
    inode: i128,
    seen: usize,
    /// Whether there is nothing to choose: the name is listed, or the list is too long.
    settled: bool,
    candidates: Vec<Vec<u8>>,
}

impl<'a> Choice<'a> {
    fn new(typed: &'a [u8], inode: i128) -> Choice<'a> {
        Choice {
            typed,
            inode,
            seen: 0,
            settled: false,
            candidates: Vec::new(),
        }
    }

    /// Takes a name of the list; returns whether to go on.
    fn see(&mut self, name: &[u8], inode: i128) -> bool {
        self.seen += 1;
        self.settled = name == self.typed || self.seen > NAMES_MAX;
        // The list's inode number is not to be relied on: that of a mount point is the one
        // beneath the mount, and FUSE may have none. `..` may be the file, but not its name.
        let alike = inode == self.inode
            || self.typed.eq_ignore_ascii_case(name)
            || !(self.typed.is_ascii() || name.is_ascii());
        if alike && !matches!(name, b"." | b"..") {
            self.candidates.push(name.to_vec());
        }
        !self.settled
    }

    /// Returns the name to use instead of the typed one.
    fn name(self, is_file: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        if self.settled {
            return None;
        }
        // Of several (one is a bind mount of the other), the more alike; then any, but
        // always the same.
        let lower = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
        let typed = lower(self.typed);
        self.candidates
            .into_iter()
            .filter(|name| is_file(name))
            .min_by_key(|name| (lower(name) != typed, name.clone()))
    }
}

#[cfg(all(test, not(loom)))]
#[expect(clippy::disallowed_methods, reason = "tests lay out directories")]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::ffi::OsStr;
    use std::fs;
    use std::io::{BufRead, IsTerminal, Write};
    use std::os::unix::fs::symlink;
    use std::process::{Command, Output, Stdio};

    use proptest::prelude::*;

    use super::*;
    use crate::ErrorKind;

    fn resolve(path: impl AsRef<Path>) -> String {
        let path = path.as_ref();
        ProjectPath::resolve(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .as_str()
            .to_owned()
    }

    /// A directory, and its path in normal form (on macOS, /tmp is a link).
    fn directory() -> (tempfile::TempDir, String) {
        let temp = tempfile::tempdir().expect("directory");
        let path = resolve(temp.path());
        (temp, path)
    }

    #[test]
    fn links_and_dots_are_resolved_as_the_kernel_does() {
        let (temp, base) = directory();
        for dir in ["a/b/c", "other/deep/real", "A-1.2_3"] {
            fs::create_dir_all(temp.path().join(dir)).expect("directory");
        }
        fs::write(temp.path().join("file"), "").expect("file");
        for (name, target) in [
            ("to-b", "a/b"),
            ("a/up", ".."),
            ("to-real", "other/deep/real"),
            ("twice", "to-real"),
            ("through", "to-real/../../../a"),
            ("dangling", "nowhere/at/all"),
            ("root", "/"),
            ("absolute", &format!("{base}/a//./b/")),
            ("self", "self"),
            ("ping", "pong"),
            ("pong", "ping"),
            ("grows", "grows/x"),
            ("to-ping", "ping"),
            ("bent", "a/../bent/b"),
        ] {
            symlink(target, temp.path().join(name)).expect("link");
        }
        for (typed, expected) in [
            ("", ""),
            ("/", ""),
            ("//", ""),
            ("/.", ""),
            ("/a/b/c", "/a/b/c"),
            ("//a///b//c//", "/a/b/c"),
            ("/./a/./b/.", "/a/b"),
            ("/a/b/..", "/a"),
            ("/a/b/../../a/b/c/..", "/a/b"),
            ("/A-1.2_3", "/A-1.2_3"),
            ("/to-b", "/a/b"),
            ("/to-b/", "/a/b"),
            ("/to-b/c", "/a/b/c"),
            ("/to-b/../up/a/b", "/a/b"),
            // Physical: the link's target counts, not where the link is.
            ("/to-real/..", "/other/deep"),
            ("/to-real/../real", "/other/deep/real"),
            ("/twice/../..", "/other"),
            ("/through/b", "/a/b"),
            ("/absolute/c", "/a/b/c"),
            // Missing tails are kept, and `..` in them goes back.
            ("/missing", "/missing"),
            ("/missing/x/y/", "/missing/x/y"),
            ("/missing/x/../y", "/missing/y"),
            ("/missing/../to-b", "/a/b"),
            ("/to-b/missing", "/a/b/missing"),
            ("/dangling", "/nowhere/at/all"),
            ("/dangling/x/../..", "/nowhere/at"),
            ("/~", "/~"),
            ("/...", "/..."),
            ("/ a b", "/ a b"),
            // A file is no way to anywhere, and stays.
            ("/file", "/file"),
            ("/file/", "/file"),
            ("/file/x", "/file/x"),
            ("/file/..", ""),
            // Loops stay, at the place where they close.
            ("/self", "/self"),
            ("/self/x", "/self/x"),
            ("/self/../a", "/a"),
            ("/ping", "/ping"),
            ("/pong/x", "/pong/x"),
            ("/to-ping", "/ping"),
            ("/grows", "/grows/x"),
            ("/bent", "/bent/b"),
        ] {
            let expected = format!("{base}{expected}");
            assert_eq!(resolve(format!("{base}{typed}")), expected, "{typed}");
            assert_eq!(
                resolve(temp.path().join(typed.trim_start_matches('/'))),
                expected,
                "{typed}"
            );
        }
        assert_eq!(resolve(format!("{base}/root")), "/");
        assert_eq!(resolve(format!("{base}/root/../..")), "/");
        let (above, _) = base.rsplit_once('/').expect("absolute");
        assert_eq!(
            resolve(format!("{base}/missing/../../no-such")),
            format!("{above}/no-such")
        );
        assert_eq!(
            resolve(format!("{base}/root/{base}/a")),
            format!("{base}/a")
        );
    }

    #[test]
    fn the_root_has_one_name() {
        for typed in [
            "/",
            "//",
            "///",
            "/.",
            "/..",
            "/../..",
            "//..//.",
            "/no-such-directory/..",
        ] {
            assert_eq!(resolve(typed), "/", "{typed}");
        }
        assert_eq!(resolve("//no-such-directory"), "/no-such-directory");
        assert_eq!(resolve("/no-such-directory//x/"), "/no-such-directory/x");
    }

    #[test]
    fn relative_paths_start_at_the_current_directory() {
        let here = std::env::current_dir().expect("current directory");
        let here = fs::canonicalize(here)
            .expect("canonical")
            .into_os_string()
            .into_string()
            .expect("UTF-8");
        for typed in ["", ".", "./", "no-such/..", "./no-such/../."] {
            assert_eq!(resolve(typed), here, "{typed:?}");
        }
        assert_eq!(resolve("~"), format!("{here}/~"));
        assert_eq!(resolve("no-such/x"), format!("{here}/no-such/x"));
        assert_eq!(resolve("../no-such"), format!("{}/no-such", resolve("..")));
        assert_eq!(resolve("../".repeat(200)), "/");
    }

    #[test]
    fn forty_links_are_followed() {
        let (temp, base) = directory();
        fs::create_dir(temp.path().join("0")).expect("directory");
        for link in 1..=41 {
            symlink(format!("{}", link - 1), temp.path().join(format!("{link}"))).expect("link");
        }
        assert_eq!(resolve(format!("{base}/40")), format!("{base}/0"));
        // Here the kernel gives up too.
        assert_eq!(resolve(format!("{base}/41")), format!("{base}/1"));
        assert!(fs::metadata(temp.path().join("40")).is_ok());
        assert!(cfg!(not(target_os = "linux")) || fs::metadata(temp.path().join("41")).is_err());
        // A link met twice is no loop if it was left in between.
        symlink(".", temp.path().join("here")).expect("link");
        assert_eq!(
            resolve(format!("{base}{}/0", "/here".repeat(40))),
            format!("{base}/0")
        );
    }

    #[test]
    fn no_bytes_are_made_up() {
        let (temp, base) = directory();
        let kind = |path: &[u8]| {
            let error = ProjectPath::resolve(OsStr::from_bytes(path)).expect_err("error");
            assert_eq!(error.kind(), ErrorKind::InvalidPath);
            error.to_string()
        };
        assert_eq!(
            kind(b"/a\0b"),
            r#"the path "/a\x00b" cannot be used: it contains a NUL byte"#
        );
        assert_eq!(
            kind(b"/no\xffsuch"),
            r#"the path "/no\xffsuch" cannot be used: it is not UTF-8"#
        );
        // What is not there in the end does not matter.
        assert_eq!(resolve(OsStr::from_bytes(b"/\xff/../no-such")), "/no-such");
        symlink(OsStr::from_bytes(b"\xff"), temp.path().join("link")).expect("link");
        assert!(kind(format!("{base}/link").as_bytes()).contains(r"\xff"));
        if fs::create_dir(temp.path().join(OsStr::from_bytes(b"\xff"))).is_ok() {
            assert!(kind(format!("{base}/link/x").as_bytes()).contains(r"\xff/x"));
        }
    }

    #[test]
    fn long_paths_are_errors_and_no_panics() {
        let longest = format!("/{}", "x/".repeat(PATH_LEN_MAX))[..PATH_LEN_MAX - 1].to_owned();
        assert_eq!(resolve(&longest), longest.trim_end_matches('/'));
        let component = format!("/{}", "x".repeat(1000));
        assert_eq!(resolve(&component), component);
        for typed in [
            format!("{longest}xx"),
            format!("/{}", "./".repeat(PATH_LEN_MAX)),
            longest[1..].to_owned(),
        ] {
            let error = ProjectPath::resolve(&typed).expect_err("too long");
            assert_eq!(error.kind(), ErrorKind::InvalidPath);
            assert!(
                error
                    .to_string()
                    .ends_with("it is longer than the system allows"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_sibling_in_other_case_is_another_project() {
        let (temp, base) = directory();
        if fs::create_dir(temp.path().join("shop"))
            .and_then(|()| fs::create_dir(temp.path().join("SHOP")))
            .is_err()
        {
            return; // No such siblings on this file system.
        }
        symlink("shop", temp.path().join("Caf\u{e9}")).expect("link");
        fs::create_dir(temp.path().join("cAF\u{e9}")).expect("directory");
        symlink("SHOP", temp.path().join("LINKED")).expect("link");
        fs::create_dir(temp.path().join("linked")).expect("directory");
        fs::write(temp.path().join("file"), "").expect("file");
        fs::hard_link(temp.path().join("file"), temp.path().join("FILE")).expect("hard link");
        for (typed, expected) in [
            ("shop", "shop"),
            ("SHOP", "SHOP"),
            ("Caf\u{e9}", "shop"),
            ("cAF\u{e9}", "cAF\u{e9}"),
            ("linked", "linked"),
            ("LINKED", "SHOP"),
            ("file", "file"),
            ("FILE", "FILE"),
            // Missing, in another normal form of Unicode.
            ("Cafe\u{301}", "Cafe\u{301}"),
        ] {
            assert_eq!(
                resolve(format!("{base}/{typed}")),
                format!("{base}/{expected}")
            );
        }
    }

    /// One way to write a path, and the same path written otherwise.
    fn decoration() -> impl Strategy<Value = (&'static str, bool)> {
        prop::sample::select(vec![
            ("/", false),
            ("//", false),
            ("/./", false),
            ("/missing/../", false),
            ("/missing/gone/../../", false),
            ("/.//./", false),
            ("/", true),
            ("//./", true),
        ])
    }

    /// Directories of the property tests: each with links from its parent to it, and from
    /// it to itself.
    const TREE: [&str; 7] = ["a", "a/b", "a/B", "a/b/c", "a/\u{e9}", "d", "d/a"];

    fn tree() -> (tempfile::TempDir, String) {
        let (temp, base) = directory();
        for dir in TREE {
            let dir = temp.path().join(dir);
            fs::create_dir_all(&dir).expect("directory");
            let name = dir.file_name().expect("name");
            let link = format!("to-{}", name.display());
            symlink(name, dir.with_file_name(link)).expect("link");
        }
        (temp, base)
    }

    proptest! {
        #[test]
        fn one_directory_has_one_path(
            dir in prop::sample::select(TREE.to_vec()),
            decorations in prop::collection::vec(decoration(), 4),
            tail in "/{0,2}",
        ) {
            let (_temp, base) = tree();
            let mut typed = base.clone();
            for (name, (before, link)) in dir.split('/').zip(&decorations) {
                typed.push_str(before);
                if *link {
                    typed.push_str("to-");
                }
                typed.push_str(name);
            }
            typed.push_str(&tail);
            prop_assert_eq!(resolve(&typed), format!("{}/{}", base, dir), "{}", typed);
        }

        #[test]
        fn resolving_again_changes_nothing(
            names in prop::collection::vec(
                prop::sample::select(vec!["a", "b", "c", "d", "\u{e9}", "..", ".", "", "to-a", "to-b", "missing"]), 0..8),
        ) {
            let (_temp, base) = tree();
            let typed = format!("{base}/{}", names.join("/"));
            let once = resolve(&typed);
            prop_assert_eq!(&resolve(&once), &once);
            // Where there is something, the system agrees.
            if let Ok(there) = fs::canonicalize(&typed) {
                prop_assert_eq!(there.to_str(), Some(once.as_str()));
            }
        }

        #[test]
        fn whatever_is_typed_the_answer_is_normal_or_an_error(typed in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = ProjectPath::resolve(OsStr::from_bytes(&typed)) {
                prop_assert!(ProjectPath::from_normal(path.as_str()).is_ok());
            }
        }
    }

    /// A disk in memory, which finds names in the spellings that it is told to.
    struct Fake {
        current: Result<&'static str, Errno>,
        /// What names are compared as.
        fold: fn(&str) -> String,
        /// Paths as the disk spells them, and what is there.
        files: BTreeMap<&'static str, Thing>,
        /// Whether lists give the inode numbers of the files.
        inodes_listed: bool,
        /// What a call for a file's name answers.
        names: BTreeMap<&'static str, &'static str>,
        calls: RefCell<Vec<String>>,
    }

    #[derive(Clone, Copy)]
    enum Thing {
        Dir(i128),
        Link(&'static str),
        Unlisted(i128),
        Closed(i128),
    }

    impl Fake {
        fn new(fold: fn(&str) -> String, files: &[(&'static str, Thing)]) -> Fake {
            Fake {
                current: Ok("/"),
                fold,
                files: files.iter().copied().collect(),
                inodes_listed: true,
                names: BTreeMap::new(),
                calls: RefCell::default(),
            }
        }

        /// Finds a file as `lstat` does.
        fn find(&self, path: &[u8]) -> Result<(&'static str, Thing), Errno> {
            let path = str::from_utf8(path).expect("UTF-8");
            let mut found = ("", Thing::Dir(0));
            for name in path.split('/').filter(|name| !name.is_empty()) {
                match found.1 {
                    Thing::Closed(_) => return Err(Errno::ACCESS),
                    Thing::Link(_) => return Err(Errno::LOOP),
                    Thing::Dir(_) | Thing::Unlisted(_) => {}
                }
                found = self
                    .children(found.0)
                    .filter(|(child, _)| (self.fold)(child) == (self.fold)(name))
                    // On a disk that folds nothing, that is the only one.
                    .map(|(child, thing)| (self.path(found.0, child), thing))
                    .next()
                    .ok_or(Errno::NOENT)?;
            }
            Ok(found)
        }

        fn path(&self, dir: &str, name: &str) -> &'static str {
            self.files
                .get_key_value(format!("{dir}/{name}").as_str())
                .expect("file")
                .0
        }

        fn children(&self, dir: &str) -> impl Iterator<Item = (&'static str, Thing)> {
            self.files.iter().filter_map(move |(path, thing)| {
                let (parent, name) = path.rsplit_once('/').expect("absolute");
                (parent == dir).then_some((name, *thing))
            })
        }

        fn note(&self, call: &str, path: &[u8]) {
            self.calls
                .borrow_mut()
                .push(format!("{call} {}", str::from_utf8(path).expect("UTF-8")));
        }

        fn resolve(&self, typed: &str) -> String {
            self.calls.borrow_mut().clear();
            resolve_on(self, typed.as_bytes())
                .expect(typed)
                .as_str()
                .to_owned()
        }
    }

    impl Disk for Fake {
        fn current(&self) -> Result<Vec<u8>, Errno> {
            self.note("getcwd", b"");
            self.current.map(|path| path.as_bytes().to_vec())
        }

        fn target(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
            self.note("readlink", path);
            match self.find(path)?.1 {
                Thing::Link(target) => Ok(target.as_bytes().to_vec()),
                _ => Err(Errno::INVAL),
            }
        }

        fn identity(&self, path: &[u8]) -> Result<Identity, Errno> {
            self.note("lstat", path);
            let (spelled, thing) = self.find(path)?;
            Ok(match thing {
                Thing::Dir(inode) | Thing::Unlisted(inode) | Thing::Closed(inode) => (1, inode),
                // A number of its own.
                Thing::Link(_) => (
                    2,
                    i128::try_from(self.files.range(..spelled).count()).expect("count"),
                ),
            })
        }

        fn name(&self, path: &[u8]) -> Option<Vec<u8>> {
            self.names
                .get(self.find(path).ok()?.0)
                .map(|name| name.as_bytes().to_vec())
        }

        fn list(&self, dir: &[u8], see: &mut dyn FnMut(&[u8], i128) -> bool) -> Result<(), Errno> {
            self.note("list", dir);
            let (dir, thing) = self.find(dir)?;
            if matches!(thing, Thing::Unlisted(_) | Thing::Closed(_)) {
                return Err(Errno::ACCESS);
            }
            for (name, thing) in self.children(dir) {
                let inode = match thing {
                    Thing::Dir(inode) | Thing::Unlisted(inode) | Thing::Closed(inode) => inode,
                    Thing::Link(_) => 99,
                };
                if !see(name.as_bytes(), if self.inodes_listed { inode } else { 7 }) {
                    break;
                }
            }
            Ok(())
        }
    }

    /// The rules of a disk that ignores case and normalizes Unicode, as far as the tests go.
    fn fold(name: &str) -> String {
        name.replace("e\u{301}", "\u{e9}")
            .replace('\u{df}', "ss")
            .to_lowercase()
            .replace("e\u{301}", "\u{e9}")
    }

    #[test]
    fn the_disks_spelling_counts() {
        let mut fake = Fake::new(
            fold,
            &[
                ("/Users", Thing::Dir(1)),
                ("/Users/Me", Thing::Dir(2)),
                ("/Users/Me/Caf\u{e9}", Thing::Dir(3)),
                ("/Users/Me/Caf\u{e9}/1.2", Thing::Dir(4)),
                ("/Users/Me/Stra\u{df}e", Thing::Dir(5)),
                ("/Users/Me/Link", Thing::Link("../me/CAF\u{c9}")),
                ("/Users/Me/Loop", Thing::Link("LOOP")),
                ("/Users/Me/Mine", Thing::Dir(6)),
                // The same directory, mounted once more.
                ("/Users/Me/Also", Thing::Dir(6)),
            ],
        );
        for inodes_listed in [true, false] {
            fake.inodes_listed = inodes_listed;
            for (typed, expected) in [
                ("/Users/Me", "/Users/Me"),
                ("/users/mE", "/Users/Me"),
                ("/USERS/me/missing/X", "/Users/Me/missing/X"),
                ("/users/me/caf\u{e9}", "/Users/Me/Caf\u{e9}"),
                ("/users/me/CAF\u{c9}/1.2/new", "/Users/Me/Caf\u{e9}/1.2/new"),
                ("/users/me/cafe\u{301}", "/Users/Me/Caf\u{e9}"),
                ("/users/me/CAFE\u{301}/..", "/Users/Me"),
                ("/users/me/link/1.2", "/Users/Me/Caf\u{e9}/1.2"),
                ("/users/me/link/../LINK", "/Users/Me/Caf\u{e9}"),
                ("/users/me/stra\u{df}e", "/Users/Me/Stra\u{df}e"),
                ("/users/me/loop/x", "/Users/Me/Loop/x"),
                ("/users/me/mine", "/Users/Me/Mine"),
                ("/users/me/MINE", "/Users/Me/Mine"),
                ("/users/me/also", "/Users/Me/Also"),
            ] {
                assert_eq!(fake.resolve(typed), expected, "{typed}");
                assert_eq!(fake.resolve(expected), expected, "{typed}");
            }
        }
        // Not alike, but the same inode.
        fake.inodes_listed = true;
        assert_eq!(fake.resolve("/users/me/STRASSE"), "/Users/Me/Stra\u{df}e");
        // The kernel remembers how the user typed the current directory.
        fake.current = Ok("/users/me/CAF\u{c9}");
        assert_eq!(fake.resolve(""), "/Users/Me/Caf\u{e9}");
        assert_eq!(fake.resolve("../Cafe\u{301}/."), "/Users/Me/Caf\u{e9}");
    }

    #[test]
    fn what_cannot_be_listed_stays_as_typed() {
        let files = [
            ("/Drop", Thing::Unlisted(1)),
            ("/Drop/Shop", Thing::Dir(2)),
            ("/Drop/Shop/Deep", Thing::Dir(3)),
            ("/Closed", Thing::Closed(4)),
            ("/Closed/Shop", Thing::Link("/Drop")),
        ];
        let fake = Fake::new(fold, &files);
        assert_eq!(fake.resolve("/drop/shop/deep"), "/Drop/shop/Deep");
        // Not even whether it is a link can be told.
        assert_eq!(fake.resolve("/closed/SHOP/x/../y"), "/Closed/SHOP/y");
        assert_eq!(fake.resolve("/closed/../drop"), "/Drop");
    }

    #[test]
    fn a_system_that_knows_a_files_name_needs_no_list() {
        let mut fake = Fake::new(
            fold,
            &[("/Shop", Thing::Dir(1)), ("/Shop/Deep", Thing::Dir(2))],
        );
        fake.names = [("/Shop", "Shop"), ("/Shop/Deep", "Elsewhere")].into();
        assert_eq!(fake.resolve("/shop"), "/Shop");
        assert!(
            !fake
                .calls
                .borrow()
                .iter()
                .any(|call| call.starts_with("list"))
        );
        // A name that is not there is not believed.
        assert_eq!(fake.resolve("/shop/deep"), "/Shop/Deep");
    }

    #[test]
    fn an_ordinary_disk_is_asked_once_per_component() {
        let files = [
            ("/home", Thing::Dir(1)),
            ("/home/me", Thing::Dir(2)),
            ("/home/me/src", Thing::Dir(3)),
            ("/home/me/src/2024", Thing::Dir(4)),
            ("/home/me/src/2024/shop", Thing::Dir(5)),
        ];
        let mut fake = Fake::new(str::to_owned, &files);
        fake.current = Ok("/home/me/src/2024/shop");
        assert_eq!(fake.resolve("."), "/home/me/src/2024/shop");
        assert_eq!(
            *fake.calls.borrow(),
            [
                "getcwd ",
                "lstat /HOME",
                "lstat /home/ME",
                "lstat /home/me/SRC",
                "lstat /home/me/src/2024/SHOP"
            ]
        );
        assert_eq!(fake.resolve("/home/me"), "/home/me");
        assert_eq!(
            *fake.calls.borrow(),
            [
                "readlink /home",
                "lstat /HOME",
                "readlink /home/me",
                "lstat /home/ME"
            ]
        );
    }

    #[test]
    fn the_listed_name_is_chosen() {
        let choose = |typed: &str, list: &[(&str, i128)], same: &[&str]| {
            let mut choice = Choice::new(typed.as_bytes(), 5);
            for (name, inode) in list {
                if !choice.see(name.as_bytes(), *inode) {
                    break;
                }
            }
            let name = choice.name(|name| same.iter().any(|same| same.as_bytes() == name));
            name.map(|name| String::from_utf8(name).expect("UTF-8"))
        };
        for (typed, list, same, expected) in [
            ("shop", &[("Shop", 5)][..], &["Shop"][..], Some("Shop")),
            // The very name is there: hard links and bind mounts of it do not matter.
            ("shop", &[("Shop", 5), ("shop", 5)], &["Shop", "shop"], None),
            ("shop", &[("shop", 1), ("SHOP", 5)], &["SHOP", "shop"], None),
            (
                "caf\u{e9}",
                &[("cafe\u{301}", 5), ("caf\u{e9}", 5)],
                &["cafe\u{301}", "caf\u{e9}"],
                None,
            ),
            // A mount point, or no inode numbers: the name leads to it.
            (
                "shop",
                &[("other", 1), ("Shop", 1)],
                &["Shop"],
                Some("Shop"),
            ),
            (
                "caf\u{e9}",
                &[("\u{e0}", 1), ("cafe\u{301}", 1)],
                &["cafe\u{301}"],
                Some("cafe\u{301}"),
            ),
            // The name means something else by now, or the inode is on another device.
            ("shop", &[("Shop", 5)], &[], None),
            (
                "shop",
                &[("other", 5), ("Shop", 1)],
                &["Shop"],
                Some("Shop"),
            ),
            // An alias with nothing in common, as the short names of FAT are.
            (
                "PROGRA~1",
                &[("Program Files", 5)],
                &["Program Files"],
                Some("Program Files"),
            ),
            ("shop", &[(".", 5), ("..", 5)], &[".", ".."], None),
            // The more alike, in whatever order; else always the same.
            (
                "shop",
                &[("A", 5), ("Shop", 5), ("B", 5)],
                &["A", "Shop", "B"],
                Some("Shop"),
            ),
            (
                "\u{c9}",
                &[("\u{e0}", 5), ("\u{e9}", 5)],
                &["\u{e0}", "\u{e9}"],
                Some("\u{e9}"),
            ),
            ("x~1", &[("B", 5), ("A", 5)], &["A", "B"], Some("A")),
            ("x~1", &[("A", 5), ("B", 5)], &["A", "B"], Some("A")),
            ("shop", &[], &[], None),
        ] {
            assert_eq!(
                choose(typed, list, same).as_deref(),
                expected,
                "{typed} {list:?}"
            );
        }
        let mut long = vec![("Shop", 5); NAMES_MAX];
        assert_eq!(choose("shop", &long, &["Shop"]).as_deref(), Some("Shop"));
        long.push(("Shop", 5));
        assert_eq!(choose("shop", &long, &["Shop"]), None);
    }

    #[test]
    fn a_current_directory_without_a_path_is_an_error() {
        let mut fake = Fake::new(str::to_owned, &[]);
        for (current, kind, why) in [
            (
                Err(Errno::NOENT),
                io::ErrorKind::NotFound,
                "the current directory has been deleted",
            ),
            (
                Ok("(unreachable)/a"),
                io::ErrorKind::NotFound,
                "the current directory cannot be reached from the root directory",
            ),
            (
                Err(Errno::ACCESS),
                io::ErrorKind::PermissionDenied,
                "Permission denied (os error 13)",
            ),
        ] {
            fake.current = current;
            let error = resolve_on(&fake, b"x").expect_err("error");
            assert_eq!(error.to_string(), "failed to inspect .");
            let source = error.io_error().expect("source");
            assert_eq!((source.kind(), source.to_string().as_str()), (kind, why));
            // Who does not ask for it does not need it.
            assert_eq!(fake.resolve("/x"), "/x");
        }
    }

    /// What each line of [`answer_standard_input`] starts with.
    const MARK: &str = "portclaim: ";

    /// No test, but what some tests start in another directory: resolves the lines of
    /// standard input.
    #[test]
    #[ignore = "other tests start it"]
    fn answer_standard_input() {
        let (input, mut output) = (io::stdin().lock(), io::stdout());
        if input.is_terminal() {
            return;
        }
        writeln!(output, "\n{MARK}ready").expect("write");
        for line in input.lines() {
            let answer = match ProjectPath::resolve(line.expect("read")) {
                Ok(path) => path.to_string(),
                Err(error) => format!("{error}: {}", error.io_error().expect("source")),
            };
            writeln!(output, "{MARK}{answer}").expect("write");
        }
    }

    /// Runs a shell script with `$1` as given and `$run` as the command that starts
    /// [`answer_standard_input`], and returns its answers; `Err` is what went wrong before
    /// it started.
    fn answers(
        mut shell: Command,
        script: &str,
        argument: &str,
        lines: &[&str],
    ) -> Result<Vec<String>, String> {
        let (_, module) = module_path!().split_once("::").expect("module");
        let exe = std::env::current_exe().expect("path");
        let run = format!(
            "'{}' --exact {module}::answer_standard_input --ignored",
            exe.display()
        );
        let mut child = shell
            .args(["-ec", &format!("run=\"{run}\"\n{script}"), "sh", argument])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        // The script may be over already.
        let _ = child
            .stdin
            .take()
            .expect("input")
            .write_all((lines.join("\n") + "\n").as_bytes());
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().expect("output");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr),
        );
        let mut answers = stdout
            .lines()
            .filter_map(|line| line.strip_prefix(MARK))
            .map(str::to_owned);
        if answers.next().is_none() {
            return Err(format!("{status}, {}", stderr.trim().replace('\n', "; ")));
        }
        assert!(status.success(), "{status}: {stdout}{stderr}");
        Ok(answers.collect())
    }

    #[test]
    fn a_deleted_current_directory_is_an_error() {
        let (temp, base) = directory();
        fs::create_dir(temp.path().join("gone")).expect("directory");
        let script = "cd \"$1/gone\"; rmdir \"$1/gone\"; eval \"$run\"";
        let error = "failed to inspect .: the current directory has been deleted";
        assert_eq!(
            answers(
                Command::new("sh"),
                script,
                &base,
                &["", ".", "x", "..", "/no-such/x"]
            ),
            Ok([error, error, error, error, "/no-such/x"]
                .map(str::to_owned)
                .to_vec())
        );
    }

    /// Needs root, and a file system that ignores case; says so where there is none.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_real_disk_that_ignores_case_gives_each_directory_one_path() {
        let kinds = [
            (
                "ext4 with casefold",
                "mkfs.ext4 -q -O casefold -E encoding=utf8 \"$1/image\"
                mount -o loop \"$1/image\" \"$1/at\"; mkdir \"$1/at/dir\"; chattr +F \"$1/at/dir\"",
            ),
            (
                "vfat",
                "mkfs.vfat \"$1/image\" >&2; mount -t vfat -o loop,utf8 \"$1/image\" \"$1/at\"; mkdir \"$1/at/dir\"",
            ),
            (
                "NTFS through FUSE",
                "mkntfs -q -F \"$1/image\" >&2; lowntfs-3g -o ignore_case \"$1/image\" \"$1/at\"; mkdir \"$1/at/dir\"",
            ),
        ];
        for (kind, make) in kinds {
            let (_temp, base) = directory();
            // Whatever is mounted in there, and whoever serves it, ends with the shell.
            let mut shell = Command::new("unshare");
            shell.args([
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sh",
            ]);
            let script = format!(
                "export PATH=\"$PATH:/usr/sbin:/sbin\"; truncate -s 32M \"$1/image\"; mkdir \"$1/at\"
                {make}
                cd \"$1/at/dir\"; mkdir -p Shop/Caf\u{e9} Shop/Deep; cd sHOP
                echo '{MARK}ready'; echo \"{MARK}$(ls ..)\"; echo \"{MARK}$(ls | grep -v -i deep)\"
                cat >../lines; while read -r line; do if [ -e \"$line\" ]; then echo \"$line\"; fi; done <../lines >../there
                eval \"$run\" <../there; cd /; umount \"$1/at\""
            );
            let dir = format!("{base}/at/dir");
            let absolute = [
                "Shop",
                "shop",
                "SHOP",
                "sHoP",
                "sHOP/deep/..",
                "./SHOP/../shop//",
            ]
            .map(|name| format!("{dir}/{name}"));
            let lines = [".", "../shop", "DEEP/.."]
                .into_iter()
                .chain(absolute.iter().map(String::as_str));
            let others = [
                "CAF\u{c9}",
                "caf\u{e9}",
                "Cafe\u{301}",
                "../SHOP/cAFe\u{301}",
                "Caf\u{e9}",
            ];
            let lines: Vec<&str> = lines.chain(others).collect();
            let mut output = io::stdout();
            match answers(shell, &script, &base, &lines) {
                Err(why) => writeln!(output, "skipped: no {kind} here: {why}").expect("write"),
                Ok(answers) => {
                    let [shop, cafe, ready, answers @ ..] = &answers[..] else {
                        panic!("{answers:?}")
                    };
                    assert_eq!(ready, "ready");
                    let (shops, cafes) = answers.split_at(9);
                    let shop = format!("{dir}/{shop}");
                    for (answer, line) in shops.iter().zip(&lines) {
                        assert_eq!(answer, &shop, "{kind}: {line}");
                    }
                    assert!(!cafes.is_empty());
                    for answer in cafes {
                        assert_eq!(answer, &format!("{shop}/{cafe}"), "{kind}: {cafes:?}");
                    }
                    writeln!(
                        output,
                        "{kind}: {} spellings, {} of them not ASCII",
                        answers.len(),
                        cafes.len()
                    )
                    .expect("write");
                }
            }
        }
    }
}
