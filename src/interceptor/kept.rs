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

/// How many requests a connection of HTTP/2 is given. Below what servers give one (nginx 1000): those that are on their way when
/// the server says that it takes no more would fail.
const REQUESTS_MAX: u32 = 500;

/// How many answers may be open on one. Servers are to take a hundred at least (RFC 9113, section 6.5.2,
/// recommends it): what is more than they take waits.
const STREAMS_MAX: usize = 100;

/// A connection that takes requests.
pub(super) enum Line {
    /// One request at a time.
    Http1(http1::SendRequest<Through>),
    /// Many; whoever sends one holds the second until its answer has ended.
    Http2(http2::SendRequest<Through>, Arc<()>),
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
    /// The last one of HTTP/2. Those before it end with their last answers.
    shared: Option<Shared>,
}

struct Shared {
    line: http2::SendRequest<Through>,
    /// When it was last asked for.
    used: Instant,
    requests: u32,
    /// One more for each answer that is open.
    streams: Arc<()>,
}

impl Shared {
    fn new(line: http2::SendRequest<Through>) -> Shared {
        Shared {
            line,
            used: Instant::now(),
            requests: 0,
            streams: Arc::new(()),
        }
    }

    /// Returns it for one more request, unless it takes none.
    fn take(&mut self) -> Option<Line> {
        let has_room =
            self.requests < REQUESTS_MAX && Arc::strong_count(&self.streams) <= STREAMS_MAX;
        if !has_room || !self.line.is_ready() {
            return None;
        }
        self.used = Instant::now();
        self.requests += 1;
        Some(Line::Http2(self.line.clone(), Arc::clone(&self.streams)))
    }
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
        if let Some(line) = lines.shared.as_mut().and_then(Shared::take) {
            return Some(line);
        }
        while let Some((line, since)) = lines.idle.pop() {
            if now < since + KEPT && line.is_ready() {
                return Some(Line::Http1(line));
            }
        }
        None
    }

    /// Shares a new connection with all requests. If there is one by now that takes them, that is returned; `None` where the new
    /// one takes none any more.
    pub(super) fn share(&self, line: http2::SendRequest<Through>) -> Option<Line> {
        let mut lines = self.lock();
        if let Some(open) = lines.shared.as_mut().and_then(Shared::take) {
            return Some(open);
        }
        self.filled.notify_one();
        lines.shared.insert(Shared::new(line)).take()
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
        lines.shared.take_if(|shared| shared.used + KEPT <= now);
        let shared = lines.shared.iter().map(|shared| shared.used);
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

/// What an answer comes on, until it has ended.
pub(super) enum InUse {
    Http1 { _line: Alone },
    Http2 { _stream: Arc<()> },
}

/// A connection that is in use for one answer. It is kept when that has been read to its end, and closed when it is
/// dropped before: what is still to come on it belongs to nobody.
pub(super) struct Alone {
    line: Option<http1::SendRequest<Through>>,
    kept: Arc<Kept>,
}

impl InUse {
    pub(super) fn alone(line: http1::SendRequest<Through>, kept: &Arc<Kept>) -> InUse {
        let (line, kept) = (Some(line), Arc::clone(kept));
        InUse::Http1 {
            _line: Alone { line, kept },
        }
    }

    pub(super) fn one_of_many(stream: Arc<()>) -> InUse {
        InUse::Http2 { _stream: stream }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            self.kept.put(line);
        }
    }
}
