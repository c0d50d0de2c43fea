//! Runs a process to its end, but not for ever.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// No command takes a hundredth of this; what waits longer waits for ever.
const TIMEOUT: Duration = Duration::from_mins(1);

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
    /// Returns whether somebody killed it.
    pub(crate) fn is_killed(&self) -> bool {
        self.signal == Some(Signal::KILL.as_raw())
    }
}

/// Runs `command` with an empty environment. `Err`: it did not come to an end.
pub(crate) fn run(command: &mut Command) -> Result<Done, String> {
    let child = command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: with strace goes what it traces.
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let group = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(TIMEOUT) else {
        // It is not reaped: nobody else has the number.
        let _ = kill_process_group(group, Signal::KILL);
        return Err(format!("it did not come to an end: {command:?}"));
    };
    let output = output.expect("a child can be waited for");
    Ok(Done {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
