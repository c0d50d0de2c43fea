//! Everything that `doctor` can find, and what `doctor --fix` does about it.
//!
//! One finding is missing: a network file system, which no test can conjure up.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::harness::{Call, NOBODY, Test, entries, is_root, python_registry, skip};

/// What every claim that cannot be told makes of the registry file.
const STALE: (&str, &str, &str) = (
    "stale-index",
    "{root}/port_registry.json",
    "it does not show the claims as they are",
);

/// What a claim that is gone or damaged makes of its commit.
const DANGLING: (&str, &str, &str) = (
    "dangling-commit",
    "{commit}",
    "port {port} of [HOME]/blog has no such claim any more",
);

const HINT: &str = "hint: portclaim doctor --fix mends what can be mended\n";

/// Makes a thing that is no regular file.
type Make = fn(&Path);

/// A finding: kind, path, detail, and whether it was fixed.
pub(crate) type Found = (String, String, String, bool);

/// Reads what `doctor --json` found, and checks that `healthy` and the exit code agree.
pub(crate) fn findings(call: Call<'_>, code: i32) -> Vec<Found> {
    let json = call.code(code).any_stderr().json();
    assert_eq!(json["healthy"], code == 0, "{json}");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    json["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| {
            (
                text(&found["kind"]),
                text(&found["path"]),
                text(&found["detail"]),
                found["fixed"].as_bool().expect("yes or no"),
            )
        })
        .collect()
}

/// Everything in a directory: kind and mode, owner, and content or target.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (u32, u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for path in entries(dir) {
        let meta = path.symlink_metadata().expect("it is there");
        let mut content = Vec::new();
        if meta.is_file() {
            content = fs::read(&path).expect("it can be read");
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).expect("it is a link");
            content = target.as_os_str().as_bytes().to_vec();
        } else if meta.is_dir() {
            all.extend(snapshot(&path));
        }
        all.insert(path, (meta.mode(), meta.uid(), content));
    }
    all
}

/// What becomes of `blog`, whose port is the second.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blog {
    /// It has the same port again.
    Same,
    /// It has none any more.
    None,
}

/// Does harm, and follows it through: what is found, that finding changes nothing, that a fix
/// mends all, and that nobody else is touched.
fn follow(harm: impl Fn(&Test), expected: &[(&str, &str, &str)], blog: Blog) -> Test {
    let test = Test::of_three();
    let places = [
        ("{claim}", test.claim(test.port(1))),
        ("{commit}", test.commit(test.port(1))),
        ("{root}", test.root()),
        ("{other}", test.claim(test.port(0))),
    ];
    let fill = |pattern: &str| {
        let mut filled = pattern.to_owned();
        for (name, path) in &places {
            let path = path.to_str().expect("UTF-8");
            let home = test.home().to_str().expect("UTF-8");
            filled = filled.replace(name, &path.replace(home, "[HOME]"));
        }
        filled
            .replace("{port}", &test.port(1).to_string())
            .replace("{other-port}", &test.port(0).to_string())
    };
    let others: BTreeMap<PathBuf, Vec<u8>> = test
        .records()
        .into_iter()
        .filter(|(path, _)| *path != places[0].1 && *path != places[1].1)
        .collect();
    assert_eq!(others.len(), 4);
    harm(&test);
    let before = snapshot(test.home());

    let expected = |fixed: bool| -> Vec<Found> {
        expected
            .iter()
            .map(|&(kind, path, detail)| (kind.to_owned(), fill(path), fill(detail), fixed))
            .collect()
    };
    assert_eq!(
        findings(test.args(["doctor", "--json"]), 1),
        expected(false)
    );
    let lines: Vec<String> = expected(false)
        .iter()
        .map(|(kind, path, detail, _)| format!("found {kind}: {path}: {detail}\n"))
        .collect();
    test.args(["doctor"])
        .stdout(lines.concat())
        .stderr(HINT)
        .code(1)
        .run();
    assert_eq!(snapshot(test.home()), before, "who looks changes nothing");

    assert_eq!(
        findings(test.args(["doctor", "--fix", "--json"]), 0),
        expected(true)
    );
    assert_eq!(findings(test.args(["doctor", "--json"]), 0), []);
    for (path, bytes) in others {
        assert_eq!(test.read(&path), bytes, "{}", path.display());
    }
    let show = test.args(["show", "blog"]);
    match blog {
        Blog::Same => show.stdout(format!("{}\n", test.port(1))).run(),
        Blog::None => show.any_stderr().code(1).run(),
    };
    let mappings = test.mappings();
    assert_eq!(
        mappings.get("[HOME]/blog").copied(),
        (blog == Blog::Same).then_some(u64::from(test.port(1)))
    );
    assert_eq!(mappings.len(), 2 + usize::from(blog == Blog::Same));
    test
}

