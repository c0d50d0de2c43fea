//! Connections to the target that wait for the next request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::body::Through;

/// How long a connection is kept without a request. Shorter than servers keep theirs (uvicorn, on which
/// `LiteLLM` runs, 5 s): a request on one that the other side is closing would fail.
const KEPT: Duration = Duration::from_secs(4);

/// A connection that takes requests.
pub(super) enum Line {
    /// One request at a time.
    Http1(http1::SendRequest<Through>),
    /// Any number.
    Http2(http2::SendRequest<Through>),
}

/// All that are open to one target.
pub(super) struct Kept {
    lines: Mutex<Lines>,
    /// Something is there that is to be closed in time.
    filled: Notify,
}

#[derive(Default)]
struct Lines {
    /// Those without a request, and since when: the last one that came back is the first to go out, so that what is
    /// not needed grows old.
    idle: Vec<(http1::SendRequest<Through>, Instant)>,
    /// The one of HTTP/2, and when it was last asked for.
    shared: Option<(http2::SendRequest<Through>, Instant)>,
}

impl Kept {
    /// Keeps nothing yet. What it will keep is closed in time, as long as the runtime runs.
    pub(super) fn new() -> Arc<Kept> {
        let kept = Arc::new(Kept {
            lines: Mutex::default(),
            filled: Notify::new(),
        });
        let watched = Arc::clone(&kept);
        tokio::spawn(async move {
            loop {
                match watched.close_old() {
                    Some(next) => sleep_until(next).await,
                    None => watched.filled.notified().await,
                }
            }
        });
        kept
    }

    /// Returns a connection that takes a request now, as far as can be known here.
    pub(super) fn take(&self) -> Option<Line> {
        let now = Instant::now();
        let mut lines = self.lock();
        if let Some((line, used)) = &mut lines.shared
            && line.is_ready()
        {
            *used = now;
            return Some(Line::Http2(line.clone()));
        }
        while let Some((line, since)) = lines.idle.pop() {
            if now < since + KEPT && line.is_ready() {
                return Some(Line::Http1(line));
            }
        }
        None
    }

    /// Shares a new connection with all requests. If there is one by now, that is returned.
    pub(super) fn share(&self, line: http2::SendRequest<Through>) -> Line {
        let now = Instant::now();
        let mut lines = self.lock();
        match &mut lines.shared {
            Some((open, used)) if open.is_ready() => {
                *used = now;
                Line::Http2(open.clone())
            }
            shared => {
                *shared = Some((line.clone(), now));
                self.filled.notify_one();
                Line::Http2(line)
            }
        }
    }

    /// Keeps a connection, if it waits for a request.
    fn put(&self, line: http1::SendRequest<Through>) {
        if line.is_ready() {
            self.lock().idle.push((line, Instant::now()));
            self.filled.notify_one();
        }
    }

    /// Closes what nobody has used for long. Returns when the next one will be so, if there is one.
    fn close_old(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut lines = self.lock();
        lines.idle.retain(|(_, since)| now < *since + KEPT);
        lines.shared.take_if(|(_, used)| *used + KEPT <= now);
        let shared = lines.shared.iter().map(|(_, used)| *used);
        let oldest = lines
            .idle
            .iter()
            .map(|(_, since)| *since)
            .chain(shared)
            .min();
        oldest.map(|oldest| oldest + KEPT)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is in use. It is kept when the answer on it has been read to its end, and closed when it is
/// dropped before: what is still to come on it belongs to nobody.
pub(super) struct InUse {
    line: Option<http1::SendRequest<Through>>,
    kept: Arc<Kept>,
}

impl InUse {
    pub(super) fn new(line: http1::SendRequest<Through>, kept: &Arc<Kept>) -> InUse {
        InUse {
            line: Some(line),
            kept: Arc::clone(kept),
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            self.kept.put(line);
        }
    }
}
