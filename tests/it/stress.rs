//! `portclaim stress`: a short run is clean, and says what it did.

use serde_json::Value;

use crate::scene::Scene;

/// Returns the members of a JSON object, in order.
fn members(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_short_run_with_kills_is_clean_and_tells_what_it_did() {
    let scene = Scene::new(1);
    let (first, last) = (10_000, 32_000);
    let done = scene.run(&[
        "stress",
        "--json",
        "--seconds",
        "5",
        "--workers",
        "6",
        "--kill-rate",
        "0.1",
        "--port-min",
        &first.to_string(),
        "--port-max",
        &last.to_string(),
        "--dir",
        scene.home().as_str(),
    ]);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
    let told = done.json();
    assert_eq!(
        members(&told),
        [
            "clean",
            "contended",
            "directory",
            "exhausted",
            "filesystem",
            "kill_rate",
            "kills",
            "operations",
            "per_second",
            "range",
            "seconds",
            "seed",
            "stops",
            "undecided",
            "version",
            "violation",
            "workers",
        ]
    );
    assert_eq!(told["version"], 1);
    assert_eq!(told["clean"], true, "{told}");
    assert_eq!(told["violation"], Value::Null);
    assert_eq!(told["directory"], Value::Null, "it was removed");
    assert_eq!(told["undecided"], 0, "{told}");
    assert_eq!(told["workers"], 6);
    assert!(told["seed"].is_u64(), "{told}");
    assert_eq!(members(&told["filesystem"]), ["locks", "name"]);
    let range = &told["range"];
    assert!(range["min"].as_u64() >= Some(first) && range["max"].as_u64() <= Some(last));
    for kind in members(&told["operations"]) {
        let count = told["operations"][kind].as_u64();
        assert!(count > Some(0), "no {kind} in five seconds: {told}");
    }
    assert_eq!(members(&told["operations"]).len(), 19);
    assert!(told["kills"].as_u64() > Some(0), "{told}");
    assert!(told["stops"].as_u64() > Some(0), "{told}");
    let left: Vec<_> = scene.home().read_dir_utf8().expect("a directory").collect();
    assert_eq!(left.len(), 0, "{left:?}");
}

#[test]
fn what_cannot_be_tried_is_refused() {
    let scene = Scene::new(1);
    let stress = |more: &[&str]| scene.run(&[&["stress"], more].concat());
    for (arguments, why) in [
        (
            &["--dir", "missing"][..],
            "failed to make a directory in missing",
        ),
        (&["--registry", "file"], "uses no registry but its own"),
        (
            &["--port-min", "20000", "--port-max", "20001"],
            "free ports in a row",
        ),
        (&["--kill-rate", "2"], "from 0 to 1"),
        (&["--workers", "0"], "invalid value"),
    ] {
        let done = stress(arguments);
        assert_eq!(done.code, Some(2), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(why), "{arguments:?}: {done:?}");
    }
}

#[test]
fn the_worker_is_not_shown() {
    let scene = Scene::new(1);
    for arguments in [&["help"][..], &["man"], &["completions", "fish"]] {
        let done = scene.run(arguments);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stdout.contains("stress"), "{arguments:?}");
        assert!(!done.stdout.contains("stress-worker"), "{arguments:?}");
    }
}
