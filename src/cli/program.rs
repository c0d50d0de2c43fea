//! A command's program: where it lies, and how this process becomes it.

#![expect(
    clippy::disallowed_methods,
    reason = "the search path is part of what is run"
)]

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, access};

use super::report::Failure;
use super::text::escape;

/// As shells say that a command does not exist.
const NOT_FOUND: u8 = 127;
/// As shells say that a command cannot be run.
const NOT_RUNNABLE: u8 = 126;

/// Returns the program that the search path gives for `name`. One with a slash is a path.
pub(super) fn find(name: &OsStr) -> Result<PathBuf, Failure> {
    if name.as_bytes().contains(&b'/') {
        return match access(name, Access::EXISTS) {
            Ok(()) => Ok(name.into()),
            Err(error) => Err(cannot_run(name, &error.into())),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_runnable = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(is_runnable)
        .ok_or_else(|| cannot_run(name, &rustix::io::Errno::NOENT.into()))
}

/// Becomes the command; returns only if that failed.
pub(super) fn become_it(mut command: Command, name: &OsStr) -> Failure {
    cannot_run(name, &command.exec())
}

/// Why the command cannot be run, with the exit code that shells have for it.
pub(super) fn cannot_run(name: &OsStr, error: &io::Error) -> Failure {
    let name = Path::new(name).to_string_lossy();
    let name = escape(&name);
    let mut failure = Failure::io(&format!("failed to run {name}"), error);
    failure = failure.code(match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_RUNNABLE,
    });
    match error.kind() {
        io::ErrorKind::NotFound => failure.hint("there is no such command"),
        _ => failure,
    }
}
