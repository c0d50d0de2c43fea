//! The registries in which a command is killed or fails, and what must be so afterwards.

use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use portclaim::{Availability, Port, probe};

use crate::process;
use crate::registry::{self, Held};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portclaim");

/// Ports of a scenario's range; commands that follow have them all.
const PORTS: u16 = 16;

/// What the command of a scenario does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Allocate,
    Remove,
    Move,
    /// Allocates with `--follow-git`, where the project's repository was moved to.
    Follow,
    Prune,
    Reset,
    Mend,
    List,
    Index,
    /// Runs `show`, with the project's port or a lease.
    Run,
    RunLeased,
}

impl Verb {
    /// Returns whether its command gives the project a port for good.
    pub(crate) fn allocates(self) -> bool {
        matches!(self, Verb::Allocate | Verb::Run)
    }
}

/// A registry, and a command on it.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) verb: Verb,
    /// A directory with the registry as it is before the command.
    pub(crate) template: PathBuf,
    /// The command's project, where it moves to, and one that never had a port.
    pub(crate) subject: String,
    pub(crate) target: String,
    pub(crate) newcomer: String,
    /// First and last port: of the command, and of those that follow.
    narrow: (u16, u16),
    wide: (u16, u16),
    /// Who holds which port before the command.
    pub(crate) before: Held,
    /// Who holds none and gets exactly this one, at a repair or a take-over, or when it asks.
    pub(crate) due: Held,
    /// Whether all of those must have it after any command that reads the registry file.
    pub(crate) is_take_over: bool,
    /// What may lie in the registry's directory in the end besides what always does.
    pub(crate) extras: &'static [&'static str],
}

impl Scenario {
    /// Returns the program and its arguments, for the registry in `dir`.
    pub(crate) fn command(&self, dir: &Path) -> Vec<String> {
        if let Verb::Run | Verb::RunLeased = self.verb {
            return self.run(dir);
        }
        let arguments = match self.verb {
            Verb::Allocate => vec!["allocate", &self.subject],
            Verb::Remove => vec!["remove", &self.subject],
            Verb::Move => vec!["move", &self.subject, &self.target],
            Verb::Follow => vec!["allocate", &self.target, "--follow-git"],
            Verb::Prune => vec!["prune", "--older-than", "0s"],
            Verb::Reset => vec!["reset", "--yes"],
            Verb::Mend => vec!["doctor", "--fix"],
            Verb::List => vec!["list"],
            Verb::Index | Verb::Run | Verb::RunLeased => vec!["index"],
        };
        command(&arguments, dir, self.narrow)
    }

    /// What is run looks at the registry in its turn.
    fn run(&self, dir: &Path) -> Vec<String> {
        let (flags, inner) = match self.verb {
            Verb::RunLeased => (
                vec!["run", "--lease", "--project", &self.subject],
                vec!["list"],
            ),
            _ => (
                vec!["run", "--project", &self.subject],
                vec!["show", &self.subject],
            ),
        };
        let mut command_line = command(&flags, dir, self.narrow);
        command_line.push("--".to_owned());
        command_line.extend(command(&inner, dir, self.narrow));
        command_line
    }

    /// Returns a command that follows.
    pub(crate) fn follow_up(&self, arguments: &[&str], dir: &Path) -> Vec<String> {
        command(arguments, dir, self.wide)
    }
}

fn command(arguments: &[&str], dir: &Path, range: (u16, u16)) -> Vec<String> {
    let mut command = vec![PROGRAM.to_owned()];
    command.extend(arguments.iter().copied().map(str::to_owned));
    let file = registry::file(dir).display().to_string();
    command.extend(["--registry".to_owned(), file]);
    command.extend(["--port-min".to_owned(), range.0.to_string()]);
    command.extend(["--port-max".to_owned(), range.1.to_string()]);
    command
}

/// Makes a scenario's registry.
struct Builder {
    dir: PathBuf,
    projects: PathBuf,
    first: u16,
}

impl Builder {
    /// The path of a project, whose directory exists.
    fn project(&self, name: &str) -> String {
        let path = self.projects.join(name);
        fs::create_dir_all(&path).expect("a directory");
        path.into_os_string().into_string().expect("UTF-8")
    }

    /// Gives the project a port: the range's of this index.
    fn allocate(&self, name: &str, index: u16) -> u16 {
        let port = self.first + index;
        let project = self.project(name);
        let call = command(&["allocate", &project], &self.dir, (port, port));
        let done = process::run(Command::new(&call[0]).args(&call[1..])).expect("it ends");
        assert_eq!(done.stdout, format!("{port}\n"), "{done:?}");
        port
    }

    fn claim(&self, port: u16) -> PathBuf {
        registry::root(&self.dir).join(format!("ports/{port}.claim"))
    }