pub(crate) fn quarantined(test: &Test) -> Vec<(String, Vec<u8>)> {
    entries(&test.root().join("quarantine"))
        .into_iter()
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().expect("it has one").to_string_lossy();
            (name.into_owned(), fs::read(&path).expect("it can be read"))
        })
        .collect()
}

/// Replaces a record, which may be read-only.
pub(crate) fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).expect("it can be written");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("it is ours");
}

#[test]
fn a_torn_claim_is_quarantined_and_its_project_has_the_same_port_again() {
    let torn = |test: &Test| {
        let bytes = test.read(test.claim(test.port(1)));
        bytes[..bytes.len() / 2].to_vec()
    };
    let test = follow(
        |test| put(&test.claim(test.port(1)), torn(test)),
        &[
            ("damaged-claim", "{claim}", "its end is missing"),
            DANGLING,
            STALE,
        ],
        Blog::Same,
    );
    let kept = quarantined(&test);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].0, format!("{}.claim", test.port(1)));
    assert!(kept[0].1.starts_with(b"{\"format\":1,"), "{kept:?}");
    assert!(!kept[0].1.ends_with(b"\n"), "{kept:?}");
}

#[test]
fn a_claim_that_is_no_record_is_quarantined_and_its_project_has_the_same_port_again() {
    let too_long = vec![b'x'; 40_000];
    for (bytes, why) in [
        (
            &b"\0\0\0\0\n"[..],
            "it is no record: expected value at line 1 column 1",
        ),
        (
            b"{}\n",
            "it is no record: missing field `format` at line 1 column 2",
        ),
        (
            b"\xff\xfe\n",
            "it is no record: expected value at line 1 column 1",
        ),
        (&too_long, "it is longer than any record"),
    ] {
        let test = follow(
            |test| put(&test.claim(test.port(1)), bytes),
            &[("damaged-claim", "{claim}", why), DANGLING, STALE],
            Blog::Same,
        );
        assert_eq!(
            quarantined(&test),
            [(format!("{}.claim", test.port(1)), bytes.to_vec())]
        );
    }
}

#[test]
fn an_empty_claim_is_removed_and_its_project_has_the_same_port_again() {
    follow(
        |test| put(&test.claim(test.port(1)), ""),
        &[("damaged-claim", "{claim}", "it is empty"), DANGLING, STALE],
        Blog::Same,
    );
}

#[test]
fn a_claim_of_another_port_is_quarantined() {
    let test = follow(
        |test| {
            put(
                &test.claim(test.port(1)),
                test.read(test.claim(test.port(0))),
            );
        },
        &[
            (
                "damaged-claim",
                "{claim}",
                "it is the record of port {other-port}",
            ),
            DANGLING,
            STALE,
        ],
        Blog::Same,
    );
    assert_eq!(quarantined(&test).len(), 1);
}

#[test]
fn allocate_mends_a_torn_claim_by_itself() {
    for bytes in [&b""[..], b"{\"format\":1,\"po", b"\0\0\0\0", b"junk\n"] {
        let test = Test::of_three();
        put(&test.claim(test.port(1)), bytes);
        test.args(["allocate", "blog"])
            .stdout(format!("{}\n", test.port(1)))
            .run();
        if !bytes.is_empty() {
            assert_eq!(
                quarantined(&test),
                [(format!("{}.claim", test.port(1)), bytes.to_vec())]
            );
        }
        test.assert_healthy();
    }
}

