//! The way of a request: in, signed, on to the target, and its answer back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::{OnUpgrade, on};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::copy_bidirectional;

use super::admission::{Admission, Refused};
use super::answer::{Trouble, json, text_of};
use super::body::{Answer, Moved, Through, read_rest};
use super::headers::{self, Hop};
use super::log::{Asked, Log};
use super::metrics::{CONTENT_TYPE, Metrics, Open};
use super::upstream::{Begun, Upstream};

/// Where this program answers for itself, besides `/health`: the target may have that as well.
pub(super) const HEALTH: &str = "/.portclaim/health";

/// The status of requests whose client did not wait for the answer. No answer has it; nginx counts them so as well.
const GONE: u16 = 499;

/// A proxy: everything that its requests share.
pub(super) struct Proxy {
    pub(super) upstream: Upstream,
    pub(super) admission: Admission,
    pub(super) identity: HeaderValue,
    /// The headers that say it.
    pub(super) names: Vec<HeaderName>,
    /// For requests without one.
    pub(super) key: Option<HeaderValue>,
    pub(super) facts: Facts,
    pub(super) metrics: Metrics,
    pub(super) log: Log,
    /// Whether no more connections are taken: what is asked now came before the signal.
    pub(super) is_ending: AtomicBool,
    /// Says each of them, and not only those that failed.
    pub(super) logs_requests: bool,
}

/// A request that has no answer yet. Where it is dropped so, the client has gone away.
struct Unanswered<'a> {
    proxy: &'a Proxy,
    asked: &'a Asked,
    start: Instant,
}

impl Unanswered<'_> {
    fn answered(self, status: u16) {
        self.proxy.over(self.asked, status, self.start.elapsed());
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.proxy.over(self.asked, GONE, self.start.elapsed());
    }
}

/// What `/.portclaim/health` tells.
#[derive(Clone, Serialize)]
pub(super) struct Facts {
    pub(super) version: u32,
    pub(super) program: &'static str,
    pub(super) status: &'static str,
    pub(super) project: String,
    pub(super) service: String,
    pub(super) port: u16,
    pub(super) pid: u32,
    pub(super) identity: String,
    pub(super) target: String,
}

