//! What is said about requests. A thread of its own says it: where nobody reads standard error, whoever
//! writes there waits, and requests must not.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use hyper::{Method, Request, Uri};

use super::report::warning;
use super::text::escape;

/// How many lines may wait. What comes while as many do is not said.
const WAITING: usize = 256;

/// How long it may take to say them at the end.
const LAST: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile to say that nothing follows.
const AGAIN: Duration = Duration::from_millis(10);

enum Line {
    Plain(String),
    Warning(String),
    /// Nothing follows; whoever waits for that is told.
    End(SyncSender<()>),
}

/// A request, as it is told.
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    log: Log,
}

impl Asked {
    pub(super) fn new<T>(request: &Request<T>, log: &Log) -> Asked {
        Asked {
            method: request.method().clone(),
            uri: request.uri().clone(),
            log: log.clone(),
        }
    }

    /// Says what went wrong with it.
    pub(super) fn warn(&self, message: &str) {
        self.log.warning(format!("{self}: {}", escape(message)));
    }
}

impl fmt::Display for Asked {
    /// Without the query, which may hold names and keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, escape(self.uri.path()))
    }
}

/// The way to standard error.
#[derive(Clone)]
pub(super) struct Log(SyncSender<Line>);

impl Log {
    pub(super) fn start() -> io::Result<Log> {
        let (sender, lines) = sync_channel(WAITING);
        let say = move || {
            for line in lines {
                match line {
                    Line::Plain(text) => {
                        // Whoever closed it does not want it.
                        let _ = writeln!(io::stderr(), "{text}");
                    }
                    Line::Warning(text) => warning(&text, None),
                    Line::End(told) => {
                        let _ = told.send(());
                        return;
                    }
                }
            }
        };
        thread::Builder::new().name("log".to_owned()).spawn(say)?;
        Ok(Log(sender))
    }

    pub(super) fn plain(&self, text: String) {
        let _ = self.0.try_send(Line::Plain(text));
    }

    pub(super) fn warning(&self, text: String) {
        let _ = self.0.try_send(Line::Warning(text));
    }

    /// Waits until all is said, unless nobody reads it.
    pub(super) fn end(&self) {
        let (told, ended) = sync_channel(1);
        let end = Instant::now() + LAST;
        let mut line = Line::End(told);
        while let Err(TrySendError::Full(unsent)) = self.0.try_send(line) {
            if Instant::now() >= end {
                return;
            }
            thread::sleep(AGAIN);
            line = unsent;
        }
        let _ = ended.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}
