//! Whether a port can be bound, and a listener on one that can.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::error::{Error, Result};
use crate::port::Port;

/// Whether a program may bind a TCP port on every address of this machine.
///
/// The answer is of the moment of asking: only a claim keeps other projects away, and
/// nothing keeps a program away that asks for no claim.
///
/// # Examples
///
/// ```
/// use portclaim::{Availability, Port};
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let port = Port::try_from(socket.local_addr()?.port())?;
/// // One address is enough to be in the way.
/// assert_eq!(portclaim::probe(port)?, Availability::InUse);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// Nobody uses the port.
    Free,
    /// A program listens on the port, on one address at least, or keeps it in some other
    /// way that would make `bind` fail for anybody else.
    InUse,
    /// The system does not let this user bind the port (on most systems, those below 1024).
    /// Whether somebody else uses it, it does not say.
    Denied,
}

/// One of the addresses that a probe binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    address: IpAddr,
    /// Whether the IPv6 socket takes the port of IPv4 as well.
    dual: bool,
}

impl Place {
    const fn v4(address: Ipv4Addr) -> Place {
        Place {
            address: IpAddr::V4(address),
            dual: false,
        }
    }

    const fn v6(address: Ipv6Addr) -> Place {
        Place {
            address: IpAddr::V6(address),
            dual: false,
        }
    }
}

/// For Linux, where a socket that listens on one address is in the way of every wildcard,
/// and one on any IPv4 address in the way of a wildcard of both families: one socket sees
/// all of them (the tests go through each case). The second place is for machines
/// without IPv6.
const WILDCARD: &[Place] = &[
    Place {
        address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        dual: true,
    },
    Place::v4(Ipv4Addr::UNSPECIFIED),
];

/// For macOS and the BSDs, where `SO_REUSEADDR` lets a wildcard be bound beside a listener
/// on one address, and the other way round: each address sees its like alone.
const EACH: &[Place] = &[
    Place::v4(Ipv4Addr::UNSPECIFIED),
    Place::v4(Ipv4Addr::LOCALHOST),
    Place::v6(Ipv6Addr::UNSPECIFIED),
    Place::v6(Ipv6Addr::LOCALHOST),
];

const PLACES: &[Place] = if cfg!(target_os = "linux") {
    WILDCARD
} else {
    EACH
};

/// Connections that wait for `accept`; the system cuts it down to what it allows.
const BACKLOG: i32 = 1024;

/// What the system refused, and with which error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// To make a socket of this family, or to set its options.
    Socket(Errno),
    /// To bind it.
    Bind(Errno),
}

/// Returns whether a program may bind `port` on every address.
///
/// Never listens, so no client is ever answered by a probe. On Linux, a socket that is
/// bound with `SO_REUSEADDR` and does not listen (a server between its `bind` and its
/// `listen`, or another probe) is not seen. Elsewhere it is, so that two probes of one port
/// at the very same moment may find it in use.
///
/// A server that comes up without `SO_REUSEADDR` in the microseconds of a probe is refused
/// the port.
///
/// # Errors
///
/// Whatever says nothing about the port: no descriptor left, no memory, neither IPv4 nor
/// IPv6.
pub(crate) fn probe(port: Port) -> io::Result<Availability> {
    judge(PLACES, |place| try_bind(place, port))
}

/// As [`probe`]; its error names the port.
pub(crate) fn availability(port: Port) -> Result<Availability> {
    probe(port).map_err(|error| Error::bind(None, port, error))
}

/// Returns whether a program may bind `port` on every address.
pub(crate) fn is_free(port: Port) -> Result<bool> {
    Ok(availability(port)? == Availability::Free)
}

/// Binds the `places` one after the other and says what comes of it.
fn judge(
    places: &[Place],
    mut bind: impl FnMut(Place) -> Result<(), Refusal>,
) -> io::Result<Availability> {
    let mut bound = false;
    let mut absent = Errno::AFNOSUPPORT;
    let mut forbidden = false;
    for &place in places {
        match bind(place) {
            Ok(()) if place.dual => return Ok(Availability::Free),
            Ok(()) => bound = true,
            Err(Refusal::Bind(Errno::ADDRINUSE)) => return Ok(Availability::InUse),
            Err(Refusal::Bind(Errno::ACCESS)) => return Ok(Availability::Denied),
            // A sandbox (cgroup filters, Seatbelt) may forbid the one family or this port;
            // which of the two, the other family tells.
            Err(Refusal::Bind(Errno::PERM)) => forbidden = true,
            // The family is not there, or closed to this process (seccomp), or has no
            // loopback address.
            Err(
                Refusal::Bind(errno @ (Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
                | Refusal::Socket(
                    errno @ (Errno::AFNOSUPPORT
                    | Errno::PROTONOSUPPORT
                    | Errno::ACCESS
                    | Errno::PERM),
                ),
            ) => absent = errno,
            Err(Refusal::Socket(errno) | Refusal::Bind(errno)) => return Err(errno.into()),
        }
    }
    if bound {
        Ok(Availability::Free)
    } else if forbidden {
        Ok(Availability::Denied)
    } else {
        Err(absent.into())
    }
}

/// Binds a socket and closes it again.
fn try_bind(place: Place, port: Port) -> Result<(), Refusal> {
    let socket = stream_socket(place.address).map_err(Refusal::Socket)?;
    if place.address.is_ipv6() {
        // Said either way: what holds otherwise is the administrator's choice.
        sockopt::set_ipv6_v6only(&socket, !place.dual).map_err(Refusal::Socket)?;
    }
    let address = SocketAddr::new(place.address, port.get());
    rustix::net::bind(&socket, &address).map_err(Refusal::Bind)
}

/// Binds `port` on `address` and listens.
///
/// Whether `[::]` takes IPv4 connections too is left to the system's setting, as
/// [`TcpListener::bind`] does.
pub(crate) fn listen(port: Port, address: IpAddr) -> Result<TcpListener> {
    let listening = || -> Result<OwnedFd, Errno> {
        let socket = stream_socket(address)?;
        rustix::net::bind(&socket, &SocketAddr::new(address, port.get()))?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    listening()
        .map(TcpListener::from)
        .map_err(|error| Error::bind(Some(address), port, error.into()))
}

/// Makes a TCP socket that no child inherits, with `SO_REUSEADDR`: connections that wait
/// out their `TIME_WAIT` do not keep it from binding, nor do other such sockets that do
/// not listen.
fn stream_socket(address: IpAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let kind = SocketType::STREAM;
    #[cfg(not(target_vendor = "apple"))]
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    #[cfg(target_vendor = "apple")]
    let socket = {
        // There is no SOCK_CLOEXEC: a child that another thread starts between the two
        // calls inherits a socket that is not bound, and does no harm until it is.
        let socket = rustix::net::socket_with(family, kind, SocketFlags::empty(), None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        socket
    };
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(socket)
}

#[cfg(all(test, not(loom)))]
mod tests;
