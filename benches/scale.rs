//! Whole processes as the registry grows: what a look-up and a new project cost beside a
//! program that does nothing, from none to 60,000 claims.
//!
//! ```sh
//! cargo bench --bench scale
//! ```
//!
//! The registries are filled through the library without flushing; what is measured is the
//! installed program, durable. The commands of one comparison take turns; medians are printed.
#![expect(clippy::print_stdout, reason = "a benchmark is a program of its own")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use camino::Utf8PathBuf;
use portclaim::{Durability, Holder, IndexPolicy, PortRange, ProjectPath, Registry, Request};

mod common;
#[path = "common/process.rs"]
mod process;

use common::{median, millis, temporary, timed};
use process::{found, installed, quiet};

/// Runs of each command that count.
const RUNS: usize = 100;
const RANGE: &str = "1024-65535";
const CLAIMS: [usize; 4] = [0, 1_000, 10_000, 60_000];

fn main() {
    let root = temporary();
    let portclaim = installed(root.path());
    let nothing = found("true");
    let homes: Vec<Home> = CLAIMS
        .iter()
        .map(|&claims| Home::filled(root.path(), claims, &portclaim))
        .collect();
    let mut times: Vec<[Vec<Duration>; 2]> = homes.iter().map(|_| Default::default()).collect();
    let mut floor = Vec::new();
    for run in 0..RUNS {
        floor.push(run_timed(&mut quiet(Command::new(&nothing))));
        for (home, [show, allocate]) in homes.iter().zip(&mut times) {
            show.push(run_timed(&mut home.command("show", "/bench/warm")));
            let new = format!("/bench/new/{run}");
            allocate.push(run_timed(&mut home.command("allocate", &new)));
            // Given back, so that the count stays.
            assert!(
                home.command("remove", &new)
                    .status()
                    .expect("runs")
                    .success()
            );
        }
    }
    println!("true {:.3} ms", millis(median(&mut floor)));
    for (claims, [show, allocate]) in CLAIMS.iter().zip(&mut times) {
        println!(
            "{claims:>6} claims: show {:>7.3} ms, allocate a new project {:>8.3} ms",
            millis(median(show)),
            millis(median(allocate))
        );
    }
}

/// A registry of its own.
struct Home<'a> {
    portclaim: &'a Path,
    registry: PathBuf,
}

impl<'a> Home<'a> {
    fn filled(root: &Path, claims: usize, portclaim: &'a Path) -> Home<'a> {
        let path = root.join(claims.to_string());
        let registry = Registry::options()
            .range(RANGE.parse::<PortRange>().expect("a range"))
            .durability(Durability::Volatile)
            .index(IndexPolicy::Mark)
            .open(Utf8PathBuf::from_path_buf(path.clone()).expect("UTF-8"))
            .expect("opens");
        let warm = (0..claims).map(|number| format!("/bench/filled/{number}"));
        for project in warm.chain(["/bench/warm".to_owned()]) {
            let holder = Holder::new(ProjectPath::from_normal(project).expect("normal"));
            let _ = registry.claim(&Request::new(holder)).expect("a port");
        }
        registry.refresh_index().expect("an index");
        let home = Home {
            portclaim,
            registry: path.join("port_registry.json"),
        };
        // Sealed once, as a project's commit is that was claimed durably.
        assert!(
            home.command("allocate", "/bench/warm")
                .status()
                .expect("runs")
                .success()
        );
        home
    }

    fn command(&self, verb: &str, project: &str) -> Command {
        let mut command = Command::new(self.portclaim);
        let (first, last) = RANGE.split_once('-').expect("a range");
        command
            .args([verb, project, "--registry"])
            .arg(&self.registry)
            .args(["--port-min", first, "--port-max", last]);
        quiet(command)
    }
}

fn run_timed(command: &mut Command) -> Duration {
    let mut status = None;
    let took = timed(|| status = Some(command.status().expect("runs")));
    assert!(status.expect("it ran").success());
    took
}
