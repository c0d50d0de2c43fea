//! A registry in a directory of its own, and processes of the built program at work on it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use portclaim::{Holder, Options, Port, PortRange, ProjectPath, Registry};
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portclaim");

/// What `doctor` finds wrong with a machine rather than with a registry.
const OF_THE_MACHINE: [&str; 2] = ["ephemeral-range", "network-filesystem"];

/// Where tests take their ports from: above the privileged ones, and below those that most
/// kernels give to outgoing connections.
const FIRST: u32 = 10_000;
const LAST: u32 = 32_000;

/// Returns `len` ports in a row that nobody uses, and that no other test of this process
/// is given.
pub(crate) fn free_ports(len: u16) -> PortRange {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let room = LAST - FIRST - u32::from(len);
    // Test processes that run side by side begin in different places.
    let begin = std::process::id().wrapping_mul(7919);
    for _ in 0..1000 {
        let offset = begin.wrapping_add(TAKEN.fetch_add(u32::from(len), Ordering::Relaxed)) % room;
        let first = u16::try_from(FIRST + offset).expect("below 32000");
        let last = first + (len - 1);
        if (first..=last).all(is_free) {
            return PortRange::new(port(first), port(last)).expect("ascending");
        }
    }
    panic!("no {len} free ports in a row");
}

fn is_free(port: u16) -> bool {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Ok(_) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => false,
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok(),
    }
}

pub(crate) fn port(number: u16) -> Port {
    Port::new(number).expect("not 0")
}

/// A registry that nobody else knows.
pub(crate) struct Scene {
    home: Utf8PathBuf,
    range: PortRange,
    _dir: TempDir,
}

impl Scene {
    /// Returns a scene whose registry does not exist yet, with `ports` ports to give out.
    pub(crate) fn new(ports: u16) -> Scene {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().canonicalize().expect("its real path");
        Scene {
            home: Utf8PathBuf::try_from(home).expect("UTF-8"),
            range: free_ports(ports),
            _dir: dir,
        }
    }

    pub(crate) fn range(&self) -> PortRange {
        self.range
    }

    /// The registry's directory.
    pub(crate) fn root(&self) -> Utf8PathBuf {
        self.home.join("registry")
    }

    pub(crate) fn home(&self) -> &Utf8Path {
        &self.home
    }

    /// The path of a project, whose directory exists.
    pub(crate) fn project(&self, name: impl Display) -> String {
        let path = self.home.join(format!("projects/{name}"));
        std::fs::create_dir_all(&path).expect("a directory");
        path.into_string()
    }

    pub(crate) fn holder(&self, name: impl Display) -> Holder {
        Holder::new(ProjectPath::from_normal(self.project(name)).expect("a normal path"))
    }

    pub(crate) fn options(&self) -> Options {
        Registry::options().range(self.range)
    }

    /// Opens the registry once more.
    pub(crate) fn registry(&self) -> Registry {
        self.options().open(self.root()).expect("a registry")
    }

