//! Serves until a signal ends it.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use portclaim::{Notice, Registry};

use super::admission::Admission;
use super::args::Cli;
use super::forward::{Facts, Proxy};
use super::hold::{Held, Taken, Wanted, holders};
use super::log::Log;
use super::metrics::Metrics;
use super::options::Options;
use super::report::{self, Failure, print_json, warning};
use super::settings::{Settings, warn_of_filesystem};
use super::target::Holders;
use super::text::escape;
use super::upstream::Upstream;

/// How long a client may take to send a request's head, and keep a connection without one.
const HEAD: Duration = Duration::from_secs(75);

/// How long after the signal a connection is read from all the same: what has come is not seen before the sockets are looked at
/// once more, and a request that crosses the signal is answered.
const SETTLE: Duration = Duration::from_millis(20);

/// How many connections may wait at most to be taken when this program ends: as many as Linux lets wait.
const BACKLOG: usize = 4096;

/// How long no connection is taken after the system has refused one: it has no descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct Announced<'a> {
    event: &'a str,
    url: &'a str,
    port: u16,
    pid: u32,
    project: &'a str,
    identity: &'a str,
    target: &'a str,
}

impl Announced<'_> {
    /// Says that this program listens, or that another one does.
    fn announce(&self, settings: &Settings) -> Result<(), Failure> {
        if settings.json {
            return print_json(self);
        }
        let (url, project) = (self.url, escape(self.project));
        let more = match self.event {
            "running" => format!(" runs already (pid {})", self.pid),
            _ => String::new(),
        };
        let _ = writeln!(io::stderr(), "{url} for {project}{more}");
        Ok(())
    }
}

/// Takes the port, tells it, and serves.
pub(super) fn run(cli: &Cli) -> Result<(), Failure> {
    let settings = Settings::resolve(&cli.global)?;
    let registry = settings.open()?;
    let is_known = warn_of_filesystem(&registry)?;
    let holders = holders(&settings, &cli.whose)?;
    let options = Options::resolve(&cli.serve, &holders.project)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("failed to start", &error))?;
    let wanted = Wanted {
        settings: &settings,
        registry: &registry,
        holders: &holders,
        host: cli.serve.host,
        port: options.port,
    };
    let taken = runtime.block_on(wanted.take());
    if !is_known {
        let _ = warn_of_filesystem(&registry);
    }
    tell(&registry);
    let held = match taken? {
        Taken::Here(held) => *held,
        Taken::ByPeer { address, pid } => {
            let url = format!("http://{address}/v1");
            let told = Announced {
                event: "running",
                url: &url,
                port: address.port(),
                pid,
                project: holders.project.as_str(),
                identity: &options.identity,
                target: &options.target.to_string(),
            };
            return told.announce(&settings);
        }
    };
    let done = runtime.block_on(serve(cli, &settings, &holders, options, held));
    // What resolves a name may hang in the system.
    runtime.shutdown_background();
    done
}

/// Tells what claiming met. Nobody else will write a long registry file for this program.
pub(super) fn tell(registry: &Registry) {
    let mut notices = registry.take_notices();
    let count = notices.len();
    notices.retain(|notice| !matches!(notice, Notice::IndexDeferred { .. }));
    if notices.len() < count
        && let Err(error) = registry.refresh_index()
    {
        report::warn_of(&error, None);
    }
    report::notices(&notices);
}

async fn serve(
    cli: &Cli,
    settings: &Settings,
    holders: &Holders,
    options: Options,
    mut held: Held,
) -> Result<(), Failure> {
    raise_limit();
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| Failure::io(&what, &error)
    };
    let mut signals = Signals::new().map_err(failed("failed to wait for signals"))?;
    let args = &cli.serve;
    let listeners = held.listeners.drain(..).map(to_tokio);
    let listeners: io::Result<Vec<TcpListener>> = listeners.collect();
    let listeners = listeners.map_err(failed("failed to listen"))?;
    let addresses: io::Result<Vec<SocketAddr>> =
        listeners.iter().map(TcpListener::local_addr).collect();
    let addresses = addresses.map_err(failed("failed to listen"))?;
    let Some(address) = addresses.first() else {
        return Err(Failure::new("there is no address to listen on"));
    };
    let target = &options.target;
    if addresses.iter().any(|it| target.leads_to(*it)) {
        let text = format!("the target {target} is this interceptor itself");
        return Err(Failure::new(&text)
            .hint("TARGET_LLM_URL or --target is the address of the server that requests go to"));
    }
    for open in addresses.iter().filter(|it| !it.ip().is_loopback()) {
        warning(
            &format!("other machines can reach {open}, and use the target through it"),
            None,
        );
    }
    let url = format!("http://{address}/v1");
    let upstream = Upstream::new(
        options.target.clone(),
        args.connect_timeout,
        options.silence,
    );
    let upstream = upstream.map_err(failed(
        "failed to read the certificates that the system trusts",
    ))?;
    let log = Log::start().map_err(failed("failed to start"))?;
    let told = Announced {
        event: "listening",
        url: &url,
        port: held.port.get(),
        pid: std::process::id(),
        project: holders.project.as_str(),
        identity: &options.identity,
        target: &options.target.to_string(),
    };
    // It serves all the same where nobody reads it.
    let _ = told.announce(settings);
    let proxy = Arc::new(Proxy {
        upstream,
        admission: Admission::new(args.host, &args.allow_host, &args.allow_origin),
        facts: Facts {
            version: 1,
            program: env!("CARGO_BIN_NAME"),
            status: "healthy",
            project: holders.project.as_str().to_owned(),
            service: holders.all[0].service().to_owned(),
            port: held.port.get(),
            pid: std::process::id(),
            identity: options.identity,
            target: options.target.to_string(),
        },
        identity: options.identity_value,
        names: options.names,
        key: options.key,
        metrics: Metrics::new(),
        log,
        is_ending: AtomicBool::new(false),
        logs_requests: args.log,
    });
    let open = accept_until(&mut signals, listeners, &proxy).await;
    // Another one may take the port, while this one ends what it has begun.
    drop(held);
    // Each connection ends after the answer under way, and a second signal ends what still runs.
    let _ = open.send(());
    let mut drained = pin!(timeout(args.drain_timeout, open.closed()));
    tokio::select! {
        _ = &mut drained => {}
        () = signals.next() => {}
    }
    proxy.log.end();
    Ok(())
}

