//! Processes that are killed, or stopped for a while, at any instant.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Done, Random, Scene, finish, rounds};

/// What is known of a project from what its commands printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It has this port: it was told, and nobody began to remove it since.
    Held(u16),
    /// It has none: it was removed, and nobody allocated since.
    Free,
    /// A command was killed that may or may not have changed it.
    Unknown,
}

/// What is known of every project, and is checked against what commands print.
struct Truth(Mutex<BTreeMap<String, Known>>);

impl Truth {
    fn new(projects: &[String]) -> Truth {
        let all = projects
            .iter()
            .map(|project| (project.clone(), Known::Free));
        Truth(Mutex::new(all.collect()))
    }

    fn get(&self, project: &str) -> Known {
        self.0.lock().expect("no panic under it")[project]
    }

    fn set(&self, project: &str, known: Known) {
        let mut all = self.0.lock().expect("no panic under it");
        all.insert(project.to_owned(), known);
    }

    /// Learns that the project was told a port.
    fn told(&self, project: &str, port: u16, before: Known) {
        if let Known::Held(held) = before {
            assert_eq!(port, held, "{project} was told another port before");
        }
        let mut all = self.0.lock().expect("no panic under it").clone();
        all.remove(project);
        for (other, known) in all {
            assert_ne!(
                known,
                Known::Held(port),
                "{project} was told {other}'s port"
            );
        }
        self.set(project, Known::Held(port));
    }

    /// Asserts that everything is so as the projects were told.
    fn assert_kept(&self, scene: &Scene) {
        let listed = scene.list();
        for (project, known) in self.0.lock().expect("no panic under it").iter() {
            let now = listed.get(project).copied();
            match known {
                Known::Held(port) => assert_eq!(now, Some(*port), "{project} was told this"),
                Known::Free => assert_eq!(now, None, "{project} was removed"),
                Known::Unknown => {}
            }
        }
        // What the lists say of all, a look-up says of each.
        for (project, port) in listed {
            assert_eq!(scene.show(&project), Some(port));
        }
    }
}

/// Something that is done to a project, or beside all of them.
#[derive(Clone, Copy, Debug)]
enum Act {
    Allocate,
    Remove,
    Index,
    List,
    Mend,
}

impl Act {
    /// Draws one, changes most often.
    fn draw(random: &mut Random) -> Act {
        use Act::{Allocate, Index, List, Mend, Remove};
        *random.pick(&[
            Allocate, Allocate, Allocate, Allocate, Remove, Remove, Remove, Index, List, Mend,
        ])
    }

    fn start(self, scene: &Scene, project: &str) -> Child {
        match self {
            Act::Allocate => scene.start(&["allocate", project]),
            Act::Remove => scene.start(&["remove", project]),
            Act::Index => scene.start(&["index"]),
            Act::List => scene.start(&["list"]),
            Act::Mend => scene.start(&["doctor", "--fix"]),
        }
    }

    /// What is known while it goes on.
    fn begin(self, truth: &Truth, project: &str) -> Known {
        let before = truth.get(project);
        if !matches!((self, before), (Act::Allocate, Known::Held(_))) && self.changes() {
            truth.set(project, Known::Unknown);
        }
        before
    }

    fn changes(self) -> bool {
        matches!(self, Act::Allocate | Act::Remove)
    }

    /// What follows from its end. `exhausted` says whether the range may be.
    fn end(self, truth: &Truth, project: &str, before: Known, done: &Done, exhausted: bool) {
        let killed = done.signal.is_some();
        match self {
            // A port that is printed is told, also where the process was killed right after.
            Act::Allocate => match done.printed_port() {
                Some(port) => truth.told(project, port, before),
                None if killed => {}
                None => {
                    assert!(exhausted && done.code == Some(1), "{done:?}");
                    assert!(!matches!(before, Known::Held(_)), "{project}: {done:?}");
                    truth.set(project, Known::Free);
                }
            },
            Act::Remove | Act::Index | Act::List | Act::Mend if killed => {}
            Act::Remove => {
                match before {
                    Known::Held(port) => {
                        assert_eq!(done.stdout, format!("{port} {project}\n"), "{done:?}");
                    }
                    Known::Free => assert_eq!(done.code, Some(1), "{done:?}"),
                    Known::Unknown => assert!(matches!(done.code, Some(0 | 1)), "{done:?}"),
                }
                truth.set(project, Known::Free);
            }
            Act::List => assert_eq!(done.code, Some(0), "{done:?}"),
            // Others are at work: it may find their work unfinished, or them writing the file.
            Act::Index | Act::Mend => {
                let at_it = done.stderr.contains("other processes changed");
                let is_fine = matches!((self, done.code), (_, Some(0)) | (Act::Mend, Some(1)));
                assert!(is_fine || at_it, "{done:?}");
            }
        }
    }
}

