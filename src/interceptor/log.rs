//! What is said about requests. A thread of its own says it: where nobody reads standard error, whoever
//! writes there waits, and requests must not.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::report::warning;

/// How many lines may wait. What comes while as many do is not said.
const WAITING: usize = 256;

/// How long it may take to say them at the end.
const LAST: Duration = Duration::from_secs(1);

enum Line {
    Plain(String),
    Warning(String),
    /// Nothing follows; whoever waits for that is told.
    End(SyncSender<()>),
}

/// The way to standard error.
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
        if self.0.try_send(Line::End(told)).is_ok() {
            let _ = ended.recv_timeout(LAST);
        }
    }
}
