//! A disk in memory, which finds a file in other spellings of its name.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::super::spelling::{Choice, NAMES_MAX};
use super::super::*;

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

impl Thing {
    /// A link's, the tests leave open.
    fn inode(self) -> Option<i128> {
        match self {
            Thing::Dir(inode) | Thing::Unlisted(inode) | Thing::Closed(inode) => Some(inode),
            Thing::Link(_) => None,
        }
    }
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
        Ok(match thing.inode() {
            Some(inode) => (1, inode),
            // A number of its own.
            None => (
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
            let inode = thing.inode().unwrap_or(99);
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
