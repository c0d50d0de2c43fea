//! Programs that a benchmark starts.

use std::process::{Command, Stdio};

/// Neither reads nor prints anything.
pub(crate) fn quiet(mut command: Command) -> Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