impl Proxy {
    /// Answers a request, whatever comes of it.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let asked = Asked::new(&request, &self.log);
        let unanswered = Unanswered {
            proxy: self,
            asked: &asked,
            start: Instant::now(),
        };
        let mut response = match self.serve(request).await {
            Ok(response) => response,
            Err(trouble) => {
                if trouble.status.is_server_error() {
                    asked.warn(&trouble.message);
                }
                trouble.answer()
            }
        };
        unanswered.answered(response.status().as_u16());
        if let Either::Left(body) = response.body_mut() {
            body.tell(asked);
        }
        response
    }

    /// Counts a request that is over, and says it where that is wanted.
    fn over(&self, asked: &Asked, status: u16, took: Duration) {
        let is_answered = status != GONE;
        self.metrics.over(status, is_answered.then_some(took));
        if self.logs_requests {
            let took = took.as_secs_f64() * 1000.0;
            self.log.plain(format!("{asked} {status} {took:.1} ms"));
        }
    }

    async fn serve(&self, request: Request<Incoming>) -> Result<Response<Answer>, Trouble> {
        if let Err(refused) = self.admit(&request) {
            read_rest(request).await;
            return Err(refused);
        }
        match self.own(&request) {
            Some(answer) => Ok(answer),
            None => self.pass_on(request).await,
        }
    }

    /// Refuses what may not be sent here, and what cannot be passed on.
    fn admit(&self, request: &Request<Incoming>) -> Result<(), Trouble> {
        let judged = (self.admission).judge(request.headers(), request.uri().authority());
        judged.map_err(|refused| refuse(&refused))?;
        if headers::is_coded(request.headers()) {
            return Err(coded(StatusCode::NOT_IMPLEMENTED, "request"));
        }
        let path = request.uri().path_and_query();
        if request.method() == Method::CONNECT || path.is_some_and(|path| path.as_str() == "*") {
            return Err(Trouble::new(
                StatusCode::NOT_IMPLEMENTED,
                "not_implemented",
                "a request names a path",
            ));
        }
        Ok(())
    }

    /// Answers what is this program's own.
    fn own(&self, request: &Request<Incoming>) -> Option<Response<Answer>> {
        #[derive(Serialize)]
        struct Health<'a> {
            status: &'a str,
            instance_id: &'a str,
            target: &'a str,
        }
        let path = request.uri().path();
        if !matches!(*request.method(), Method::GET | Method::HEAD) || !is_own(path) {
            return None;
        }
        let facts = &self.facts;
        let (code, status) = if self.is_ending.load(Ordering::Relaxed) {
            (StatusCode::SERVICE_UNAVAILABLE, "ending")
        } else {
            (StatusCode::OK, facts.status)
        };
        Some(match path {
            "/health" => {
                let health = Health {
                    status,
                    instance_id: &facts.identity,
                    target: &facts.target,
                };
                json(code, &health)
            }
            HEALTH => json(
                code,
                &Facts {
                    status,
                    ..facts.clone()
                },
            ),
            "/.portclaim/metrics" => text_of(StatusCode::OK, CONTENT_TYPE, self.metrics.text()),
            _ => Trouble::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "the interceptor has /.portclaim/health and /.portclaim/metrics",
            )
            .answer(),
        })
    }

    async fn pass_on(&self, mut request: Request<Incoming>) -> Result<Response<Answer>, Trouble> {
        let hop = Hop::take(request.headers_mut());
        let is_upgrade = hop.protocol.is_some();
        let client = is_upgrade.then(|| on(&mut request));
        let (mut parts, body) = request.into_parts();
        let wanted = parts.uri.path_and_query();
        parts.uri = self.upstream.target.path_to(wanted).map_err(|error| {
            Trouble::new(StatusCode::BAD_REQUEST, "bad_path", error.to_string())
        })?;
        parts.version = Version::HTTP_11;
        self.sign(&mut parts.headers, hop);
        if body.size_hint().exact().is_none() {
            headers::set_chunked(&mut parts.headers);
        }
        let moved = Moved::now();
        let request = Request::from_parts(parts, Through::request(body, moved.clone()));
        let answer = self.upstream.send(request, moved.clone(), is_upgrade);
        self.pass_back(answer.await?, moved, client)
    }

    /// Makes the headers of a request those of the request to the target.
    fn sign(&self, headers: &mut HeaderMap, hop: Hop) {
        if let Some(protocol) = hop.protocol {
            headers::set_upgrade(headers, protocol);
        } else if hop.takes_trailers {
            headers::set_takes_trailers(headers);
        }
        for name in &self.names {
            headers.insert(name, self.identity.clone());
        }
        let (source, word) = headers::SOURCE;
        headers.insert(source, word);
        if let Some(key) = &self.key
            && !headers::has_key(headers)
        {
            headers.insert(AUTHORIZATION, key.clone());
        }
    }

    fn pass_back(
        &self,
        (mut response, line): Begun,
        moved: Moved,
        client: Option<OnUpgrade>,
    ) -> Result<Response<Answer>, Trouble> {
        let open = self.metrics.open();
        *response.version_mut() = Version::HTTP_11;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            if headers::is_coded(response.headers()) {
                return Err(coded(StatusCode::BAD_GATEWAY, "target's answer"));
            }
            Hop::take(response.headers_mut());
            let limit = self.upstream.silence();
            let through = |body| Through::answer(body, moved, limit, open, line);
            return Ok(response.map(|body| Either::Left(through(body))));
        }
        let protocol = response.headers().get(UPGRADE).cloned();
        let (Some(client), Some(protocol)) = (client, protocol) else {
            return Err(Trouble::new(
                StatusCode::BAD_GATEWAY,
                "upstream_failed",
                "the target changed to a protocol that nobody asked for",
            ));
        };
        tokio::spawn(tunnel(client, on(&mut response), open));
        Hop::take(response.headers_mut());
        headers::set_upgrade(response.headers_mut(), protocol);
        Ok(response.map(|_| Either::Right(Full::default())))
    }
}

/// Passes bytes both ways until both sides have ended, or one breaks off.
async fn tunnel(client: OnUpgrade, target: OnUpgrade, _open: Open) {
    if let Ok((client, target)) = tokio::try_join!(client, target) {
        let (mut client, mut target) = (TokioIo::new(client), TokioIo::new(target));
        // Whoever broke off knows it, and the other side sees it.
        let _ = copy_bidirectional(&mut client, &mut target).await;
    }
}

fn is_own(path: &str) -> bool {
    path == "/health" || path.starts_with("/.portclaim/")
}

fn coded(status: StatusCode, whose: &str) -> Trouble {
    let message = format!("the {whose} comes in another transfer coding than chunked");
    Trouble::new(status, "transfer_coding", message)
}

fn refuse(refused: &Refused) -> Trouble {
    let message = match refused {
        Refused::Host => {
            "this host is not called by that name: use 127.0.0.1 or localhost, or start the interceptor with --allow-host"
        }
        Refused::Origin => {
            "web pages may not send requests here: start the interceptor with --allow-origin to let one"
        }
    };
    Trouble::new(StatusCode::FORBIDDEN, "forbidden", message)
}
