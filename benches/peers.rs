//! Whole processes side by side with other tools that give out ports. `benches/peers.sh` installs
//! those, runs this, and puts the tables that it prints into BENCHMARKS.md.
//!
//! ```sh
//! benches/peers.sh
//! PORTCLAIM_BENCH_RUNS=100 benches/peers.sh      # runs that count, by default 40
//! PORTCLAIM_BENCH_CLAIMS=10000 benches/peers.sh  # so many claims as well, for portclaim and trop
//! cargo bench --bench peers                      # portclaim alone, beside `true`
//! ```
//!
//! Each tool has homes of its own, with nothing of the user's environment. Those of one comparison
//! take turns. The answers are kept and compared: no port for two projects, no project that is told
//! another port. Planted faults show first that these are counted.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a benchmark is a program of its own"
)]

use std::path::{Path, PathBuf};

mod common;
#[path = "peers/measure.rs"]
mod measure;
#[path = "peers/memory.rs"]
mod memory;
#[path = "common/process.rs"]
mod process;
#[path = "peers/tables.rs"]
mod tables;
#[path = "peers/tools.rs"]
mod tools;

use common::temporary;
use measure::{Column, Contestant, Tally};
use tools::{Bindport, GetPort, Planted, PortFor, Portclaim, Portool, Portpicker, Tool, Trop};

/// How many claims there are before one is measured.
const CLAIMS: [usize; 2] = [0, 1_000];
/// How many processes start at once, and how often.
const BURSTS: [usize; 2] = [32, 256];
const BURST_RUNS: usize = 3;

fn main() {
    let root = temporary();
    faults_are_counted(&root.path().join("planted"));
    let runs = setting("PORTCLAIM_BENCH_RUNS").unwrap_or(40);
    let tools = installed_tools(&process::installed(root.path()));
    let more = setting("PORTCLAIM_BENCH_CLAIMS");

    let mut columns = Vec::new();
    let mut tallies = vec![vec![Tally::default(); tools.len()]];
    let mut peaks = Vec::new();
    for claims in CLAIMS.into_iter().chain(more) {
        let root = root.path().join(claims.to_string());
        let mut contestants = filled(claims, &tools, &root);
        columns.extend(alone(claims, runs, &mut contestants));
        for (tally, contestant) in tallies[0].iter_mut().zip(&contestants) {
            tally.add(
                contestant
                    .as_ref()
                    .map_or_else(Tally::default, |one| one.tally),
            );
        }
        if claims == CLAIMS[0] {
            peaks = peak_memory(&contestants);
        }
    }
    println!("{}", tables::times(&tools, &columns));
    println!("{}", tables::memory(&tools, &peaks));
    columns.clear();
    for size in BURSTS {
        let (measured, counted) = measure::bursts(size, BURST_RUNS, &tools, root.path());
        columns.extend(measured);
        tallies.push(counted);
    }
    println!("{}", tables::times(&tools, &columns));
    let titles = ["one at a time", "32 at once", "256 at once"];
    println!("{}", tables::answers(&tools, &titles, &tallies));
}

fn setting(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

/// portclaim, and those that lie where `benches/peers.sh` puts them.
fn installed_tools(portclaim: &Path) -> Vec<Box<dyn Tool>> {
    let verb = |verb| -> Box<dyn Tool> {
        Box::new(Portclaim {
            program: portclaim.to_owned(),
            verb,
        })
    };
    let mut tools = vec![verb("show"), verb("allocate")];
    let Some(peers) = std::env::var_os("PORTCLAIM_BENCH_PEERS").map(PathBuf::from) else {
        eprintln!("SKIPPED: other tools; benches/peers.sh installs them and says where they are");
        return tools;
    };
    let mut found = |path: &str, marks: &str, make: fn(PathBuf) -> Box<dyn Tool>| {
        if peers.join(marks).exists() {
            tools.push(make(peers.join(path)));
        } else {
            eprintln!("SKIPPED: there is no {}", peers.join(marks).display());
        }
    };
    let python = "python/bin/python3";
    found("bin/trop", "bin/trop", |path| Box::new(Trop(path)));
    found("bin/portool", "bin/portool", |path| Box::new(Portool(path)));
    found("bin/bindport", "bin/bindport", |path| {
        Box::new(Bindport(path))
    });
    found(python, "python/bin/port-for", |path| {
        Box::new(PortFor(path))
    });
    found(python, "python/bin/portserver.py", |path| {
        Box::new(Portpicker(path))
    });
    let get_port = "npm/node_modules/.bin/get-port";
    found(get_port, get_port, |path| Box::new(GetPort(path)));
    tools
}

/// A home for each tool that can have so many claims, with so many in it.
fn filled<'a>(
    claims: usize,
    tools: &'a [Box<dyn Tool>],
    root: &Path,
) -> Vec<Option<Contestant<'a>>> {
    let can = |tool: &dyn Tool| match claims {
        0 => true,
        _ if CLAIMS.contains(&claims) => tool.keeps(),
        _ => tool.keeps() && tool.takes_many(),
    };
    let fill = |(number, tool): (usize, &'a dyn Tool)| {
        can(tool).then(|| {
            let contestant = Contestant::new(tool, root.join(number.to_string()));
            if claims > 0 {
                eprintln!("{claims} claims for {}", tool.name());
            }
            tool.fill(&contestant.home, claims);
            contestant
        })
    };
    let tools = tools.iter().map(AsRef::as_ref);
    tools.enumerate().map(fill).collect()
}

