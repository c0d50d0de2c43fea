//! Who listens on which port.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::port::Port;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
use macos as system;

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod unknown;
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
use unknown as system;

/// A TCP socket that listens, and one of the processes that have it open; see
/// [`listeners`](crate::listeners()).
///
/// # Examples
///
/// ```
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let port = portclaim::Port::try_from(socket.local_addr()?.port())?;
/// # if cfg!(target_os = "linux") {
/// let found = portclaim::listeners(&|wanted| wanted == port)?;
/// let entry = found.iter().find(|entry| entry.pid == Some(std::process::id()));
/// let entry = entry.expect("this process listens");
/// assert_eq!((entry.port, entry.address), (port, "127.0.0.1".parse()?));
/// assert!(entry.command.is_some());
/// assert_eq!(entry.directory, Some(std::env::current_dir()?));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Listener {
    /// The port.
    pub port: Port,
    /// The address; unspecified for a socket that listens on all of them.
    pub address: IpAddr,
    /// The process; `None` where it is another user's, in another container, or gone.
    pub pid: Option<u32>,
    /// The name the process goes by, which it chooses itself: any characters may be in it. `None`
    /// where the process is not known.
    pub command: Option<String>,
    /// The number of the user that the socket belongs to; `None` where it is not known.
    pub user: Option<u32>,
    /// The directory that the process works in, or the path that it had before it was deleted.
    /// Any characters may be in it. `None` where the process is not known or somebody else's, and
    /// where the directory has no path here: in a container.
    pub directory: Option<PathBuf>,
    /// Whether the directory has been deleted. Another one may have its path by now.
    pub directory_deleted: bool,
}

/// Returns who listens on the ports that are `wanted`, by port, address and process: one
/// entry for each process that has such a socket open.
///
/// # Errors
///
/// `Unsupported` on systems that do not tell (all but Linux and macOS); otherwise whatever kept
/// this process from reading the system's table.
pub(crate) fn listeners(wanted: &dyn Fn(Port) -> bool) -> io::Result<Vec<Listener>> {
    Ok(in_order(system::listeners(wanted)?))
}

/// Sorts, and merges what differs in nothing that is shown.
fn in_order(mut found: Vec<Listener>) -> Vec<Listener> {
    let key = |listener: &Listener| (listener.port, listener.address, listener.pid);
    found.sort_by_key(key);
    // Workers that share a port with SO_REUSEPORT have a socket each.
    found.dedup_by_key(|listener| key(listener));
    found
}
