//! What the command that is run finds in its environment.

#![expect(
    clippy::disallowed_methods,
    reason = "what an outer run left is replaced here"
)]

use std::ffi::OsString;
use std::process::Command;

use portclaim::ProjectPath;

use super::super::variables::{Given, PORT, PROJECT, variable_name};

/// Names the variables that were set, so that an inner run of another project can remove them.
const VARIABLES: &str = "PORTCLAIM_VARIABLES";

/// Those of handed over sockets (`sd_listen_fds`).
const SOCKETS: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// A port's variable, and one more that the user named.
pub(super) struct Named {
    pub(super) service: String,
    pub(super) variable: Option<String>,
}

/// Sets the variables of this run. What an outer run set is removed first: its ports are
/// another project's.
pub(super) fn set(
    command: &mut Command,
    project: &ProjectPath,
    given: &[Given],
    named: &[Named],
    with_sockets: bool,
) {
    for inherited in inherited() {
        command.env_remove(inherited);
    }
    let mut variables = Vec::new();
    let mut set = |name: String, value: String| {
        command.env(&name, value);
        variables.push(name);
    };
    // Most programs know no other variable.
    if let Some(first) = given
        .iter()
        .find(|one| one.service.is_empty())
        .or(given.first())
    {
        set(PORT.to_owned(), first.port.to_string());
    }
    for one in given {
        let variable = named.iter().find(|named| named.service == one.service);
        let variable = variable.and_then(|named| named.variable.clone());
        set(variable_name(&one.service), one.port.to_string());
        if let Some(variable) = variable {
            set(variable, one.port.to_string());
        }
    }
    if with_sockets {
        variables.extend(SOCKETS.map(str::to_owned));
    }
    variables.sort_unstable();
    variables.dedup();
    command.env(VARIABLES, variables.join(":"));
    command.env(PROJECT, project.as_str());
}

/// The variables that an outer run set: only names that a run sets, whatever stands there.
fn inherited() -> Vec<OsString> {
    let Some(text) = std::env::var_os(VARIABLES) else {
        return Vec::new();
    };
    let text = text.to_string_lossy().into_owned();
    let names = text.split(':').filter(|name| is_variable(name));
    names.map(OsString::from).collect()
}

/// Returns whether this can be the name of a variable.
pub(super) fn is_variable(name: &str) -> bool {
    let is_first = |first: char| first.is_ascii_alphabetic() || first == '_';
    name.starts_with(is_first)
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
