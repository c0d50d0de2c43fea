//! Runs the real binary in a home directory of its own, and compares all that it says.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::net::UdpSocket;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_portclaim");

/// No command takes a hundredth of this; a test that waits longer waits for ever.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Where the registry file is by default, in the home directory.
const REGISTRY: &str = ".config/litellm/port_registry.json";

/// The user that stands for everybody who is not root.
pub(crate) const NOBODY: u32 = 65534;

/// A home directory with a registry, and a range of free ports.
///
/// All calls run in it, with `HOME` and the range as their whole environment.
pub(crate) struct Test {
    dir: tempfile::TempDir,
    home: PathBuf,
    ports: Ports,
}

impl Test {
    /// Makes an empty home, and takes eight ports.
    pub(crate) fn new() -> Test {
        Test::with_ports(8)
    }

    /// The same with this many ports in the range.
    pub(crate) fn with_ports(count: u16) -> Test {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = dir.path().canonicalize().expect("it exists").join("home");
        fs::create_dir(&home).expect("it is new");
        Test {
            dir,
            home,
            ports: Ports::take(count),
        }
    }

    /// Makes a registry of these projects, on the range's first ports.
    pub(crate) fn of_projects(names: &[&str]) -> Test {
        let test = Test::new();
        for (name, index) in names.iter().zip(0..) {
            test.project(name, test.port(index));
        }
        test
    }

    /// A registry of three projects: `shop`, `blog` and `wiki` on the first three ports.
    pub(crate) fn of_three() -> Test {
        Test::of_projects(&["shop", "blog", "wiki"])
    }

    /// Returns the home directory.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Returns the directory around the home, which no call knows of.
    pub(crate) fn outside(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the range's port of this index.
    pub(crate) fn port(&self, index: u16) -> u16 {
        assert!(index < self.ports.count, "the range has no port {index}");
        self.ports.first + index
    }

    /// Returns the range, e.g. `8888-9999`.
    pub(crate) fn range(&self) -> String {
        format!("{}-{}", self.ports.first, self.ports.last())
    }

    /// Returns what is called `name` in the home.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.home.join(name)
    }

