//! A stable port of its own for every project, and never one port for two.
//!
//! Processes agree by the names of files in a directory: a claim is the file
//! `ports/<port>.claim`, created with `O_EXCL`. There is no lock that anybody waits for, no daemon
//! and no database.
//!
//! - [`Registry::open`] opens a registry, [`Registry::options`] one with another range or
//!   durability. Nothing is created before the first claim, unless there is a registry file of the
//!   Python system to be taken over.
//! - [`Registry::claim`] gives a [`Holder`] (a project) its port: the same one whenever it asks.
//!   [`Claim::bind`] listens on it.
//! - [`Registry::claim_all`] gives several holders their ports, or none; [`Registry::claim_block`] gives
//!   ports in a row, [`Registry::lease`] a port for as long as a process holds it. A [`Request`] may
//!   name a port, a range, or a [`Term`]. [`Claim::start`] tells a second server of the first.
//! - [`Registry::find`], [`Registry::lookup`], [`Registry::records`], [`Registry::port_state`] look.
//! - [`Registry::release`] gives exactly one claim back, [`Registry::release_holder`] a holder's.
//! - [`Registry::move_project`] gives the ports of a project to another: its directory was moved.
//! - [`Registry::prune`] gives back the ports of projects whose directories were deleted.
//! - [`Registry::check`] finds what is not as it should be, [`Registry::repair`] mends it.
//! - [`Registry::refresh_index`] writes the registry file, which others read;
//!   [`Registry::reset`] gives every port back.
//! - [`probe`] and [`listeners()`] ask the system about ports, whatever the registry says.
//! - [`Registry::take_notices`] tells what operations met besides their results: the library
//!   prints nothing, and reads neither environment nor home directory.
//!
//! ```
//! use portclaim::{Holder, ProjectPath, Registry, Request};
//! # let dir = tempfile::tempdir()?;
//! # let root = camino::Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
//!
//! let registry = Registry::options().range("20000-20099".parse()?).open(root)?;
//! let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
//! let claim = registry.claim(&Request::new(shop.clone()))?;
//! let port = claim.port();
//! assert_eq!(registry.find(&shop)?.expect("it was claimed").port(), port);
//! assert_eq!(registry.records()?.count(), 1);
//!
//! let record = claim.keep();
//! registry.release(&record)?;
//! assert!(registry.find(&shop)?.is_none());
//! // Exactly this claim, and it is gone.
//! let error = registry.release(&record).unwrap_err();
//! assert_eq!(error.kind(), portclaim::ErrorKind::Superseded);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limitations
//!
//! - A program that does not ask the registry can bind a claimed port.
//! - On network file systems and FUSE, locks are not used: nothing is swept there, and a release is
//!   safe only while nobody else releases and claims the same port. [`Registry::filesystem`] tells.
//! - Ports are one host's: a registry that several hosts share serves them as if they were one.
//!
//! # Features
//!
//! `cli` (default): the command line. Embedders take the crate with `default-features = false`.

#[cfg(not(unix))]
compile_error!(
    "portclaim does not support this system: it rests on flock, openat and renameat, as Linux and macOS have them"
);

mod claim;
mod error;
mod follow;
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
mod prune;
mod record;
mod registry;
mod repair;
mod repository;
mod reset;
mod term;

pub use claim::{Claim, Lease, ReleaseError, Running, Start};
pub use error::{Corruption, Error, ErrorKind, Exhaustion, Result};
pub use follow::{Followed, Former};
pub use fs::mount::Filesystem;
pub use net::{Availability, Listener};
pub use notice::Notice;
pub use port::{BLOCK_MAX, Port, PortRange};
pub use project::{Holder, ProjectPath};
pub use protocol::Durability;
pub use prune::{Fate, Kept, Prune, Pruned};
pub use record::{Nonce, Record};
pub use registry::{
    DEFAULT_FILE_NAME, IndexPolicy, Options, Overview, PortState, Records, Registry, Request,
    Summary,
};
pub use repair::{Finding, FindingKind, Report};
pub use repository::Repository;
pub use reset::Reset;
pub use term::{Owner, Term};

/// Returns the programs of this machine that listen on TCP ports which `wanted` names, by port,
/// address and process: one entry for each process that has such a socket open.
///
/// # Errors
///
/// [`std::io::ErrorKind::Unsupported`] where it cannot be known (elsewhere than on Linux), and
/// what the system answers.
///
/// # Races
///
/// The system's tables are read one after the other: a socket that is opened or closed meanwhile
/// may be in the answer or not, and its process may be missing.
///
/// # Examples
///
/// ```
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let port = portclaim::Port::try_from(socket.local_addr()?.port())?;
/// match portclaim::listeners(&|wanted| wanted == port) {
///     Ok(found) => assert!(found.iter().any(|entry| entry.pid == Some(std::process::id()))),
///     Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn listeners(wanted: &dyn Fn(Port) -> bool) -> std::io::Result<Vec<Listener>> {
    net::listeners(wanted)
}

/// Returns the ports that the kernel takes for outgoing connections and for `bind` with port 0,
/// `None` where that is not known. A stable port among them can be in use by anybody's connection
/// when its server starts: [`Registry::check`] tells of a range that overlaps them.
///
/// # Examples
///
/// ```
/// if let Some(ephemeral) = portclaim::ephemeral_range() {
///     assert!(ephemeral.first() <= ephemeral.last());
/// }
/// ```
#[must_use]
pub fn ephemeral_range() -> Option<PortRange> {
    net::ephemeral_range()
}

/// Asks the kernel whether programs could bind a TCP port on every address, now. It never
/// listens, so that no client is ever answered by it. On Linux it does not see a socket that is
/// bound with `SO_REUSEADDR` and does not listen yet.
///
/// # Errors
///
/// What the system answers where no socket can be had.
///
/// # Races
///
/// The answer was true at some moment during the call. A claim keeps other users of the
/// registry away, and nobody else. A server that comes up without `SO_REUSEADDR` in the
/// microseconds of the probe is refused the port.
///
/// # Examples
///
/// ```
/// use portclaim::{Availability, Port};
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let port = Port::try_from(socket.local_addr()?.port())?;
/// assert_eq!(portclaim::probe(port)?, Availability::InUse);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn probe(port: Port) -> std::io::Result<Availability> {
    net::probe(port)
}
