//! The calls that scripts make in loops, without the parser: to build it takes a tenth of what
//! starting a process takes. Whatever has a flag, and all that is not exactly known here,
//! goes to clap, which reads these calls to the same effect (the test says so).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::args::{Cli, Command, RunArgs};
use super::global::{Global, Target};
use super::stress::WORKER;

/// Reads `allocate [PATH]`, `show [PATH]`, `run [--lease] -- COMMAND…` and the worker of `stress`,
/// without the program's name in front.
pub(super) fn parse(mut args: impl Iterator<Item = OsString>) -> Option<Cli> {
    let verb = args.next()?;
    if verb == "run" {
        return run(args).map(cli);
    }
    let path = args.next();
    if args.next().is_some() || path.as_deref().is_some_and(is_flag) {
        return None;
    }
    let path = path.map(PathBuf::from);
    let command = match verb.to_str()? {
        "allocate" => Command::Allocate {
            target: target(path),
            count: None,
            port: None,
            ttl: None,
            owner_pid: None,
            follow_git: false,
        },
        "show" => Command::Show(target(path)),
        WORKER if path.is_none() => Command::StressWorker,
        _ => return None,
    };
    Some(cli(command))
}

/// Reads what is behind `run`.
fn run(mut args: impl Iterator<Item = OsString>) -> Option<Command> {
    let mut first = args.next()?;
    let lease = first == "--lease";
    if lease {
        first = args.next()?;
    }
    let command: Vec<OsString> = args.collect();
    let is_command = first == "--" && !command.is_empty();
    is_command.then(|| {
        Command::Run(RunArgs {
            lease,
            command,
            ..RunArgs::default()
        })
    })
}

fn cli(command: Command) -> Cli {
    Cli {
        command,
        global: Global::default(),
    }
}

fn target(path: Option<PathBuf>) -> Target {
    Target {
        path,
        services: Vec::new(),
    }
}

fn is_flag(argument: &OsStr) -> bool {
    argument.as_bytes().first() == Some(&b'-')
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn what_is_read_here_clap_reads_to_the_same_effect() {
        let calls: [&[&[u8]]; 20] = [
            &[b"allocate"],
            &[b"show"],
            &[b"allocate", b""],
            &[b"show", b"."],
            &[b"allocate", b"/a b/c"],
            &[b"show", b"help"],
            &[b"allocate", b"\xff\xfe"],
            &[b"allocate", b"-"],
            &[b"allocate", b"--"],
            &[b"show", b"--json"],
            &[b"show", b"a", b"b"],
            &[b"run", b"--", b"true"],
            &[b"run", b"--lease", b"--", b"a", b"--lease", b"--", b"\xff"],
            &[b"run", b"--socket", b"--", b"a"],
            &[b"run", b"true"],
            &[b"run", b"--"],
            &[b"run"],
            &[b"list"],
            &[b"help"],
            &[],
        ];
        let mut read = 0;
        for call in calls {
            let args = || call.iter().map(|bytes| OsStr::from_bytes(bytes).to_owned());
            if let Some(quick) = parse(args()) {
                let full = std::iter::once(OsString::from("portclaim")).chain(args());
                assert_eq!(Cli::try_parse_from(full).expect("clap reads it"), quick);
                read += 1;
            }
        }
        assert_eq!(read, 9);
    }
}
