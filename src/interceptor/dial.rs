//! How a connection to the target comes about.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::client::conn::{http1, http2};
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::ServiceExt;
use tower::timeout::Timeout;
use tower::util::BoxCloneSyncService;

use super::kept::{Kept, Line};
use super::target_url::TargetUrl;

/// Most headers of an answer. `LiteLLM` passes on those of the model's provider beside its own, and hyper's 100 may be
/// too few for both.
const HEADERS_MAX: usize = 512;

/// The same of HTTP/2, in bytes, where each header counts for 32 more (RFC 9113, section 6.5.2). hyper's 16 KiB are 400 short ones.
const HEADERS_LEN_MAX: u32 = 256 * 1024;

/// What may be on its way on one connection of HTTP/2, bytes: as much as there can be. Each answer has a bound of its own, and
/// clients that do not read theirs are not in the way of others.
const WINDOW: u32 = (1 << 31) - 1;

/// That bound: what may wait here for a client that does not read.
const WINDOW_OF_ANSWER: u32 = 512 * 1024;

/// After how long without a word, while answers are open, HTTP/2 asks whether the target is there, and how long it waits for
/// that: a path that is dead (another network, a router that forgot it) would be used as long as requests come.
const PING: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(10)];

/// What connecting may fail with.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, Cause>;

/// What is said of a connection that was closed before anything was sent on it.
const CLOSED: &str = "the connection was closed at once";

/// What leads to the target.
pub(super) struct Dial {
    server: Uri,
    any: Connector,
    /// HTTP/2 has no way from one protocol to another that a client of HTTP/1.1 could take.
    http1: Connector,
}

impl Dial {
    /// Connects to nothing yet. For TLS the certificates that the system trusts are read.
    pub(super) fn new(target: &TargetUrl, limit: Duration) -> io::Result<Dial> {
        Ok(Dial {
            server: target.server(),
            any: connector(target, limit, true)?,
            http1: connector(target, limit, false)?,
        })
    }

    /// Opens a connection, which runs by itself from then on.
    pub(super) async fn open(&self, kept: &Arc<Kept>, is_upgrade: bool) -> Result<Line, Cause> {
        let connector = if is_upgrade { &self.http1 } else { &self.any };
        let stream = connector.clone().oneshot(self.server.clone()).await?;
        if stream.connected().is_negotiated_h2() {
            let (line, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(HEADERS_LEN_MAX)
                .initial_connection_window_size(WINDOW)
                .initial_stream_window_size(WINDOW_OF_ANSWER)
                .keep_alive_interval(PING[0])
                .keep_alive_timeout(PING[1])
                .handshake(stream)
                .await?;
            tokio::spawn(connection);
            return kept.share(line).ok_or_else(|| CLOSED.into());
        }
        let (line, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(HEADERS_MAX)
            .handshake(stream)
            .await?;
        tokio::spawn(connection.with_upgrades());
        Ok(Line::Http1(line))
    }
}

fn connector(target: &TargetUrl, limit: Duration, with_http2: bool) -> io::Result<Connector> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    // Shared out among the target's addresses: a dead one is not waited for all the time.
    http.set_connect_timeout(Some(limit));
    if !target.is_https() {
        let http = http.map_response(MaybeHttpsStream::Http);
        return Ok(BoxCloneSyncService::new(Timeout::new(http, limit)));
    }
    http.enforce_http(false);
    let builder = HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_only()
        .enable_http1();
    let https = if with_http2 {
        builder.enable_http2().wrap_connector(http)
    } else {
        builder.wrap_connector(http)
    };
    Ok(BoxCloneSyncService::new(Timeout::new(https, limit)))
}
