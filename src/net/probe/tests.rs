//! Probes beside every kind of socket.

#![expect(clippy::print_stderr, reason = "a test that cannot run says so")]

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsFd;

use super::*;

const ANY_4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LOOPBACK_4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_4_SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const ANY_6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const LOOPBACK_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Binds a port that the kernel chooses, or says aloud why not.
fn bind_any(address: IpAddr, v6only: Option<bool>, reuse: bool) -> Option<(OwnedFd, Port)> {
    bind_number(address, 0, v6only, reuse)
}

fn bind_number(
    address: IpAddr,
    number: u16,
    v6only: Option<bool>,
    reuse: bool,
) -> Option<(OwnedFd, Port)> {
    let bound = || -> rustix::io::Result<OwnedFd> {
        let socket = stream_socket(address)?;
        sockopt::set_socket_reuseaddr(&socket, reuse)?;
        if let Some(v6only) = v6only {
            sockopt::set_ipv6_v6only(&socket, v6only)?;
        }
        rustix::net::bind(&socket, &SocketAddr::new(address, number))?;
        Ok(socket)
    };
    match bound() {
        Ok(socket) => {
            let port = port_of(&socket);
            Some((socket, port))
        }
        Err(errno @ (Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)) => {
            eprintln!("NOT TESTED: this machine has no {address}: {errno}");
            None
        }
        Err(errno) => panic!("{address}: {errno}"),
    }
}

fn port_of(socket: impl AsFd) -> Port {
    let address: SocketAddr = rustix::net::getsockname(socket)
        .expect("a name")
        .try_into()
        .expect("an IP address");
    Port::new(address.port()).expect("a port")
}

/// A port that is free to whoever sets `SO_REUSEADDR`. On Linux, a socket comes with it
/// that keeps the kernel from giving the port to another test: on both families, for
/// one that is held on IPv4 alone is given to `[::1]`. Elsewhere such a socket would
/// be in the way of a probe.
fn free_port() -> (Option<OwnedFd>, Port) {
    let (held, port) = bind_any(ANY_6, Some(false), true)
        .or_else(|| bind_any(ANY_4, None, true))
        .expect("IPv6 or IPv4");
    (Some(held).filter(|_| cfg!(target_os = "linux")), port)
}

/// Waits for a port to be free. A child that another test starts has a copy of every
/// socket from its fork to its exec, so what is closed here may not be closed yet.
fn assert_becomes_free(port: Port) {
    let mut seen = probe(port).expect("an answer");
    for _ in 0..100 {
        if seen == Availability::Free {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        seen = probe(port).expect("an answer");
    }
    panic!("port {port} stays {seen:?}");
}

/// Every way to keep a port: on which address, and for IPv6, with IPv4 or without.
const WAYS: [(IpAddr, Option<bool>); 6] = [
    (LOOPBACK_4, None),
    (LOOPBACK_4_SECOND, None),
    (ANY_4, None),
    (ANY_6, Some(false)),
    (ANY_6, Some(true)),
    (LOOPBACK_6, Some(true)),
];

#[test]
fn sees_listeners_on_every_address() {
    for (address, v6only) in WAYS {
        for reuse in [false, true] {
            let Some((socket, port)) = bind_any(address, v6only, reuse) else {
                continue;
            };
            rustix::net::listen(&socket, 1).expect("listens");
            let seen = probe(port).expect("an answer");
            assert_eq!(
                seen,
                Availability::InUse,
                "{address}, v6only {v6only:?}, reuse {reuse}"
            );
        }
    }
}

#[test]
fn sees_sockets_that_are_bound_and_do_not_listen() {
    for (address, v6only) in WAYS {
        let Some((_socket, port)) = bind_any(address, v6only, false) else {
            continue;
        };
        let seen = probe(port).expect("an answer");
        assert_eq!(seen, Availability::InUse, "{address}, v6only {v6only:?}");
    }
}

/// The list for the other systems is run here too, though the rules are others there:
/// it must not miss one of its own four addresses.
#[test]
#[cfg(target_os = "linux")]
fn address_by_address_sees_the_same_listeners() {
    for (address, v6only) in WAYS {
        let (_held, port) = free_port();
        let Some((socket, _)) = bind_number(address, port.get(), v6only, true) else {
            continue;
        };
        let ask = || judge(EACH, |place| try_bind(place, port)).expect("an answer");
        assert_eq!(ask(), Availability::Free, "{address}, bound");
        rustix::net::listen(&socket, 1).expect("listens");
        assert_eq!(ask(), Availability::InUse, "{address}, listening");
    }
}

#[test]
fn a_port_is_free_again_when_its_listener_is_gone() {
    let (_held, port) = free_port();
    assert_eq!(probe(port).expect("before"), Availability::Free);
    let listener = listen(port, LOOPBACK_4).expect("listens");
    assert_eq!(probe(port).expect("meanwhile"), Availability::InUse);
    drop(listener);
    assert_becomes_free(port);
}

/// A server on `address` that closes its connection first, which leaves `TIME_WAIT`
/// at its port, and then goes away.
fn leave_time_wait(address: IpAddr) -> Option<(Option<OwnedFd>, Port)> {
    bind_any(address, None, true)?;
    let (held, port) = free_port();
    let server = listen(port, address).expect("listens");
    let mut client = TcpStream::connect((address, port.get())).expect("connects");
    let (accepted, _) = server.accept().expect("accepts");
    drop(accepted);
    // The server's FIN has come: its side is the one that waits.
    assert_eq!(client.read(&mut [0]).expect("the end"), 0);
    drop(client);
    drop(server);
    Some((held, port))
}

#[test]
fn time_wait_is_not_in_use() {
    for address in [LOOPBACK_4, LOOPBACK_6] {
        let Some((held, port)) = leave_time_wait(address) else {
            continue;
        };
        // A socket that does without SO_REUSEADDR is refused, so it is there.
        drop(held);
        let strict = stream_socket(address).expect("a socket");
        sockopt::set_socket_reuseaddr(&strict, false).expect("set");
        let refused = rustix::net::bind(&strict, &SocketAddr::new(address, port.get()));
        assert_eq!(refused, Err(Errno::ADDRINUSE), "no TIME_WAIT was made");
        assert_becomes_free(port);
        drop(listen(port, address).expect("and a server may have it"));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn probes_do_not_disturb_each_other() {
    let (_held, port) = free_port();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for round in 0..10_000 {
                    let seen = probe(port).expect("an answer");
                    assert_eq!(seen, Availability::Free, "probe {round}");
                }
            });
        }
    });
}

