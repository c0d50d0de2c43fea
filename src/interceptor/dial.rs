//! How a connection to the target comes about.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::client::conn::{http1, http2};
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower::ServiceExt;
use tower::timeout::Timeout;
use tower::util::BoxCloneSyncService;

use super::kept::{Kept, Line};
use super::target_url::TargetUrl;

/// Most headers of an answer. `LiteLLM` passes on those of the model's provider beside its own, and hyper's 100 may be
/// too few for both.
const HEADERS_MAX: usize = 512;

/// What connecting may fail with.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, Cause>;

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
            let (line, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            return Ok(kept.share(line));
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