/// Kills most of some hundred processes on `ports` ports, then sees what is left.
fn kill_at_random(ports: u16, projects: usize) {
    const THREADS: usize = 4;
    let random = Random::new();
    let scene = Scene::new(ports);
    let projects: Vec<String> = (0..projects).map(|n| scene.project(n)).collect();
    let truth = Truth::new(&projects);
    std::thread::scope(|scope| {
        // Each project is one thread's, so that it is known what happens to it in which order.
        for (thread, own) in projects.chunks(projects.len() / THREADS).enumerate() {
            let mut random = random.fork(thread as u64);
            let (scene, truth) = (&scene, &truth);
            scope.spawn(move || {
                for _ in 0..80 * rounds() {
                    let act = Act::draw(&mut random);
                    let project = random.pick(own);
                    let before = act.begin(truth, project);
                    let mut child = act.start(scene, project);
                    if random.below(4) > 0 {
                        let micros = random.below(5000);
                        std::thread::sleep(Duration::from_micros(micros as u64));
                        // It may have come to its end: it is not reaped yet, so this is safe.
                        child.kill().expect("to kill it");
                    }
                    act.end(truth, project, before, &finish(child), true);
                }
            });
        }
    });
    truth.assert_kept(&scene);
    assert_eq!(scene.findings(&["--fix"]), [""; 0], "after a repair");
    truth.assert_kept(&scene);
    scene.assert_settled();

    // Nothing leaked: every port of the range can be had.
    for project in scene.list().into_keys() {
        assert_eq!(scene.run(&["remove", &project]).code, Some(0), "{project}");
    }
    let all: Vec<u16> = (0..ports)
        .map(|n| scene.allocate(&scene.project(format!("new-{n}"))))
        .collect();
    assert_eq!(scene.list().len(), all.len(), "{all:?}");
    scene.assert_settled();
}

#[test]
fn killed_processes_on_many_ports_lose_nothing_and_leak_nothing() {
    kill_at_random(64, 24);
}

#[test]
fn killed_processes_on_few_ports_lose_nothing_and_leak_nothing() {
    kill_at_random(6, 12);
}

#[test]
fn an_exhausted_range_takes_killed_processes_ports_back_by_itself() {
    // Nobody calls the doctor: the next who needs the ports finds them.
    let mut random = Random::new();
    let scene = Scene::new(4);
    for round in 0..60 * rounds() {
        let mut child = scene.start(&["allocate", &scene.project(format!("killed-{round}"))]);
        std::thread::sleep(Duration::from_micros(random.below(4000) as u64));
        child.kill().expect("to kill it");
        finish(child);
        if round % 10 != 9 {
            continue;
        }
        for project in scene.list().into_keys() {
            assert_eq!(scene.run(&["remove", &project]).code, Some(0), "{project}");
        }
        let new: Vec<String> = (0..4).map(|n| scene.project(format!("new-{n}"))).collect();
        for project in &new {
            scene.allocate(project);
        }
        for project in &new {
            assert_eq!(scene.run(&["remove", project]).code, Some(0), "{project}");
        }
    }
    assert_eq!(scene.findings(&["--fix"]), [""; 0], "after a repair");
    scene.assert_settled();
}

/// A process that was stopped: it goes on when this is dropped, also where the test fails.
struct Stopped {
    child: Option<Child>,
    pid: Pid,
}

