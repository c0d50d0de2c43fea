//! Two registries that went their own ways, and whose files are then copied together, as a
//! tool that synchronizes directories does, or a distributed file system.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use portclaim::{DEFAULT_FILE_NAME, Request};
use serde_json::Value;

use crate::scene::{Random, Scene, names, rounds};

/// What becomes of two different files of one name.
#[derive(Clone, Copy, Debug)]
enum Merge {
    /// The one that is copied here wins.
    Theirs,
    /// The one that is here stays.
    Ours,
    /// Sometimes this one, sometimes that: clocks that differ.
    Either,
    /// The one that is copied here wins, the other is kept under a name that says so.
    Copies,
}

/// Copies everything of `from` into `to`, and the permissions with it.
fn merge(from: &Utf8Path, to: &Utf8Path, how: Merge, random: &mut Random) {
    std::fs::create_dir_all(to).expect("a directory");
    let permissions = std::fs::metadata(from).expect("a directory").permissions();
    std::fs::set_permissions(to, permissions).expect("to change it");
    for name in names(from) {
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            merge(&source, &target, how, random);
            continue;
        }
        if let Ok(there) = std::fs::read(&target) {
            if there == std::fs::read(&source).expect("a file") {
                continue;
            }
            match how {
                Merge::Ours => continue,
                Merge::Either if random.below(2) == 0 => continue,
                Merge::Theirs | Merge::Either => {}
                Merge::Copies => {
                    let aside = to.join(format!("{name} (conflicted copy)"));
                    std::fs::rename(&target, aside).expect("to rename it");
                }
            }
            // Such tools write a new file and rename it: claims are read-only.
            let _ = std::fs::remove_file(&target);
        }
        std::fs::copy(&source, &target).expect("to copy it");
    }
}

/// One registry as two machines had it, after each has used its own copy.
struct Diverged {
    /// Has the projects and the port range of both.
    scene: Scene,
    there: Utf8PathBuf,
    projects: Vec<String>,
}

/// Begins with some common claims; then each side gives ports back and out.
fn diverge(random: &mut Random) -> Diverged {
    let scene = Scene::new(24);
    let projects: Vec<String> = (0..16).map(|n| scene.project(n)).collect();
    let registry = scene.registry();
    for n in 0..6 {
        let claim = registry.claim(&Request::new(scene.holder(n)));
        assert!(claim.expect("a port").is_new());
    }
    let there = scene.home().join("there");
    let kept = scene.home().join("kept");
    merge(&scene.root(), &there, Merge::Theirs, random);
    use_it(&scene, random);
    // The program's registry is the one at `root`: the other one takes its place for a while.
    std::fs::rename(scene.root(), &kept).expect("to rename it");
    std::fs::rename(&there, scene.root()).expect("to rename it");
    use_it(&scene, random);
    std::fs::rename(scene.root(), &there).expect("to rename it");
    std::fs::rename(&kept, scene.root()).expect("to rename it");
    Diverged {
        scene,
        there,
        projects,
    }
}

fn use_it(scene: &Scene, random: &mut Random) {
    let registry = scene.registry();
    for _ in 0..14 {
        let holder = scene.holder(random.below(16));
        if random.below(3) == 0 {
            registry.release_holder(&holder).expect("to release it");
        } else {
            let claim = registry.claim(&Request::new(holder)).expect("a port");
            assert!(scene.range().contains(claim.port()));
        }
    }
    scene.assert_settled();
}

/// The files of a directory that are records, by name.
fn read(directory: &Utf8Path) -> BTreeMap<String, Value> {
    names(directory)
        .into_iter()
        .filter(|name| name.strip_suffix(".claim").is_some())
        .map(|name| {
            let bytes = std::fs::read(directory.join(&name)).expect("a file");
            (name, serde_json::from_slice(&bytes).expect("a record"))
        })
        .collect()
}

/// Reads who holds which port from the files themselves, and asserts that it is a matching.
fn held(scene: &Scene) -> BTreeMap<String, u16> {
    let claims = read(&scene.root().join("ports"));
    let commits = read(&scene.root().join("projects"));
    let mut held = BTreeMap::new();
    let mut ports = BTreeSet::new();
    for commit in commits.values() {
        let port = commit["port"].as_u64().expect("a number");
        let claim = claims.get(&format!("{port}.claim"));
        if claim.is_none_or(|claim| claim["nonce"] != commit["nonce"]) {
            continue;
        }
        assert!(ports.insert(port), "{port} has two holders");
        let project = commit["project"].as_str().expect("a string").to_owned();
        let port = u16::try_from(port).expect("a port");
        let before = held.insert(project, port);
        assert_eq!(before, None, "{commit} holds two ports");
    }
    held
}

/// Asserts that every project is told a port of its own, and those that hold one this one.
fn allocate_all(scene: &Scene, projects: &[String], held: &BTreeMap<String, u16>) {
    let mut ports = BTreeSet::new();
    for project in projects {
        let told = scene.allocate(project);
        assert!(ports.insert(told), "{told} was told twice");
        if let Some(&held) = held.get(project) {
            assert_eq!(told, held, "{project} held this one");
        }
    }
    for project in projects {
        assert!(ports.contains(&scene.allocate(project)), "{project}");
    }
}

