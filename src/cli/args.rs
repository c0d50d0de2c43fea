//! What can be typed: types only, no behaviour.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use portclaim::Port;

use super::global::{Global, Target, any_path};
use super::span::{span, time};

/// Gives every project a stable port of its own, and never one port to two
#[derive(Parser)]
#[cfg_attr(test, derive(Debug, PartialEq))]
#[command(name = "portclaim", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,

    #[command(flatten)]
    pub(super) global: Global,
}

const AFTER_HELP: &str = "\
PATH is a project's directory, by default the current one.

Exit status: 0 yes or done, 1 no (none assigned, range exhausted, port not free,
a stranger on it, findings, cancelled), 2 usage errors and failures.

Environment (flags win, an empty variable counts as unset):
  PORT_REGISTRY_PATH          registry file [~/.config/litellm/port_registry.json]
  INTERCEPTOR_PORT_MIN        lowest port to give out [8888]
  INTERCEPTOR_PORT_MAX        highest port to give out [9999]
  PORTCLAIM_NO_NFS_WARNING=1  do not warn of a registry on a network file system
  NO_COLOR                    no colour";

#[derive(Subcommand)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) enum Command {
    /// Print the project's port, and give it one if it has none
    ///
    /// With several services, one port a line, in their order: all are given, or none.
    Allocate {
        #[command(flatten)]
        target: Target,

        /// So many ports in a row, one a line; a block that exists grows
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(portclaim::BLOCK_MAX)))]
        count: Option<u16>,

        /// This port and no other
        #[arg(long, value_name = "P")]
        port: Option<Port>,

        /// For so long from now on, e.g. 90s, 30m, 2h or 7d; then whoever wants it may have it
        #[arg(long, value_name = "TIME", value_parser = time)]
        ttl: Option<Duration>,

        /// As long as this process lives; then whoever wants it may have it
        #[arg(long, value_name = "PID", conflicts_with = "ttl")]
        owner_pid: Option<u32>,

        /// If it has none, and its git repository was moved here: the ports that it had
        #[arg(long)]
        follow_git: bool,
    },
    /// Give the project's port so long from now on, if it was given for a time
    Renew {
        #[command(flatten)]
        target: Target,

        /// How long, e.g. 90s, 30m, 2h or 7d
        #[arg(long, value_name = "TIME", value_parser = time)]
        ttl: Duration,
    },
    /// Print the project's port
    Show(Target),
    /// Run a command with the project's port in its environment
    ///
    /// PORT is the port, `WEB_PORT` that of the service `web`; `{port}` and `{port:web}` in the
    /// command's arguments are replaced. portclaim becomes the command: signals and exit status are
    /// its own.
    Run(RunArgs),
    /// Print the project's ports as variables, for other programs
    ///
    /// `PORT` of the unnamed service, `WEB_PORT` of the service web; of ports in a row the first and
    /// `PORT_COUNT`; and `PORTCLAIM_PROJECT`, the project's path.
    Env(EnvArgs),
    /// List all projects that have a port
    List,
    /// Give the project's port back; with it, the others of its block
    Remove(Target),
    /// Give the ports of a project that moved to its new directory
    ///
    /// All of them, with those of its services. The old directory need not exist any more.
    Move {
        /// The directory that it had
        #[arg(value_parser = any_path())]
        old: PathBuf,

        /// The directory that it has
        #[arg(value_parser = any_path())]
        new: PathBuf,
    },
    /// Give back the ports of projects whose directories were deleted
    ///
    /// A directory counts as deleted if it does not exist, the one around it does, on the same device
    /// as before, and no program uses a port of the project; and if an earlier run has seen
    /// that. A line for each project whose directory is not there tells what was done.
    Prune(PruneArgs),
    /// Tell who has claimed a port, and whether it is in use
    Check {
        /// The port
        port: Port,
    },
    /// Tell whose a port is, who listens on it, and whether the two agree
    Who {
        /// The port
        port: Port,
    },
    /// Give all ports back; the old state is moved to a backup
    Reset {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Look for everything that is not as it should be
    Doctor {
        /// Mend what can be mended
        #[arg(long)]
        fix: bool,
    },
    /// Write the registry file anew from the claims, and print its path
    Index {
        /// Wait until nothing changes any more, and write only what has changed
        #[arg(long)]
        when_quiet: bool,
    },
    /// Start the project's interceptor, a proxy to a language model's server
    ///
    /// It is a program of its own, `portclaim-interceptor`, and tells with `--help` what it can be told.
    #[command(disable_help_flag = true)]
    Interceptor {
        /// What it is told
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        args: Vec<OsString>,
    },
    /// Try whether a file system is fit for a registry
    ///
    /// Many processes claim, lease, renew, run, move, release, prune and repair in a registry of their
    /// own, in a new directory; some are killed or stopped at random instants. All that they are told must
    /// agree. The directory stays where it does not.
    Stress(StressArgs),
    /// A worker of `stress`, which starts it. Nobody else needs to know of it: clap does not, and
    /// so neither do help and completions.
    #[command(skip)]
    StressWorker,
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
}

/// What `run` is told.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Args, Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct RunArgs {
    /// A named service, and one more variable for its port; may come several times
    #[arg(long = "service", value_name = "NAME[:VARIABLE]")]
    pub(super) services: Vec<String>,

    /// The project's directory [default: the current one]
    #[arg(long, value_name = "PATH", value_parser = any_path())]
    pub(super) project: Option<PathBuf>,

    /// A port for as long as the command runs, instead of the project's own
    #[arg(long)]
    pub(super) lease: bool,

    /// Such a port only if the project's own is in use
    #[arg(long, conflicts_with = "lease")]
    pub(super) fallback: bool,

    /// Bind the ports, and hand the listening sockets over (`LISTEN_FDS`)
    #[arg(long)]
    pub(super) socket: bool,

    /// Stay, pass signals on, and hold the ports until the command ends
    #[arg(long)]
    pub(super) supervise: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// What `prune` is told.
#[derive(Args)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct PruneArgs {
    /// Tell what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    /// How long ago it must have been seen missing: e.g. 90s, 30m, 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = span)]
    pub(super) older_than: Duration,

    /// Only this project, at once and wherever it lay
    #[arg(long, value_name = "PATH", value_parser = any_path())]
    pub(super) force: Option<PathBuf>,
}

/// What `env` is told.
#[derive(Args)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct EnvArgs {
    /// The project's directory [default: the current one]
    #[arg(value_parser = any_path())]
    pub(super) path: Option<PathBuf>,

    /// For which reader [default: shell]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) format: Option<Format>,

    /// Give the project a port first, if it has none
    #[arg(long)]
    pub(super) allocate: bool,

    /// Put them into this file as dotenv: what stands between the lines `# portclaim: begin` and
    /// `# portclaim: end` is replaced, and nothing else
    #[arg(long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,
}

/// How `env` writes variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Shell,
    Fish,
    Powershell,
    Dotenv,
    Json,
    Github,
}

/// What `stress` is told.
#[derive(Args)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct StressArgs {
    /// How many processes work at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) workers: u32,

    /// How long
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) seconds: u64,

    /// What chance follows [default: drawn, and printed]
    #[arg(long, value_name = "X")]
    pub(super) seed: Option<u64>,

    /// About which share of operations the process is killed or stopped during
    #[arg(long, value_name = "R", default_value_t = 0.1, value_parser = share)]
    pub(super) kill_rate: f64,

    /// The directory to make a new one in [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}
