//! `portclaim prune`: ports of projects whose directories were deleted, and of no others.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::harness::{NOBODY, Test, chmod, entries};

/// Seen missing in two runs is enough.
const AT_ONCE: [&str; 3] = ["prune", "--older-than", "0s"];

/// A registry of `shop`, `blog` and `wiki`, of which `shop` was deleted.
fn without_shop() -> Test {
    let test = Test::of_three();
    fs::remove_dir(test.path("shop")).expect("it is empty");
    test
}

impl Test {
    /// Asserts that two runs keep the project, which is on the range's first port.
    #[track_caller]
    fn assert_kept(&self, project: &str, why: &str) {
        let before = self.records();
        let line = format!("kept [HOME]/{project} {}: {why}", self.port(0));
        for _ in 0..2 {
            self.args(AT_ONCE).stdout_has(line.clone()).run();
        }
        assert_eq!(self.records(), before);
    }

    fn sightings(&self) -> Vec<std::path::PathBuf> {
        entries(&self.root().join("missing"))
    }

    /// As if the sightings had been made so many seconds earlier; later, if negative.
    fn age_sightings(&self, seconds: i64) {
        for path in self.sightings() {
            let text = fs::read_to_string(&path).expect("a sighting");
            let seen: i64 = text.trim().parse().expect("a number");
            fs::write(&path, format!("{}\n", seen - seconds)).expect("it is ours");
        }
    }

    /// What `prune --json` tells of the only project.
    fn pruned(&self, flags: &[&str]) -> Value {
        let json = self.args([&["prune", "--json"], flags].concat()).json();
        let projects = json["projects"].as_array().cloned().expect("an array");
        assert_eq!(projects.len(), 1, "{json}");
        projects[0].clone()
    }
}

#[test]
fn a_deleted_project_is_removed_when_it_was_seen_missing_twice() {
    let test = without_shop();
    let port = test.port(0);
    test.args(["prune"])
        .stdout(format!(
            "missing [HOME]/shop {port}: not seen so before; a run in 24 h or later removes it\n"
        ))
        .run();
    test.args(["prune"])
        .stdout_has(format!("missing [HOME]/shop {port}: first seen so "))
        .stdout_has(" ago; a run in 24 h or later removes it\n")
        .run();
    test.age_sightings(86_000);
    test.args(["prune"])
        .stdout_has(format!(
            "missing [HOME]/shop {port}: first seen so 24 h ago; a run in "
        ))
        .run();
    test.age_sightings(500);
    let before = test.records();
    test.args(["prune", "--dry-run"])
        .stdout(format!("would remove [HOME]/shop {port}\n"))
        .run();
    assert_eq!(test.records(), before);
    test.args(["prune"])
        .stdout(format!("removed [HOME]/shop {port}\n"))
        .run();
    assert_eq!(test.records().len(), 4, "two claims, two commits");
    assert_eq!(test.mappings().len(), 2);
    assert!(test.sightings().is_empty());
    test.args(["prune"]).run();
    test.assert_healthy();
}

#[test]
fn nothing_is_removed_by_the_first_run_whatever_the_clock_says() {
    let test = without_shop();
    test.args(AT_ONCE).stdout_has("missing [HOME]/shop").run();
    // The clock was wrong then: a time that lies ahead is no sighting.
    test.age_sightings(-1_000_000);
    test.args(AT_ONCE).stdout_has("not seen so before").run();
    test.args(AT_ONCE).stdout_has("removed [HOME]/shop").run();
    test.assert_healthy();
}

#[test]
fn a_dry_run_notes_nothing() {
    let test = without_shop();
    for _ in 0..2 {
        test.args(["prune", "--dry-run", "--older-than", "0s"])
            .stdout(format!(
                "missing [HOME]/shop {}: not seen so before, and not noted in a dry run\n",
                test.port(0)
            ))
            .run();
    }
    assert!(!test.root().join("missing").exists());
}

