//! Programs that a benchmark starts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Copies portclaim to a place in a directory, as installing does, and returns where it is: a file that the
/// linker wrote lies in smaller pieces in the page cache, and takes more page faults to start.
#[expect(clippy::disallowed_methods, reason = "a benchmark installs")]
pub(crate) fn installed(dir: &Path) -> PathBuf {
    let program = dir.join("portclaim");
    std::fs::copy(env!("CARGO_BIN_EXE_portclaim"), &program).expect("copies");
    program
}

/// Where the search path has `program`. To look for it when it is started would be measured, too.
#[expect(
    clippy::disallowed_methods,
    reason = "programs are found where they are"
)]
pub(crate) fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a search path");
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .expect("there is one")
}

/// Neither reads nor prints anything.
pub(crate) fn quiet(mut command: Command) -> Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