    /// Makes a directory in the home.
    pub(crate) fn mkdir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a directory can be made");
        path
    }

    /// Moves a directory of the home.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("a directory can be moved");
    }

    /// Makes a directory for a project and gives it a port, which must be this one.
    pub(crate) fn project(&self, name: &str, port: u16) {
        self.mkdir(name);
        self.args(["allocate", name])
            .stdout(format!("{port}\n"))
            .run();
    }

    /// Gives a service of a project a port, if it has none.
    #[track_caller]
    pub(crate) fn service(&self, project: &str, service: &str) {
        self.args(["allocate", project, "--service", service])
            .any_stdout()
            .run();
    }

    /// Asserts that `show` tells this port of a project.
    #[track_caller]
    pub(crate) fn assert_shows(&self, project: &str, port: u16) {
        self.args(["show", project])
            .stdout(format!("{port}\n"))
            .run();
    }

    /// Asserts that `doctor` finds nothing.
    #[track_caller]
    pub(crate) fn assert_healthy(&self) {
        self.args(["doctor"]).stdout_has("healthy").run();
    }

    /// Writes a file in the home, and the directories that it needs.
    pub(crate) fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let parent = path.parent().expect("it lies in the home");
        fs::create_dir_all(parent).expect("a directory can be made");
        fs::write(&path, bytes).expect("a file can be written");
        path
    }

    /// Reads a file in the home.
    pub(crate) fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Reads a file in the home as text, with the home's path replaced.
    pub(crate) fn text(&self, name: impl AsRef<Path>) -> String {
        self.shown(&self.read(name))
    }

    /// Returns the directory of the registry.
    pub(crate) fn root(&self) -> PathBuf {
        let registry = self.path(REGISTRY);
        registry.parent().expect("it has a parent").to_owned()
    }

    /// Returns the path of the registry file.
    pub(crate) fn registry(&self) -> PathBuf {
        self.path(REGISTRY)
    }

    /// Writes the registry file.
    pub(crate) fn write_registry(&self, bytes: impl AsRef<[u8]>) {
        self.write(REGISTRY, bytes);
    }

    /// Reads the registry file.
    pub(crate) fn registry_json(&self) -> Value {
        serde_json::from_slice(&self.read(REGISTRY)).expect("the registry file is JSON")
    }

    /// Returns the registry file's mappings, with the home's path replaced.
    pub(crate) fn mappings(&self) -> BTreeMap<String, u64> {
        let json = self.registry_json();
        let mappings = json["mappings"].as_object().expect("mappings");
        let mapping = |(path, port): (&String, &Value)| {
            let port = port
                .as_u64()
                .or_else(|| port.as_str()?.parse().ok())
                .expect("a port");
            (self.shown(path.as_bytes()), port)
        };
        mappings.iter().map(mapping).collect()
    }

    /// Returns the path of a port's claim.
    pub(crate) fn claim(&self, port: u16) -> PathBuf {
        self.root().join(format!("ports/{port}.claim"))
    }

    /// Returns the path of the commit that belongs to a port's claim.
    pub(crate) fn commit(&self, port: u16) -> PathBuf {
        let claim = fs::read(self.claim(port)).expect("the port has a claim");
        let is_it = |path: &PathBuf| fs::read(path).is_ok_and(|commit| commit == claim);
        entries(&self.root().join("projects"))
            .into_iter()
            .find(is_it)
            .expect("the claim has a commit")
    }

    /// Returns every claim and commit that is a regular file, with its content.
    pub(crate) fn records(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        ["ports", "projects"]
            .iter()
            .flat_map(|name| entries(&self.root().join(name)))
            .filter(|path| {
                let name = path.to_string_lossy();
                name.ends_with(".claim") && path.symlink_metadata().is_ok_and(|meta| meta.is_file())
            })
            .map(|path| {
                let bytes = fs::read(&path).expect("a record can be read");
                (path, bytes)
            })
            .collect()
    }

    /// Returns the names of the registry's backups beside the registry file, sorted.
    pub(crate) fn backups(&self) -> Vec<String> {
        entries(&self.root())
            .iter()
            .map(|path| path.file_name().unwrap_or_default().to_string_lossy())
            .filter(|name| name.contains(".backup"))
            .map(Into::into)
            .collect()
    }

    /// Prepares a call with these arguments.
    pub(crate) fn args<I, S>(&self, args: I) -> Call<'_>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.program(BINARY).with_args(args)
    }

    /// Prepares a call of another program.
    pub(crate) fn program(&self, program: &str) -> Call<'_> {
        Call::new(self, OsStr::new(program))
    }

    /// Prepares a call of a shell script, in which `$portclaim` is the binary.
    pub(crate) fn shell(&self, script: &str) -> Call<'_> {
        let mut call = self.program("/bin/sh");
        call.command.args(["-euc", script]).env("portclaim", BINARY);
        if let Some(path) = std::env::var_os("PATH") {
            call.command.env("PATH", path);
        }
        call
    }

    /// Makes all of these calls at the same moment, and returns what came of each, in order.
    pub(crate) fn at_once<'a>(&self, calls: impl IntoIterator<Item = [&'a str; 2]>) -> Vec<Said> {
        // Started one after the other, the first would be done before the last.
        let started = |args: [&str; 2]| {
            let mut call = self.shell("read -r _; exec \"$portclaim\" \"$@\"");
            call.command.arg("sh").args(args);
            call.spawn()
        };
        let mut children: Vec<Child> = calls.into_iter().map(started).collect();
        for child in &mut children {
            let mut stdin = child.stdin.take().expect("it is piped");
            stdin.write_all(b"go\n").expect("it waits for a line");
        }
        let said = |child: Child| {
            let output = child.wait_with_output().expect("it can be waited for");
            Said {
                code: output.status.code(),
                stdout: self.shown(&output.stdout),
                stderr: self.shown(&output.stderr),
            }
        };
        children.into_iter().map(said).collect()
    }

    /// Returns text as it is compared: with the home's path replaced.
    fn shown(&self, bytes: &[u8]) -> String {
        let home = self.home.to_str().expect("temporary paths are UTF-8");
        String::from_utf8_lossy(bytes).replace(home, "[HOME]")
    }
}

