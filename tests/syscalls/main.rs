//! Kills the real program, and lets it fail, at each of its system calls, by `strace -e inject`;
//! then sees that nothing was lost, that nothing leaked, and that all commands go on working.
//!
//! ```sh
//! cargo test --test syscalls                       # the short form: a minute
//! cargo test --test syscalls -- --full             # each kind of failure at each call
//! cargo test --test syscalls -- --full --only remove,reset
//! ```
//!
//! | option | what |
//! |---|---|
//! | `--full` | all points, instead of the short form's |
//! | `--only NAME,...` | these scenarios |
//! | `--threads N` | so many at once; by default one a processor |
//! | `--expect-failure` | succeed only where a kill *and* an error were found to do harm: for a program with planted faults |
//!
//! A *point* is one occurrence of one system call, and what happens there: the process is killed
//! before the call is made, or the call is not made and answers with an error. What a process has
//! done when it is killed *after* a call is what it has done when it is killed before the next
//! one, so both are tried.
//!
//! - **Full**: kills at every call, those of the start-up before `main` included (`execve` is not:
//!   there is no program yet); `ENOSPC`, `EIO`, `EACCES` and `EINTR` at every call from the first one
//!   that names the registry on, but for those in [`strace::NEVER_FAIL`].
//! - **Short**: kills at the calls that change something, and at the exit: between two of them the
//!   disk is the same, and a dead process holds no lock. `EIO` at every call as above but `close` and
//!   `fcntl`, `ENOSPC` at the calls that change something.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program of its own, which looks at the disk itself"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

mod process;
mod registry;
mod scenario;
mod strace;
mod verdict;

use scenario::Scenario;
use strace::{Action, Point};
use verdict::Verdict;

/// Most failures of one scenario that are printed in full.
const SHOWN_MAX: usize = 10;

struct Args {
    full: bool,
    only: Vec<String>,
    threads: usize,
    expect_failure: bool,
}

impl Args {
    fn read() -> Result<Args, String> {
        let mut args = Args {
            full: false,
            only: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            expect_failure: false,
        };
        let mut given = std::env::args().skip(1);
        while let Some(flag) = given.next() {
            let mut value = || given.next().ok_or(format!("{flag} needs a value"));
            match flag.as_str() {
                "--full" => args.full = true,
                "--expect-failure" => args.expect_failure = true,
                "--only" => args.only.extend(value()?.split(',').map(str::to_owned)),
                "--threads" => {
                    let number = value()?.parse().ok().filter(|&number| number > 0);
                    args.threads = number.ok_or("--threads needs a number")?;
                }
                _ => return Err(format!("{flag} is no option; see tests/syscalls/main.rs")),
            }
        }
        Ok(args)
    }
}

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    if let Err(why) = strace::is_usable() {
        println!("SKIPPED: {why}");
        return ExitCode::SUCCESS;
    }
    let work = workshop();
    let scenarios = scenario::all(work.path());
    for name in &args.only {
        let is_known = scenarios.iter().any(|scenario| scenario.name == *name);
        assert!(is_known, "there is no scenario {name}");
    }
    let chosen = scenarios.iter().filter(|scenario| {
        args.only.is_empty() || args.only.iter().any(|name| name == scenario.name)
    });
    let mut total = Tally::default();
    for scenario in chosen {
        let tally = try_all(scenario, work.path(), &args);
        println!("{:<10} {tally}", scenario.name);
        total.add(&tally);
    }
    println!("{:<10} {total}", "total");
    let is_expected = if args.expect_failure {
        let is_caught = |failed: usize| if failed > 0 { "caught" } else { "NOT CAUGHT" };
        println!(
            "planted faults: kills {}, errors {}",
            is_caught(total.kills_failed),
            is_caught(total.errors_failed)
        );
        total.kills_failed > 0 && total.errors_failed > 0
    } else {
        total.failed() == 0
    };
    if total.failed() > 0 && !args.expect_failure {
        println!("the registries are kept in {}", work.keep().display());
    }
    ExitCode::from(u8::from(!is_expected))
}