#[test]
fn a_torn_claim_is_nobody_elses_port() {
    let test = Test::with_ports(2);
    test.project("shop", test.port(0));
    put(&test.claim(test.port(0)), "{\"format\":1,\"po");
    test.project("blog", test.port(1));
    test.args(["allocate", "shop"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
}

#[test]
fn list_warns_of_a_claim_that_it_cannot_read_and_shows_all_others() {
    let test = Test::of_three();
    put(&test.claim(test.port(1)), "{\"format\":1,\"po");
    let said = test
        .args(["list"])
        .any_stdout()
        .stderr(format!(
            "warning: [HOME]/.config/litellm/ports/{}.claim cannot be used: its end is missing\n\
             hint: portclaim doctor tells more\n",
            test.port(1)
        ))
        .run();
    for name in ["shop", "wiki"] {
        assert!(said.stdout.contains(name), "{}", said.stdout);
    }
}

#[test]
fn a_damaged_commit_is_quarantined_and_its_project_has_the_same_port_again() {
    for (bytes, why) in [
        (&b"{\"format\":1,\"po"[..], "its end is missing"),
        (
            b"junk\n",
            "it is no record: expected value at line 1 column 1",
        ),
        (b"", "it is empty"),
    ] {
        let test = follow(
            |test| put(&test.commit(test.port(1)), bytes),
            &[
                (
                    "orphan",
                    "{claim}",
                    "the claim of [HOME]/blog is not committed: its commit cannot be read",
                ),
                ("damaged-commit", "{commit}", why),
                STALE,
            ],
            Blog::Same,
        );
        let kept = quarantined(&test);
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept[0].1, bytes);
    }
}

#[test]
fn a_commit_under_anothers_name_is_damage() {
    follow(
        |test| {
            let other = test.read(test.commit(test.port(0)));
            put(&test.commit(test.port(1)), other);
        },
        &[
            (
                "orphan",
                "{claim}",
                "the claim of [HOME]/blog is not committed: its project holds another port",
            ),
            (
                "damaged-commit",
                "{commit}",
                "it is the record of another project",
            ),
            STALE,
        ],
        Blog::Same,
    );
}

#[test]
fn a_commit_without_a_claim_is_dangling_and_is_removed() {
    let test = follow(
        |test| fs::remove_file(test.claim(test.port(1))).expect("it is there"),
        &[DANGLING, STALE],
        Blog::None,
    );
    test.args(["allocate", "blog"])
        .stdout(format!("{}\n", test.port(3)))
        .run();
}

#[test]
fn a_claim_without_a_commit_is_an_orphan_and_goes_to_whom_the_file_says() {
    follow(
        |test| fs::remove_file(test.commit(test.port(1))).expect("it is there"),
        &[
            (
                "orphan",
                "{claim}",
                "the claim of [HOME]/blog is not committed: it has no commit",
            ),
            STALE,
        ],
        Blog::Same,
    );
}

#[test]
fn a_claim_that_a_killed_process_left_is_removed() {
    let test = Test::of_three();
    let path = test.claim(test.port(5));
    let record = format!(
        "{{\"format\":1,\"port\":{},\"nonce\":\"{}\",\"project\":\"/p/late\",\"service\":\"\"}}\n",
        test.port(5),
        "ab".repeat(16)
    );
    put(&path, &record);
    let (kind, detail) = (
        "orphan",
        "the claim of /p/late is not committed: it has no commit",
    );
    let found = findings(test.args(["doctor", "--json"]), 1);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0.as_str(), found[0].2.as_str()), (kind, detail));
    let found = findings(test.args(["doctor", "--fix", "--json"]), 0);
    assert!(found[0].3, "{found:?}");
    assert!(!path.exists());
    test.args(["show", "/p/late"]).any_stderr().code(1).run();
}

#[test]
fn a_claim_of_a_process_that_is_at_work_is_no_finding() {
    let test = Test::of_three();
    let path = test.claim(test.port(5));
    put(&path, "");
    let file = File::open(&path).expect("it is there");
    file.try_lock().expect("nobody else is at it");
    for args in [&["doctor"][..], &["doctor", "--fix"]] {
        test.args(args).stdout_has("healthy").run();
    }
    assert!(path.exists());
    // Dropped, it might live on in a child that another test starts at this moment.
    file.unlock().expect("it is locked");
    assert_eq!(
        findings(test.args(["doctor", "--json"]), 1)[0].0,
        "damaged-claim"
    );
}

#[test]
fn a_later_format_is_left_alone_and_said_so() {
    let test = Test::of_three();
    let claim = test.claim(test.port(5));
    let later = "{\"format\":2,\"anything\":[1,2,3]}\n";
    put(&claim, later);
    let line = format!(
        "found later-format: [HOME]/.config/litellm/ports/{}.claim: a later version of portclaim wrote it, in format 2\n      \
         use a later version of portclaim for this registry\n",
        test.port(5)
    );
    for args in [&["doctor"][..], &["doctor", "--fix"]] {
        test.args(args).stdout(&line).code(1).run();
    }
    assert_eq!(test.read(&claim), later.as_bytes());
    assert!(quarantined(&test).is_empty());
    assert_eq!(test.mappings().len(), 3);
}