/// Takes connections until a signal comes; then those that were made by then, and nobody listens any more. Those that are open
/// end by what it returns, which is closed when they have.
async fn accept_until(
    signals: &mut Signals,
    listeners: Vec<TcpListener>,
    proxy: &Arc<Proxy>,
) -> watch::Sender<()> {
    let open = watch::Sender::new(());
    let server = server();
    let (sender, mut streams) = mpsc::channel(64);
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, sender.clone()));
    }
    drop(sender);
    let answer = |stream| {
        let proxy = Arc::clone(proxy);
        tokio::spawn(answer_all(server.clone(), stream, proxy, open.subscribe()));
    };
    loop {
        tokio::select! {
            stream = streams.recv() => match stream {
                Some(stream) => answer(stream),
                None => return open,
            },
            () = signals.next() => break,
        }
    }
    proxy.is_ending.store(true, Ordering::Relaxed);
    streams.close();
    while let Some(stream) = streams.recv().await {
        answer(stream);
    }
    while let Some(listener) = accepting.join_next().await {
        if let Ok(Ok(listener)) = listener.map(TcpListener::into_std) {
            waiting(&listener).for_each(answer);
        }
    }
    open
}

/// Returns whether no connection waits any more.
fn is_last<T>(stream: &io::Result<T>) -> bool {
    matches!(stream, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// The connections that nobody has taken yet.
fn waiting(listener: &std::net::TcpListener) -> impl Iterator<Item = TcpStream> {
    // It does not block. More than may wait at once are of clients that came later.
    listener
        .incoming()
        .take(BACKLOG)
        .take_while(|stream| !is_last(stream))
        .filter_map(|stream| {
            // One that was aborted meanwhile is passed over.
            let stream = stream.ok()?;
            stream.set_nonblocking(true).ok()?;
            let stream = TcpStream::from_std(stream).ok()?;
            let _ = stream.set_nodelay(true);
            Some(stream)
        })
}

/// Answers what comes on a connection, until it ends or is told to.
async fn answer_all(
    server: http1::Builder,
    stream: TcpStream,
    proxy: Arc<Proxy>,
    mut ending: watch::Receiver<()>,
) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(proxy.answer(request).await) });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection.with_upgrades());
    let ends = async {
        let _ = ending.changed().await;
        sleep(SETTLE).await;
    };
    tokio::select! {
        biased;
        // Whoever breaks off knows it.
        _ = connection.as_mut() => return,
        () = ends => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// HTTP/1.1, with headers written as they come.
fn server() -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .preserve_header_case(true)
        .auto_date_header(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    server
}

/// Takes connections until nobody answers them any more, and returns what it took them from.
async fn accept(listener: TcpListener, streams: mpsc::Sender<TcpStream>) -> TcpListener {
    // What is taken has its place: none is lost at the end.
    while let Ok(place) = streams.reserve().await {
        tokio::select! {
            stream = listener.accept() => match stream {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    place.send(stream);
                }
                Err(_) => sleep(PAUSE).await,
            },
            () = streams.closed() => break,
        }
    }
    listener
}

fn to_tokio(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Lets this program have as many descriptors as it may: a stream takes two, and the usual limit is 1024.
fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    // macOS names no maximum, and refuses more than this (`OPEN_MAX`).
    for wanted in [limit.maximum, Some(10_240)] {
        limit.current = wanted;
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return;
        }
    }
}

/// What ends this program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
