//! The target: requests go to it, and the heads of its answers come back.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tower::timeout::error::Elapsed;

use super::answer::Trouble;
use super::body::{Moved, Silence, Through, read_rest};
use super::dial::{Cause, Dial};
use super::kept::{InUse, Kept, Line};
use super::target_url::TargetUrl;

/// An answer whose body is still to come, and what it comes on.
pub(super) type Begun = (Response<Incoming>, InUse);

/// A target, and the connections to it.
pub(super) struct Upstream {
    pub(super) target: TargetUrl,
    /// How requests call it.
    host: HeaderValue,
    dial: Dial,
    kept: Arc<Kept>,
    silence: Option<Duration>,
}

/// Why there is no answer.
enum Failed {
    Unreached(Cause),
    Broken(hyper::Error),
}

impl Upstream {
    /// Connects to nothing yet. For TLS the certificates that the system trusts are read.
    pub(super) fn new(
        target: TargetUrl,
        connecting: Duration,
        silence: Option<Duration>,
    ) -> io::Result<Upstream> {
        Ok(Upstream {
            host: target.host(),
            dial: Dial::new(&target, connecting)?,
            kept: Kept::new(),
            target,
            silence,
        })
    }

    /// Sends a request, which names its path only, and waits for the head of its answer, as long as something moves.
    pub(super) async fn send(
        &self,
        request: Request<Through>,
        moved: Moved,
        is_upgrade: bool,
    ) -> Result<Begun, Trouble> {
        let mut answer = pin!(self.exchange(request, is_upgrade));
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
            Some(answer) => answer.map_err(|failed| self.trouble(&failed)),
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

    /// Sends a request on a connection that was kept, or on a new one: also if the target closed the former before
    /// anything of the request was written.
    async fn exchange(
        &self,
        mut request: Request<Through>,
        is_upgrade: bool,
    ) -> Result<Begun, Failed> {
        let path = request.uri().clone();
        loop {
            // What changes the protocol leaves nothing to keep, and HTTP/2 cannot.
            let kept = if is_upgrade { None } else { self.kept.take() };
            let is_new = kept.is_none();
            let line = match kept {
                Some(line) => line,
                None => match self.dial.open(&self.kept, is_upgrade).await {
                    Ok(line) => line,
                    Err(cause) => {
                        read_rest(request).await;
                        return Err(Failed::Unreached(cause));
                    }
                },
            };
            let sent = match line {
                Line::Http1(mut line) => {
                    request.headers_mut().insert(HOST, self.host.clone());
                    let sent = line.try_send_request(request).await;
                    sent.map(|answer| (answer, InUse::alone(line, &self.kept)))
                }
                Line::Http2(mut line, stream) => {
                    // The address says it.
                    request.headers_mut().remove(HOST);
                    *request.uri_mut() = self.target.absolute(&path);
                    line.try_send_request(request)
                        .await
                        .map(|answer| (answer, InUse::one_of_many(stream)))
                }
            };
            let mut error = match sent {
                Ok(begun) => return Ok(begun),
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) if !is_new => request = unsent,
                _ => return Err(Failed::Broken(error.into_error())),
            }
            *request.uri_mut() = path.clone();
        }
    }

    fn trouble(&self, failed: &Failed) -> Trouble {
        let first: &dyn std::error::Error = match failed {
            Failed::Unreached(cause) => cause.as_ref(),
            Failed::Broken(error) => error,
        };
        let mut cause = first;
        let is_unreached = matches!(failed, Failed::Unreached(_));
        let mut is_late = is_unreached && is_elapsed(first);
        while let Some(next) = cause.source() {
            cause = next;
            is_late |= is_unreached && is_elapsed(cause);
        }
        let target = &self.target;
        if is_late {
            let message = format!("connecting to the target {target} took too long");
            return Trouble::new(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_connect_timeout",
                message,
            );
        }
        if is_unreached {
            let message = format!("the target {target} cannot be reached: {cause}");
            return Trouble::new(StatusCode::BAD_GATEWAY, "upstream_unreachable", message);
        }
        let message = format!("the target {target} broke off: {cause}");
        Trouble::new(StatusCode::BAD_GATEWAY, "upstream_failed", message)
    }
}

/// Returns whether this is the end of a time limit: ours for all of it, or that for one of the target's addresses.
fn is_elapsed(error: &(dyn std::error::Error + 'static)) -> bool {
    let io: Option<&io::Error> = error.downcast_ref();
    error.is::<Elapsed>() || io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}