#[test]
fn a_commit_of_a_later_format_is_left_alone() {
    let test = Test::of_three();
    let commit = test.commit(test.port(1));
    let claim = test.read(test.claim(test.port(1)));
    put(&commit, "{\"format\":2}\n");
    let found = findings(test.args(["doctor", "--fix", "--json"]), 1);
    let left = found.iter().filter(|(_, _, _, fixed)| !fixed);
    let left: Vec<&str> = left.map(|(kind, _, _, _)| kind.as_str()).collect();
    // Whether the claim is committed, only a later version can tell: it is no orphan.
    assert_eq!(left, ["later-format"], "{found:?}");
    let kinds = found.iter().map(|(kind, _, _, _)| kind.as_str());
    assert!(kinds.clone().all(|kind| kind != "orphan"), "{found:?}");
    assert_eq!(test.read(&commit), b"{\"format\":2}\n");
    assert_eq!(test.read(test.claim(test.port(1))), claim);
    for command in ["allocate", "show", "remove"] {
        test.args([command, "blog"])
            .stderr_has("a later version of portclaim wrote it, in format 2")
            .stderr_has("[HOME]/.config/litellm/projects/")
            .code(2)
            .run();
    }
    test.args(["allocate", "shop"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
}

#[test]
fn foreign_files_are_moved_out_of_the_way() {
    let names = [
        "README",
        "8888.claim.swp",
        "08888.claim",
        "0.claim",
        "65536.claim",
        ".hidden",
    ];
    let test = Test::of_three();
    for name in names {
        test.write(test.root().join("ports").join(name), name);
    }
    test.write(test.root().join("projects/notes.txt"), "mine");
    test.mkdir(test.root().join("ports/directory/inside"));
    let found = findings(test.args(["doctor", "--json"]), 1);
    assert_eq!(found.len(), names.len() + 2, "{found:?}");
    for (kind, path, detail, _) in found {
        assert_eq!(
            (kind.as_str(), detail.as_str()),
            ("foreign-file", "it is not portclaim's"),
            "{path}"
        );
    }
    let found = findings(test.args(["doctor", "--fix", "--json"]), 0);
    assert!(found.iter().all(|found| found.3), "{found:?}");
    let quarantine = test.root().join("quarantine");
    for name in names {
        assert_eq!(test.read(quarantine.join(name)), name.as_bytes());
    }
    assert_eq!(test.read(quarantine.join("notes.txt")), b"mine");
    assert!(quarantine.join("directory/inside").is_dir());
    assert_eq!(test.records().len(), 6);
    test.assert_healthy();
}

#[test]
fn what_stands_in_the_place_of_a_hint_is_moved_out_of_the_way() {
    let names = [
        "turn",
        "written",
        "waiter",
        "lock",
        "changed-8888-07070707070707070707070707070707",
        "claimed-8888-07070707070707070707070707070707",
    ];
    let kinds: [(&str, Make); 3] = [
        ("a directory", |path| {
            fs::create_dir(path).expect("a directory");
        }),
        ("a special file", |path| {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let (kind, device) = (rustix::fs::FileType::Fifo, 0);
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, device).expect("a FIFO");
        }),
        ("a symbolic link", |path| {
            std::os::unix::fs::symlink("/etc/passwd", path).expect("a link");
        }),
    ];
    for name in names {
        for (kind, make) in kinds {
            let test = Test::of_three();
            let path = test.root().join("index").join(name);
            let _ = fs::remove_file(&path);
            make(&path);
            let found = findings(test.args(["doctor", "--fix", "--json"]), 0);
            let of_it = found
                .iter()
                .find(|found| found.1.ends_with(&format!("index/{name}")));
            let (found, _, detail, fixed) = of_it.expect("it is found");
            let expected = format!("{kind}: portclaim cannot keep its own there");
            assert_eq!(
                (found.as_str(), detail.as_str()),
                ("foreign-file", expected.as_str())
            );
            assert!(fixed, "{name}, {kind}");
            test.assert_healthy();
            // The search moves on again, and the file follows.
            for project in ["new", "newer"] {
                test.args(["allocate", project])
                    .any_stdout()
                    .any_stderr()
                    .run();
                test.args(["remove", project])
                    .any_stdout()
                    .any_stderr()
                    .run();
            }
            test.assert_healthy();
        }
    }
    let test = Test::of_three();
    test.write(test.root().join("index/notes.txt"), "mine");
    let found = findings(test.args(["doctor", "--fix", "--json"]), 0);
    assert_eq!((found[0].0.as_str(), found[0].3), ("foreign-file", true));
    assert_eq!(test.read(test.root().join("quarantine/notes.txt")), b"mine");
}

#[test]
fn what_is_overwritten_in_place_is_no_other_file() {
    for name in ["turn", "written"] {
        let test = Test::of_three();
        let (hint, claim) = (
            test.root().join("index").join(name),
            test.claim(test.port(0)),
        );
        let _ = fs::remove_file(&hint);
        fs::hard_link(&claim, &hint).expect("a second name");
        let before = test.read(&claim);
        let allocate = |project: &str| {
            let command = test.args(["allocate", project]);
            command.any_stdout().any_stderr().run();
        };
        allocate("new");
        assert_eq!(test.read(&claim), before, "{name}");
        let found = findings(test.args(["doctor", "--fix", "--json"]), 0);
        let of_it = found.iter().find(|found| found.1.ends_with(name));
        let (kind, _, detail, is_fixed) = of_it.expect("it is found");
        let expected =
            "a file with another name (a hard link): portclaim cannot keep its own there";
        assert_eq!((kind.as_str(), detail.as_str()), ("foreign-file", expected));
        assert!(is_fixed, "{name}");
        allocate("newer");
        assert_eq!(test.read(&claim), before, "{name}");
        assert!(hint.exists(), "it is there again");
        test.assert_healthy();
    }
}

#[test]
fn the_quarantine_overwrites_nothing() {
    let test = Test::of_three();
    for turn in 0..3 {
        put(&test.claim(test.port(1)), format!("torn {turn}"));
        findings(test.args(["doctor", "--fix", "--json"]), 0);
    }
    let kept: Vec<Vec<u8>> = quarantined(&test).into_iter().map(|file| file.1).collect();
    assert_eq!(kept, [b"torn 0", b"torn 1", b"torn 2"]);
}

#[test]
fn what_killed_processes_left_in_staging_is_removed() {
    let test = Test::of_three();
    let nonce = "cd".repeat(16);
    let names = [
        format!("{}-{nonce}", test.port(5)),
        format!("registry-{nonce}"),
        format!("backup-{nonce}"),
    ];
    for name in &names {
        test.write(test.root().join("staging").join(name), "half");
    }
    let found = findings(test.args(["doctor", "--json"]), 1);
    assert_eq!(found.len(), 3, "{found:?}");
    for (kind, path, detail, _) in found {
        assert_eq!(
            (kind.as_str(), detail.as_str()),
            ("leftover", "a process that was killed left it"),
            "{path}"
        );
    }
    findings(test.args(["doctor", "--fix", "--json"]), 0);
    assert!(entries(&test.root().join("staging")).is_empty());
    assert_eq!(test.records().len(), 6);
}

#[test]
fn what_a_process_is_staging_is_no_finding() {
    let test = Test::of_three();
    let nonce = "cd".repeat(16);
    for what in ["moved-claim", "moved-commit", "registry", "backup"] {
        let path = test.root().join(format!("staging/{what}-{nonce}"));
        put(&path, "half");
        let file = File::open(&path).expect("it is there");
        file.lock().expect("nobody else is at it");
        for fix in [&[][..], &["--fix"]] {
            let call = test.args(["doctor", "--json"]).with_args(fix);
            assert_eq!(findings(call, 0), [], "{what}");
        }
        assert_eq!(test.read(&path), b"half");
        drop(file);
        findings(test.args(["doctor", "--fix", "--json"]), 0);
        assert!(!path.exists(), "{what}");
    }
}

#[test]
fn permissions_of_others_are_taken_away() {
    let test = Test::of_three();
    let claim = test.claim(test.port(1));
    let commit = test.commit(test.port(1));
    let ports = test.root().join("ports");
    let chmod = |path: &Path, mode: u32| {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    };
    let before = test.records();
    chmod(&claim, 0o666);
    chmod(&commit, 0o604);
    chmod(&ports, 0o777);
    let found = findings(test.args(["doctor", "--json"]), 1);
    let shown: Vec<(&str, &str)> = found
        .iter()
        .map(|(kind, _, detail, _)| (kind.as_str(), detail.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("permissions", "its mode is 0777, not 0700"),
            ("permissions", "its mode is 0666, not 0600"),
            ("permissions", "its mode is 0604, not 0600"),
        ]
    );
    let found = findings(test.args(["doctor", "--fix", "--json"]), 0);
    assert!(found.iter().all(|found| found.3), "{found:?}");
    for path in [&claim, &commit, &ports] {
        let mode = path.metadata().expect("it is there").mode() & 0o077;
        assert_eq!(mode, 0, "{path:?}");
    }
    assert_eq!(test.records(), before);
    findings(test.args(["doctor", "--json"]), 0);
}

#[test]
fn permissions_that_shut_the_user_out_are_given_back() {
    // Root is shut out by none, and they are wrong all the same.
    for user in [0, NOBODY] {
        let test = Test::new();
        if !test.admit(NOBODY, "a registry that its user may not read") {
            return;
        }
        let chmod = |path: &Path, mode: u32| {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
        };
        chmod(test.home(), 0o777);
        test.mkdir("shop");
        let args = |args: &[&str]| test.args(args).user(user);
        args(&["allocate", "shop"]).any_stdout().run();
        let run = |code: i32| args(&["run", "--project", "shop", "--", "/bin/true"]).code(code);
        run(0).run();
        let running = test.root().join("running");
        let [file, claim] = [
            running.join(test.port(0).to_string()),
            test.claim(test.port(0)),
        ];
        let commit = test.commit(test.port(0));
        let before = test.records();
        for (path, mode) in [(&file, 0o200), (&claim, 0), (&commit, 0o100), (&running, 0)] {
            chmod(path, mode);
        }
        let found = |call: Call<'_>, code: i32| -> Vec<(String, bool)> {
            let found = findings(call, code).into_iter();
            found
                .map(|(kind, _, detail, fixed)| (format!("{kind}: {detail}"), fixed))
                .collect()
        };
        let mut wrong = vec!["0000, not 0600", "0100, not 0600", "0000, not 0700"];
        if user == 0 {
            wrong.push("0200, not 0600");
        }
        let wrong = |fixed: bool| -> Vec<(String, bool)> {
            let all = wrong.iter();
            all.map(|modes| (format!("permissions: its mode is {modes}"), fixed))
                .collect()
        };
        assert_eq!(found(args(&["doctor", "--json"]), 1), wrong(false));
        if user != 0 {
            run(2).stderr_has("Permission denied").run();
        }
        assert_eq!(found(args(&["doctor", "--fix", "--json"]), 0), wrong(true));
        args(&["doctor"]).stdout_has("healthy").run();
        for (path, mode) in [
            (&file, 0o600),
            (&claim, 0o600),
            (&commit, 0o600),
            (&running, 0o700),
        ] {
            let now = path.metadata().expect("it is there").mode() & 0o7777;
            assert_eq!(now, mode, "{path:?}");
        }
        assert_eq!(test.records(), before);
        run(0).run();
    }
}