/// Sets the permissions of a file.
pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// Returns the paths of what lies in a directory, sorted; none where it does not exist.
pub(crate) fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a directory can be read").path())
        .collect();
    paths.sort();
    paths
}

/// What a stream must say.
enum Expected {
    Exactly(String),
    Containing(Vec<String>),
    Anything,
}

impl Expected {
    fn fits(&self, said: &str) -> bool {
        match self {
            Expected::Exactly(text) => said == text,
            Expected::Containing(parts) => parts.iter().all(|part| said.contains(part)),
            Expected::Anything => true,
        }
    }

    fn add(&mut self, part: String) {
        match self {
            Expected::Containing(parts) => parts.push(part),
            _ => *self = Expected::Containing(vec![part]),
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Expected::Exactly(text) => f.write_str(text),
            Expected::Containing(parts) => write!(f, "containing {parts:#?}"),
            Expected::Anything => f.write_str("anything"),
        }
    }
}

/// A call that has not been made, and what must come of it: exit code 0 and not a word,
/// unless something else is said.
#[must_use = "nothing is called before `run`"]
pub(crate) struct Call<'a> {
    test: &'a Test,
    command: Command,
    stdin: Vec<u8>,
    closed_stdout: bool,
    code: i32,
    stdout: Expected,
    stderr: Expected,
}

impl<'a> Call<'a> {
    fn new(test: &'a Test, program: &OsStr) -> Call<'a> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", &test.home)
            .env("INTERCEPTOR_PORT_MIN", test.ports.first.to_string())
            .env("INTERCEPTOR_PORT_MAX", test.ports.last().to_string())
            .current_dir(&test.home);
        Call {
            test,
            command,
            stdin: Vec::new(),
            closed_stdout: false,
            code: 0,
            stdout: Expected::Exactly(String::new()),
            stderr: Expected::Exactly(String::new()),
        }
    }

    /// Adds arguments.
    pub(crate) fn with_args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable away.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Calls from another directory of the home.
    pub(crate) fn cwd(mut self, name: impl AsRef<Path>) -> Self {
        self.command.current_dir(self.test.path(name));
        self
    }

    /// Calls as another user, which only root can.
    pub(crate) fn user(mut self, user: u32) -> Self {
        self.command.uid(user).gid(user);
        self
    }