#[test]
fn a_project_that_comes_back_begins_again() {
    let test = without_shop();
    test.args(AT_ONCE).any_stdout().run();
    assert_eq!(test.sightings().len(), 1);
    test.mkdir("shop");
    test.args(AT_ONCE).run();
    assert!(test.sightings().is_empty());
    fs::remove_dir(test.path("shop")).expect("it is empty");
    test.args(AT_ONCE).stdout_has("not seen so before").run();
    // A later claim is not the one that was seen.
    test.args(["remove", "shop"]).any_stdout().run();
    test.mkdir("shop");
    test.args(["allocate", "shop"]).any_stdout().run();
    fs::remove_dir(test.path("shop")).expect("it is empty");
    test.args(AT_ONCE).stdout_has("not seen so before").run();
    test.assert_healthy();
}

#[test]
fn all_services_of_a_deleted_project_go() {
    let test = Test::of_projects(&["blog"]);
    test.mkdir("shop");
    test.args(["allocate", "shop", "--count", "2"])
        .any_stdout()
        .run();
    test.service("shop", "web");
    fs::remove_dir(test.path("shop")).expect("it is empty");
    let ports = format!(
        "{}, {} (+1), {} (web)",
        test.port(1),
        test.port(2),
        test.port(3)
    );
    test.args(AT_ONCE)
        .stdout_has(format!("missing [HOME]/shop {ports}:"))
        .run();
    test.args(AT_ONCE)
        .stdout(format!("removed [HOME]/shop {ports}\n"))
        .run();
    assert_eq!(test.records().len(), 2);
    test.assert_healthy();
}

#[test]
fn a_project_whose_port_is_in_use_is_kept() {
    let test = without_shop();
    let server = TcpListener::bind(("127.0.0.1", test.port(0))).expect("it is free");
    test.assert_kept("shop", &format!("a program uses port {}", test.port(0)));
    let shop = test.path("shop");
    let shop = shop.to_str().expect("UTF-8");
    test.args(["prune", "--force", shop])
        .stdout_has("a program uses port")
        .code(1)
        .run();
    drop(server);
    test.args(AT_ONCE).stdout_has("removed [HOME]/shop").run();
}

#[test]
fn what_is_not_exactly_missing_is_kept() {
    // The directory around it is gone.
    let test = Test::new();
    test.project("work/shop", test.port(0));
    fs::remove_dir_all(test.path("work")).expect("it is ours");
    test.assert_kept("work/shop", "the directory around it does not exist either");
    // It is a file.
    fs::write(test.path("work"), "").expect("it is ours");
    test.assert_kept("work/shop", "it cannot be looked for: Not a directory");
    fs::remove_file(test.path("work")).expect("it is ours");
    // A link that leads nowhere: perhaps to a disk that is not mounted.
    test.mkdir("work");
    symlink("/no-such-disk/shop", test.path("work/shop")).expect("a link");
    test.assert_kept("work/shop", "it is a link that leads to nothing");
    fs::remove_file(test.path("work/shop")).expect("it is ours");
    // Something else: it is there.
    fs::write(test.path("work/shop"), "").expect("it is ours");
    test.args(AT_ONCE).run();
    fs::remove_file(test.path("work/shop")).expect("it is ours");
    for text in ["not seen so before", "removed [HOME]/work/shop"] {
        test.args(AT_ONCE).stdout_has(text).run();
    }
}