#[test]
fn a_link_in_the_place_of_a_claim_gives_nobody_permissions() {
    let test = Test::of_three();
    let elsewhere = test.write("elsewhere", "mine\n");
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o0)).expect("it is ours");
    std::os::unix::fs::symlink(&elsewhere, test.claim(test.port(3))).expect("a link");
    test.args(["doctor", "--fix"]).any_stdout().run();
    assert_eq!(
        elsewhere.metadata().expect("it is there").mode() & 0o7777,
        0
    );
}

#[test]
fn what_run_keeps_is_looked_at_like_the_rest() {
    let test = Test::of_three();
    let run = || test.args(["run", "--project", "shop", "--", "/bin/true"]);
    run().run();
    let running = test.root().join("running");
    let shown = |name: &str| format!("[HOME]/.config/litellm/running{name}");
    let own = running.join(test.port(0).to_string());
    fs::set_permissions(&running, Permissions::from_mode(0o755)).expect("it is ours");
    fs::set_permissions(&own, Permissions::from_mode(0o644)).expect("it is ours");
    fs::write(running.join("notes.txt"), "mine\n").expect("it is ours");
    fs::create_dir(running.join(test.port(1).to_string())).expect("it is ours");
    let permissions = "permissions";
    let all = [
        (permissions, shown(""), "its mode is 0755, not 0700"),
        (
            "foreign-file",
            shown(&format!("/{}", test.port(1))),
            "a directory: portclaim run cannot tell there what runs",
        ),
        ("foreign-file", shown("/notes.txt"), "it is not portclaim's"),
        (
            permissions,
            shown(&format!("/{}", test.port(0))),
            "its mode is 0644, not 0600",
        ),
    ];
    let mut found = findings(test.args(["doctor", "--json"]), 1);
    let mut expected: Vec<Found> = all
        .map(|(kind, path, detail)| (kind.to_owned(), path, detail.to_owned(), false))
        .into();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    test.args(["doctor", "--fix"]).any_stdout().run();
    test.assert_healthy();
    assert_eq!(entries(&running), [own]);
    assert_eq!(
        quarantined(&test),
        [("notes.txt".to_owned(), b"mine\n".to_vec())]
    );
    // A file in its place.
    fs::remove_dir_all(&running).expect("it is ours");
    fs::write(&running, "mine\n").expect("it is ours");
    run().stderr_has("/running").code(2).run();
    let line = format!(
        "found foreign-file: {}: it is no directory: portclaim run cannot tell there what runs\n",
        shown("")
    );
    test.args(["doctor"])
        .stdout(line)
        .stderr(HINT)
        .code(1)
        .run();
    test.args(["doctor", "--fix"]).any_stdout().run();
    run().run();
    test.assert_healthy();
}

