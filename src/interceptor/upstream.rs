//! The target: connections to it, kept for the next request.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::ServiceExt;
use tower::timeout::Timeout;
use tower::timeout::error::Elapsed;
use tower::util::BoxCloneSyncService;

use super::answer::Trouble;
use super::body::{Moved, Silence, Through};
use super::target_url::TargetUrl;

/// How long a connection is kept without a request. Shorter than servers keep theirs (uvicorn, on which
/// `LiteLLM` runs, 5 s): a request on one that the other side is closing would fail.
const KEPT: Duration = Duration::from_secs(4);

/// Most headers of an answer. `LiteLLM` passes on those of the model's provider beside its own, and hyper's 100 may be
/// too few for both.
const HEADERS_MAX: usize = 512;

/// What a connector may fail with.
type Cause = Box<dyn std::error::Error + Send + Sync>;

type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, Cause>;

/// A target, and what leads there.
pub(super) struct Upstream {
    target: TargetUrl,
    /// What requests ask for. Without TLS nobody but the connector needs to know the target's name.
    pub(super) asked: TargetUrl,
    /// How requests call it, where that cannot be seen from what they ask for.
    pub(super) host: Option<HeaderValue>,
    client: Client<Connector, Through>,
    /// HTTP/2 has no way from one protocol to another that a client of HTTP/1.1 could take.
    upgrading: Client<Connector, Through>,
    silence: Option<Duration>,
}

impl Upstream {
    /// Connects to nothing yet. For TLS the certificates that the system trusts are read.
    pub(super) fn new(
        target: TargetUrl,
        connecting: Duration,
        silence: Option<Duration>,
    ) -> io::Result<Upstream> {
        let connector = |with_http2| connector(&target, connecting, with_http2);
        Ok(Upstream {
            client: client(connector(true)?),
            upgrading: client(connector(false)?),
            asked: if target.is_https() {
                target.clone()
            } else {
                target.shortened()
            },
            host: if target.is_https() {
                None
            } else {
                target.host()
            },
            target,
            silence,
        })
    }

    /// Sends a request and waits for the head of its answer, as long as something moves.
    pub(super) async fn send(
        &self,
        request: Request<Through>,
        moved: Moved,
        is_upgrade: bool,
    ) -> Result<Response<Incoming>, Trouble> {
        let client = if is_upgrade {
            &self.upgrading
        } else {
            &self.client
        };
        let mut answer = pin!(client.request(request));
        let mut silence = self.silence.map(|limit| Silence::new(moved, limit));
        let answer = poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            match &mut silence {
                Some(silence) => silence.poll(context).map(|()| None),
                None => Poll::Pending,
            }
        });
        match answer.await {
            Some(answer) => answer.map_err(|error| self.trouble(&error)),
            None => Err(Trouble::new(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                format!("the target {} did not answer in time", self.target),
            )),
        }
    }

    /// Returns how long the target may say nothing.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.silence
    }

    fn trouble(&self, error: &Error) -> Trouble {
        let mut cause: &dyn std::error::Error = error;
        let mut is_elapsed = false;
        while let Some(next) = cause.source() {
            cause = next;
            is_elapsed |= cause.is::<Elapsed>();
        }
        let target = &self.target;
        if is_elapsed {
            let message = format!("connecting to the target {target} took too long");
            return Trouble::new(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_connect_timeout",
                message,
            );
        }
        if error.is_connect() {
            let message = format!("the target {target} cannot be reached: {cause}");
            return Trouble::new(StatusCode::BAD_GATEWAY, "upstream_unreachable", message);
        }
        let message = format!("the target {target} broke off: {cause}");
        Trouble::new(StatusCode::BAD_GATEWAY, "upstream_failed", message)
    }
}

fn client(connector: Connector) -> Client<Connector, Through> {
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(KEPT)
        .pool_timer(TokioTimer::new())
        .http1_preserve_header_case(true)
        .http1_max_headers(HEADERS_MAX)
        .build(connector)
}

fn connector(target: &TargetUrl, connecting: Duration, with_http2: bool) -> io::Result<Connector> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    if !target.is_https() {
        let server = target.server();
        let http = http
            .map_request(move |_| server.clone())
            .map_response(MaybeHttpsStream::Http);
        return Ok(BoxCloneSyncService::new(Timeout::new(http, connecting)));
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
    Ok(BoxCloneSyncService::new(Timeout::new(https, connecting)))
}
