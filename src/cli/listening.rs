//! Who listens on ports, as commands print it.

use std::collections::BTreeMap;
use std::fmt::Write;

use portclaim::{Availability, Listener, Port, ProjectPath};
use serde::Serialize;

use super::projects::Projects;
use super::text::escape;

/// A program that listens on a port. What may not be known is `null`.
#[derive(Serialize)]
pub(super) struct Program<'a> {
    address: String,
    pid: Option<u32>,
    command: Option<&'a str>,
    user: Option<u32>,
    directory: Option<String>,
    directory_deleted: bool,
    /// The project that the directory belongs to, `null` where it belongs to none as well.
    project: Option<&'a str>,
}

impl<'a> Program<'a> {
    pub(super) fn all(listeners: &'a [Listener], projects: &'a Projects) -> Vec<Program<'a>> {
        let program = |listener: &'a Listener| Program {
            address: listener.address.to_string(),
            pid: listener.pid,
            command: listener.command.as_deref(),
            user: listener.user,
            directory: directory(listener),
            directory_deleted: listener.directory_deleted,
            project: projects.around(listener),
        };
        listeners.iter().map(program).collect()
    }
}

/// Returns where a program works, with a replacement for what is not UTF-8.
pub(super) fn directory(listener: &Listener) -> Option<String> {
    let path = listener.directory.as_ref()?;
    Some(path.to_string_lossy().into_owned())
}

/// Who listens, by port; or only whether somebody does, where more cannot be known.
pub(super) enum Listening {
    Known(BTreeMap<Port, Vec<Listener>>),
    Unknown,
}

impl Listening {
    pub(super) fn of(wanted: &dyn Fn(Port) -> bool) -> Listening {
        match portclaim::listeners(wanted) {
            Ok(listeners) => {
                let mut by_port: BTreeMap<Port, Vec<Listener>> = BTreeMap::new();
                for listener in listeners {
                    by_port.entry(listener.port).or_default().push(listener);
                }
                Listening::Known(by_port)
            }
            Err(_) => Listening::Unknown,
        }
    }

    /// Returns whether somebody listens on the port.
    pub(super) fn on(&self, port: Port) -> Option<bool> {
        match self {
            Listening::Known(by_port) => Some(by_port.contains_key(&port)),
            Listening::Unknown => match portclaim::probe(port) {
                Ok(Availability::Free) => Some(false),
                Ok(Availability::InUse) => Some(true),
                Ok(Availability::Denied) | Err(_) => None,
            },
        }
    }

    pub(super) fn programs(&self, port: Port) -> &[Listener] {
        match self {
            Listening::Known(by_port) => by_port.get(&port).map_or(&[], Vec::as_slice),
            Listening::Unknown => &[],
        }
    }
}

/// Returns the word for an answer that may not be known.
pub(super) fn in_words(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

/// Names the programs that listen, each once, e.g. `node (pid 4711, user 1000)`, and says which of
/// them work elsewhere than in the project that claimed the port.
pub(super) fn describe(
    listeners: &[Listener],
    claimant: Option<&ProjectPath>,
    projects: &Projects,
) -> String {
    let mut names: Vec<String> = Vec::new();
    for listener in listeners {
        let mut name = match &listener.command {
            Some(command) => escape(command).into_owned(),
            None => "an unknown program".to_owned(),
        };
        let pid = listener.pid.map(|pid| format!("pid {pid}"));
        let user = listener.user.map(|user| format!("user {user}"));
        let is_in = claimant.and_then(|project| projects.is_in(project, listener));
        let stranger = (is_in == Some(false)).then(|| "not of this project".to_owned());
        let details: Vec<String> = pid.into_iter().chain(user).chain(stranger).collect();
        if !details.is_empty() {
            let _ = write!(name, " ({})", details.join(", "));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}
