//! Who listens, as macOS tells. Its calls are not safe, and two crates wrap them: `listeners` for sockets,
//! `sysinfo` for what is known of a process. Compiled, and not run on macOS yet.

use std::io;
use std::path::PathBuf;

use listeners::{Protocol, SocketState};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

use super::Listener;
use crate::port::Port;

/// Returns who listens. What belongs to processes of other users is told to the superuser alone.
pub(super) fn listeners(wanted: &dyn Fn(Port) -> bool) -> io::Result<Vec<Listener>> {
    let sockets = listeners::get_all().map_err(|error| io::Error::other(error.to_string()))?;
    let mut found = Vec::new();
    for socket in sockets {
        if socket.protocol == Protocol::TCP
            && socket.state == SocketState::Listen
            && let Ok(port) = Port::try_from(socket.socket.port())
            && wanted(port)
        {
            found.push(Listener {
                port,
                address: socket.socket.ip().to_canonical(),
                pid: Some(socket.process.pid),
                command: Some(socket.process.name),
                user: None,
                directory: None,
                directory_deleted: false,
            });
        }
    }
    describe(&mut found);
    Ok(found)
}

/// Adds users and directories, where they are told.
fn describe(found: &mut [Listener]) {
    let pids: Vec<Pid> = found
        .iter()
        .filter_map(|listener| listener.pid.map(Pid::from_u32))
        .collect();
    if pids.is_empty() {
        return;
    }
    let wanted = ProcessRefreshKind::nothing()
        .with_cwd(UpdateKind::Always)
        .with_user(UpdateKind::Always);
    // What cannot be asked tells nothing.
    let Ok(mut system) = System::new() else {
        return;
    };
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), false, wanted);
    for listener in found {
        let pid = listener.pid.map(Pid::from_u32);
        let Some(process) = pid.and_then(|pid| system.process(pid)) else {
            continue;
        };
        listener.user = process.user_id().map(|user| **user);
        listener.directory = process.cwd().map(PathBuf::from);
        // The system goes on telling the path that it had.
        listener.directory_deleted = process
            .cwd()
            .is_some_and(|directory| !directory.try_exists().unwrap_or(true));
    }
}
