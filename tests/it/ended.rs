//! Claims whose terms are over: their holders ask for them again, in other ways, and others want their ports.

use std::fs::File;
use std::time::{Duration, SystemTime};

use portclaim::{ErrorKind, Owner, Port, PortRange, Request};

use crate::harness::Test;
use crate::scene::{Scene, port};
use crate::server::Server;
use crate::terms::{HOUR, MINUTE, let_pass, process};

#[test]
fn what_is_over_is_claimed_anew_as_it_is_asked_for() {
    let test = Test::with_ports(1);
    test.mkdir("shop");
    test.mkdir("other");
    let owner = process();
    let lives = owner.id().to_string();
    let told = format!("{}\n", test.port(0));
    let ended = || process().id().to_string();
    let terms: [&[&str]; 3] = [&[], &["--ttl", "1h"], &["--owner-pid", &lives]];
    for terms in terms {
        for is_time in [true, false] {
            let first = process();
            let pid = first.id().to_string();
            let before = if is_time {
                ["--ttl", "1h"]
            } else {
                ["--owner-pid", &pid]
            };
            let call = test.args(["allocate", "shop"]).with_args(before);
            call.stdout(&told).run();
            drop(first);
            if is_time {
                let_pass(&test, test.port(0), HOUR * 2);
            }
            let call = test.args(["allocate", "shop"]).with_args(terms);
            call.stdout(&told).run();
            test.args(["allocate", "other"]).any_stderr().code(1).run();
            let call = test.args(["remove", "shop"]);
            call.any_stdout().run();
        }
    }
    // What is not over stays as it is.
    let call = test.args(["allocate", "shop", "--owner-pid", &lives]);
    call.stdout(&told).run();
    let call = test.args(["allocate", "shop"]).stdout(&told);
    call.stderr_has("for a time").run();
    let dead = ended();
    let call = test.args(["allocate", "shop", "--owner-pid", &dead]);
    call.any_stderr().code(2).run();
    test.assert_healthy();
}

/// Lets a minute pass for a claim, and takes its lock, as a process that is scheduled out before it has removed it.
fn being_taken_away(scene: &Scene, port: Port) -> File {
    let path = scene.root().join(format!("ports/{port}.claim"));
    let file = File::options().write(true).open(path);
    let file = file.expect("it is there");
    let date = SystemTime::now() - MINUTE;
    file.set_modified(date).expect("it is ours");
    file.lock().expect("nobody has it");
    file
}

#[test]
fn what_is_over_and_being_taken_away_is_waited_for_by_its_holder() {
    let scene = Scene::new(1);
    let registry = scene.registry();
    let shard = Request::new(scene.holder("shard"));
    let claim = registry.claim(&shard.clone().for_time(MINUTE));
    let record = claim.expect("it is free").keep();
    let file = being_taken_away(&scene, record.port());
    let owner = Owner::of(std::process::id()).expect("it lives");
    let claim = std::thread::scope(|scope| {
        let claim = scope.spawn(|| registry.claim(&shard.owned_by(owner)));
        std::thread::sleep(Duration::from_millis(50));
        file.unlock().expect("it is locked");
        claim.join().expect("no panic")
    });
    assert_eq!(claim.expect("it is its own").port(), record.port());
    // Nothing was changed as often as it was tried.
    assert!(scene.marks().is_empty(), "{:?}", scene.marks());
}

/// A registry of four ports, and a request for a block of three that it has no room for: the second is another
/// project's. The last is not of the block's range.
fn without_room(scene: &Scene) -> Request {
    let range = scene.range();
    let all = range.first().get();
    let other = Request::new(scene.holder("other")).port(port(all + 1));
    let claim = scene.registry().claim(&other);
    drop(claim.expect("it is free").keep());
    let block = PortRange::new(range.first(), port(all + 2)).expect("ascending");
    Request::new(scene.holder("block")).within(block)
}

#[test]
fn what_is_over_is_left_where_it_is_of_no_use() {
    let scene = Scene::new(4);
    let registry = scene.registry();
    let block = without_room(&scene);
    let last = scene.range().last();
    let ended = Request::new(scene.holder("ended")).port(last);
    let ended = ended.for_time(Duration::from_secs(1));
    let record = registry.claim(&ended).expect("it is free").keep();
    let kept = Request::new(scene.holder("kept"));
    std::thread::sleep(Duration::from_millis(1100));
    let error = registry.claim_block(&block, 3).expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    // Nor where the port is excluded.
    let first = scene.range().first();
    let excluding = scene
        .options()
        .exclude([PortRange::new(last, last).expect("one")]);
    let excluding = excluding.open(scene.root()).expect("it opens");
    let filled: Vec<_> = [first, port(first.get() + 2)]
        .map(|port| Request::new(scene.holder(port)).port(port))
        .iter()
        .map(|request| registry.claim(request).expect("it is free").keep())
        .collect();
    let error = excluding.claim(&kept).expect_err("all are held");
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    let holder = scene.holder("ended");
    let found = registry.find(&holder).expect("it is read");
    assert_eq!(found, Some(record), "of {filled:?}");
}

