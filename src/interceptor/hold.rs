//! Takes the project's port and listens on it: no port is told before it is bound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::process::id;
use std::time::Duration;

use listenfd::ListenFd;
use portclaim::{
    Claim, Error, ErrorKind, Holder, Lease, Port, Record, Registry, Request, Running, Start,
};
use rustix::io::Errno;
use rustix::net::sockopt::socket_type;
use rustix::net::{SocketType, getpeername};
use tokio::time::{Instant, sleep};

use super::args::Whose;
use super::global::Target;
use super::peer;
use super::report::{Failure, warning};
use super::settings::Settings;
use super::stranger::{is_in_use, programs_on, stranger};
use super::target::Holders;
use super::text::escape;

/// How long another interceptor of the project, which holds the port, has to answer.
const STARTING: Duration = Duration::from_secs(5);

/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(50);

/// A port that is listened on, and what keeps it from others as long as this lives.
pub(super) struct Held {
    pub(super) port: Port,
    pub(super) listeners: Vec<TcpListener>,
    _running: Option<Running>,
    _lease: Option<Lease>,
}

/// Whether this program serves, or another one does already.
pub(super) enum Taken {
    Here(Box<Held>),
    ByPeer { address: SocketAddr, pid: u32 },
}

impl Taken {
    fn here(held: Held) -> Taken {
        Taken::Here(Box::new(held))
    }
}

/// Who asks for a port, and where it is to be bound.
pub(super) struct Wanted<'a> {
    pub(super) settings: &'a Settings,
    pub(super) registry: &'a Registry,
    pub(super) holders: &'a Holders,
    pub(super) host: Option<IpAddr>,
    /// A port besides the registry's.
    pub(super) port: Option<Port>,
}