#[test]
fn a_project_in_a_directory_that_cannot_be_read_is_kept() {
    let test = Test::new();
    if !test.admit(NOBODY, "an unreadable home") {
        return;
    }
    chmod(test.home(), 0o777);
    test.mkdir("homes/a/shop");
    test.args(["allocate", "homes/a/shop"])
        .user(NOBODY)
        .any_stdout()
        .run();
    fs::remove_dir(test.path("homes/a/shop")).expect("it is empty");
    chmod(&test.path("homes/a"), 0o700);
    for _ in 0..2 {
        test.args(AT_ONCE)
            .user(NOBODY)
            .stdout_has("kept [HOME]/homes/a/shop")
            .stdout_has("it cannot be looked for: Permission denied")
            .run();
    }
    chmod(&test.path("homes/a"), 0o755);
    for text in ["not seen so before", "removed [HOME]/homes/a/shop"] {
        test.args(AT_ONCE).user(NOBODY).stdout_has(text).run();
    }
}

#[test]
fn a_project_on_a_disk_that_is_not_mounted_is_kept() {
    let test = Test::new();
    test.mkdir("disk");
    let script = "
        mount -t tmpfs none \"$HOME/disk\"
        mkdir \"$HOME/disk/shop\"
        \"$portclaim\" allocate disk/shop
        rmdir \"$HOME/disk/shop\"
        \"$portclaim\" prune --older-than 0s
        umount \"$HOME/disk\"
        \"$portclaim\" prune --older-than 0s";
    let Some(call) = test.mounting(script, "an unmounted disk") else {
        return;
    };
    let port = test.port(0);
    let what = format!("[HOME]/disk/shop {port}:");
    call.stdout_has(format!(
        "{port}\nmissing {what} not seen so before; a run in 0 s or later removes it\nkept {what} the directory \
         around it lies on another device than it did: perhaps a disk is not mounted\n"
    ))
    .run();
}

#[test]
fn a_project_whose_device_is_not_known_goes_only_by_force() {
    let test = Test::new();
    let port = test.port(0);
    test.args(["allocate", "shop"])
        .any_stdout()
        .any_stderr()
        .run();
    test.assert_kept("shop", "it is not known which device it lay on");
    test.args(["prune", "--force", "shop", "--dry-run"])
        .stdout(format!("would remove [HOME]/shop {port}\n"))
        .run();
    test.assert_shows("shop", port);
    test.args(["prune", "--force", "shop"])
        .stdout(format!("removed [HOME]/shop {port}\n"))
        .run();
    test.args(["prune", "--force", "shop"])
        .stderr("warning: [HOME]/shop has no port\n")
        .code(1)
        .run();
    test.assert_healthy();
}

#[test]
fn force_removes_no_project_that_is_there() {
    let test = Test::of_three();
    test.args(["prune", "--force", "shop"])
        .stdout(format!(
            "kept [HOME]/shop {}: its directory is there\n",
            test.port(0)
        ))
        .code(1)
        .run();
    test.assert_shows("shop", test.port(0));
    // A link in its place is not its directory.
    fs::remove_dir(test.path("shop")).expect("it is empty");
    symlink("nowhere", test.path("shop")).expect("a link");
    let shop = test.path("shop");
    let shop = shop.to_str().expect("UTF-8");
    test.args(["prune", "--force", shop])
        .stdout_has("removed [HOME]/shop")
        .run();
    assert_eq!(test.records().len(), 4);
}

#[test]
fn a_prune_is_told_as_json() {
    let test = without_shop();
    let first = test.pruned(&[]);
    assert_eq!(first["project"], json!("[HOME]/shop"));
    assert_eq!(
        first["ports"],
        json!([{"port": test.port(0), "service": ""}])
    );
    assert_eq!(
        (&first["outcome"], &first["since"]),
        (&json!("missing"), &Value::Null)
    );
    let second = test.pruned(&[]);
    assert!(
        second["since"]
            .as_u64()
            .is_some_and(|since| since > 1_500_000_000)
    );
    let third = test.pruned(&["--older-than", "0s"]);
    assert_eq!(third["outcome"], json!("removed"));
    test.args(["allocate", "gone"])
        .any_stdout()
        .any_stderr()
        .run();
    let kept = test.pruned(&[]);
    assert_eq!(
        (&kept["outcome"], &kept["reason"]),
        (&json!("kept"), &json!("unknown-device"))
    );
}