    /// Takes the project's commit away: what is left is an orphan.
    fn remove_commit(&self, port: u16) {
        let claim = fs::read(self.claim(port)).expect("it was made");
        let commits = registry::entries(&registry::root(&self.dir).join("projects"));
        let is_its = |path: &&PathBuf| fs::read(path).is_ok_and(|commit| commit == claim);
        let commit = commits.iter().find(is_its).expect("it has a commit");
        fs::remove_file(commit).expect("it is ours");
    }

    /// Takes the claim away: what is left is a dangling commit.
    fn remove_claim(&self, port: u16) {
        fs::remove_file(self.claim(port)).expect("it is ours");
    }

    /// Has the program write the registry file as things are.
    fn settle(&self) {
        self.run(&["index"]);
    }

    fn run(&self, arguments: &[&str]) {
        let call = command(arguments, &self.dir, (self.first, self.first + PORTS - 1));
        let done = process::run(Command::new(&call[0]).args(&call[1..])).expect("it ends");
        assert_eq!(done.code, Some(0), "{done:?}");
    }

    /// Writes a registry file as the Python system does.
    fn write_python(&self, mappings: &[(String, u16)]) {
        let root = registry::root(&self.dir);
        fs::create_dir(&root).expect("it is new");
        fs::set_permissions(&root, Permissions::from_mode(0o700)).expect("it is ours");
        let lines: Vec<String> = mappings
            .iter()
            .map(|(path, port)| format!("    \"{path}\": {port}"))
            .collect();
        let (first, last) = (self.first, self.first + PORTS - 1);
        let text = format!(
            "{{\n  \"version\": \"1.0\",\n  \"port_range\": {{\n    \"start\": {first},\n    \"end\": {last}\n  }},\n  \
             \"mappings\": {{\n{}\n  }},\n  \"next_available\": {first}\n}}",
            lines.join(",\n")
        );
        let file = registry::file(&self.dir);
        fs::write(&file, text).expect("it is ours");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
    }

    fn build(self, name: &'static str, verb: Verb) -> Scenario {
        let range = (self.first, self.first + PORTS - 1);
        Scenario {
            name,
            verb,
            subject: self.project("shop"),
            target: self.project("store"),
            newcomer: self.project("newcomer"),
            narrow: range,
            wide: range,
            before: registry::held(&self.dir),
            due: Held::new(),
            is_take_over: false,
            extras: &[],
            template: self.dir,
        }
    }
}

/// Makes all scenarios.
pub(crate) fn all(work: &Path) -> Vec<Scenario> {
    let first = free_ports();
    let projects = work.join("projects");
    let begin = |name: &str| {
        let dir = work.join(format!("template-{name}"));
        fs::create_dir(&dir).expect("it is new");
        Builder {
            dir,
            projects: projects.clone(),
            first,
        }
    };
    vec![
        begin("first").build("first", Verb::Allocate),
        with_others(begin("new")).build("new", Verb::Allocate),
        with_shop(begin("held")).build("held", Verb::Allocate),
        unsealed(begin("unsealed")),
        contended(begin("contended")),
        with_shop(begin("remove")).build("remove", Verb::Remove),
        with_shop(begin("move")).build("move", Verb::Move),
        follow(begin("follow")),
        prune(begin("prune")),
        reset(begin("reset")),
        mend(begin("mend")),
        take_over(begin("take-over"), "take-over", Verb::Allocate),
        take_over(begin("take-list"), "take-list", Verb::List),
        with_shop(begin("list")).build("list", Verb::List),
        stale(begin("index")),
        run(with_others(begin("run")), "run", Verb::Run),
        run(with_others(begin("lease")), "lease", Verb::RunLeased),
    ]
}

/// Two projects besides the command's.
fn with_others(builder: Builder) -> Builder {
    builder.allocate("blog", 1);
    builder.allocate("wiki", 3);
    builder
}

/// The same, and the command's project has a port.
fn with_shop(builder: Builder) -> Builder {
    let builder = with_others(builder);
    builder.allocate("shop", 2);
    builder
}

fn run(builder: Builder, name: &'static str, verb: Verb) -> Scenario {
    Scenario {
        extras: &["running"],
        ..builder.build(name, verb)
    }
}

/// The claimer was killed between its commit and its seal.
fn unsealed(builder: Builder) -> Scenario {
    let builder = with_shop(builder);
    for commit in registry::entries(&registry::root(&builder.dir).join("projects")) {
        fs::set_permissions(&commit, Permissions::from_mode(0o600)).expect("it is ours");
    }
    builder.build("unsealed", Verb::Allocate)
}

