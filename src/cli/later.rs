//! A long registry file is brought up to date by a process that nobody waits for: it comes to an
//! end by itself, some 50 milliseconds after the last change.

use std::process::{Command, Stdio};

use portclaim::Registry;

use super::report::warn_of;
use super::settings::{Settings, own_program};

/// Starts `portclaim index --when-quiet` for this registry. It holds neither the terminal nor
/// the pipe that the answer goes to. Where it cannot be started, the file is written now.
pub(super) fn refresh(settings: &Settings, registry: &Registry) {
    if start(settings).is_err()
        && let Err(error) = registry.refresh_index()
    {
        warn_of(&error, None);
    }
}

fn start(settings: &Settings) -> std::io::Result<()> {
    let range = settings.range();
    Command::new(own_program()?)
        .args(["index", "--when-quiet", "--registry"])
        .arg(settings.registry())
        .args(["--port-min", &range.first().to_string()])
        .args(["--port-max", &range.last().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
}