/// Each server has a port of its own: a child that another test starts at this moment
/// keeps a copy of the last one's listener until its exec, and that would be in the way.
#[test]
#[cfg(target_os = "linux")]
fn probes_do_not_disturb_a_server_that_comes_up() {
    use std::sync::atomic::{AtomicU16, Ordering};

    let number = AtomicU16::new(0);
    let done = 1;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let number = number.load(Ordering::Relaxed);
                if number == done {
                    break;
                }
                if let Some(port) = Port::new(number) {
                    probe(port).expect("an answer");
                }
            }
        });
        let refused = (0..2_000).find_map(|_| {
            let (_held, port) = free_port();
            number.store(port.get(), Ordering::Relaxed);
            // Bound and closed again, many times, before it listens: moments to meet.
            (0..10)
                .find_map(|_| bind_only(port).err())
                .or_else(|| listen(port, LOOPBACK_4).err().map(io::Error::from))
        });
        number.store(done, Ordering::Relaxed);
        assert!(refused.is_none(), "{refused:?}");
    });
}

/// What a server does before it listens.
#[cfg(target_os = "linux")]
fn bind_only(port: Port) -> io::Result<()> {
    let socket = stream_socket(LOOPBACK_4)?;
    rustix::net::bind(&socket, &SocketAddr::new(LOOPBACK_4, port.get()))?;
    Ok(())
}

#[test]
fn a_privileged_port_is_denied() {
    let port = Port::new(1).expect("1");
    let address = SocketAddr::new(LOOPBACK_4, port.get());
    let socket = stream_socket(LOOPBACK_4).expect("a socket");
    match rustix::net::bind(&socket, &address) {
        Err(Errno::ACCESS) => {
            assert_eq!(probe(port).expect("an answer"), Availability::Denied);
        }
        other => eprintln!("NOT TESTED: this user may bind port 1: {other:?}"),
    }
}

#[test]
fn listens_once_and_says_so_the_second_time() {
    let (_held, port) = free_port();
    let first = listen(port, LOOPBACK_4).expect("listens");
    let flags = rustix::io::fcntl_getfd(&first).expect("flags");
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let second = listen(port, LOOPBACK_4).expect_err("two listeners");
    assert_eq!(io::Error::from(second).kind(), io::ErrorKind::AddrInUse);
    TcpStream::connect((LOOPBACK_4, port.get())).expect("connects");
}

/// Judges as [`probe`] does, the system answering as told: IPv6 `v6`, IPv4 `v4`.
fn judged(
    places: &[Place],
    v6: Result<(), Refusal>,
    v4: Result<(), Refusal>,
) -> Result<Availability, Option<i32>> {
    judge(
        places,
        |place| {
            if place.address.is_ipv6() { v6 } else { v4 }
        },
    )
    .map_err(|error| error.raw_os_error())
}

#[test]
fn a_missing_family_is_not_a_busy_port() {
    let missing = [
        Refusal::Socket(Errno::AFNOSUPPORT),
        Refusal::Socket(Errno::PERM),
        Refusal::Socket(Errno::ACCESS),
        Refusal::Bind(Errno::ADDRNOTAVAIL),
        Refusal::Bind(Errno::PERM),
    ];
    let busy = Err(Refusal::Bind(Errno::ADDRINUSE));
    for places in [WILDCARD, EACH] {
        for gone in missing.map(Err) {
            assert_eq!(judged(places, gone, Ok(())), Ok(Availability::Free));
            assert_eq!(judged(places, gone, busy), Ok(Availability::InUse));
            assert_eq!(judged(places, Ok(()), gone), Ok(Availability::Free));
            assert_eq!(judged(places, busy, gone), Ok(Availability::InUse));
        }
    }
}

#[test]
fn refusals_are_told_apart() {
    for places in [WILDCARD, EACH] {
        let same = |refusal| judged(places, Err(refusal), Err(refusal));
        let denied = Ok(Availability::Denied);
        assert_eq!(same(Refusal::Bind(Errno::ACCESS)), denied);
        assert_eq!(same(Refusal::Bind(Errno::PERM)), denied);
        let errors = [
            Refusal::Socket(Errno::MFILE),
            Refusal::Socket(Errno::NFILE),
            Refusal::Socket(Errno::NOBUFS),
            Refusal::Socket(Errno::PERM),
            Refusal::Socket(Errno::AFNOSUPPORT),
            Refusal::Bind(Errno::NOMEM),
        ];
        for refusal in errors {
            let (Refusal::Socket(errno) | Refusal::Bind(errno)) = refusal;
            assert_eq!(same(refusal), Err(Some(errno.raw_os_error())));
        }
    }
}

#[test]
fn one_dual_socket_is_enough() {
    let mut asked = Vec::new();
    let seen = judge(WILDCARD, |place| {
        asked.push(place);
        Ok(())
    });
    assert_eq!(seen.expect("an answer"), Availability::Free);
    assert_eq!(asked, [WILDCARD[0]]);
}
