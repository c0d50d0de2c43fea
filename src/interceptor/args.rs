//! What can be typed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use hyper::header::HeaderName;
use portclaim::Port;

use super::global::{Global, any_path};
use super::headers::identity_name;
use super::span::{span, time};
use super::target_url::TargetUrl;

/// Passes requests on to a language model's server, and says which project they come from
///
/// It listens on the port that the project has in portclaim's registry: the same one every time.
#[derive(Parser)]
#[command(
    name = "portclaim-interceptor",
    version,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    #[command(flatten)]
    pub(super) global: Global,

    #[command(flatten)]
    pub(super) whose: Whose,

    #[command(flatten)]
    pub(super) serve: ServeArgs,
}

impl Cli {
    /// Reads the command line. How it serves, it cannot be told beside a command: that would be passed over.
    pub(super) fn read() -> Result<Cli, clap::Error> {
        let mut command = Cli::command();
        let matches = command.try_get_matches_from_mut(std::env::args_os())?;
        if let Some(name) = matches.subcommand_name() {
            let is_typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
            let mut args = command.get_arguments();
            let lost = args.find(|arg| !arg.is_global_set() && is_typed(arg.get_id().as_str()));
            if let Some(arg) = lost {
                let text = format!("the argument '{arg}' cannot be used with '{name}'");
                return Err(command.clone().error(ErrorKind::ArgumentConflict, text));
            }
        }
        Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

const AFTER_HELP: &str = "\
Exit status: 0 it was ended by a signal, or runs already; 1 the port is in use, or
somebody else's; 2 usage errors and failures.

Environment (flags win, an empty variable counts as unset):
  TARGET_LLM_URL              where requests go [http://localhost:8764]
  SUPERMEMORY_USERNAME        who they come from [the project's name, and a hash of its path]
  INTERCEPTOR_PORT            a port besides the registry's, leased while it runs
  PORT_REGISTRY_PATH          registry file [~/.config/litellm/port_registry.json]
  INTERCEPTOR_PORT_MIN        lowest port to give out [8888]
  INTERCEPTOR_PORT_MAX        highest port to give out [9999]
  LISTEN_FDS                  sockets that systemd or portclaim run --socket hand over";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print what to enter in the IDE for this project
    Setup(SetupArgs),
}

/// Whose port it is.
#[derive(Args)]
pub(super) struct Whose {
    /// The project's directory [default: the current one]
    #[arg(long, global = true, value_name = "PATH", value_parser = any_path())]
    pub(super) project: Option<PathBuf>,

    /// A named service of the project [default: the unnamed one]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) service: Option<String>,
}

/// How it serves.
#[derive(Args)]
pub(super) struct ServeArgs {
    /// Where requests go; their path is put behind it
    #[arg(long, value_name = "URL")]
    pub(super) target: Option<TargetUrl>,

    /// The address to listen on [default: 127.0.0.1, and the same of IPv6 where there is one]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) host: Option<IpAddr>,

    /// A port besides the registry's, leased while it runs
    #[arg(long, value_name = "P")]
    pub(super) port: Option<Port>,

    /// Say that requests come from `pycharm-NAME`, as the Python interceptor did
    #[arg(long)]
    pub(super) legacy_identity: bool,

    /// One more header that says who they come from, e.g. x-litellm-end-user-id or x-sm-user-id
    #[arg(long, value_name = "NAME", value_parser = identity_name)]
    pub(super) identity_header: Vec<HeaderName>,

    /// The variable with the key of requests that come without one
    #[arg(long, value_name = "VARIABLE")]
    pub(super) key_env: Option<String>,

    /// The file with that key
    #[arg(long, value_name = "FILE", conflicts_with = "key_env")]
    pub(super) key_file: Option<PathBuf>,

    /// One more name that requests may call this host by
    #[arg(long, value_name = "NAME")]
    pub(super) allow_host: Vec<String>,

    /// A web page's origin that may send requests, e.g. `http://localhost:3000`
    #[arg(long, value_name = "ORIGIN")]
    pub(super) allow_origin: Vec<String>,

    /// How long connecting to the target may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(super) connect_timeout: Duration,

    /// How long the target may say nothing in the middle of an answer, or before it; 0s: for ever
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span)]
    pub(super) idle_timeout: Duration,

    /// How long requests under way have to come to an end when this one is ended
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    pub(super) drain_timeout: Duration,

    /// Print a line for each request to standard error: neither keys nor bodies nor queries
    #[arg(long)]
    pub(super) log: bool,
}

/// What `setup` is told.
#[derive(Args)]
pub(super) struct SetupArgs {
    /// Write a profile for Junie CLI into the project: .junie/models/portclaim.json
    #[arg(long)]
    pub(super) junie: bool,

    /// The model that Junie asks for, as the target calls it
    #[arg(long, value_name = "MODEL", requires = "junie")]
    pub(super) model: Option<String>,
}