fn try_out(times: usize, how: Merge, check: impl Fn(&Diverged, &BTreeMap<String, u16>)) {
    let mut random = Random::new();
    for _ in 0..times * rounds() {
        let diverged = diverge(&mut random);
        let (here, there) = (diverged.scene.root(), &diverged.there);
        // In either direction: the other machine's registry is looked at in place of this one.
        if random.below(2) == 0 {
            merge(there, &here, how, &mut random);
        } else {
            merge(&here, there, how, &mut random);
            std::fs::remove_dir_all(&here).expect("to remove it");
            std::fs::rename(there, &here).expect("to rename it");
        }
        let held = held(&diverged.scene);
        check(&diverged, &held);
    }
}

/// After a repair.
fn mended(how: Merge) {
    try_out(3, how, |diverged, held| {
        let Diverged {
            scene, projects, ..
        } = diverged;
        for project in projects {
            assert_eq!(scene.show(project), held.get(project).copied(), "{project}");
        }
        assert_eq!(scene.findings(&["--fix"]), [""; 0], "after a repair");
        assert_eq!(scene.findings(&[]), [""; 0], "after a repair");
        let listed = scene.list();
        for (project, port) in held {
            assert_eq!(listed.get(project), Some(port), "{project} held this one");
        }
        assert_eq!(scene.mappings(), listed, "the registry file");
        allocate_all(scene, projects, &listed);
        assert_eq!(scene.list().len(), projects.len());
        assert_eq!(scene.mappings(), scene.list(), "the registry file");
        assert_eq!(scene.findings(&[]), [""; 0], "at the end");
    });
}

#[test]
fn a_merge_that_overwrites_is_mended() {
    mended(Merge::Theirs);
}

#[test]
fn a_merge_that_adds_what_is_missing_is_mended() {
    mended(Merge::Ours);
}

#[test]
fn a_merge_that_takes_files_from_either_side_is_mended() {
    mended(Merge::Either);
}

#[test]
fn a_merge_that_keeps_conflicted_copies_is_mended() {
    mended(Merge::Copies);
}

#[test]
fn a_merged_registry_is_safe_before_it_is_mended() {
    for how in [Merge::Theirs, Merge::Ours, Merge::Either, Merge::Copies] {
        try_out(1, how, |diverged, before| {
            let Diverged {
                scene, projects, ..
            } = diverged;
            allocate_all(scene, projects, before);
            let after = held(scene);
            assert_eq!(after.len(), projects.len(), "{how:?}");
            // Who had a port can give it back.
            for (project, port) in &after {
                let done = scene.run(&["remove", project]);
                assert_eq!(done.stdout, format!("{port} {project}\n"), "{done:?}");
                assert_eq!(scene.show(project), None, "{how:?}");
            }
        });
    }
}

#[test]
fn the_loser_of_a_merge_is_told_a_new_port() {
    // The smallest case, in full: one port, two projects.
    let scene = Scene::new(8);
    let (ours, theirs) = (scene.project("ours"), scene.project("theirs"));
    let told = scene.allocate(&ours);
    let kept = scene.home().join("kept");
    std::fs::rename(scene.root(), &kept).expect("to rename it");
    assert_eq!(scene.allocate(&theirs), told, "the same port elsewhere");
    merge(&kept, &scene.root(), Merge::Theirs, &mut Random::new());

    assert_eq!(scene.show(&ours), Some(told));
    assert_eq!(scene.show(&theirs), None);
    let new = scene.allocate(&theirs);
    assert_ne!(new, told);
    assert_eq!(scene.allocate(&ours), told);
    let both = BTreeMap::from([(ours, told), (theirs, new)]);
    assert_eq!(scene.list(), both);
    assert_eq!(scene.mappings(), both, "the registry file");
    scene.assert_settled();
}

#[test]
fn the_registry_file_of_one_side_with_the_claims_of_the_other_is_put_right() {
    let scene = Scene::new(8);
    let (ours, theirs) = (scene.project("ours"), scene.project("theirs"));
    let told = scene.allocate(&ours);
    let file = scene.root().join(DEFAULT_FILE_NAME);
    let bytes = std::fs::read(&file).expect("the registry file");
    std::fs::remove_dir_all(scene.root()).expect("to remove it");
    assert_eq!(scene.allocate(&theirs), told, "the same port elsewhere");
    std::fs::write(&file, bytes).expect("to write it");

    let held = BTreeMap::from([(theirs, told)]);
    assert_eq!(scene.list(), held);
    assert_eq!(scene.findings(&["--fix"]), [""; 0], "after a repair");
    assert_eq!(scene.mappings(), held, "the registry file");
    assert_eq!(scene.findings(&[]), [""; 0], "at the end");
}

#[test]
fn a_registry_file_alone_brings_its_projects_along() {
    let scene = Scene::new(8);
    let projects = [scene.project("a"), scene.project("b")];
    let told = projects.each_ref().map(|project| scene.allocate(project));
    let file = scene.root().join(DEFAULT_FILE_NAME);
    let bytes = std::fs::read(&file).expect("the registry file");
    std::fs::remove_dir_all(scene.root()).expect("to remove it");
    std::fs::create_dir(scene.root()).expect("a directory");
    std::fs::write(&file, bytes).expect("to write it");
    assert_eq!(scene.allocate(&projects[1]), told[1]);
    assert_eq!(scene.show(&projects[0]), Some(told[0]));
    assert_eq!(scene.findings(&["--fix"]), [""; 0]);
    assert_eq!(scene.mappings(), scene.list());
}