impl Wanted<'_> {
    /// Takes the port: from whoever handed a socket over, by a lease, or by the project's claim.
    pub(super) async fn take(&self) -> Result<Taken, Failure> {
        let handed = handed_over()?;
        if !handed.is_empty() {
            return self.accept(handed).map(Taken::here);
        }
        let own = self.registry.find(self.holder())?;
        match self.port {
            Some(port) if own.is_none_or(|record| record.port() != port) => self.lease(port).await,
            _ => self.claim().await,
        }
    }

    fn holder(&self) -> &Holder {
        &self.holders.all[0]
    }

    async fn claim(&self) -> Result<Taken, Failure> {
        let requests = self.holders.requests(self.settings, self.registry, None)?;
        let claims = self.registry.claim_all(&requests)?;
        self.settings
            .warn_of_ephemeral(self.holders.config.range, &claims);
        let [claim] =
            <[Claim; 1]>::try_from(claims).map_err(|_| Failure::new("one service has one port"))?;
        let who = escape(&self.holder().to_string()).into_owned();
        let end = Instant::now() + STARTING;
        loop {
            let pid = match claim.start()? {
                Start::First(running) => return self.bind_claim(&claim, running, &who).await,
                // `portclaim run` became this program, or supervises it.
                Start::Second { pid: Some(pid) } if [id(), parent_id()].contains(&pid) => {
                    let listeners = self.listeners(&|address| claim.bind_to(address))?;
                    return Ok(Taken::here(Held::new(&claim, listeners, None)));
                }
                Start::Second { pid } => pid,
            };
            // It has said that it runs, and may be about to listen.
            if let Some(peer) = self.peer(claim.port()).await {
                return Ok(peer);
            }
            if Instant::now() > end {
                let pid = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
                let text = format!("{who} runs already, on port {}{pid}", claim.port());
                return Err(Failure::no(&text).hint(
                    "it is no interceptor, or does not answer: end it, or use --service for a port of another name",
                ));
            }
            sleep(PAUSE).await;
        }
    }

    async fn bind_claim(
        &self,
        claim: &Claim,
        running: Running,
        who: &str,
    ) -> Result<Taken, Failure> {
        match self.listeners(&|address| claim.bind_to(address)) {
            Ok(listeners) => Ok(Taken::here(Held::new(claim, listeners, Some(running)))),
            Err(error) if is_in_use(&error) => match self.peer(claim.port()).await {
                // Where there are no locks, nobody has said that it runs.
                Some(peer) => Ok(peer),
                None => Err(Failure::no(&stranger(self.registry, claim, who)?)
                    .hint("end that program, or see with portclaim who what it is")),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Leases a port that is not the project's own: nobody else is given it meanwhile.
    async fn lease(&self, port: Port) -> Result<Taken, Failure> {
        let request = Request::new(self.holder().clone()).port(port);
        let end = Instant::now() + STARTING;
        let leased = loop {
            match self.registry.lease(&request) {
                Err(error) if error.kind() == ErrorKind::Taken => {
                    if let Some(peer) = self.peer(port).await {
                        return Ok(peer);
                    }
                    // Another one of the project may be about to listen, or to give the port up.
                    let by = error.taken_by().map(Record::holder);
                    if by != Some(self.holder()) || Instant::now() > end {
                        return Err(self.taken(port, error)?);
                    }
                    sleep(PAUSE).await;
                }
                leased => break leased,
            }
        };
        let lease = match leased {
            Ok(lease) => lease,
            Err(error) if error.kind() == ErrorKind::NoLocks => {
                warning(
                    &format!(
                        "port {port} is not kept from others: {}",
                        escape(&error.to_string())
                    ),
                    None,
                );
                return self.bare(port).map(Taken::here);
            }
            Err(error) => return Err(error.into()),
        };
        let listeners = self.listeners(&|address| lease.bind_to(address))?;
        Ok(Taken::here(Held {
            port,
            listeners,
            _running: None,
            _lease: Some(lease),
        }))
    }

    /// Says who has a port that was asked for.
    fn taken(&self, port: Port, error: Error) -> Result<Failure, Failure> {
        let claim = self.registry.lookup(port)?;
        let by = programs_on(self.registry, port, claim.as_ref())?;
        let failure = match by {
            Some(by) => Failure::no(&format!("port {port} is in use by {by}")),
            None => Failure::from(error),
        };
        Ok(failure.hint(&format!(
            "portclaim who {port} tells more; without INTERCEPTOR_PORT and --port the project has a port of its own"
        )))
    }

    /// Binds a port that nothing keeps.
    fn bare(&self, port: Port) -> Result<Held, Failure> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the library binds what it has given"
        )]
        let bind = |address| TcpListener::bind((address, port.get()));
        let mut listeners = Vec::new();
        for address in self.addresses() {
            match bind(address) {
                Ok(listener) => listeners.push(listener),
                Err(error) if self.may_lack(address, &error) => {}
                Err(error) => {
                    let text = format!(
                        "failed to listen on {}",
                        SocketAddr::new(address, port.get())
                    );
                    return Err(Failure::io(&text, &error).code(1));
                }
            }
        }
        Ok(Held {
            port,
            listeners,
            _running: None,
            _lease: None,
        })
    }

    /// Uses sockets that were handed over. Their port should be the project's.
    fn accept(&self, listeners: Vec<TcpListener>) -> Result<Held, Failure> {
        let failed = |error| Failure::io("a socket that was handed over cannot be used", &error);
        let port = listeners[0].local_addr().map_err(failed)?.port();
        let port = Port::try_from(port)?;
        let requests = self
            .holders
            .requests(self.settings, self.registry, Some(port))?;
        let mut running = None;
        match self.registry.find(self.holder())? {
            Some(record) if record.port() == port => {
                for claim in self.registry.claim_all(&requests)? {
                    // Who handed it over may have said so before.
                    if let Start::First(first) = claim.start()? {
                        running = Some(first);
                    }
                }
            }
            _ => {
                let holder = self.registry.lookup(port)?;
                let whose = holder.map_or("nobody's".to_owned(), |record| {
                    format!("that of {}", escape(&record.holder().to_string()))
                });
                warning(
                    &format!(
                        "port {port}, which was handed over, is {whose}, and not the project's"
                    ),
                    Some("portclaim allocate --port gives a project a certain port"),
                );
            }
        }
        Ok(Held {
            port,
            listeners,
            _running: running,
            _lease: None,
        })
    }

    fn listeners(
        &self,
        bind: &dyn Fn(IpAddr) -> portclaim::Result<TcpListener>,
    ) -> portclaim::Result<Vec<TcpListener>> {
        let mut listeners = Vec::new();
        for address in self.addresses() {
            match bind(address) {
                Ok(listener) => listeners.push(listener),
                Err(error) if self.lacks(address, &error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listeners)
    }

    /// `localhost` may be either of two.
    fn addresses(&self) -> Vec<IpAddr> {
        match self.host {
            Some(host) => vec![host],
            None => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        }
    }

    fn lacks(&self, address: IpAddr, error: &Error) -> bool {
        error
            .io_error()
            .is_some_and(|error| self.may_lack(address, error))
    }

    /// Returns whether it was bound without being asked for, on a host without IPv6.
    fn may_lack(&self, address: IpAddr, error: &std::io::Error) -> bool {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        let is_missing = matches!(errno, Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT));
        self.host.is_none() && address.is_ipv6() && is_missing
    }

    /// Asks who listens there, and returns whether it is the interceptor of this project. It may
    /// listen elsewhere than this one would, which can be seen on Linux.
    async fn peer(&self, port: Port) -> Option<Taken> {
        let seen = portclaim::listeners(&|it| it == port).unwrap_or_default();
        let seen = seen.iter().map(|listener| listener.address);
        let mut asked = Vec::new();
        for address in self.addresses().into_iter().chain(seen) {
            let address = SocketAddr::new(reachable(address), port.get());
            if asked.contains(&address) {
                continue;
            }
            asked.push(address);
            if let Some(peer) = peer::ask(address).await
                && peer.is_of(self.holder())
            {
                let pid = peer.pid;
                return Some(Taken::ByPeer { address, pid });
            }
        }
        None
    }
}

