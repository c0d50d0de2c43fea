//! Peak memory of a process: what GNU time says, which asks the kernel.

use std::process::Command;

use crate::process::quiet;

/// GNU time's path, if it is here.
pub(crate) fn gnu_time() -> Option<&'static str> {
    let output = Command::new("/usr/bin/time").arg("--version").output();
    let version = output
        .ok()
        .map(|output| [output.stdout, output.stderr].concat());
    let is_gnu = String::from_utf8_lossy(&version?).contains("GNU");
    is_gnu.then_some("/usr/bin/time")
}

/// The largest resident set of `command` and of those it waits for, KiB; the median of three runs.
pub(crate) fn peak(time: &str, mut commands: impl FnMut() -> Command) -> Option<u64> {
    let mut peaks: Vec<u64> = (0..3).filter_map(|_| once(time, &commands())).collect();
    peaks.sort_unstable();
    peaks.get(peaks.len() / 2).copied()
}

fn once(time: &str, command: &Command) -> Option<u64> {
    let file = tempfile::NamedTempFile::new().ok()?;
    let mut wrapped = Command::new(time);
    wrapped
        .args(["--format=%M", "--output"])
        .arg(file.path())
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        wrapped.env(name, value.unwrap_or_default());
    }
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    let status = quiet(wrapped).status().ok()?;
    let told = text(file.path())?;
    status.success().then(|| told.trim().parse().ok())?
}

/// The same of a process that still runs, from `/proc`.
pub(crate) fn peak_so_far(process: u32) -> Option<u64> {
    let status = text(format!("/proc/{process}/status").as_ref())?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads what was measured"
)]
fn text(path: &std::path::Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