    /// Gives standard input; without it, there is none.
    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = text.as_bytes().to_vec();
        self
    }

    /// Gives a pipe as standard output whose reader has gone.
    pub(crate) fn closed_stdout(mut self) -> Self {
        self.closed_stdout = true;
        self
    }

    /// Expects this exit code.
    pub(crate) fn code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    /// Expects exactly this on standard output, with `[HOME]` for the home.
    pub(crate) fn stdout(mut self, text: impl Into<String>) -> Self {
        self.stdout = Expected::Exactly(text.into());
        self
    }

    /// Expects exactly this on standard error.
    pub(crate) fn stderr(mut self, text: impl Into<String>) -> Self {
        self.stderr = Expected::Exactly(text.into());
        self
    }

    /// Expects this somewhere in standard output, and whatever else was so expected.
    pub(crate) fn stdout_has(mut self, part: impl Into<String>) -> Self {
        self.stdout.add(part.into());
        self
    }

    /// Expects this somewhere in standard error, and whatever else was so expected.
    pub(crate) fn stderr_has(mut self, part: impl Into<String>) -> Self {
        self.stderr.add(part.into());
        self
    }

    /// Leaves standard output to whoever looks at the result.
    pub(crate) fn any_stdout(mut self) -> Self {
        self.stdout = Expected::Anything;
        self
    }

    /// Leaves standard error to whoever looks at the result.
    pub(crate) fn any_stderr(mut self) -> Self {
        self.stderr = Expected::Anything;
        self
    }

    /// Calls, and compares everything.
    ///
    /// # Panics
    ///
    /// Where anything else comes of it than what was expected.
    #[track_caller]
    pub(crate) fn run(mut self) -> Said {
        let child = self.spawn();
        let (code, stdout, stderr) = finish(child, std::mem::take(&mut self.stdin), &self.command);
        let said = Said {
            code,
            stdout: self.test.shown(&stdout),
            stderr: self.test.shown(&stderr),
        };
        let fits = said.code == Some(self.code)
            && self.stdout.fits(&said.stdout)
            && self.stderr.fits(&said.stderr);
        assert!(fits, "{}", self.difference(&said));
        said
    }

    /// Calls, and reads standard output as JSON of the documented version.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let said = self.any_stdout().run();
        let json: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("{error} in:\n{}", said.stdout));
        assert_eq!(json["version"], 1, "{json}");
        json
    }

    /// Starts the call and returns at once; what it says is not compared.
    #[track_caller]
    pub(crate) fn spawn(&mut self) -> Child {
        let mut stdout = Stdio::piped();
        if self.closed_stdout {
            let (reader, writer) = std::io::pipe().expect("a pipe can be had");
            drop(reader);
            stdout = writer.into();
        }
        self.command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command))
    }

    /// The same; it ends with the value.
    #[track_caller]
    pub(crate) fn running(&mut self) -> Running {
        Running(self.spawn())
    }

    fn difference(&self, said: &Said) -> String {
        let mut text = String::from("something else was said than expected\n");
        let code = said
            .code
            .map_or("a signal".to_owned(), |code| code.to_string());
        let args: Vec<&OsStr> = self.command.get_args().collect();
        let _ = writeln!(text, "args: {args:?}");
        let _ = writeln!(text, "exit code: {code}, expected {}", self.code);
        let _ = writeln!(text, "=== stdout\n{}", said.stdout);
        let _ = writeln!(text, "=== expected\n{}", self.stdout);
        let _ = writeln!(text, "=== stderr\n{}", said.stderr);
        let _ = writeln!(text, "=== expected\n{}", self.stderr);
        text
    }
}

/// A child that is killed with this value, also where the test fails.
pub(crate) struct Running(pub(crate) Child);

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What came of a call, with the home's path replaced.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Waits for a child, but not for ever.
#[track_caller]
fn finish(mut child: Child, stdin: Vec<u8>, command: &Command) -> (Option<i32>, Vec<u8>, Vec<u8>) {
    let id = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        if let Some(mut pipe) = child.stdin.take() {
            // Most commands do not read it.
            let _ = pipe.write_all(&stdin);
        }
        let _ = sender.send(child.wait_with_output());
    });
    let Ok(output) = receiver.recv_timeout(TIMEOUT) else {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        panic!("it did not come to an end: {command:?}");
    };
    let output = output.expect("a child can be waited for");
    (output.status.code(), output.stdout, output.stderr)
}

/// A run of ports that nobody uses, and that no other test takes.
///
/// They lie below the ports that the kernel gives out by itself. A UDP socket, which is in no
/// TCP server's way, keeps other tests from the run, in this process and in others.
struct Ports {
    first: u16,
    count: u16,
    _token: UdpSocket,
}

impl Ports {
    const LOWEST: u16 = 10_000;
    const HIGHEST: u16 = 32_000;
    /// Runs begin at multiples of this, so that two either are the same or do not meet.
    const STEP: u16 = 64;