#[test]
fn what_belongs_to_another_user_is_a_finding_that_stays() {
    if !is_root() {
        skip("a claim of another user", "only root can give files away");
        return;
    }
    let test = Test::of_three();
    let claim = test.claim(test.port(1));
    std::os::unix::fs::chown(&claim, Some(NOBODY), Some(NOBODY)).expect("we are root");
    let line = format!(
        "found owner: [HOME]/.config/litellm/ports/{}.claim: it belongs to user {NOBODY}, not to user 0\n      \
         only that user, or root, can change it\n",
        test.port(1)
    );
    for args in [&["doctor"][..], &["doctor", "--fix"]] {
        test.args(args).stdout(&line).code(1).run();
    }
    test.assert_shows("blog", test.port(1));
    assert_eq!(test.records().len(), 6);
}

#[test]
fn a_registry_file_that_is_missing_is_stale_and_is_written_anew() {
    follow(
        |test| fs::remove_file(test.registry()).expect("it is there"),
        &[(
            "stale-index",
            "{root}/port_registry.json",
            "it does not exist",
        )],
        Blog::Same,
    );
}

#[test]
fn a_registry_file_that_gives_a_port_to_another_project_is_stale_and_is_written_anew() {
    follow(
        |test| {
            let file = String::from_utf8(test.read(test.registry())).expect("ASCII");
            put(&test.registry(), file.replace("/blog\"", "/log\""));
        },
        &[STALE],
        Blog::Same,
    );
}

