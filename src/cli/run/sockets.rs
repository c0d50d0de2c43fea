//! Hands bound sockets over as systemd does: descriptors 3, 4 and so on, `LISTEN_FDS` their
//! number, `LISTEN_FDNAMES` their names, `LISTEN_PID` the process that they are for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};

use super::super::report::Failure;
use super::{Hold, Service};

/// The first descriptor behind the standard ones.
const FIRST: i32 = 3;

/// What the unnamed service is called: a name must not be empty.
const UNNAMED: &str = "default";

/// Returns the command with the sockets of the services.
pub(super) fn hand_over(
    mut command: Command,
    services: &[Service],
    is_child: bool,
) -> Result<Command, Failure> {
    let mut names = Vec::new();
    let mut descriptors = Vec::new();
    for service in services {
        let Some(socket) = &service.socket else {
            continue;
        };
        descriptors.push(copy(socket.as_fd())?);
        names.push(match service.holder.service() {
            "" => UNNAMED,
            name => name,
        });
    }
    let count = descriptors.len();
    // What holds the ports may lie where the sockets go, and moves behind them.
    for service in services {
        let held = match &service.hold {
            Hold::Claim(_, running) => running.descriptor(),
            Hold::Lease(lease) => Some(lease.as_fd()),
        };
        descriptors.extend(held.map(copy).transpose()?);
    }
    if is_child {
        command = with_own_pid(&command);
    } else {
        // This process becomes the command and keeps its number.
        command.env("LISTEN_PID", std::process::id().to_string());
    }
    command.env("LISTEN_FDS", count.to_string());
    command.env("LISTEN_FDNAMES", names.join(":"));
    let mapping = |(parent_fd, child_fd)| FdMapping {
        parent_fd,
        child_fd,
    };
    let mappings = descriptors.into_iter().zip(FIRST..).map(mapping);
    command
        .fd_mappings(mappings.collect())
        .map_err(|_| Failure::new("two sockets would have one descriptor"))?;
    Ok(command)
}

/// Returns the same command, started through a shell that says which process it is: a child's
/// number is not known before it is there.
fn with_own_pid(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "LISTEN_PID=$$; export LISTEN_PID; exec \"$@\"", "sh"]);
    shell.arg(command.get_program());
    shell.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

fn copy(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    descriptor
        .try_clone_to_owned()
        .map_err(|error| Failure::io("failed to hand the sockets over", &error))
}