    /// A command of the program on this registry.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        self.complete(&mut command, arguments);
        command
    }

    fn complete(&self, command: &mut Command, arguments: &[&str]) {
        command
            .args(arguments)
            .env_clear()
            .env(
                "PORT_REGISTRY_PATH",
                self.root().join(portclaim::DEFAULT_FILE_NAME),
            )
            .env("INTERCEPTOR_PORT_MIN", self.range.first().to_string())
            .env("INTERCEPTOR_PORT_MAX", self.range.last().to_string())
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("a process")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        finish(self.start(arguments))
    }

    /// Runs one process for each list of arguments; all of them begin at the same moment.
    pub(crate) fn run_at_once(&self, calls: &[Vec<&str>]) -> Vec<Done> {
        let (waiting, go) = std::io::pipe().expect("a pipe");
        let children: Vec<Child> = calls
            .iter()
            .map(|arguments| {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", "read _ || :; exec \"$0\" \"$@\" </dev/null", PROGRAM]);
                self.complete(&mut command, arguments);
                command.stdin(waiting.try_clone().expect("a descriptor"));
                command.spawn().expect("a process")
            })
            .collect();
        drop(go);
        children.into_iter().map(finish).collect()
    }

    /// Allocates a port, and expects to be told one.
    pub(crate) fn allocate(&self, project: &str) -> u16 {
        self.run(&["allocate", project]).port()
    }

    /// Returns the project's port, as `show` tells it.
    pub(crate) fn show(&self, project: &str) -> Option<u16> {
        let done = self.run(&["show", project]);
        match done.code {
            Some(1) => None,
            _ => Some(done.port()),
        }
    }

    /// Returns the ports by project, as `list` tells them.
    pub(crate) fn list(&self) -> BTreeMap<String, u16> {
        let listed = self.run(&["list", "--json"]).json();
        let claims = listed["claims"].as_array().expect("an array");
        claims
            .iter()
            .map(|claim| (text(&claim["path"]), number(&claim["port"])))
            .collect()
    }

    /// Returns the ports by project, as the registry file tells them to others.
    pub(crate) fn mappings(&self) -> BTreeMap<String, u16> {
        let path = self.root().join(portclaim::DEFAULT_FILE_NAME);
        let file = std::fs::read(path).expect("the registry file");
        let file: Value = serde_json::from_slice(&file).expect("JSON");
        let mappings = file["mappings"].as_object().expect("an object");
        mappings
            .iter()
            .map(|(project, port)| (project.clone(), number(port)))
            .collect()
    }

    /// Returns what `doctor`, with more arguments, finds and does not mend.
    pub(crate) fn findings(&self, arguments: &[&str]) -> Vec<String> {
        let arguments = [&["doctor", "--json"], arguments].concat();
        let done = self.run(&arguments);
        let report = done.json();
        let findings = report["findings"].as_array().expect("an array");
        findings
            .iter()
            .filter(|finding| finding["fixed"] == false)
            .filter(|finding| !OF_THE_MACHINE.contains(&text(&finding["kind"]).as_str()))
            .map(Value::to_string)
            .collect()
    }

    /// The names in a directory of the registry, in order.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        names(&self.root().join(directory))
    }

    /// The marks: what the registry file does not show yet.
    pub(crate) fn marks(&self) -> Vec<String> {
        let mut names = self.names("index");
        names.retain(|name| name.contains('-'));
        names
    }

    /// Asserts that nothing is half done, and that the registry file shows what is so:
    /// as it must be when every process has come to its end by itself.
    pub(crate) fn assert_settled(&self) {
        assert_eq!(self.names("staging"), [""; 0], "staged files");
        assert_eq!(self.marks(), [""; 0], "marks");
        let listed = self.list();
        let mut claims: Vec<String> = listed
            .values()
            .map(|port| format!("{port}.claim"))
            .collect();
        claims.sort();
        // Hidden files are the program's own; what else there is, `doctor` tells.
        let visible = |directory| {
            let mut names = self.names(directory);
            names.retain(|name| !name.starts_with('.'));
            names
        };
        assert_eq!(visible("ports"), claims, "a claim that nobody holds");
        assert_eq!(visible("projects").len(), listed.len(), "commits");
        assert_eq!(self.mappings(), listed, "the registry file");
        assert_eq!(self.findings(&[]), [""; 0], "doctor");
        assert_eq!(
            self.names(""),
            [
                "index",
                portclaim::DEFAULT_FILE_NAME,
                "ports",
                "projects",
                "staging"
            ],
            "something was damaged, or taken for another's"
        );
    }
}

pub(crate) fn names(directory: &Utf8Path) -> Vec<String> {
    let mut names: Vec<String> = directory
        .read_dir_utf8()
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_owned())
        .collect();
    names.sort();
    names
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn number(value: &Value) -> u16 {
    let number = value.as_u64().expect("a number");
    u16::try_from(number).expect("a port")
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The port that was printed by a command that succeeded.
    pub(crate) fn port(&self) -> u16 {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.printed_port()
            .unwrap_or_else(|| panic!("no port was printed: {self:?}"))
    }

    /// The port that was printed, whatever became of the command afterwards.
    pub(crate) fn printed_port(&self) -> Option<u16> {
        self.stdout.strip_suffix('\n')?.parse().ok()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Waits for the end of a process.
pub(crate) fn finish(child: Child) -> Done {
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("its end");
    Done {
        code: status.code(),
        signal: status.signal(),
        stdout: String::from_utf8(stdout).expect("UTF-8"),
        stderr: String::from_utf8(stderr).expect("UTF-8"),
    }
}

/// How many times as long as usual the tests with chance in them run.
pub(crate) fn rounds() -> usize {
    let rounds = std::env::var("PORTCLAIM_TEST_ROUNDS").unwrap_or_else(|_| "1".to_owned());
    rounds.parse().expect("PORTCLAIM_TEST_ROUNDS is a number")
}

/// Random numbers that can be had again: a failing test prints their seed.
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// Begins with the seed in `PORTCLAIM_TEST_SEED`, else anywhere.
    pub(crate) fn new() -> Random {
        let seed = match std::env::var("PORTCLAIM_TEST_SEED") {
            Ok(seed) => seed.parse().expect("PORTCLAIM_TEST_SEED is a number"),
            Err(_) => RandomState::new().build_hasher().finish(),
        };
        Random::from_seed(seed)
    }

    pub(crate) fn from_seed(seed: u64) -> Random {
        Random { seed, state: seed }
    }

    /// Another sequence, which depends on this one's seed and on `number`.
    pub(crate) fn fork(&self, number: u64) -> Random {
        Random {
            seed: self.seed,
            state: Random::from_seed(self.seed ^ (number + 1).wrapping_mul(0xd6e8_feb8_6659_fd93))
                .next(),
        }
    }

    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("64 bits");
        usize::try_from(self.next() % end).expect("below a usize")
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

impl Drop for Random {
    #[expect(clippy::print_stderr, reason = "the seed of a failure is for people")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run it again with PORTCLAIM_TEST_SEED={}", self.seed);
        }
    }
}

/// Tells threads that run until then to stop, also where the test fails before.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