#[test]
fn a_registry_file_that_gives_a_project_another_port_is_stale_and_is_written_anew() {
    follow(
        |test| {
            let file = String::from_utf8(test.read(test.registry())).expect("ASCII");
            let (from, to) = (format!("blog\": {}", test.port(1)), "blog\": 9");
            assert!(file.contains(&from), "{file}");
            put(&test.registry(), file.replace(&from, to));
        },
        &[STALE],
        Blog::Same,
    );
}

#[test]
fn a_change_that_no_refresh_followed_makes_the_file_stale() {
    follow(
        |test| {
            let mark = format!("index/changed-{}-{}", test.port(1), "ef".repeat(16));
            put(&test.root().join(mark), "");
        },
        &[(
            "stale-index",
            "{root}/port_registry.json",
            "1 changes were not followed by a refresh",
        )],
        Blog::Same,
    );
}

#[test]
fn a_damaged_registry_file_is_backed_up_and_written_anew() {
    let test = follow(
        |test| put(&test.registry(), "{\"mappings\": {"),
        &[(
            "damaged-index",
            "{root}/port_registry.json",
            "its end is missing",
        )],
        Blog::Same,
    );
    assert_eq!(
        test.read(test.root().join("port_registry.json.backup")),
        b"{\"mappings\": {"
    );
}

#[test]
fn a_registry_that_was_not_taken_over_yet_is_not_healthy() {
    let original = python_registry((8888, 9999), [("/p/shop", "9"), ("/p/blog", "11")], 12);
    let test = Test::new();
    test.write_registry(&original);
    test.args(["doctor"])
        .stdout(
            "found stale-index: [HOME]/.config/litellm/port_registry.json: \
             portclaim has not taken over its 2 mappings\n",
        )
        .stderr(HINT)
        .code(1)
        .run();
    assert_eq!(entries(&test.root()), [test.registry()], "it only looked");
    let found = findings(test.args(["doctor", "--fix", "--json"]), 0);
    assert_eq!(found.len(), 1, "{found:?}");
    test.assert_healthy();
    test.args(["show", "/p/blog"]).stdout("11\n").run();
}

#[test]
fn a_damaged_file_without_claims_is_not_healthy() {
    let test = Test::new();
    test.write_registry("{\"mappings\": {\"/p/shop\": 9,");
    test.args(["doctor"])
        .stdout(
            "found damaged-index: [HOME]/.config/litellm/port_registry.json: its end is missing\n",
        )
        .stderr(HINT)
        .code(1)
        .run();
    findings(test.args(["doctor", "--fix", "--json"]), 0);
    test.args(["show", "/p/shop"]).stdout("9\n").run();
}

#[test]
fn a_registry_whose_directories_are_lost_is_not_healthy() {
    for dirs in [&["ports"][..], &["projects"], &["ports", "projects"]] {
        let test = Test::of_three();
        for dir in dirs {
            fs::remove_dir_all(test.root().join(dir)).expect("it is there");
        }
        let found = findings(test.args(["doctor", "--json"]), 1);
        assert!(!found.is_empty(), "{dirs:?}");
        findings(test.args(["doctor", "--fix", "--json"]), 0);
        findings(test.args(["doctor", "--json"]), 0);
        for (name, index) in ["shop", "blog", "wiki"].iter().zip(0..) {
            test.assert_shows(name, test.port(index));
        }
    }
}

