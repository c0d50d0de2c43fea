//! What every call can be told: where the registry is, and whose port it is about. Types only.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use portclaim::Port;

/// What goes with any command.
#[derive(Args, Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Global {
    /// The registry file; claims lie in `ports/` beside it
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) registry: Option<PathBuf>,

    /// Lowest port to give out
    #[arg(long, global = true, value_name = "N")]
    pub(super) port_min: Option<Port>,

    /// Highest port to give out
    #[arg(long, global = true, value_name = "N")]
    pub(super) port_max: Option<Port>,

    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// Whose port.
#[derive(Args, Default)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Target {
    /// The project's directory [default: the current one]
    #[arg(value_parser = any_path())]
    pub(super) path: Option<PathBuf>,

    /// A named service of the project; may come several times
    #[arg(long = "service", value_name = "NAME")]
    pub(super) services: Vec<String>,
}

/// An empty path is the current directory; clap's own parser of paths refuses it.
pub(super) fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