impl Stopped {
    fn stop(child: Child) -> Stopped {
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::STOP).expect("it is not reaped yet");
        Stopped {
            child: Some(child),
            pid,
        }
    }

    /// Lets it go on, and waits for its end.
    fn finish(mut self) -> Done {
        let child = self.child.take().expect("it is taken once");
        kill_process(self.pid, Signal::CONT).expect("it is not reaped yet");
        finish(child)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It is stopped or dead, and not reaped.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Longest that a command may take while another process is stopped. It takes milliseconds;
/// the rest is for a machine that is busy.
const LIMIT: Duration = Duration::from_secs(10);

fn in_time(scene: &Scene, arguments: &[&str]) -> Done {
    let begin = Instant::now();
    let mut child = scene.start(arguments);
    while child.try_wait().expect("its state").is_none() {
        if begin.elapsed() > LIMIT {
            child.kill().expect("to kill it");
            child.wait().expect("its end");
            panic!("{arguments:?} waits for a process that is stopped");
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    finish(child)
}

#[test]
fn others_go_on_while_a_process_is_stopped() {
    let mut random = Random::new();
    let scene = Scene::new(40);
    let victims: Vec<String> = (0..4).map(|n| scene.project(n)).collect();
    let truth = Truth::new(&victims);
    let standing = scene.project("standing");
    let stands = scene.allocate(&standing);
    let passing = scene.project("passing");
    for round in 0..32 * rounds() {
        let act = Act::draw(&mut random);
        let project = random.pick(&victims);
        let before = act.begin(&truth, project);
        let child = act.start(&scene, project);
        std::thread::sleep(Duration::from_micros(random.below(3500) as u64));
        let stopped = Stopped::stop(child);

        assert_eq!(in_time(&scene, &["allocate", &standing]).port(), stands);
        let told = in_time(&scene, &["allocate", &passing]).port();
        assert_eq!(in_time(&scene, &["show", &passing]).port(), told);
        let listed = in_time(&scene, &["list", "--json"]).json();
        let has = |port: u16| {
            let mut claims = listed["claims"].as_array().expect("an array").iter();
            claims.any(|claim| claim["port"] == port)
        };
        assert!(has(told) && has(stands), "{listed}");
        let done = in_time(&scene, &["remove", &passing]);
        assert_eq!(done.stdout, format!("{told} {passing}\n"), "{done:?}");
        let done = in_time(&scene, &["doctor", "--json"]);
        assert!(matches!(done.code, Some(0 | 1)), "{done:?}");
        if round % 8 == 0 {
            // The registry file cannot be written while its writer is stopped: it is waited
            // for a moment, then that is said.
            let done = in_time(&scene, &["index"]);
            assert!(matches!(done.code, Some(0 | 2)), "{done:?}");
        }

        act.end(&truth, project, before, &stopped.finish(), false);
        truth.set(&standing, Known::Held(stands));
        truth.set(&passing, Known::Free);
        truth.assert_kept(&scene);
    }
    assert_eq!(
        scene.run(&["index"]).code,
        Some(0),
        "the file can be written"
    );
    scene.assert_settled();
}

#[test]
fn a_process_that_was_stopped_tells_the_port_that_others_were_told_meanwhile() {
    let mut random = Random::new();
    let scene = Scene::new(40);
    for round in 0..60 * rounds() {
        let project = scene.project(round);
        let child = scene.start(&["allocate", &project]);
        std::thread::sleep(Duration::from_micros(random.below(3500) as u64));
        let stopped = Stopped::stop(child);
        let told = in_time(&scene, &["allocate", &project]).port();
        assert_eq!(in_time(&scene, &["show", &project]).port(), told);
        assert_eq!(stopped.finish().port(), told, "one holder, one port");
        assert_eq!(scene.show(&project), Some(told));
        assert_eq!(scene.run(&["remove", &project]).code, Some(0));
    }
    scene.assert_settled();
}

#[test]
fn a_process_that_is_stopped_keeps_its_project_in_a_state_that_others_can_change() {
    let mut random = Random::new();
    let scene = Scene::new(40);
    let project = scene.project("shop");
    for _ in 0..60 * rounds() {
        let told = scene.allocate(&project);
        let child = scene.start(&["remove", &project]);
        std::thread::sleep(Duration::from_micros(random.below(3500) as u64));
        let stopped = Stopped::stop(child);
        // While its commit is being withdrawn, a project cannot be given a port: the one
        // thing that a stopped process can hold up, and it is said in time.
        let done = in_time(&scene, &["allocate", &project]);
        assert!(
            done.code == Some(0) || done.stderr.contains("other processes changed"),
            "{done:?}"
        );
        let again = done.printed_port();
        let removed = stopped.finish();
        assert!(matches!(removed.code, Some(0 | 1)), "{removed:?}");
        let now = scene.show(&project);
        if let Some(again) = again.filter(|_| again != Some(told)) {
            // A new claim. The removal may have begun anew and met it, or not.
            let gone = removed.stdout == format!("{again} {project}\n");
            assert_eq!(now, (!gone).then_some(again), "{removed:?}");
        }
        let done = scene.run(&["remove", &project]);
        assert_eq!(done.code, Some(i32::from(now.is_none())), "{done:?}");
    }
    scene.assert_settled();
}

#[test]
fn a_registry_file_that_nobody_can_write_holds_nothing_up() {
    // Its writer was stopped, and somebody has removed the file.
    let scene = Scene::new(8);
    let (shop, blog) = (scene.project("shop"), scene.project("blog"));
    let told = scene.allocate(&shop);
    let lock = std::fs::File::open(scene.root().join("index/lock")).expect("the lock file");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody holds it");
    let file = scene.root().join(portclaim::DEFAULT_FILE_NAME);
    std::fs::remove_file(&file).expect("the registry file");

    assert_eq!(in_time(&scene, &["show", &shop]).port(), told);
    let other = in_time(&scene, &["allocate", &blog]).port();
    assert_ne!(other, told);
    for (project, port) in [(&shop, told), (&blog, other)] {
        let done = in_time(&scene, &["remove", project]);
        assert_eq!(done.stdout, format!("{port} {project}\n"), "{done:?}");
    }
    assert_eq!(scene.list().len(), 0);
    assert!(!file.exists(), "it is locked");
    drop(lock);
    assert_eq!(scene.run(&["index"]).code, Some(0));
    scene.assert_settled();
}