    fn take(count: u16) -> Ports {
        assert!(count <= Ports::STEP, "no run is that long");
        let places = u64::from((Ports::HIGHEST - Ports::LOWEST) / Ports::STEP);
        // Random by process and call.
        let start = RandomState::new().hash_one(count);
        for turn in 0..places {
            let place = u16::try_from(start.wrapping_add(turn) % places).expect("it is small");
            let first = Ports::LOWEST + place * Ports::STEP;
            let Ok(token) = UdpSocket::bind(("127.0.0.1", first)) else {
                continue;
            };
            if (first..first + count).all(is_free) {
                return Ports {
                    first,
                    count,
                    _token: token,
                };
            }
        }
        panic!("this machine has no {count} free ports in a row");
    }

    fn last(&self) -> u16 {
        self.first + self.count - 1
    }
}

/// Never listens, as a child that another test starts at this moment would go on listening.
fn is_free(port: u16) -> bool {
    let port = portclaim::Port::new(port).expect("it is not 0");
    portclaim::probe(port).expect("a socket can be had") == portclaim::Availability::Free
}

/// Says aloud that a test looks at less than it should: libtest does not catch this.
pub(crate) fn skip(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}: {why}");
}

/// Returns whether this is root, on whom permissions do not bind.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Test {
    /// Lets another user into the home, and returns whether it can run the binary; says
    /// aloud where not.
    pub(crate) fn admit(&self, user: u32, what: &str) -> bool {
        if !is_root() {
            skip(what, "only root can be another user");
            return false;
        }
        for path in [self.outside(), self.home()] {
            chmod(path, 0o755);
        }
        let mut command = Command::new(BINARY);
        command.arg("--version").uid(user).gid(user);
        let can = command
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !can {
            skip(what, "another user cannot reach the binary");
        }
        can
    }

    /// Prepares a call of a shell script that may mount what it likes, in a mount namespace of
    /// its own; says aloud where that cannot be had. `$portclaim` is the binary.
    pub(crate) fn mounting(&self, script: &str, what: &str) -> Option<Call<'_>> {
        let unshare = if is_root() {
            "unshare --mount"
        } else {
            "unshare --map-root-user --mount"
        };
        let dir = self.mkdir("mountpoint");
        let mount = format!("{unshare} mount -t tmpfs none \"$HOME/mountpoint\" 2>&1");
        let mut call = self.shell(&mount);
        let (code, stdout, stderr) = finish(call.spawn(), Vec::new(), &call.command);
        fs::remove_dir(dir).expect("nothing is mounted here");
        if code != Some(0) {
            let why = [stdout, stderr].concat();
            let why = String::from_utf8_lossy(&why);
            skip(what, &format!("no mount namespace: {}", why.trim()));
            return None;
        }
        let call = self.shell(&format!("exec {unshare} sh -euc \"$script\""));
        Some(call.env("script", script))
    }
}

/// Returns the registry file that the Python system writes: `json.dump` with `indent=2`. The
/// keys are texts of JSON strings without their quotes, the values JSON.
pub(crate) fn python_registry<'a>(
    range: (u16, u16),
    mappings: impl IntoIterator<Item = (&'a str, &'a str)>,
    next_available: u16,
) -> String {
    let lines: Vec<String> = mappings
        .into_iter()
        .map(|(key, value)| format!("    \"{key}\": {value}"))
        .collect();
    let mappings = if lines.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{\n{}\n  }}", lines.join(",\n"))
    };
    format!(
        "{{\n  \"version\": \"1.0\",\n  \"port_range\": {{\n    \"start\": {},\n    \"end\": {}\n  }},\n  \
         \"mappings\": {mappings},\n  \"next_available\": {next_available}\n}}",
        range.0, range.1
    )
}

/// Returns a file name of these bytes.
pub(crate) fn name_of(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).to_owned()
}
