//! Whole processes side by side: what `portclaim` costs beside a program that does nothing,
//! and beside trop, the fastest peer, where that is installed.
//!
//! ```sh
//! cargo bench --bench processes                 # as .cargo/config.toml builds it: static on Linux
//! PORTCLAIM_BENCH_TROP=path/to/trop cargo bench --bench processes
//! ```
//!
//! The commands of one comparison take turns, so that a machine which changes its speed
//! changes it for all of them; medians and ratios are printed. All are started by their full path.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark is a program of its own"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

mod common;
#[path = "common/process.rs"]
mod process;

use common::{median, millis, temporary, timed};
use process::{found, installed, quiet};

/// Runs of each command that count.
const RUNS: usize = 400;
/// Processes that start at once.
const BURST: usize = 256;
/// How often a burst is started, of each of these by turns.
const BURSTS: usize = 5;
const TOOLS: [&str; 2] = ["portclaim", "trop"];

type Prepare<'a> = Box<dyn FnMut(usize) -> Command + 'a>;

fn main() {
    let root = temporary();
    let portclaim = installed(root.path());
    let nothing = found("true");
    let trop = std::env::var_os("PORTCLAIM_BENCH_TROP").map(PathBuf::from);

    for claims in [0, 1_000, 1_111] {
        let home = home(root.path(), &format!("warm-{claims}"));
        fill(&portclaim, &home, claims);
        let project = project(&home, "warm");
        must_run(ours(&portclaim, &home, "allocate", &project));
        let mut commands: Vec<(&str, Prepare<'_>)> = vec![
            ("true", Box::new(|_| Command::new(&nothing))),
            (
                "portclaim show",
                Box::new(|_| ours(&portclaim, &home, "show", &project)),
            ),
            (
                "portclaim allocate",
                Box::new(|_| ours(&portclaim, &home, "allocate", &project)),
            ),
        ];
        if let Some(trop) = &trop {
            must_run(theirs(trop, &home, &project));
            commands.push(("trop reserve", Box::new(|_| theirs(trop, &home, &project))));
        }
        compare(
            &format!("a project that has its port, {} claims", claims + 1),
            commands,
        );
        run_commands(&portclaim, &nothing, &home, &project, claims);
    }

    for claims in [0, 1_000] {
        let home = home(root.path(), &format!("new-{claims}"));
        fill(&portclaim, &home, claims);
        let new = |kind: &str, run: usize| project(&home, &format!("{kind}-{run}"));
        // What is measured stays, so that there are `RUNS` more claims at the end.
        let mut commands: Vec<(&str, Prepare<'_>)> = vec![
            ("true", Box::new(|_| Command::new(&nothing))),
            (
                "portclaim allocate",
                Box::new(|run| ours(&portclaim, &home, "allocate", &new("a", run))),
            ),
        ];
        if let Some(trop) = &trop {
            for run in 0..claims {
                must_run(theirs(
                    trop,
                    &home,
                    &project(&home, &format!("filled-{run}")),
                ));
            }
            commands.push((
                "trop reserve",
                Box::new(|run| theirs(trop, &home, &new("t", run))),
            ));
        }
        compare(
            &format!("a new project, {claims} claims, durable"),
            commands,
        );
    }

    let mut times = [Vec::new(), Vec::new()];
    let mut failures = [0; 2];
    for burst in 0..BURSTS {
        for (at, tool) in TOOLS.iter().enumerate() {
            let home = home(root.path(), &format!("burst-{tool}-{burst}"));
            let projects: Vec<PathBuf> = (0..BURST)
                .map(|number| project(&home, &number.to_string()))
                .collect();
            let ask = |path: &PathBuf| match (at, &trop) {
                (0, _) => Some(ours(&portclaim, &home, "allocate", path)),
                (_, trop) => Some(theirs(trop.as_ref()?, &home, path)),
            };
            let Some(mut commands) = projects.iter().map(ask).collect::<Option<Vec<_>>>() else {
                continue;
            };
            times[at].push(timed(|| {
                let start = |command: &mut Command| command.spawn().expect("starts");
                let children: Vec<Child> = commands.iter_mut().map(start).collect();
                for mut child in children {
                    failures[at] += usize::from(!child.wait().expect("ends").success());
                }
            }));
        }
    }
    for ((tool, times), failures) in TOOLS.iter().zip(&mut times).zip(failures) {
        if !times.is_empty() {
            println!(
                "{BURST} processes at once, {tool:10} median {:>9.1} ms, {failures} of {} failed",
                millis(median(times)),
                BURST * BURSTS
            );
        }
    }
}

/// What `run` adds to a command that does nothing.
fn run_commands(binary: &Path, floor: &Path, home: &Path, directory: &Path, claims: usize) {
    let run = |flags: &'static [&'static str]| -> Prepare<'_> {
        Box::new(move |_| {
            let mut command = Command::new(binary);
            command.arg("run").args(flags).arg("--").arg(floor);
            command.current_dir(directory).env("HOME", home);
            command.env("INTERCEPTOR_PORT_MIN", "8000");
            command
        })
    };
    let runs = vec![
        (
            "true",
            Box::new(|_: usize| Command::new(floor)) as Prepare<'_>,
        ),
        ("run -- true", run(&[])),
        ("run --lease -- true", run(&["--lease"])),
    ];
    compare(
        &format!("a command that is run, {} claims", claims + 1),
        runs,
    );
}

/// What is prepared is there, or nothing is measured.
fn must_run(mut command: Command) {
    let status = command.status().expect("runs");
    assert!(status.success(), "{command:?}");
}

fn home(root: &Path, name: &str) -> PathBuf {
    let home = root.join(name);
    std::fs::create_dir_all(&home).expect("a directory");
    home
}

fn project(home: &Path, name: &str) -> PathBuf {
    let path = home.join("projects").join(name);
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

fn fill(portclaim: &Path, home: &Path, claims: usize) {
    for number in 0..claims {
        let path = home.join("projects").join(format!("filled-{number}"));
        must_run(ours(portclaim, home, "allocate", &path));
    }
}

fn ours(portclaim: &Path, home: &Path, verb: &str, project: &Path) -> Command {
    let mut command = Command::new(portclaim);
    command
        .arg(verb)
        .arg(project)
        .env("HOME", home)
        .env("INTERCEPTOR_PORT_MIN", "8000");
    quiet(command)
}

fn theirs(trop: &Path, home: &Path, project: &Path) -> Command {
    let mut command = Command::new(trop);
    command
        .arg("reserve")
        .current_dir(project)
        .env("HOME", home);
    quiet(command)
}

fn compare(title: &str, mut commands: Vec<(&str, Prepare<'_>)>) {
    let mut times: Vec<Vec<Duration>> = commands.iter().map(|_| Vec::with_capacity(RUNS)).collect();
    for run in 0..RUNS {
        for ((_, prepare), times) in commands.iter_mut().zip(&mut times) {
            let mut command = quiet(prepare(run));
            let mut status = None;
            times.push(timed(|| status = Some(command.status().expect("runs"))));
            assert!(status.is_some_and(|status| status.success()), "{command:?}");
        }
    }
    println!("{title}");
    let floor = median(&mut times[0]);
    for ((name, _), times) in commands.iter().zip(&mut times) {
        let median = median(times);
        println!(
            "  {name:20} median {:>7.3} ms  {:>5.2} x true",
            millis(median),
            median.as_secs_f64() / floor.as_secs_f64()
        );
    }
}
