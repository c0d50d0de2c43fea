//! `run --supervise`: stays, so that the ports are held even if the command closes every
//! descriptor that it does not know.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::super::program::cannot_run;
use super::super::report::Failure;

/// Those that are passed on.
const PASSED: [i32; 7] = [SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT];

/// What shells add to the number of the signal that ended a command.
const SIGNALLED: i32 = 128;

/// Runs the command to its end, passes signals on to it, and returns its exit code.
pub(super) fn run(mut command: Command, name: &OsStr) -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::io("failed to watch over the command", &error);
    // Before the command is there: none is missed.
    let mut signals = Signals::new(PASSED.into_iter().chain([SIGCHLD])).map_err(failed)?;
    let mut child = command.spawn().map_err(|error| cannot_run(name, &error))?;
    // A terminal sends these to the command itself.
    let is_told = io::stdin().is_terminal();
    for signal in signals.forever() {
        match signal {
            SIGCHLD => {
                if let Some(status) = child.try_wait().map_err(failed)? {
                    return Ok(code(status));
                }
            }
            SIGINT | SIGQUIT if is_told => {}
            signal => pass_on(&child, signal),
        }
    }
    child.wait().map(code).map_err(failed)
}

/// The child was not waited for, so that its number is its own.
fn pass_on(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
        // It may have ended this moment.
        let _ = kill_process(pid, signal);
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => SIGNALLED + signal,
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(1)
}
