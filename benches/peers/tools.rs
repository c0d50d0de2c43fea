//! The tools that are compared, and how each is asked for a port.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::quiet;

/// Where each tool that can be told so looks for ports.
const RANGE: (u16, u16) = (10_000, 31_999);

/// How a port is got from a tool.
pub(crate) trait Tool {
    /// As the tables call it.
    fn name(&self) -> &'static str;

    /// Asks for the project's port.
    fn ask(&self, home: &Home, project: &Path) -> Command;

    /// Asks so that the project has a port afterwards.
    fn allocate(&self, home: &Home, project: &Path) -> Command {
        self.ask(home, project)
    }

    /// Whether [`ask`](Tool::ask) gives a port to a project that has none.
    fn allocates(&self) -> bool {
        true
    }

    /// Whether it knows projects, and answers one that asks again as before.
    fn remembers(&self) -> bool {
        true
    }

    /// Whether what it gave out stays given out, so that it can be filled.
    fn keeps(&self) -> bool {
        true
    }

    /// Whether it is measured with a number of claims that takes others too long.
    fn takes_many(&self) -> bool {
        false
    }

    /// Makes a home ready: writes the settings, starts the server.
    fn prepare(&self, _home: &Path) -> Option<Server> {
        None
    }

    /// Makes the project's directory.
    fn project(&self, home: &Home, name: &str) -> PathBuf {
        let project = home.path.join("projects").join(name);
        std::fs::create_dir_all(&project).expect("a directory");
        project
    }

    /// The port that it told.
    fn answer(&self, _project: &Path, printed: &str) -> Option<u16> {
        within(printed.trim().parse().ok()?)
    }

    /// Gives ports to so many projects.
    fn fill(&self, home: &Home, claims: usize) {
        for number in 0..claims {
            let project = self.project(home, &format!("filled-{number}"));
            let status = quiet(self.allocate(home, &project)).status().expect("runs");
            assert!(status.success(), "{} gives port {number}", self.name());
        }
    }
}

fn within(port: u16) -> Option<u16> {
    (RANGE.0..=RANGE.1).contains(&port).then_some(port)
}

/// A home directory of one tool's own.
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    pub(crate) server: Option<Server>,
}

impl Home {
    pub(crate) fn new(path: PathBuf, tool: &dyn Tool) -> Home {
        std::fs::create_dir_all(&path).expect("a directory");
        let server = tool.prepare(&path);
        Home { path, server }
    }

    /// A command that sees this home, and nothing else of the environment but where programs are.
    /// Git is told not to look above it: a project there is none of a repository around it.
    #[expect(
        clippy::disallowed_methods,
        reason = "programs are found where they are"
    )]
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("HOME", &self.path)
            .env("GIT_CEILING_DIRECTORIES", self.path.join("projects"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(&self.path);
        command
    }
}

/// A server that a tool needs; it goes with its value.
pub(crate) struct Server {
    child: Child,
    sockets: TempDir,
}

impl Server {
    fn address(&self) -> PathBuf {
        self.sockets.path().join("server")
    }

    /// Its process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("it ends");
        self.child.wait().expect("it ended");
    }
}

/// portclaim, by the verb that asks.
pub(crate) struct Portclaim {
    pub(crate) program: PathBuf,
    pub(crate) verb: &'static str,
}

impl Portclaim {
    fn command(&self, home: &Home, verb: &str, project: &Path) -> Command {
        let mut command = home.command(&self.program);
        command
            .env("INTERCEPTOR_PORT_MIN", RANGE.0.to_string())
            .env("INTERCEPTOR_PORT_MAX", RANGE.1.to_string())
            .arg(verb)
            .arg(project);
        command
    }
}

impl Tool for Portclaim {
    fn name(&self) -> &'static str {
        match self.verb {
            "show" => "portclaim show",
            _ => "portclaim allocate",
        }
    }

    fn ask(&self, home: &Home, project: &Path) -> Command {
        self.command(home, self.verb, project)
    }

    fn allocate(&self, home: &Home, project: &Path) -> Command {
        self.command(home, "allocate", project)
    }

    fn allocates(&self) -> bool {
        self.verb == "allocate"
    }

    fn takes_many(&self) -> bool {
        true
    }
}

/// trop, a program of its own on `SQLite`.
pub(crate) struct Trop(pub(crate) PathBuf);

impl Tool for Trop {
    fn name(&self) -> &'static str {
        "trop reserve"
    }

    fn ask(&self, home: &Home, project: &Path) -> Command {
        let mut command = home.command(&self.0);
        command
            .env("TROP_PORT_MIN", RANGE.0.to_string())
            .env("TROP_PORT_MAX", RANGE.1.to_string())
            .arg("reserve")
            .current_dir(project);
        command
    }

    fn takes_many(&self) -> bool {
        true
    }
}

/// portool: a block of ports for each git worktree, told in a file there.
pub(crate) struct Portool(pub(crate) PathBuf);

impl Tool for Portool {
    fn name(&self) -> &'static str {
        "portool sync"
    }

    fn ask(&self, home: &Home, project: &Path) -> Command {
        let mut command = home.command(&self.0);
        command.args(["sync", "--quiet"]).current_dir(project);
        command
    }

    fn prepare(&self, home: &Path) -> Option<Server> {
        let (first, last) = RANGE;
        write(
            &home.join(".config/portool/config.toml"),
            &format!("range = [{first}, {last}]\nblock_align = 1\n"),
        );
        None
    }

    fn project(&self, home: &Home, name: &str) -> PathBuf {
        let project = home.path.join("projects").join(name);
        // As much as git takes for a repository.
        for needed in ["objects", "refs"] {
            std::fs::create_dir_all(project.join(".git").join(needed)).expect("a directory");
        }
        write(&project.join(".git/HEAD"), "ref: refs/heads/main\n");
        project
    }

    fn answer(&self, project: &Path, _printed: &str) -> Option<u16> {
        let told = read(&project.join(".env.portool"))?;
        let port = told.lines().find_map(|line| line.strip_prefix("PORT="))?;
        within(port.parse().ok()?)
    }
}