#[test]
fn entries_that_can_be_no_claims_are_findings_that_stay() {
    let test = Test::new();
    test.write_registry(python_registry(
        (8888, 9999),
        [
            ("/p/bad\\udcff", "9"),
            ("rel", "10"),
            ("/p/null", "null"),
            ("/p/ok", "11"),
        ],
        12,
    ));
    test.args(["index"]).any_stdout().any_stderr().run();
    let before = test.read(test.registry());
    let lines: Vec<String> = [
        ("/p/bad\\udcff", "its path is not UTF-8"),
        ("rel", "its path is not absolute and in normal form"),
        ("/p/null", "its value is no port"),
    ]
    .iter()
    .map(|(key, why)| {
        format!(
            "found unusable-entry: [HOME]/.config/litellm/port_registry.json: the entry {key} is no claim: {why}\n      \
             it stays in the file; only an editor can remove it\n"
        )
    })
    .collect();
    for args in [&["doctor"][..], &["doctor", "--fix"]] {
        test.args(args).stdout(lines.concat()).code(1).run();
    }
    assert_eq!(test.read(test.registry()), before);
}

#[test]
fn a_range_that_the_kernel_takes_ports_from_is_a_finding_that_stays() {
    let Ok(line) = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") else {
        skip("the kernel's own ports", "this system does not tell them");
        return;
    };
    let numbers: Vec<u16> = line
        .split_whitespace()
        .map(|number| number.parse().expect("a port"))
        .collect();
    let (first, last) = (numbers[0], numbers[1]);
    let test = Test::of_three();
    let edges = [(first, first), (last, last), (first - 1, first), (1, 65535)];
    for (min, max) in edges {
        let line = format!(
            "found ephemeral-range: [HOME]/.config/litellm: the range {min}-{max} overlaps {first}-{last}, \
             from which the kernel takes ports for outgoing connections\n      \
             choose another range with --port-min and --port-max\n"
        );
        for fix in [None, Some("--fix")] {
            let (min, max) = (min.to_string(), max.to_string());
            let args = ["doctor", "--port-min", &min, "--port-max", &max];
            test.args(args.into_iter().chain(fix))
                .stdout(&line)
                .code(1)
                .run();
        }
    }
    let below = (first - 1).to_string();
    test.args(["doctor", "--port-max", &below])
        .stdout_has("healthy")
        .run();
}

#[test]
fn many_kinds_of_harm_at_once_lose_nothing_that_was_valid() {
    let test = Test::with_ports(16);
    for index in 0..10 {
        test.project(&format!("p{index}"), test.port(index));
    }
    let valid: Vec<(PathBuf, Vec<u8>)> = [1, 4, 7, 9]
        .into_iter()
        .flat_map(|index| {
            let port = test.port(index);
            [test.claim(port), test.commit(port)]
        })
        .map(|path| (path.clone(), test.read(path)))
        .collect();
    put(&test.claim(test.port(0)), "torn");
    put(&test.commit(test.port(2)), "torn");
    put(&test.claim(test.port(3)), "");
    let commit = test.commit(test.port(5));
    fs::remove_file(commit).expect("it is there");
    let claim = test.claim(test.port(6));
    fs::remove_file(&claim).expect("it is there");
    fs::create_dir(&claim).expect("it is gone");
    let commit = test.commit(test.port(8));
    put(&test.claim(test.port(8)), "torn");
    put(&commit, "torn as well");
    put(&test.claim(test.port(12)), "");
    put(&test.root().join("ports/README"), "foreign");
    test.args(["doctor"])
        .any_stdout()
        .stderr(HINT)
        .code(1)
        .run();
    findings(test.args(["doctor", "--fix", "--json"]), 0);
    findings(test.args(["doctor", "--json"]), 0);
    for (path, bytes) in valid {
        assert_eq!(test.read(&path), bytes, "{path:?}");
    }
    for index in 0..10 {
        test.assert_shows(&format!("p{index}"), test.port(index));
    }
}

#[test]
fn doctor_of_nothing_creates_nothing() {
    let test = Test::new();
    for args in [&["doctor"][..], &["doctor", "--fix"]] {
        test.args(args)
            .stdout("[HOME]/.config/litellm is healthy\n")
            .run();
    }
    assert!(entries(test.home()).is_empty());
}

#[test]
fn findings_about_strange_names_are_printed_escaped() {
    let test = Test::of_three();
    test.write(test.root().join("ports/a\nb\u{1b}[31m"), "x");
    test.args(["doctor"])
        .stdout(
            "found foreign-file: [HOME]/.config/litellm/ports/a\\nb\\u{1b}[31m: it is not portclaim's\n",
        )
        .stderr(HINT)
        .code(1)
        .run();
}
