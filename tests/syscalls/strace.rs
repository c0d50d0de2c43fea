//! strace: which system calls a scenario makes, and one run in which one of them is tampered with.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Done};
use crate::registry;
use crate::scenario::Scenario;

/// Calls that cannot fail for a correct program, or whose failure is not a registry's matter: the
/// process's own memory (without any, a Rust program aborts), who it is, its end, its pauses.
pub(crate) const NEVER_FAIL: [&str; 18] = [
    "brk",
    "clock_nanosleep",
    "exit",
    "exit_group",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "gettid",
    "getuid",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "sched_yield",
    "sigaltstack",
];

/// Calls that change what lies on the disk, or what the caller was told; a flush may find that
/// there is no room. `openat` does where it creates.
const CHANGING: [&str; 26] = [
    "chmod",
    "chown",
    "exit_group",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "fsync",
    "ftruncate",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "symlinkat",
    "truncate",
    "unlink",
    "unlinkat",
    "write",
    "writev",
];

/// Calls whose failure nobody hears of: left out of the short form's errors.
const UNHEARD: [&str; 2] = ["close", "fcntl"];

/// What is done at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The process is killed before the call is made.
    Kill,
    /// The call is not made, and answers with this error.
    Fail(&'static str),
}

/// One occurrence of one system call, and what is done there.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) call: String,
    /// The first occurrence is 1.
    pub(crate) number: usize,
    pub(crate) action: Action,
    /// The call as it was traced, without what is done to it.
    traced: String,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.action {
            Action::Kill => write!(f, "killed before {} no. {}", self.call, self.number)?,
            Action::Fail(error) => write!(f, "{error} from {} no. {}", self.call, self.number)?,
        }
        write!(f, ", which was {}", self.traced)
    }
}

impl Point {
    /// The expression for `-e inject`.
    fn expression(&self) -> String {
        let Point { call, number, .. } = self;
        match self.action {
            Action::Kill => format!("{call}:signal=SIGKILL:when={number}"),
            Action::Fail(error) => format!("{call}:error={error}:when={number}"),
        }
    }
}

/// Returns where strace is.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join("strace"))
        .find(|program| program.is_file())
}

/// Returns why this machine's strace cannot do what is needed here.
pub(crate) fn is_usable() -> Result<(), String> {
    let program = program().ok_or("there is no strace in PATH")?;
    let done = process::run(
        Command::new(program)
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=exit_group"])
            .args(["-e", "inject=exit_group:signal=SIGKILL:when=1"])
            .args([crate::scenario::PROGRAM, "--version"]),
    )?;
    if done.is_killed() && done.stdout.starts_with("portclaim") {
        Ok(())
    } else {
        Err(format!("strace does not inject: {}", done.stderr.trim()))
    }
}

/// A call that was traced.
struct Call {
    name: String,
    line: String,
    /// How many of the name there were, with this one.
    number: usize,
    is_started: bool,
}

impl Call {
    fn is_changing(&self) -> bool {
        CHANGING.contains(&self.name.as_str()) || self.line.contains("O_CREAT")
    }
}

/// Traces the scenario once, and returns its calls in order.
fn trace(scenario: &Scenario, dir: &Path) -> Vec<Call> {
    registry::copy(&scenario.template, dir);
    let log = dir.join("trace");
    let done = process::run(
        Command::new(program().expect("it was found before"))
            .args(["-f", "-qq", "-o"])
            .arg(&log)
            .args(scenario.command(dir)),
    );
    let done = done.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(done.code, Some(0), "{}: {done:?}", scenario.name);
    let log = std::fs::read_to_string(&log).expect("it was written");
    std::fs::remove_dir_all(dir).expect("it can be removed");
    let root = registry::root(dir);
    let calls = calls(&log, root.to_str().expect("temporary paths are UTF-8"));
    assert!(
        calls.iter().any(|call| call.is_started),
        "{}: {log}",
        scenario.name
    );
    calls
}

/// Reads what strace wrote. From the first call that names `root` on, the program is started.
fn calls(log: &str, root: &str) -> Vec<Call> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut is_started = false;
    let mut calls = Vec::new();
    for line in log.lines() {
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let Some((name, arguments)) = line.split_once('(') else {
            continue;
        };
        // Ends of calls that were interrupted, signals, ends of processes.
        if name.contains([' ', '<', '-', '+']) {
            continue;
        }
        if name == "execve" {
            // Another program begins.
            is_started = false;
            continue;
        }
        is_started |= arguments.contains(root);
        let number = counts.entry(name.to_owned()).or_default();
        *number += 1;
        calls.push(Call {
            name: name.to_owned(),
            line: line.to_owned(),
            number: *number,
            is_started,
        });
    }
    calls
}

/// Returns the points of a scenario, in the order of its calls.
pub(crate) fn points(scenario: &Scenario, dir: &Path, full: bool) -> Vec<Point> {
    let mut points = Vec::new();
    for call in trace(scenario, dir) {
        let can_fail = call.is_started
            && !NEVER_FAIL.contains(&call.name.as_str())
            // The standard library's, which panics: no kernel answers so.
            && !call.line.contains("GRND_INSECURE");
        let mut actions = Vec::new();
        if full || call.is_changing() {
            actions.push(Action::Kill);
        }
        if can_fail && (full || !UNHEARD.contains(&call.name.as_str())) {
            actions.push(Action::Fail("EIO"));
            if full || call.is_changing() {
                actions.push(Action::Fail("ENOSPC"));
            }
            if full {
                actions.extend(["EACCES", "EINTR"].map(Action::Fail));
            }
        }
        points.extend(actions.into_iter().map(|action| Point {
            call: call.name.clone(),
            number: call.number,
            action,
            traced: call.line.clone(),
        }));
    }
    points
}

/// What came of a run that was tampered with.
pub(crate) struct Run {
    /// `Err`: it did not come to an end.
    pub(crate) done: Result<Done, String>,
    /// Whether the call was made as often as the point says.
    pub(crate) is_reached: bool,
}

/// Runs the scenario in `dir`, and does what the point says.
pub(crate) fn inject(scenario: &Scenario, point: &Point, dir: &Path) -> Run {
    let log = dir.join("trace");
    let done = process::run(
        Command::new(program().expect("it was found before"))
            .args(["-f", "-qq", "-o"])
            .arg(&log)
            .args(["-e", &format!("trace={}", point.call)])
            .args(["-e", &format!("inject={}", point.expression())])
            .args(scenario.command(dir)),
    );
    let is_reached = match point.action {
        Action::Kill => done.as_ref().is_ok_and(Done::is_killed),
        Action::Fail(_) => {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains("(INJECTED)"))
        }
    };
    Run { done, is_reached }
}

/// Returns the shell commands that do it once more in `dir`.
pub(crate) fn again(scenario: &Scenario, point: &Point, dir: &Path) -> String {
    let mut text = format!(
        "rm -rf {0}; cp -a {1} {0}; ",
        dir.display(),
        scenario.template.display()
    );
    let _ = write!(
        text,
        "env -i {} -f -qq -o {}/trace -e trace={} -e inject={}",
        program().unwrap_or_default().display(),
        dir.display(),
        point.call,
        point.expression()
    );
    for argument in scenario.command(dir) {
        let _ = write!(text, " {argument}");
    }
    text
}
