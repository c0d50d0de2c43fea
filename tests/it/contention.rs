//! Many processes at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::scene::{Done, Scene, Stop, rounds};

fn calls<'a>(verb: &'a str, projects: &'a [String]) -> Vec<Vec<&'a str>> {
    projects
        .iter()
        .map(|project| vec![verb, project.as_str()])
        .collect()
}

#[test]
fn sixty_four_projects_that_ask_at_once_have_sixty_four_ports() {
    let scene = Scene::new(200);
    let projects: Vec<String> = (0..64).map(|n| scene.project(n)).collect();
    // The first time, they race for the registry's creation as well.
    for _ in 0..rounds() {
        let told = scene.run_at_once(&calls("allocate", &projects));
        let ports: BTreeSet<u16> = told.iter().map(Done::port).collect();
        assert_eq!(ports.len(), 64, "a port was told twice: {told:?}");
        for done in &told {
            assert_eq!(done.stderr, "", "a warning");
        }
        let listed = scene.list();
        for (project, done) in projects.iter().zip(&told) {
            assert_eq!(listed.get(project), Some(&done.port()), "{project}");
        }
        assert_eq!(listed.len(), 64);
        scene.assert_settled();

        let removed = scene.run_at_once(&calls("remove", &projects));
        for (done, told) in removed.iter().zip(&told) {
            assert_eq!(done.code, Some(0), "{done:?}");
            assert_eq!(done.stderr, "", "a warning");
            assert!(
                done.stdout.starts_with(&told.port().to_string()),
                "{done:?}"
            );
        }
        assert_eq!(scene.list().len(), 0);
        scene.assert_settled();
    }
}

#[test]
fn one_project_that_asks_thirty_two_times_at_once_has_one_port() {
    for _ in 0..3 * rounds() {
        let scene = Scene::new(64);
        let project = scene.project("shop");
        let told = scene.run_at_once(&vec![vec!["allocate", &project, "--json"]; 32]);
        let answers: Vec<_> = told
            .iter()
            .map(|done| {
                assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
                done.json()
            })
            .collect();
        let ports: BTreeSet<_> = answers.iter().map(|json| json["port"].as_u64()).collect();
        assert_eq!(ports.len(), 1, "{ports:?}");
        let new = answers.iter().filter(|json| json["new"] == true).count();
        assert_eq!(new, 1, "how many were told that the port is new");
        assert_eq!(scene.list().len(), 1);
        scene.assert_settled();
    }
}

#[test]
fn one_project_that_is_allocated_and_removed_at_once_is_never_refused() {
    // Few ports, so that others take what the project gives back.
    let scene = Scene::new(6);
    let shop = scene.project("shop");
    let others = [scene.project("a"), scene.project("b")];
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopper = Stop(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let done = scene.run(&["remove", &shop]);
                    assert!(matches!(done.code, Some(0 | 1)), "{done:?}");
                }
            });
        }
        for other in &others {
            let (scene, over) = (&scene, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let told = scene.allocate(other);
                    assert_eq!(scene.show(other), Some(told), "nobody else removes it");
                    let done = scene.run(&["remove", other]);
                    assert_eq!(done.stdout, format!("{told} {other}\n"), "{done:?}");
                }
            });
        }
        let refused: Vec<_> = (0..100 * rounds())
            .map(|_| scene.run(&["allocate", &shop]))
            .filter(|done| done.code != Some(0))
            .collect();
        drop(stopper);
        assert!(
            refused.is_empty(),
            "{} were refused: {:?}",
            refused.len(),
            refused[0]
        );
    });
    let told = scene.allocate(&shop);
    assert_eq!(scene.show(&shop), Some(told));
    assert_eq!(scene.allocate(&shop), told);
    // Removals that met a claimer's lock have left its claim to be swept.
    assert_eq!(scene.findings(&["--fix"]), [""; 0]);
    scene.assert_settled();
}

#[test]
fn ports_change_hands_and_are_never_held_by_two() {
    let scene = Scene::new(12);
    let first = scene.range().first().get();
    let held: Vec<AtomicBool> = (0..12).map(|_| AtomicBool::new(false)).collect();
    let slot = |port: u16| &held[usize::from(port - first)];
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (scene, slot) = (&scene, &slot);
            scope.spawn(move || {
                let project = scene.project(thread);
                for _ in 0..30 * rounds() {
                    let told = scene.allocate(&project);
                    assert!(!slot(told).swap(true, Ordering::SeqCst), "{told} has two");
                    assert_eq!(scene.allocate(&project), told, "told again");
                    assert_eq!(scene.show(&project), Some(told));
                    assert!(slot(told).swap(false, Ordering::SeqCst), "{told} had two");
                    let done = scene.run(&["remove", &project]);
                    assert_eq!(done.stdout, format!("{told} {project}\n"), "{done:?}");
                    assert_eq!(scene.show(&project), None, "released");
                }
            });
        }
    });
    assert_eq!(scene.list().len(), 0);
    scene.assert_settled();
}

