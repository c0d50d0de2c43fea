//! Ports that are given for a time, or for as long as a process lives.

use std::fs::File;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use portclaim::{ErrorKind, Holder, ProjectPath, Registry, Request};
use serde_json::json;

use crate::harness::{Running, Test};
use crate::scene::Scene;

/// Dates a claim back, as if so long had gone by.
pub(crate) fn let_pass(test: &Test, port: u16, time: Duration) {
    let claim = File::options().write(true).open(test.claim(port));
    let claim = claim.expect("the port has a claim");
    let date = claim
        .metadata()
        .and_then(|meta| meta.modified())
        .expect("a date");
    claim.set_modified(date - time).expect("it is this user's");
}

pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);

pub(crate) fn process() -> Running {
    let child = Command::new("sleep").arg("1000").spawn();
    Running(child.expect("it can be started"))
}

fn row(test: &Test, service: &str) -> serde_json::Value {
    let list = test.args(["list", "--json"]).json();
    let rows = list["claims"].as_array().expect("a list").clone();
    let found = rows.into_iter().find(|row| row["service"] == service);
    found.expect("it is listed")
}

#[test]
fn a_port_that_was_given_for_a_time_is_given_to_others_only_afterwards() {
    let test = Test::with_ports(2);
    test.mkdir("shop");
    for service in ["shard-1", "shard-2"] {
        test.args(["allocate", "shop", "--ttl", "1h", "--service", service])
            .any_stdout()
            .run();
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let expires = row(&test, "shard-1")["expires"].as_u64().expect("a time");
    assert!(expires.abs_diff(now.expect("it is after 1970").as_secs() + 3600) < 60);
    test.mkdir("other");
    let other = |code| {
        test.args(["allocate", "other"])
            .any_stdout()
            .any_stderr()
            .code(code)
            .run()
            .stdout
    };
    let_pass(&test, test.port(0), MINUTE * 59);
    other(1);
    let_pass(&test, test.port(0), MINUTE * 2);
    // It is over, and nobody wanted the port yet.
    test.args(["show", "shop", "--service", "shard-1"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
    // Whoever listens on it needs it still.
    let server = TcpListener::bind(("127.0.0.1", test.port(0))).expect("it is free");
    other(1);
    drop(server);
    assert_eq!(other(0), format!("{}\n", test.port(0)));
    test.args(["show", "shop", "--service", "shard-1"])
        .any_stderr()
        .code(1)
        .run();
    test.assert_healthy();
}

#[test]
fn a_time_is_over_when_it_is_over_whatever_the_part_of_the_second() {
    let scene = Scene::new(1);
    let [shard, other] = ["shard", "other"].map(|name| Request::new(scene.holder(name)));
    let registry = scene.registry();
    for is_renewed in [false, true] {
        // In the second half of a second.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let part = u64::from(now.expect("it is after 1970").subsec_millis());
        std::thread::sleep(Duration::from_millis((1750 - part) % 1000));
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        let claim = registry.claim(&shard.clone().for_time(second));
        let record = claim.expect("it is free").keep();
        if is_renewed {
            assert!(registry.renew(&record, second).expect("renews"));
        }
        std::thread::sleep(second / 2);
        let error = registry.claim(&other).err();
        if begin.elapsed() < second {
            let kind = error.map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::Exhausted), "it was taken away");
        }
        std::thread::sleep(second);
        let claim = registry.claim(&other).expect("the time is over");
        claim.release().expect("releases");
    }
}

#[test]
fn what_is_renewed_for_longer_than_can_be_told_does_not_end_at_once() {
    let scene = Scene::new(1);
    let registry = scene.registry();
    let request = Request::new(scene.holder("shard")).for_time(MINUTE);
    let record = registry.claim(&request).expect("it is free").keep();
    assert!(registry.renew(&record, Duration::MAX).expect("renews"));
    let expires = registry.expires(&record).expect("reads");
    let is_late = |end: SystemTime| end > SystemTime::now() + MINUTE;
    assert!(expires.is_none_or(is_late), "{expires:?}");
    let other = registry.claim(&Request::new(scene.holder("other")));
    assert_eq!(other.expect_err("it holds").kind(), ErrorKind::Exhausted);
}

#[test]
fn what_was_released_is_not_renewed_though_its_file_is_there() {
    let scene = Scene::new(1);
    let registry = scene.registry();
    let request = Request::new(scene.holder("shard")).for_time(MINUTE);
    let record = registry.claim(&request).expect("it is free").keep();
    // Its lock is held, so that the release leaves the file to a sweep.
    let path = scene.root().join(format!("ports/{}.claim", record.port()));
    let file = File::open(&path).expect("it is there");
    file.lock().expect("nobody has it");
    registry.release(&record).expect("releases");
    drop(file);
    assert!(path.exists());
    assert!(
        !registry.renew(&record, MINUTE).expect("reads"),
        "it is gone"
    );
    let other = registry.claim(&Request::new(scene.holder("other")));
    assert_eq!(other.expect("it is swept").port(), record.port());
}

#[test]
fn a_port_that_another_process_is_taking_away_is_waited_for() {
    let scene = Scene::new(1);
    let registry = scene.registry();
    let shard = Request::new(scene.holder("shard")).for_time(MINUTE);
    let other = Request::new(scene.holder("other"));
    let claim = registry.claim(&shard).expect("it is free");
    let port = claim.port();
    claim.release().expect("releases");
    for request in [other.clone(), other.port(port)] {
        drop(registry.claim(&shard).expect("it is free").keep());
        let path = scene.root().join(format!("ports/{port}.claim"));
        let file = File::options()
            .write(true)
            .open(&path)
            .expect("it is there");
        file.set_modified(SystemTime::now() - MINUTE)
            .expect("it is ours");
        // As one that is scheduled out before it has removed it.
        file.lock().expect("nobody has it");
        let claim = std::thread::scope(|scope| {
            let claim = scope.spawn(|| registry.claim(&request));
            std::thread::sleep(Duration::from_millis(50));
            file.unlock().expect("it is locked");
            claim.join().expect("no panic")
        });
        let claim = claim.expect("the time is over");
        assert_eq!(claim.port(), port);
        claim.release().expect("releases");
    }
}

#[test]
fn who_asks_again_has_the_time_again_and_renew_gives_more() {
    let test = Test::with_ports(1);
    test.mkdir("shop");
    let allocate = |ttl| {
        test.args(["allocate", "shop", "--ttl", ttl])
            .stdout(format!("{}\n", test.port(0)))
            .run()
    };
    let left = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.expect("it is after 1970").as_secs();
        row(&test, "")["expires"].as_u64().expect("a time") - now
    };
    allocate("1h");
    let_pass(&test, test.port(0), HOUR * 2);
    allocate("1h");
    assert!((3590..=3600).contains(&left()), "{}", left());
    allocate("30m");
    assert!((1790..=1800).contains(&left()), "{}", left());
    test.args(["renew", "shop", "--ttl", "2d"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
    assert!((172_790..=172_800).contains(&left()), "{}", left());
    test.mkdir("other");
    test.args(["allocate", "other"]).any_stderr().code(1).run();
    // Who asks without a time is told that there is one.
    test.args(["allocate", "shop"])
        .stdout(format!("{}\n", test.port(0)))
        .stderr_has("was given to [HOME]/shop for a time")
        .run();
    assert_eq!(
        test.args(["renew", "shop", "--ttl", "10s", "--json"])
            .json()["claims"][0]["port"],
        test.port(0)
    );
    test.args(["remove", "shop"]).any_stdout().run();
    test.args(["allocate", "shop"]).any_stdout().run();
    test.args(["renew", "shop", "--ttl", "1h"])
        .stderr("warning: [HOME]/shop has a port that was not given for a time\n")
        .code(1)
        .run();
    // What is kept stays so.
    allocate("1s");
    assert_eq!(row(&test, "")["term"], "kept");
    test.args(["renew", "other", "--ttl", "1h"])
        .stderr("warning: [HOME]/other has no port\n")
        .code(1)
        .run();
    test.assert_healthy();
}

#[test]
fn a_port_lives_as_long_as_its_process() {
    let test = Test::with_ports(1);
    test.mkdir("shop");
    test.mkdir("other");
    let first = process();
    let pid = first.id().to_string();
    let allocate = |pid: &str| {
        test.args(["allocate", "shop", "--owner-pid", pid])
            .stdout(format!("{}\n", test.port(0)))
            .run()
    };
    allocate(&pid);
    assert_eq!(row(&test, "")["owner"], json!(first.id()));
    test.args(["allocate", "other"]).any_stderr().code(1).run();
    drop(first);
    // The next process of the same project takes it over.
    let second = process();
    allocate(&second.id().to_string());
    assert_eq!(row(&test, "")["owner"], json!(second.id()));
    test.args(["allocate", "other"]).any_stderr().code(1).run();
    // One that lives keeps it.
    let third = process();
    allocate(&third.id().to_string());
    assert_eq!(row(&test, "")["owner"], json!(second.id()));
    drop(third);
    let server = TcpListener::bind(("127.0.0.1", test.port(0))).expect("it is free");
    drop(second);
    test.args(["allocate", "other"]).any_stderr().code(1).run();
    drop(server);
    test.args(["allocate", "other"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
    test.assert_healthy();
}

#[test]
fn a_certain_port_whose_time_is_over_can_be_had() {
    let test = Test::new();
    test.mkdir("shop");
    test.mkdir("other");
    let port = test.port(3).to_string();
    test.args(["allocate", "shop", "--port", &port, "--ttl", "10m"])
        .any_stdout()
        .run();
    test.args(["allocate", "other", "--port", &port])
        .stderr_has("is taken by [HOME]/shop")
        .code(1)
        .run();
    let_pass(&test, test.port(3), HOUR);
    test.args(["allocate", "other", "--port", &port])
        .stdout(format!("{port}\n"))
        .run();
    test.assert_healthy();
}

#[test]
fn what_has_ended_and_is_asked_for_with_more_is_not_taken_away_for_that() {
    let test = Test::with_ports(2);
    for name in ["shop", "other"] {
        test.mkdir(name);
    }
    let web = ["allocate", "shop", "--ttl", "1h", "--service", "web"];
    test.args(web).any_stdout().run();
    test.args(["allocate", "other"]).any_stdout().run();
    let_pass(&test, test.port(0), HOUR * 2);
    test.args(["allocate", "shop", "--service", "web", "--service", "db"])
        .any_stderr()
        .code(1)
        .run();
    test.args(["show", "shop", "--service", "web"])
        .stdout(format!("{}\n", test.port(0)))
        .run();
}

#[test]
fn times_and_processes_that_cannot_be_are_refused() {
    let test = Test::new();
    test.mkdir("shop");
    for time in [
        "",
        "0s",
        "5",
        "h",
        "-1h",
        "1.5h",
        "1 h",
        "1w",
        "99999d",
        "+1h",
        "18446744073709551615d",
    ] {
        test.args(["allocate", "shop", &format!("--ttl={time}")])
            .stderr_has("a time is a number")
            .code(2)
            .run();
    }
    for pid in ["0", "-1", "4294967295", "x", "999999999999"] {
        test.args(["allocate", "shop", &format!("--owner-pid={pid}")])
            .any_stderr()
            .code(2)
            .run();
    }
    let pid = process().id().to_string();
    test.args(["allocate", "shop", "--owner-pid", &pid])
        .stderr_has(format!("process {pid} cannot own a port"))
        .code(2)
        .run();
    test.args(["allocate", "shop", "--owner-pid", &pid, "--ttl", "1h"])
        .any_stderr()
        .code(2)
        .run();
    assert!(!test.root().exists());
}

#[test]
fn who_renews_and_who_takes_away_at_once_never_both_succeed() {
    let test = Test::with_ports(1);
    let root = camino::Utf8PathBuf::try_from(test.root()).expect("UTF-8");
    let open = || {
        let options = Registry::options().range(test.range().parse().expect("a range"));
        options.open(&root).expect("it opens")
    };
    let holder = |name| Holder::new(ProjectPath::from_normal(format!("/{name}")).expect("normal"));
    let request = Request::new(holder("shop")).for_time(HOUR);
    for _ in 0..50 {
        let registry = open();
        let record = registry.claim(&request).expect("a port").keep();
        let_pass(&test, test.port(0), HOUR * 2);
        let (renewed, taken) = std::thread::scope(|scope| {
            let renewed = scope.spawn(|| registry.renew(&record, HOUR).expect("it is answered"));
            let taken = scope.spawn(|| open().claim(&Request::new(holder("other"))).is_ok());
            (
                renewed.join().expect("no panic"),
                taken.join().expect("no panic"),
            )
        });
        assert_ne!(renewed, taken);
        let holder = holder(if taken { "other" } else { "shop" });
        assert!(
            registry
                .release_holder(&holder)
                .expect("it is answered")
                .is_some()
        );
    }
    test.assert_healthy();
}
