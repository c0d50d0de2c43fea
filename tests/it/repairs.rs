//! What a repair must tell apart: what it mends from what it leaves, and whose a port is.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::doctor::{findings, put, quarantined};
use serde_json::{Map, Value};

use crate::harness::{NOBODY, Test, entries, is_root, python_registry, skip};
use crate::terms::process;

/// Repairs, and returns what was found: kind, name of the file, and whether it was mended.
fn repair(test: &Test, code: i32) -> Vec<(String, String, bool)> {
    findings(test.args(["doctor", "--fix", "--json"]), code)
        .into_iter()
        .map(|(kind, path, _, fixed)| {
            let name = path.rsplit('/').next().unwrap_or_default();
            (kind, name.to_owned(), fixed)
        })
        .collect()
}

fn list(found: &[(&str, &str, bool)]) -> Vec<(String, String, bool)> {
    found
        .iter()
        .map(|&(kind, name, fixed)| (kind.to_owned(), name.to_owned(), fixed))
        .collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// What a claim says, all but the nonce.
fn said(test: &Test, port: u16) -> Map<String, Value> {
    let line = serde_json::from_slice(&test.read(test.claim(port)));
    let mut line: Map<String, Value> = line.expect("JSON");
    line.remove("nonce");
    line
}

/// A project that has been told the second port, whose commit is damaged, and which has another claim on the first one, at
/// which a repair looks before. Returns what its own claim says, and that one's port.
fn with_two_claims(test: &Test, term: Option<&str>) -> (Map<String, Value>, u16) {
    test.mkdir("shop");
    let (other, own) = (test.port(0), test.port(1));
    test.args(["allocate", "shop", "--port", &own.to_string()])
        .any_stdout()
        .run();
    let told = said(test, own);
    let mut line = told.clone();
    line.insert("port".to_owned(), other.into());
    line.insert("nonce".to_owned(), "ab".repeat(16).into());
    if let Some(term) = term {
        line.insert("term".to_owned(), term.into());
    }
    let line = serde_json::to_string(&line).expect("it is JSON");
    put(&test.claim(other), format!("{line}\n"));
    put(&test.commit(own), "damaged");
    (told, own)
}

/// A mark of a change to a port that nobody is at any more.
fn mark(test: &Test, port: u16) {
    let name = format!("index/changed-{port}-{}", "ef".repeat(16));
    put(&test.root().join(name), "");
}

/// A registry of the Python system, with an entry that stays and can be no claim.
fn with_unusable_entry() -> Test {
    let test = Test::new();
    let entries = [("/p/shop", "9"), ("relative", "10")];
    test.write_registry(python_registry((8888, 9999), entries, 12));
    test
}

#[test]
fn what_holds_for_a_time_or_by_a_process_does_so_after_a_repair() {
    let test = Test::new();
    for name in ["shop", "other"] {
        test.mkdir(name);
    }
    let owner = process();
    let pid = owner.id().to_string();
    test.args(["allocate", "shop", "--ttl", "1h"])
        .any_stdout()
        .run();
    test.args(["allocate", "other", "--owner-pid", &pid])
        .any_stdout()
        .run();
    let said = |port| said(&test, port);
    let ports = [test.port(0), test.port(1)];
    let before = ports.map(said);
    assert!(
        before.iter().all(|line| line.contains_key("term")),
        "{before:?}"
    );
    put(&test.claim(ports[0]), "damaged");
    put(&test.commit(ports[1]), "damaged");
    test.args(["doctor", "--fix"]).any_stdout().run();
    assert_eq!(ports.map(said), before);
    test.assert_shows("shop", ports[0]);
    test.assert_shows("other", ports[1]);
    test.assert_healthy();
}

#[test]
fn what_holds_for_a_time_does_so_where_its_commit_is_gone() {
    let test = Test::new();
    test.mkdir("shop/.git");
    test.args(["allocate", "shop", "--ttl", "1h", "--follow-git"])
        .any_stdout()
        .any_stderr()
        .run();
    let port = test.port(0);
    let before = said(&test, port);
    assert_eq!(before["term"]["ttl"], 3600, "{before:?}");
    assert!(before.contains_key("device"), "{before:?}");
    fs::remove_file(test.commit(port)).expect("it is there");
    assert!(repair(&test, 0).contains(&("orphan".to_owned(), format!("{port}.claim"), true)));
    assert_eq!(said(&test, port), before);
    test.assert_shows("shop", port);
    test.assert_healthy();
}

#[test]
fn a_claim_from_before_does_not_say_for_how_long_its_project_has_the_port_now() {
    let test = Test::new();
    test.mkdir("shop");
    let port = test.port(0);
    let allocate = |more: &[&str]| {
        test.args(["allocate", "shop"].iter().chain(more))
            .any_stdout()
            .run();
    };
    allocate(&["--ttl", "1h"]);
    let before = test.read(test.claim(port));
    test.args(["remove", "shop"]).any_stdout().run();
    allocate(&["--port", &port.to_string()]);
    let now = said(&test, port);
    assert!(!now.contains_key("term"), "{now:?}");
    // As a backup that restores one of the two files does.
    put(&test.claim(port), before);
    repair(&test, 0);
    assert_eq!(said(&test, port), now);
    test.assert_shows("shop", port);
    test.assert_healthy();
}

#[test]
fn a_damaged_commit_is_that_of_the_projects_own_claim_and_not_of_its_ended_lease() {
    let test = Test::new();
    let (told, own) = with_two_claims(&test, Some("lease"));
    // So that the claims alone say it.
    fs::remove_file(test.registry()).expect("it is there");
    repair(&test, 0);
    assert_eq!(said(&test, own), told);
    test.assert_shows("shop", own);
    test.assert_healthy();
}

#[test]
fn a_damaged_commit_is_that_of_the_claim_that_the_file_shows() {
    let test = Test::new();
    // As a process leaves it that was killed when it had claimed a port and not yet committed it.
    let (told, own) = with_two_claims(&test, None);
    repair(&test, 0);
    assert_eq!(said(&test, own), told);
    test.assert_shows("shop", own);
    test.assert_healthy();
}

#[test]
fn files_of_other_directories_of_the_registry_are_moved_away() {
    let test = Test::of_projects(&["shop"]);
    test.project("shop", test.port(0));
    let claim = test.claim(test.port(0));
    let bytes = test.read(&claim);
    let key = format!("{}.claim", "ab".repeat(16));
    let (port, directory) = (test.port(0), "staging/.portclaim");
    let names = [
        format!("ports/{key}"),
        "ports/registry-1".to_owned(),
        format!("projects/{port}.claim"),
        format!("staging/{port}.claim"),
        // Not that of a claimer, though one is at work on its port.
        format!("staging/{port}-notes.txt"),
    ];
    for name in &names {
        put(&test.root().join(name), &bytes);
    }
    fs::create_dir(test.root().join(directory)).expect("it is not there");
    let file = File::open(&claim).expect("it is there");
    file.try_lock().expect("nobody else is at it");
    let found = repair(&test, 0);
    let foreign = |found: &(String, String, bool)| found.0 == "foreign-file" && found.2;
    assert!(found.iter().all(foreign), "{found:?}");
    assert_eq!(found.len(), names.len() + 1, "{found:?}");
    for name in names.iter().map(String::as_str).chain([directory]) {
        assert!(!test.root().join(name).exists(), "{name}");
    }
    assert!(test.root().join("quarantine/.portclaim").is_dir());
    let kept = quarantined(&test);
    assert_eq!(kept.len(), names.len());
    assert!(kept.iter().all(|file| file.1 == bytes));
    assert_eq!(test.read(&claim), bytes);
    test.assert_healthy();
}

#[test]
fn of_two_findings_about_one_file_one_may_stay() {
    let test = with_unusable_entry();
    test.args(["index"]).any_stdout().any_stderr().run();
    mark(&test, 9);
    let file = "port_registry.json";
    assert_eq!(
        repair(&test, 1),
        list(&[("unusable-entry", file, false), ("stale-index", file, true)])
    );
}

#[test]
fn of_two_findings_of_one_kind_one_may_stay() {
    let test = Test::of_three();
    let ports = test.root().join("ports");
    fs::write(ports.join("notes.txt"), "mine").expect("it is ours");
    // It cannot be told from others by what is shown of it.
    fs::write(ports.join(OsStr::from_bytes(b"\xff")), "mine").expect("it is ours");
    assert_eq!(
        repair(&test, 1),
        list(&[
            ("foreign-file", "notes.txt", true),
            ("foreign-file", "\u{fffd}", false)
        ])
    );
}

#[test]
fn a_name_that_is_shown_longer_than_any_may_be_stops_no_repair() {
    let test = Test::of_three();
    for dir in ["ports", "projects", "staging", "index"] {
        let name = OsStr::from_bytes(&[0xff; 255]);
        fs::write(test.root().join(dir).join(name), "mine").expect("it is ours");
    }
    put(&test.claim(test.port(1)), "junk\n");
    let found = repair(&test, 1);
    assert!(
        found.iter().all(|it| it.2 == (it.0 != "foreign-file")),
        "{found:?}"
    );
    test.assert_shows("blog", test.port(1));
}

#[test]
fn what_a_repair_brings_to_light_is_told() {
    let file = "port_registry.json";
    assert_eq!(
        repair(&with_unusable_entry(), 1),
        list(&[("stale-index", file, true), ("unusable-entry", file, false)])
    );
}

#[test]
fn only_a_key_is_the_name_of_a_commit() {
    let test = Test::of_three();
    let hex = "0123456789abcdef";
    let names = [
        format!("{hex}.claim"),
        format!("{hex}{hex}"),
        format!("{hex}{hex}{hex}.claim"),
        format!("{hex}{}.claim", hex.to_uppercase()),
        format!("{hex}{}.claim", hex.replace('0', "g")),
    ];
    for name in &names {
        test.write(test.root().join("projects").join(name), name);
    }
    let found = repair(&test, 0);
    let moved = quarantined(&test);
    assert_eq!(found.len(), names.len(), "{found:?}");
    for name in names {
        assert!(found.contains(&("foreign-file".to_owned(), name.clone(), true)));
        assert!(moved.contains(&(name.clone(), name.clone().into_bytes())));
    }
}

#[test]
fn a_commit_under_a_key_that_is_nobodys_is_quarantined() {
    let test = Test::of_three();
    let name = format!("{}.claim", "0".repeat(32));
    let commit = test.read(test.commit(test.port(0)));
    put(&test.root().join("projects").join(&name), &commit);
    assert_eq!(repair(&test, 0), list(&[("damaged-commit", &name, true)]));
    assert_eq!(quarantined(&test), [(name, commit)]);
    test.assert_healthy();
    test.assert_shows("shop", test.port(0));
}

#[test]
fn one_of_claim_and_commit_is_enough_to_know_whose_the_port_is() {
    for is_claim in [true, false] {
        let test = Test::of_three();
        let port = test.port(1);
        let damaged = if is_claim {
            test.claim(port)
        } else {
            test.commit(port)
        };
        put(&damaged, "junk\n");
        fs::remove_file(test.registry()).expect("it is there");
        repair(&test, 0);
        test.assert_shows("blog", port);
        test.assert_healthy();
    }
}

#[test]
fn a_port_that_was_released_is_not_given_back() {
    // An empty claim is no damage: another project claims the port, and was killed. The mark says
    // that the file shows what was before.
    let test = Test::of_three();
    put(&test.claim(test.port(1)), "");
    mark(&test, test.port(1));
    repair(&test, 0);
    test.args(["show", "blog"]).any_stderr().code(1).run();
    assert_eq!(test.records().len(), 4);
    test.assert_healthy();
}

#[test]
fn the_orphan_of_one_project_is_not_given_to_another() {
    let test = Test::of_three();
    let port = test.port(1);
    fs::remove_file(test.commit(port)).expect("it is there");
    let orphan = format!(
        "{{\"format\":1,\"port\":{port},\"nonce\":\"{}\",\"project\":\"/p/late\",\"service\":\"\"}}\n",
        "ab".repeat(16)
    );
    put(&test.claim(port), orphan);
    repair(&test, 0);
    // The file still said that the port is blog's; but that had released it.
    for project in ["blog", "/p/late"] {
        test.args(["show", project]).any_stderr().code(1).run();
    }
    assert_eq!(test.records().len(), 4);
    test.assert_healthy();
}

#[test]
fn a_commit_of_a_later_version_whose_claim_is_damaged_stops_no_repair() {
    let test = Test::of_three();
    put(&test.commit(test.port(1)), "{\"format\":2}\n");
    for index in [1, 2] {
        put(&test.claim(test.port(index)), "junk\n");
    }
    let left = repair(&test, 1).into_iter().filter(|found| !found.2);
    let left: Vec<String> = left.map(|found| found.0).collect();
    assert_eq!(left, ["later-format"]);
    test.assert_shows("wiki", test.port(2));
    assert_eq!(quarantined(&test).len(), 2);
}

#[test]
fn a_commit_that_another_process_is_at_stops_no_repair() {
    let test = Test::of_three();
    let commit = test.commit(test.port(1));
    for index in [1, 2] {
        put(&test.claim(test.port(index)), "junk\n");
    }
    let file = File::open(&commit).expect("it is there");
    file.try_lock().expect("nobody else is at it");
    let left = repair(&test, 1).into_iter().filter(|found| !found.2);
    let left: Vec<String> = left.map(|found| found.0).collect();
    file.unlock().expect("it is locked");
    assert_eq!(left, ["dangling-commit"]);
    test.assert_shows("wiki", test.port(2));
}

#[test]
fn of_permissions_all_but_the_users_own_are_taken_and_a_seal_stays() {
    let test = Test::of_three();
    let sealed = test.commit(test.port(0));
    assert_eq!(mode(&sealed), 0o400, "it was told, and so flushed");
    let dirs: Vec<_> = ["ports", "projects", "staging", "index"]
        .map(|name| test.root().join(name))
        .into();
    // What a directory has from one around it whose group is inherited.
    for dir in &dirs {
        chmod(dir, 0o2700);
    }
    let found = repair(&test, 0);
    assert_eq!(found.len(), dirs.len(), "{found:?}");
    assert!(dirs.iter().all(|dir| mode(dir) == 0o700));
    assert_eq!(mode(&sealed), 0o400);
    test.assert_healthy();
}

#[test]
fn what_is_another_users_is_left_as_it_is() {
    if !is_root() {
        skip("a directory of another user", "only root can give it away");
        return;
    }
    let test = Test::of_three();
    let name = format!("{}.claim", test.port(1));
    let theirs = [
        (test.root().join("staging"), 0o755),
        (test.claim(test.port(1)), 0o644),
    ];
    for (path, mode) in &theirs {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("we are root");
        chmod(path, *mode);
    }
    assert_eq!(
        repair(&test, 1),
        list(&[("owner", "staging", false), ("owner", &name, false)])
    );
    assert!(theirs.iter().all(|(path, there)| mode(path) == *there));
}

#[test]
fn what_is_staged_goes_unless_its_claimer_is_at_work() {
    let test = Test::of_three();
    let staging = test.root().join("staging");
    let name = |index| format!("{}-{}", test.port(index), "cd".repeat(16));
    // For a port that somebody has, and one where a claimer is at work.
    put(&staging.join(name(1)), "half");
    put(&staging.join(name(5)), "half");
    put(&test.claim(test.port(5)), "");
    let file = File::open(test.claim(test.port(5))).expect("it is there");
    file.try_lock().expect("nobody else is at it");
    let found = repair(&test, 0);
    assert_eq!(found, list(&[("leftover", &name(1), true)]));
    assert_eq!(entries(&staging), [staging.join(name(5))]);
    file.unlock().expect("it is locked");

    // What is no file was not staged.
    fs::remove_file(staging.join(name(5))).expect("it is there");
    fs::create_dir(staging.join(name(5))).expect("it is gone");
    repair(&test, 0);
    assert!(test.root().join("quarantine").join(name(5)).is_dir());
    test.assert_healthy();
}