/// Three ports: two are others', the third has an orphan; the project's own commit dangles.
fn contended(builder: Builder) -> Scenario {
    let lost = builder.allocate("shop", 0);
    builder.remove_claim(lost);
    builder.allocate("blog", 0);
    builder.allocate("wiki", 2);
    let orphan = builder.allocate("ghost", 1);
    builder.remove_commit(orphan);
    builder.settle();
    let narrow = (builder.first, builder.first + 2);
    Scenario {
        narrow,
        ..builder.build("contended", Verb::Allocate)
    }
}

/// The project's repository was moved.
fn follow(builder: Builder) -> Scenario {
    let builder = with_others(builder);
    let subject = builder.project("before");
    fs::create_dir(builder.projects.join("before/.git")).expect("it is new");
    builder.allocate("before", 2);
    fs::rename(&subject, builder.projects.join("after")).expect("it can be moved");
    Scenario {
        subject,
        target: builder.project("after"),
        ..builder.build("follow", Verb::Follow)
    }
}

/// The project's directory was deleted, and an earlier run has seen that.
fn prune(builder: Builder) -> Scenario {
    let builder = with_others(builder);
    builder.allocate("deleted", 2);
    let subject = builder.project("deleted");
    fs::remove_dir(&subject).expect("it is empty");
    builder.run(&["prune", "--older-than", "0s"]);
    Scenario {
        subject,
        extras: &["missing"],
        ..builder.build("prune", Verb::Prune)
    }
}

fn reset(builder: Builder) -> Scenario {
    let builder = with_shop(builder);
    let orphan = builder.allocate("ghost", 5);
    builder.remove_commit(orphan);
    builder.settle();
    Scenario {
        extras: &["backups"],
        ..builder.build("reset", Verb::Reset)
    }
}

/// Some of everything that can be mended.
fn mend(builder: Builder) -> Scenario {
    let builder = with_shop(builder);
    let root = registry::root(&builder.dir);
    let torn = builder.allocate("torn", 4);
    let orphan = builder.allocate("ghost", 5);
    let dangling = builder.allocate("lost", 6);
    let shown = builder.allocate("shown", 7);
    builder.settle();
    builder.remove_commit(orphan);
    builder.remove_claim(dangling);
    builder.remove_commit(shown);
    fs::set_permissions(builder.claim(shown), Permissions::from_mode(0o644)).expect("it is ours");
    let text = fs::read(builder.claim(torn)).expect("it was made");
    fs::write(builder.claim(torn), &text[..text.len() / 2]).expect("it is ours");
    fs::set_permissions(root.join("projects"), Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(root.join("ports/notes.txt"), "mine\n").expect("it is ours");
    fs::write(root.join("staging/registry-00"), "{").expect("it is ours");
    let due = Held::from([
        (builder.project("torn"), torn),
        (builder.project("lost"), dangling),
    ]);
    let due = due
        .into_iter()
        .chain([
            (builder.project("ghost"), orphan),
            (builder.project("shown"), shown),
        ])
        .collect();
    Scenario {
        due,
        extras: &["quarantine"],
        ..builder.build("mend", Verb::Mend)
    }
}

/// The file of the Python system, with a port that it gave twice.
fn take_over(builder: Builder, name: &'static str, verb: Verb) -> Scenario {
    let at = |name: &str, index: u16| (builder.project(name), builder.first + index);
    let unique = [at("shop", 2), at("blog", 1), at("wiki", 3)];
    let mut all = unique.to_vec();
    all.push(at("twice", 1));
    builder.write_python(&all);
    Scenario {
        due: Held::from(unique),
        is_take_over: true,
        ..builder.build(name, verb)
    }
}

/// The registry file is gone: `index` makes it.
fn stale(builder: Builder) -> Scenario {
    let builder = with_shop(builder);
    fs::remove_file(registry::file(&builder.dir)).expect("it is ours");
    builder.build("index", Verb::Index)
}

/// Returns the first of [`PORTS`] ports in a row that nobody uses, below those that most kernels
/// give to outgoing connections. A UDP socket, which is in no TCP server's way, keeps other
/// tests from them until this process ends.
fn free_ports() -> u16 {
    let is_free = |number: u16| {
        let port = Port::new(number).expect("it is not 0");
        probe(port).is_ok_and(|answer| answer == Availability::Free)
    };
    let begin = 10_000 + u16::try_from(std::process::id() % 300).expect("it is small") * 64;
    let found = (begin..30_000).step_by(64).find_map(|first| {
        let token = UdpSocket::bind(("127.0.0.1", first)).ok()?;
        (first..first + PORTS)
            .all(is_free)
            .then_some((first, token))
    });
    let (first, token) = found.expect("this machine has so many free ports in a row");
    std::mem::forget(token);
    first
}