#[test]
fn a_removed_project_stays_removed_while_others_look_around() {
    // The only claim of a registry: readers must not take its registry file for one whose
    // claims somebody lost.
    let scene = Scene::new(20);
    let shop = scene.project("shop");
    let absent = scene.project("absent");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopper = Stop(&over);
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let done = scene.run(&["show", &absent]);
                    assert_eq!(done.code, Some(1), "{done:?}");
                }
            });
        }
        let mut back = Vec::new();
        for round in 0..60 * rounds() {
            let told = scene.allocate(&shop);
            let done = scene.run(&["remove", &shop]);
            assert_eq!(done.stdout, format!("{told} {shop}\n"), "{done:?}");
            if let Some(port) = scene.show(&shop) {
                back.push((round, port));
            }
        }
        drop(stopper);
        assert_eq!(back, [], "it has its port again, in these rounds");
    });
    scene.assert_settled();
}

/// Returns a registry of which only the Python system's file is there, with a port for each of
/// these projects, from the range's first one on.
fn python(projects: &[&str]) -> (Scene, Vec<String>) {
    let scene = Scene::new(20);
    let projects: Vec<String> = projects.iter().map(|name| scene.project(name)).collect();
    let first = scene.range().first().get();
    let mappings: serde_json::Map<_, _> = projects
        .iter()
        .cloned()
        .zip((first..).map(Into::into))
        .collect();
    let next = usize::from(first) + projects.len();
    let file = serde_json::json!({"version": "1.0", "mappings": mappings, "next_available": next});
    std::fs::create_dir(scene.root()).expect("a directory");
    let path = scene.root().join(portclaim::DEFAULT_FILE_NAME);
    std::fs::write(path, file.to_string()).expect("to write it");
    (scene, projects)
}

#[test]
fn projects_of_a_registry_that_is_taken_over_keep_their_ports_however_many_ask() {
    for _ in 0..10 * rounds() {
        let (scene, projects) = python(&["a", "b", "c", "d"]);
        let verbs = ["allocate", "show", "allocate"];
        let calls: Vec<Vec<&str>> = verbs
            .iter()
            .flat_map(|verb| calls(verb, &projects))
            .collect();
        let told = scene.run_at_once(&calls);
        for (call, done) in calls.iter().zip(&told) {
            let nth = projects.iter().position(|project| project == call[1]);
            let first = usize::from(scene.range().first().get());
            let port = first + nth.expect("one of them");
            assert_eq!(done.stdout, format!("{port}\n"), "{call:?}: {done:?}");
        }
        assert_eq!(scene.list().len(), projects.len());
        assert_eq!(scene.mappings(), scene.list(), "the registry file");
    }
}

#[test]
fn a_project_that_is_removed_while_others_take_its_registry_over_stays_removed() {
    let mut back = Vec::new();
    for round in 0..20 * rounds() {
        let (scene, projects) = python(&["blog", "shop"]);
        let [blog, shop] = &projects[..] else {
            panic!("two projects")
        };
        let first = scene.range().first().get();
        let mut calls = vec![vec!["list"]; 8];
        calls.insert(4, vec!["remove", shop]);
        let done = scene.run_at_once(&calls);
        if done[4].code == Some(0) && scene.show(shop).is_some() {
            back.push(round);
        }
        assert_eq!(scene.show(blog), Some(first));
    }
    assert_eq!(back, [0; 0], "it has its port again, in these rounds");
}

#[test]
fn a_project_that_has_a_port_is_removed_while_others_take_its_registry_over() {
    for _ in 0..20 * rounds() {
        let (scene, projects) = python(&["shop", "blog"]);
        let mut calls = vec![vec!["list"]; 8];
        calls.insert(4, vec!["remove", &projects[0]]);
        let done = scene.run_at_once(&calls).swap_remove(4);
        let line = format!("{} {}\n", scene.range().first(), projects[0]);
        assert_eq!(done.stdout, line, "{done:?}");
    }
}

#[test]
fn an_exhausted_range_has_exactly_as_many_winners_as_ports() {
    for _ in 0..2 * rounds() {
        let scene = Scene::new(10);
        let projects: Vec<String> = (0..40).map(|n| scene.project(n)).collect();
        let told = scene.run_at_once(&calls("allocate", &projects));
        let mut ports: Vec<u16> = told.iter().filter_map(Done::printed_port).collect();
        ports.sort_unstable();
        let range = scene.range();
        let all: Vec<u16> = (range.first().get()..=range.last().get()).collect();
        assert_eq!(ports, all);
        for done in told.iter().filter(|done| done.printed_port().is_none()) {
            assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{done:?}");
            let why = "of 10 ports, 10 are claimed and 0 in use";
            assert!(done.stderr.contains(why), "{done:?}");
        }
        scene.assert_settled();
    }
}

#[test]
fn a_port_that_was_given_back_is_had_by_exactly_one_of_many() {
    let scene = Scene::new(4);
    let projects: Vec<String> = (0..20).map(|n| scene.project(n)).collect();
    for project in &projects[..4] {
        scene.allocate(project);
    }
    for round in 0..4 {
        let done = scene.run(&["remove", &projects[round]]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let waiting: Vec<String> = projects[4..]
            .iter()
            .filter(|project| scene.show(project).is_none())
            .cloned()
            .collect();
        let told = scene.run_at_once(&calls("allocate", &waiting));
        let won = told.iter().filter(|done| done.code == Some(0)).count();
        assert_eq!(won, 1, "{told:?}");
    }
    assert_eq!(scene.list().len(), 4);
    scene.assert_settled();
}
