//! What others do to the registry's files at a bad moment.

use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use portclaim::Request;

use crate::scene::Scene;

/// Writes the registry file in place, as on a file system whose times are whole seconds.
fn write_at(scene: &Scene, seconds: u64, text: &str) {
    let path = scene.root().join(portclaim::DEFAULT_FILE_NAME);
    std::fs::write(&path, text).expect("writes");
    let file = File::options().write(true).open(&path).expect("opens");
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    file.set_modified(time).expect("sets the time");
}

fn text(scene: &Scene) -> String {
    let path = scene.root().join(portclaim::DEFAULT_FILE_NAME);
    std::fs::read_to_string(path).expect("the registry file")
}

#[test]
fn a_second_write_within_one_tick_of_the_clock_is_not_missed() {
    let scene = Scene::new(50);
    let registry = scene.registry();
    let (old, new) = (scene.holder("old"), scene.holder("new"));
    let port = registry.claim(&Request::new(old.clone())).expect("a port");
    let port = port.port();
    // Not before the time of the change itself: on such a file system both are equal.
    let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs() + 10;
    let noted = text(&scene).replacen("\"version\"", "\"x\": 1, \"version\"", 1);
    write_at(&scene, now, &noted);
    assert_eq!(registry.find(&new).expect("looks"), None);

    let mapping = |project: &str, port| format!("\"{project}\": {port}");
    let edited = noted.replacen(
        &mapping(old.project().as_str(), port),
        &mapping(new.project().as_str(), scene.range().last()),
        1,
    );
    assert!(edited != noted && edited.len() == noted.len());
    write_at(&scene, now, &edited);
    let found = registry.find(&new).expect("looks");
    assert_eq!(
        found.map(|record| record.port()),
        Some(scene.range().last())
    );
}

#[test]
fn a_mapping_whose_port_is_being_claimed_is_adopted_once_that_is_over() {
    let scene = Scene::new(3);
    let first = scene.project("first");
    scene.allocate(&first);
    // A claimer that is stopped.
    let port = scene.range().after(scene.range().first());
    let claim = scene.root().join(format!("ports/{port}.claim"));
    let claim = File::create_new(claim).expect("creates");
    claim.lock().expect("locks");
    let theirs = scene.project("theirs");
    let mapped = text(&scene).replacen(
        "\"mappings\": {",
        &format!("\"mappings\": {{ \"{theirs}\": {port},"),
        1,
    );
    std::fs::write(scene.root().join(portclaim::DEFAULT_FILE_NAME), mapped).expect("writes");
    assert_eq!(scene.list().get(&theirs), None);
    assert_eq!(scene.mappings().get(&theirs), Some(&port.get()));

    drop(claim);
    let others = [scene.project("a"), scene.project("b")];
    scene.allocate(&others[0]);
    assert_eq!(scene.run(&["allocate", &others[1]]).code, Some(1));
    assert_eq!(scene.list().get(&theirs), Some(&port.get()));
    scene.assert_settled();
}

#[test]
fn a_turn_that_others_wrote_into_goes_on() {
    for garbage in [vec![b'x'; 300], vec![0; 4096]] {
        let scene = Scene::new(8);
        scene.allocate(&scene.project("first"));
        std::fs::write(scene.root().join("index/turn"), garbage).expect("writes");
        let mut told = Vec::new();
        for name in ["a", "b", "c"] {
            let project = scene.project(name);
            told.push(scene.allocate(&project));
            assert_eq!(scene.run(&["remove", &project]).code, Some(0));
        }
        told.dedup();
        assert_eq!(told.len(), 3, "a port that was given back: {told:?}");
    }
}

#[test]
fn a_claim_of_a_later_version_stays_in_the_registry_file() {
    let scene = Scene::new(8);
    let (theirs, ours) = (scene.project("theirs"), scene.project("ours"));
    let port = scene.allocate(&theirs);
    scene.allocate(&ours);
    let claim = scene.root().join(format!("ports/{port}.claim"));
    let record = std::fs::read_to_string(&claim).expect("a record");
    std::fs::write(&claim, record.replace("\"format\":1", "\"format\":9")).expect("writes");
    assert_eq!(scene.run(&["index"]).code, Some(0));
    assert_eq!(scene.mappings().get(&theirs), Some(&port));
    assert_eq!(scene.mappings().len(), 2);
}
