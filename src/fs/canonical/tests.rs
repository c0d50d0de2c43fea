//! Directories and links of a real disk: one directory has one path.

#![expect(clippy::disallowed_methods, reason = "tests lay out directories")]

mod elsewhere;
mod fake;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;

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
    // Here the kernel gives up too. Halfway there would be another project's path.
    let error = ProjectPath::resolve(format!("{base}/41")).expect_err("a link too many");
    assert_eq!(error.kind(), ErrorKind::InvalidPath);
    assert!(
        error.to_string().contains("too many symbolic links"),
        "{error}"
    );
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