#[test]
fn a_time_that_is_none_is_refused() {
    let test = without_shop();
    let long = "9".repeat(30);
    for nonsense in [
        "",
        "h",
        "24",
        "-1h",
        "1.5h",
        "1 h",
        "1y",
        "h24",
        "99999999999999999d",
        &long,
    ] {
        let flag = format!("--older-than={nonsense}");
        test.args(["prune", &flag]).any_stderr().code(2).run();
    }
    for time in ["90s", "30min", "30m", "24h", "365d"] {
        test.args(["prune", "--dry-run", "--older-than", time])
            .any_stdout()
            .run();
    }
    assert!(test.sightings().is_empty());
}

#[test]
fn exhaustion_suggests_it_and_nothing_else_calls_it() {
    let test = Test::with_ports(1);
    test.project("shop", test.port(0));
    fs::remove_dir(test.path("shop")).expect("it is empty");
    test.mkdir("blog");
    for _ in 0..2 {
        test.args(["allocate", "blog"])
            .stderr_has("portclaim prune for those of deleted directories")
            .code(1)
            .run();
    }
    assert!(!test.root().join("missing").exists());
    for _ in 0..2 {
        test.args(AT_ONCE).any_stdout().run();
    }
    test.args(["allocate", "blog"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
}

#[test]
fn damaged_sightings_are_made_again_and_foreign_files_are_found() {
    let test = without_shop();
    test.args(AT_ONCE).any_stdout().run();
    let sighting = test.sightings().remove(0);
    for damage in ["", "12", "x\n", "\0\0\0\n"] {
        fs::write(&sighting, damage).expect("it is ours");
        test.args(AT_ONCE).stdout_has("not seen so before").run();
    }
    let missing = test.root().join("missing");
    fs::write(missing.join("notes.txt"), "mine\n").expect("it is ours");
    chmod(&sighting, 0o644);
    chmod(&missing, 0o755);
    let said = test
        .args(["doctor"])
        .code(1)
        .stderr_has("--fix")
        .any_stdout()
        .run();
    for found in [
        "foreign-file: [HOME]/.config/litellm/missing/notes.txt",
        "permissions: [HOME]/.config/litellm/missing:",
    ] {
        assert!(said.stdout.contains(found), "{}", said.stdout);
    }
    test.args(["doctor", "--fix"]).any_stdout().run();
    assert!(test.root().join("quarantine/notes.txt").exists());
    test.assert_healthy();
    // A file in its place.
    fs::remove_dir_all(&missing).expect("it is ours");
    fs::write(&missing, "mine\n").expect("it is ours");
    test.args(["prune"])
        .stderr_has("failed to open")
        .code(2)
        .run();
    test.args(["doctor"])
        .stdout_has("it is no directory")
        .any_stderr()
        .code(1)
        .run();
    test.args(["doctor", "--fix"]).any_stdout().run();
    test.args(["prune"]).stdout_has("not seen so before").run();
    test.assert_healthy();
}

#[test]
fn a_reset_moves_the_sightings_away() {
    let test = without_shop();
    test.args(AT_ONCE).any_stdout().run();
    test.args(["reset", "--yes"]).any_stdout().run();
    assert!(!test.root().join("missing").exists());
    assert_eq!(entries(&test.root().join("backups/1/missing")).len(), 1);
    test.assert_healthy();
}

#[test]
fn a_project_that_moved_is_on_the_device_of_its_new_place() {
    let test = Test::of_three();
    test.rename("shop", "store");
    test.args(["move", "shop", "store"]).any_stdout().run();
    fs::remove_dir(test.path("store")).expect("it is empty");
    for text in ["not seen so before", "removed [HOME]/store"] {
        test.args(AT_ONCE).stdout_has(text).run();
    }
    test.assert_healthy();
}