/// Where all registries lie: in memory where that is to be had, for a flush costs nothing there.
fn workshop() -> tempfile::TempDir {
    let named = |parent: PathBuf| {
        tempfile::Builder::new()
            .prefix("syscalls-")
            .tempdir_in(parent)
    };
    named("/dev/shm".into())
        .or_else(|_| named(std::env::temp_dir()))
        .expect("a temporary directory")
}

/// What came of a number of points.
#[derive(Default)]
struct Tally {
    kills: usize,
    errors: usize,
    kills_failed: usize,
    errors_failed: usize,
    /// The call was not made so often this time.
    missed: usize,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.kills += other.kills;
        self.errors += other.errors;
        self.kills_failed += other.kills_failed;
        self.errors_failed += other.errors_failed;
        self.missed += other.missed;
    }

    fn failed(&self) -> usize {
        self.kills_failed + self.errors_failed
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally {
            kills,
            errors,
            missed,
            ..
        } = self;
        write!(
            f,
            "{:>5} points: {kills} kills, {errors} errors; {} failed, {missed} not reached",
            kills + errors,
            self.failed()
        )
    }
}

/// Tries all points of a scenario, and prints the failures.
fn try_all(scenario: &Scenario, work: &Path, args: &Args) -> Tally {
    let points = strace::points(scenario, &work.join("traced"), args.full);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(point) = points.get(number) else {
                        return;
                    };
                    let verdict = try_one(scenario, point, work, number);
                    done.lock()
                        .expect("no panic under it")
                        .push((number, verdict));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panic under it");
    done.sort_by_key(|(number, _)| *number);
    report(scenario, &points, &done, work)
}

fn try_one(scenario: &Scenario, point: &Point, work: &Path, number: usize) -> Verdict {
    let dir = work.join(format!("{}-{number}", scenario.name));
    registry::copy(&scenario.template, &dir);
    let run = strace::inject(scenario, point, &dir);
    let verdict = verdict::judge(scenario, point, &run, &dir, number);
    if verdict.faults.is_empty() {
        std::fs::remove_dir_all(&dir).expect("it can be removed");
    }
    verdict
}

fn report(scenario: &Scenario, points: &[Point], done: &[(usize, Verdict)], work: &Path) -> Tally {
    let mut tally = Tally::default();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, verdict) in done {
        let point = &points[*number];
        let is_kill = point.action == Action::Kill;
        *(if is_kill {
            &mut tally.kills
        } else {
            &mut tally.errors
        }) += 1;
        tally.missed += usize::from(!verdict.is_reached);
        if is_kill {
            *seen.entry(verdict.left).or_default() += 1;
        }
        if verdict.faults.is_empty() {
            continue;
        }
        *(if is_kill {
            &mut tally.kills_failed
        } else {
            &mut tally.errors_failed
        }) += 1;
        if tally.failed() <= SHOWN_MAX {
            println!("\nFAILED {}: {point}", scenario.name);
            for fault in &verdict.faults {
                println!("  {fault}");
            }
            println!(
                "  again: {}",
                strace::again(scenario, point, &work.join("again"))
            );
        }
    }
    if tally.failed() > SHOWN_MAX {
        println!(
            "\n... and {} more of {}",
            tally.failed() - SHOWN_MAX,
            scenario.name
        );
    }
    // The instrument itself: it reaches each state of a claim, told and untold.
    if scenario.name == "new" {
        let all = [verdict::NOTHING, verdict::HELD, verdict::TOLD];
        assert!(
            all.iter().all(|left| seen.contains_key(left)),
            "kills do not come where they should: {seen:?}"
        );
    }
    let missed_max = points.len() / 100;
    assert!(
        tally.missed <= missed_max,
        "{} of {} points were not reached",
        tally.missed,
        points.len()
    );
    tally
}
