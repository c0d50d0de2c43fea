//! A long registry file, which no command waits for.

use std::time::Duration;

use portclaim::{IndexPolicy, Notice, Request};
use serde_json::Value;

use crate::scene::{Done, Scene};

/// How often it is looked for what comes about by itself: for 20 seconds.
const LOOKS: u32 = 400;

/// Returns a registry whose file is too long to be written after each change.
fn long_registry(scene: &Scene) -> String {
    let first = scene.project("first");
    scene.run_at_once(&[vec!["allocate", &first]]);
    let path = scene.root().join("port_registry.json");
    let text = std::fs::read_to_string(&path).expect("the registry file");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    file["notes"] = "x".repeat(300 * 1024).into();
    std::fs::write(&path, file.to_string()).expect("writes");
    scene.run_at_once(&[vec!["index"]]);
    first
}

fn shows(scene: &Scene, project: &str) -> bool {
    scene.mappings().contains_key(project)
}

#[test]
fn a_long_file_follows_when_it_is_asked_to() {
    let scene = Scene::new(8);
    long_registry(&scene);
    let options = scene.options().index(IndexPolicy::Defer);
    let registry = options.open(scene.root()).expect("opens");
    let request = Request::new(scene.holder("shop"));
    let record = registry.claim(&request).expect("a port").keep();
    let path = registry.index_path();
    assert_eq!(registry.take_notices(), [Notice::IndexDeferred { path }]);
    assert!(!shows(&scene, record.project().as_str()), "nobody wrote it");

    registry.refresh_when_quiet().expect("writes");
    assert!(shows(&scene, record.project().as_str()));
    assert_eq!(scene.marks(), [""; 0]);
    registry.release(&record).expect("releases");
    assert!(shows(&scene, record.project().as_str()), "nobody wrote it");
    registry.refresh_when_quiet().expect("writes");
    assert!(!shows(&scene, record.project().as_str()));
}

#[test]
fn a_short_file_follows_at_once() {
    let scene = Scene::new(8);
    let options = scene.options().index(IndexPolicy::Defer);
    let registry = options.open(scene.root()).expect("opens");
    let request = Request::new(scene.holder("shop"));
    let record = registry.claim(&request).expect("a port").keep();
    assert_eq!(registry.take_notices(), []);
    assert!(shows(&scene, record.project().as_str()));
}

#[test]
fn after_a_burst_a_long_file_shows_everything_by_itself() {
    let scene = Scene::new(100);
    let first = long_registry(&scene);
    let projects: Vec<String> = (0..32).map(|number| scene.project(number)).collect();
    let calls: Vec<Vec<&str>> = projects
        .iter()
        .map(|project| vec!["allocate", project])
        .collect();
    let told = scene.run_at_once(&calls);
    assert!(told.iter().all(|done| done.stderr.is_empty()), "{told:?}");
    for _ in 0..LOOKS {
        if scene.marks().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(scene.marks(), [""; 0], "nobody brought it up to date");
    let mappings = scene.mappings();
    for (project, done) in projects.iter().zip(&told) {
        assert_eq!(mappings.get(project), Some(&Done::port(done)), "{project}");
    }
    assert!(shows(&scene, &first));
    scene.assert_settled();
}

#[test]
fn what_a_killed_refresh_left_the_next_command_makes_up_for() {
    let scene = Scene::new(8);
    long_registry(&scene);
    // Whoever is asked to refresh the file is killed: here, nobody ever does.
    let options = scene.options().index(IndexPolicy::Defer);
    let registry = options.open(scene.root()).expect("opens");
    let request = Request::new(scene.holder("shop"));
    let record = registry.claim(&request).expect("a port").keep();
    assert_eq!(scene.marks().len(), 1);
    assert_eq!(scene.list().len(), 2, "the list is that of the claims");
    scene.run_at_once(&[vec!["index"]]);
    assert!(shows(&scene, record.project().as_str()));
    assert_eq!(scene.marks(), [""; 0]);
}

#[test]
fn a_port_that_was_given_back_is_not_taken_from_a_file_that_is_behind() {
    let scene = Scene::new(8);
    long_registry(&scene);
    let options = scene.options().index(IndexPolicy::Defer);
    let registry = options.open(scene.root()).expect("opens");
    let request = Request::new(scene.holder("shop"));
    let record = registry.claim(&request).expect("a port").keep();
    registry.refresh_when_quiet().expect("writes");
    registry.release(&record).expect("releases");
    assert!(shows(&scene, record.project().as_str()), "nobody wrote it");
    // Another program uses it: that is asked of a new port, and not of one that is found again.
    let port = registry.claim(&request).expect("a port").port();
    assert_eq!(port, scene.range().after(record.port()));
}

#[test]
fn who_asks_whether_somebody_waits_is_not_taken_for_one_who_does() {
    let scene = Scene::new(8);
    long_registry(&scene);
    let waiter = scene.root().join("index/waiter");
    let waiter = std::fs::File::create(waiter).expect("creates");
    let options = scene.options().index(IndexPolicy::Defer);
    let registry = options.open(scene.root()).expect("opens");
    waiter.lock_shared().expect("locks");
    let request = Request::new(scene.holder("shop"));
    let _ = registry.claim(&request).expect("a port");
    assert_eq!(registry.take_notices().len(), 1, "nobody waits");

    waiter.unlock().expect("unlocks");
    waiter.lock().expect("locks");
    let request = Request::new(scene.holder("blog"));
    let _ = registry.claim(&request).expect("a port");
    assert_eq!(registry.take_notices(), [], "somebody waits");
}

#[test]
fn what_lies_in_the_waiters_place_keeps_nobody_from_writing() {
    let scene = Scene::new(8);
    long_registry(&scene);
    let waiter = scene.root().join("index/waiter");
    let _ = std::fs::remove_file(&waiter);
    std::fs::create_dir(&waiter).expect("a directory");
    let options = scene.options().index(IndexPolicy::Defer);
    let registry = options.open(scene.root()).expect("opens");
    let request = Request::new(scene.holder("shop"));
    let record = registry.claim(&request).expect("a port").keep();
    registry.refresh_when_quiet().expect("writes");
    assert!(shows(&scene, record.project().as_str()));
}

#[test]
fn any_number_of_changes_is_followed_by_one_refresh() {
    let scene = Scene::new(8);
    scene.allocate(&scene.project("first"));
    let port = scene.range().last();
    // As many releases as a library may have marked only.
    for number in 0..2000 {
        let mark = format!("index/changed-{port}-{number:032x}");
        std::fs::write(scene.root().join(mark), "").expect("writes");
    }
    scene.registry().refresh_when_quiet().expect("writes");
    assert_eq!(scene.marks(), [""; 0]);
}
