//! `portclaim run`: a command that holds its port, and how it is started and ends.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camino::Utf8Path;
use fastrand::Rng;
use portclaim::{DEFAULT_FILE_NAME, Error, Port, Registry};

use super::super::settings::{own_program, variable};
use super::WORKER;
use super::action::{Action, Running};
use super::answers::seen_or_none;
use super::children::end;
use super::history::Answer;
use super::leases::Leases;
use super::plan::{Plan, holder_at};
use super::seen::Nonce;

/// What the command is asked on its standard input.
pub(super) const WHICH: &str = "which port?\n";

/// How the line begins that it says on standard error, where `run` says why it cannot be had.
const SAYS: &str = "portclaim-stress: ";

/// What `run` says where others were in the way.
const CONTENDED: &str = "each time it was looked at";

/// One of so many commands is killed while it is started, within this time.
const KILLED: (u8, Duration) = (4, Duration::from_millis(20));

/// The command that runs on its project's own port, if a worker has one.
#[derive(Default)]
pub(super) struct Commands(Option<(Running, Child)>);

/// What came of a start.
enum Start {
    /// It runs on this port.
    On(u16, Child),
    /// It does not run.
    Not(Answer),
}

impl Commands {
    /// Draws what is to become of the command, or that there is to be one. It inherits no lease: none is held when
    /// it starts.
    pub(super) fn draw(&self, project: u32, leases: &Leases, random: &mut Rng) -> Action {
        match &self.0 {
            Some((run, _)) => Action::EndRun {
                run: *run,
                killed: random.bool(),
            },
            None if leases.is_empty() => Action::Run { project },
            None => Action::Find {
                holder: holder_at(project, 0),
            },
        }
    }

    /// Runs one on the project's own port.
    pub(super) fn run(
        &mut self,
        plan: &Plan,
        project: u32,
        registry: &Registry,
        random: &mut Rng,
    ) -> Result<Answer, Error> {
        Ok(match started(plan, project, false, random) {
            Ok(Start::On(port, child)) => {
                let id = Nonce(random.u128(..));
                let holder = holder_at(project, 0);
                let run = Running { holder, port, id };
                self.0 = Some((run, child));
                let found = registry.find(&plan.holder(holder))?;
                match seen_or_none(found.as_ref(), plan) {
                    Answer::Found(claim) => {
                        let claim = claim.filter(|claim| claim.port == port);
                        Answer::Ran { run, claim }
                    }
                    failed => failed,
                }
            }
            Ok(Start::Not(answer)) => answer,
            Err(error) => Answer::Failed(format!("run cannot be started: {error}")),
        })
    }

    /// Ends it.
    pub(super) fn end(&mut self, is_killed: bool) -> Answer {
        end(self.0.take().map(|(_, child)| child), is_killed)
    }
}

/// Runs one on a leased port. While it lives, the registry must know the lease.
pub(super) fn lease(
    plan: &Plan,
    project: u32,
    registry: &Registry,
    leases: &mut Leases,
    random: &mut Rng,
) -> Result<Answer, Error> {
    let (port, child) = match started(plan, project, true, random) {
        Ok(Start::On(port, child)) => (port, child),
        Ok(Start::Not(answer)) => return Ok(answer),
        Err(error) => return Ok(Answer::Failed(format!("run cannot be started: {error}"))),
    };
    let known = Port::new(port).map(|port| registry.port_state(port));
    let claim = known.transpose()?.and_then(|state| state.claim);
    Ok(match seen_or_none(claim.as_ref(), plan) {
        Answer::Found(Some(claim)) if claim.is_lease() && claim.holder == holder_at(project, 0) => {
            leases.hold_by(child, claim)
        }
        other => Answer::Failed(format!(
            "a command runs on port {port}, leased for {}, and the registry knows of that port: {other:?}",
            plan.path(project)
        )),
    })
}

/// The command: says which port it has.
pub(super) fn say_port() -> io::Result<()> {
    let port = variable("PORT").unwrap_or_default();
    writeln!(io::stderr(), "{SAYS}{}", port.to_string_lossy())
}

fn started(plan: &Plan, project: u32, is_lease: bool, random: &mut Rng) -> io::Result<Start> {
    let mut child = command(plan, project, is_lease)?.spawn()?;
    if let Some(stdin) = &mut child.stdin {
        // The command reads it, if there is one: `run` may have ended by now.
        let _ = stdin.write_all(WHICH.as_bytes());
    }
    let is_killed = random.u8(..KILLED.0) == 0;
    if is_killed {
        std::thread::sleep(KILLED.1.mul_f64(random.f64()));
        child.kill()?;
    }
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?).lines() {
        let line = line?;
        let port = line.strip_prefix(SAYS).and_then(|port| port.parse().ok());
        if let Some(port) = port.filter(|_| !is_killed) {
            return Ok(Start::On(port, child));
        }
        said.push_str(&line);
        said.push(' ');
    }
    let ended = child.wait()?;
    Ok(Start::Not(match ended.code() {
        None | Some(0) if is_killed => Answer::Killed,
        // The range is exhausted, or another command runs on the port.
        Some(1) => Answer::Refused,
        _ if said.contains(CONTENDED) => Answer::Contended,
        _ => Answer::Failed(format!("run ended ({ended}), and said: {said}")),
    }))
}

fn command(plan: &Plan, project: u32, is_lease: bool) -> io::Result<Command> {
    let ports = plan.ports_of(project);
    let file = plan.root().join(DEFAULT_FILE_NAME);
    let mut command = Command::new(own_program()?);
    command
        .args(["run", "--registry"])
        .arg(AsRef::<Utf8Path>::as_ref(&file))
        .args(["--port-min", &ports.start().to_string()])
        .args(["--port-max", &ports.end().to_string()])
        .args(["--project", plan.path(project).as_str()]);
    if is_lease {
        command.arg("--lease");
    }
    command
        .arg("--")
        .args([own_program()?.as_os_str(), WORKER.as_ref()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}