#[test]
fn a_block_waits_for_a_port_that_another_process_is_taking_away() {
    let scene = Scene::new(3);
    let registry = scene.registry();
    let shard = Request::new(scene.holder("shard")).for_time(MINUTE);
    let record = registry.claim(&shard).expect("it is free").keep();
    let file = being_taken_away(&scene, record.port());
    let block = Request::new(scene.holder("block"));
    let claims = std::thread::scope(|scope| {
        let claims = scope.spawn(|| registry.claim_block(&block, 3));
        std::thread::sleep(Duration::from_millis(50));
        file.unlock().expect("it is locked");
        claims.join().expect("no panic")
    });
    assert_eq!(claims.expect("the time is over").len(), 3);
}

#[test]
fn a_block_with_a_hole_is_given_back_as_a_whole() {
    let test = Test::with_ports(3);
    test.mkdir("shop");
    test.mkdir("other");
    let ports = [0, 1, 2].map(|at| test.port(at));
    let call = test.args(["allocate", "shop", "--count", "3", "--ttl", "1h"]);
    call.any_stdout().run();
    let_pass(&test, ports[1], HOUR * 2);
    let call = test.args(["allocate", "other"]);
    call.stdout(format!("{}\n", ports[1])).run();
    // The port in the middle is another project's.
    let said = test.args(["env", "shop"]).any_stdout().run();
    assert!(!said.stdout.contains("COUNT"), "{}", said.stdout);
    let said = test.args(["remove", "shop"]).any_stdout().run();
    assert_eq!(said.stdout.lines().count(), 2, "{}", said.stdout);
    assert!(
        said.stdout.contains(&ports[2].to_string()),
        "{}",
        said.stdout
    );
    let call = test.args(["remove", "shop"]).any_stderr();
    call.code(1).run();
    test.assert_shows("other", ports[1]);
    test.assert_healthy();
}

#[test]
fn a_time_that_was_made_longer_moves_with_its_port() {
    let scene = Scene::new(1);
    let registry = scene.registry();
    let [old, new] = ["old", "new"].map(|name| scene.holder(name));
    let claim = registry.claim(&Request::new(old.clone()).for_time(MINUTE));
    let record = claim.expect("it is free").keep();
    assert!(registry.renew(&record, HOUR).expect("renews"));
    let moved = registry.move_project(old.project(), new.project());
    let moved = moved.expect("it moves");
    let expires = registry.expires(&moved[0]).expect("reads");
    let expires = expires.expect("it was given for a time");
    assert!(expires > SystemTime::now() + HOUR - MINUTE, "{expires:?}");
    // The claim before is gone, and so is its time.
    assert_eq!(registry.expires(&record).expect("reads"), None);
}

/// Claims a block of three for an hour, and lets two go by.
fn ended_block(test: &Test) -> [u16; 3] {
    let ports = [0, 1, 2].map(|at| test.port(at));
    test.mkdir("shop");
    test.mkdir("other");
    let call = test.args(["allocate", "shop", "--count", "3", "--ttl", "1h"]);
    call.stdout(told(ports)).run();
    for port in ports {
        let_pass(test, port, HOUR * 2);
    }
    ports
}

fn told(ports: [u16; 3]) -> String {
    ports.map(|port| format!("{port}\n")).concat()
}

#[test]
fn a_block_that_is_over_is_claimed_anew_under_its_project_s_own_server() {
    let test = Test::with_ports(6);
    let ports = ended_block(&test);
    let _server = Server::start(ports[1], &test.path("shop"));
    for _ in 0..2 {
        let call = test.args(["allocate", "shop", "--count", "3"]);
        call.stdout(told(ports)).run();
    }
    test.assert_healthy();
}

#[test]
fn a_block_that_is_over_and_in_part_another_project_s_is_not_waited_for() {
    let test = Test::with_ports(6);
    let ports = ended_block(&test);
    let middle = ports[1].to_string();
    let call = test.args(["allocate", "other", "--port", &middle]);
    call.any_stdout().run();
    // While a program listens on a port, it is not given away.
    let server = Server::start(ports[2], &test.path("shop"));
    for _ in 0..2 {
        let call = test.args(["allocate", "shop", "--count", "3", "--ttl", "1h"]);
        call.stderr_has("is taken").code(1).run();
    }
    drop(server);
    let next = [3, 4, 5].map(|at| test.port(at));
    let call = test.args(["allocate", "shop", "--count", "3", "--ttl", "1h"]);
    call.stdout(told(next)).run();
    // What has not ended stays where it is.
    let call = test.args(["allocate", "shop", "--count", "4"]);
    call.stderr_has("there are no 4 free ports").code(1).run();
    let call = test.args(["allocate", "shop", "--count", "3"]);
    call.stdout(told(next)).any_stderr().run();
    for port in next {
        let_pass(&test, port, HOUR * 2);
    }
    let call = test.args(["allocate", "shop", "--count", "4"]);
    let four = format!("{}\n{}", ports[2], told(next));
    call.stdout(four).run();
    test.assert_healthy();
}
