//! A stable port of its own for every project, and never one port for two.

#[cfg(not(unix))]
compile_error!(
    "portclaim does not support this system: it rests on flock, openat and renameat, as Linux and macOS have them"
);

mod claim;
mod error;
mod fs;
mod index;
mod migrate;
mod net;
mod notice;
mod pick;
mod place;
mod port;
mod project;
mod protocol;
mod record;
mod registry;
mod repair;
mod reset;

pub use claim::{Claim, ReleaseError};
pub use error::{Corruption, Error, ErrorKind, Exhaustion, Result};
pub use fs::mount::Filesystem;
pub use net::{Availability, Listener};
pub use notice::Notice;
pub use port::{Port, PortRange};
pub use project::{Holder, ProjectPath};
pub use protocol::Durability;
pub use record::{Nonce, Record};
pub use registry::{
    DEFAULT_FILE_NAME, IndexPolicy, Options, PortState, Records, Registry, Request, Summary,
};
pub use repair::{Finding, FindingKind, Report};
pub use reset::Reset;

/// Returns the programs of this machine that listen on TCP ports which `wanted` names.
///
/// # Errors
///
/// [`std::io::ErrorKind::Unsupported`] where it cannot be known (for now, elsewhere than on
/// Linux), and what the system answers.
pub fn listeners(wanted: &dyn Fn(Port) -> bool) -> std::io::Result<Vec<Listener>> {
    net::listeners(wanted)
}

/// Asks the kernel whether programs could bind a TCP port on every address, now.
///
/// # Errors
///
/// What the system answers where no socket can be had.
///
/// # Races
///
/// The answer was true at some moment during the call. A claim keeps other users of the
/// registry away, and nobody else.
pub fn probe(port: Port) -> std::io::Result<Availability> {
    net::probe(port)
}