/// Returns where a program can be asked that listens on this address.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

impl Held {
    fn new(claim: &Claim, listeners: Vec<TcpListener>, running: Option<Running>) -> Held {
        Held {
            port: claim.port(),
            listeners,
            _running: running,
            _lease: None,
        }
    }
}

/// Returns whose port is meant: the unnamed service's, unless another one is named.
pub(super) fn holders(settings: &Settings, whose: &Whose) -> Result<Holders, Failure> {
    let target = Target {
        path: whose.project.clone(),
        services: whose.service.iter().cloned().collect(),
    };
    let mut holders = Holders::of(settings, &target)?;
    if target.services.is_empty() {
        holders.all = vec![Holder::new(holders.project.clone())];
    }
    Ok(holders)
}

/// Returns the listening TCP sockets that somebody handed over: systemd and `portclaim run` do it by
/// `LISTEN_FDS`, launchd and inetd by standard input.
fn handed_over() -> Result<Vec<TcpListener>, Failure> {
    let mut handed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for at in 0..handed.len() {
        let listener = handed.take_tcp_listener(at).map_err(|error| {
            Failure::io("a socket that was handed over cannot be used", &error)
                .hint("it must be a TCP socket that listens")
        })?;
        listeners.extend(listener);
    }
    if listeners.is_empty() {
        listeners.extend(standard_input());
    }
    Ok(listeners)
}

/// Returns standard input, where it is a TCP socket that waits for connections (`Wait` of launchd's
/// `inetdCompatibility`, `wait` of inetd) and not what a person or a shell gave.
fn standard_input() -> Option<TcpListener> {
    let input = std::io::stdin();
    let is_stream = socket_type(&input).is_ok_and(|kind| kind == SocketType::STREAM);
    let is_connected = !getpeername(&input).is_err_and(|errno| errno == Errno::NOTCONN);
    if !is_stream || is_connected {
        return None;
    }
    let listener = TcpListener::from(input.as_fd().try_clone_to_owned().ok()?);
    let address = listener.local_addr().ok()?;
    (address.port() != 0).then_some(listener)
}