/// A project that has its port, then new ones: one process at a time.
fn alone(claims: usize, runs: usize, contestants: &mut [Option<Contestant<'_>>]) -> [Column; 2] {
    for contestant in contestants.iter_mut().flatten() {
        // So that a tool which has to make its files, or to be compiled, has done so.
        let project = contestant.tool.project(&contestant.home, "warm");
        let mut command = contestant.tool.allocate(&contestant.home, &project);
        let output = command.output().expect("runs");
        contestant.record(&project, &output);
    }
    let asks_again = |tool: &dyn Tool| tool.remembers();
    let title = format!("again, {claims} claims");
    let warm = measure::one_by_one(title, runs, contestants, asks_again, |_| "warm".to_owned());
    let title = format!("new, {claims} claims");
    let allocates = |tool: &dyn Tool| tool.allocates();
    let new = measure::one_by_one(title, runs, contestants, allocates, |run| run.to_string());
    [warm, new]
}

/// Of a program that does nothing, and of each tool with its server, KiB: as it gives out a port,
/// or shows one if it does only that.
fn peak_memory(contestants: &[Option<Contestant<'_>>]) -> Vec<(Option<u64>, Option<u64>)> {
    let Some(time) = memory::gnu_time() else {
        eprintln!("SKIPPED: peak memory; there is no GNU time at /usr/bin/time");
        return Vec::new();
    };
    let one = |contestant: &Option<Contestant<'_>>| {
        let Some(Contestant { tool, home, .. }) = contestant else {
            return (None, None);
        };
        let mut run = 0;
        let peak = memory::peak(time, || {
            run += 1;
            let name = if tool.allocates() {
                format!("memory-{run}")
            } else {
                "warm".to_owned()
            };
            tool.ask(home, &tool.project(home, &name))
        });
        let server = home.server.as_ref();
        (
            peak,
            server.and_then(|server| memory::peak_so_far(server.id())),
        )
    };
    let floor = (memory::peak(time, measure::floor), None);
    std::iter::once(floor)
        .chain(contestants.iter().map(one))
        .collect()
}

/// Commands that tell all the same port, another port each time, none, and one that is no port of
/// the range: all of that must be counted.
fn faults_are_counted(root: &Path) {
    const PROCESSES: usize = 8;
    let tally = |script| {
        let tool = Planted(script);
        let mut contestant = Contestant::new(&tool, root.to_owned());
        let projects: Vec<PathBuf> = (0..PROCESSES)
            .map(|number| tool.project(&contestant.home, &number.to_string()))
            .collect();
        measure::burst(&mut contestant, &projects);
        measure::burst(&mut contestant, &projects);
        contestant.tally
    };
    let asked = Tally {
        asked: 2 * PROCESSES,
        ..Tally::default()
    };
    let duplicates = 2 * (PROCESSES - 1);
    assert_eq!(
        tally("echo 20000"),
        Tally {
            duplicates,
            ..asked
        }
    );
    assert!(tally("echo $((10000 + $$ % 20000))").changed > 0);
    let failed = asked.asked;
    assert_eq!(tally("echo 20000; exit 1"), Tally { failed, ..asked });
    assert_eq!(tally("echo 80"), Tally { failed, ..asked });
}