/// bindport, a program of its own on `SQLite`.
pub(crate) struct Bindport(pub(crate) PathBuf);

impl Tool for Bindport {
    fn name(&self) -> &'static str {
        "bindport reserve"
    }

    fn ask(&self, home: &Home, project: &Path) -> Command {
        let mut command = home.command(&self.0);
        command.args(["reserve", "web"]).current_dir(project);
        command
    }

    fn prepare(&self, home: &Path) -> Option<Server> {
        let (first, last) = RANGE;
        write(
            &home.join(".config/bindport/config.toml"),
            &format!("default_range = \"{first}-{last}\"\n"),
        );
        None
    }

    fn answer(&self, _project: &Path, printed: &str) -> Option<u16> {
        let (_, port) = printed.lines().next()?.rsplit_once(':')?;
        within(port.parse().ok()?)
    }
}

/// port-for in Python. Its command keeps what it gave out in /etc, so its store is called with
/// a file in the home, as the command calls it.
pub(crate) struct PortFor(pub(crate) PathBuf);

impl PortFor {
    const STORE: &str = "import sys, port_for; store = port_for.PortStore(sys.argv[1]);";

    fn python(&self, home: &Home, code: &str) -> Command {
        let mut command = home.command(&self.0);
        command
            .arg("-c")
            .arg(format!("{}{code}", PortFor::STORE))
            .arg(home.path.join("port-for.conf"));
        command
    }
}

impl Tool for PortFor {
    fn name(&self) -> &'static str {
        "port-for"
    }

    fn ask(&self, home: &Home, project: &Path) -> Command {
        let mut command = self.python(home, "print(store.bind_port(sys.argv[2]))");
        command.arg(project);
        command
    }

    /// It has a list of ports of its own.
    fn answer(&self, _project: &Path, printed: &str) -> Option<u16> {
        printed.trim().parse().ok()
    }

    fn fill(&self, home: &Home, claims: usize) {
        let code = "[store.bind_port('filled-%d' % n) for n in range(int(sys.argv[2]))]";
        let mut command = self.python(home, code);
        let status = command.arg(claims.to_string()).status().expect("runs");
        assert!(status.success(), "port-for is filled");
    }
}

/// portpicker in Python, which asks its server. Ports are given to processes: here to this one.
pub(crate) struct Portpicker(pub(crate) PathBuf);

impl Portpicker {
    fn python(&self, home: &Home) -> Command {
        let mut command = home.command(&self.0);
        let server = home.server.as_ref().expect("it was started");
        command.env("PORTSERVER_ADDRESS", server.address());
        command
    }
}

impl Tool for Portpicker {
    fn name(&self) -> &'static str {
        "portpicker, portserver"
    }

    fn ask(&self, home: &Home, _project: &Path) -> Command {
        let mut command = self.python(home);
        command
            .args(["-m", "portpicker"])
            .arg(std::process::id().to_string());
        command
    }

    fn remembers(&self) -> bool {
        false
    }

    fn prepare(&self, home: &Path) -> Option<Server> {
        // Not in the home: a socket's path may have some hundred bytes.
        let sockets = tempfile::tempdir().expect("a directory");
        let address = sockets.path().join("server");
        let mut command = Command::new(&self.0);
        let (first, last) = RANGE;
        command
            .arg(self.0.with_file_name("portserver.py"))
            .arg(format!("--portserver_static_pool={first}-{last}"))
            .arg("--portserver_address")
            .arg(&address)
            .env("HOME", home);
        let child = quiet(command).spawn().expect("starts");
        let server = Server { child, sockets };
        for _ in 0..1_000 {
            if UnixStream::connect(&address).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("portserver does not answer");
    }

    fn fill(&self, home: &Home, claims: usize) {
        let code = "import sys, portpicker; \
                    [portpicker.pick_unused_port(int(sys.argv[1])) for _ in range(int(sys.argv[2]))]";
        let mut command = self.python(home);
        command
            .args(["-c", code])
            .arg(std::process::id().to_string());
        let status = command.arg(claims.to_string()).status().expect("runs");
        assert!(status.success(), "portpicker is filled");
    }
}

/// get-port-cli on Node.js: any free port, kept nowhere.
pub(crate) struct GetPort(pub(crate) PathBuf);

impl Tool for GetPort {
    fn name(&self) -> &'static str {
        "get-port-cli"
    }

    fn ask(&self, home: &Home, _project: &Path) -> Command {
        home.command(&self.0)
    }

    fn remembers(&self) -> bool {
        false
    }

    fn keeps(&self) -> bool {
        false
    }

    /// The system's choice.
    fn answer(&self, _project: &Path, printed: &str) -> Option<u16> {
        printed.trim().parse().ok()
    }
}

/// A shell command instead of a tool: for faults that must be seen.
pub(crate) struct Planted(pub(crate) &'static str);

impl Tool for Planted {
    fn name(&self) -> &'static str {
        self.0
    }

    fn ask(&self, home: &Home, _project: &Path) -> Command {
        let mut command = home.command("sh");
        command.args(["-c", self.0]);
        command
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark prepares homes")]
fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    std::fs::write(path, text).expect("writes");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads answers")]
fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
