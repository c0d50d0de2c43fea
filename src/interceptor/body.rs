//! Bodies on their way through: chunk by chunk, as they come, until they fall silent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full};
use hyper::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::kept::InUse;
use super::log::Asked;
use super::metrics::Open;

/// What goes back to a client: what the target sends, or words of our own.
pub(super) type Answer = Either<Through, Full<Bytes>>;

/// How long a client may take to send the rest of a body that nobody will read.
const REST: Duration = Duration::from_secs(2);

/// Reads what a client is still sending. Many read no answer before they have sent all, and would find the connection broken off.
pub(super) async fn read_rest<B: Body + Unpin>(request: Request<B>) {
    // Who waits to be told to send need not.
    if request.headers().contains_key(EXPECT) {
        return;
    }
    let mut body = request.into_body();
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    // What is not sent by then is broken off.
    let _ = timeout(REST, read).await;
}

/// When something moved last, for all who wait for it.
#[derive(Clone)]
pub(super) struct Moved {
    /// What `last` counts from.
    start: Instant,
    /// Milliseconds.
    last: Arc<AtomicU64>,
}

impl Moved {
    pub(super) fn now() -> Moved {
        Moved {
            start: Instant::now(),
            last: Arc::new(AtomicU64::new(0)),
        }
    }

    fn again(&self) {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// Ends when nothing has moved for a time.
pub(super) struct Silence {
    moved: Moved,
    limit: Duration,
    /// Made by the first that waits: most answers are there at once.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub(super) fn new(moved: Moved, limit: Duration) -> Silence {
        Silence {
            moved,
            limit,
            sleep: None,
        }
    }

    /// Is ready when it lasted too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let end = self.moved.last() + self.limit;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(end)));
            ready!(sleep.as_mut().poll(context));
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            // Something moved meanwhile.
            sleep.as_mut().reset(end);
        }
    }
}

/// A body that comes from one side and goes to the other.
pub(super) struct Through {
    body: Incoming,
    moved: Moved,
    /// What ends it: the target's silence does, a client may take its time.
    silence: Option<Silence>,
    /// Which request it answers: it is said if it breaks off.
    asked: Option<Asked>,
    _open: Option<Open>,
    /// What it comes on.
    _line: Option<InUse>,
}

impl Through {
    /// A request's body: `moved` knows when it moves.
    pub(super) fn request(body: Incoming, moved: Moved) -> Through {
        Through {
            body,
            moved,
            silence: None,
            asked: None,
            _open: None,
            _line: None,
        }
    }

    /// An answer's body, which is open until it is dropped.
    /// `moved` is its request's, which may still be on its way.
    pub(super) fn answer(
        body: Incoming,
        moved: Moved,
        limit: Option<Duration>,
        open: Open,
        line: InUse,
    ) -> Through {
        moved.again();
        Through {
            body,
            silence: limit.map(|limit| Silence::new(moved.clone(), limit)),
            moved,
            asked: None,
            _open: Some(open),
            _line: Some(line),
        }
    }

    /// Tells this request if the answer breaks off.
    pub(super) fn tell(&mut self, asked: Asked) {
        self.asked = Some(asked);
    }

    fn broke_off(&mut self, error: io::Error) -> io::Error {
        if let Some(asked) = self.asked.take() {
            asked.warn(&format!("the target's answer broke off: {error}"));
        }
        error
    }
}

impl Body for Through {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                self.moved.again();
                Poll::Ready(
                    frame.map(|frame| {
                        frame.map_err(|error| self.broke_off(io::Error::other(error)))
                    }),
                )
            }
            Poll::Pending => match &mut self.silence {
                Some(silence) => {
                    ready!(silence.poll(context));
                    let error = self.broke_off(io::ErrorKind::TimedOut.into());
                    Poll::Ready(Some(Err(error)))
                }
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
