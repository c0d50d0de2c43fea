//! An interceptor that serves, and a client that writes bytes to it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Call, Running, Test};
use crate::message::Message;
use crate::upstream::{LONG, Upstream};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portclaim-interceptor");

/// An interceptor, which ends with this value.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    child: Running,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one in a project that it makes, and returns when it listens.
    pub(crate) fn start(test: &Test, project: &str, upstream: &Upstream, args: &[&str]) -> Proxy {
        test.mkdir(project);
        Proxy::of(call(test, project, &upstream.url("")).with_args(args))
    }

    /// Starts this one.
    pub(crate) fn of(mut call: Call<'_>) -> Proxy {
        let mut child = call.running();
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut first = String::new();
        while !first.starts_with("http://") {
            first.clear();
            let read = lines.read_line(&mut first).expect("it is text");
            assert!(read > 0, "it ended: {:?}", child.wait());
        }
        let said = Arc::new(Mutex::new(first.clone()));
        let all = Arc::clone(&said);
        let reader = thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                all.lock().expect("nobody failed").push_str(&line);
                line.clear();
            }
        });
        let (url, _) = first.split_once("/v1 for ").expect("it says where");
        let (_, port) = url.rsplit_once(':').expect("a port");
        Proxy {
            port: port.parse().expect("a port"),
            child,
            said,
            reader: Some(reader),
        }
    }

    /// Starts one on this port whose standard error is read by nobody.
    pub(crate) fn unread(call: &mut Call<'_>, port: u16) -> Proxy {
        let child = call.running();
        let end = Instant::now() + LONG;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "it listens");
            thread::sleep(Duration::from_millis(10));
        }
        Proxy {
            port,
            child,
            said: Arc::default(),
            reader: None,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is ours");
    }

    /// Ends it as people do, and returns all that it said.
    pub(crate) fn end(mut self) -> String {
        self.signal(Signal::TERM);
        self.wait();
        let said = self.said.lock().expect("nobody failed");
        said.clone()
    }

    /// Waits until it has ended, which it says it did well.
    pub(crate) fn wait(&mut self) {
        assert_eq!(self.status(), Some(0));
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it reads to the end");
        }
    }

    /// Waits until it has ended, and returns its exit code; a signal has none.
    pub(crate) fn status(&mut self) -> Option<i32> {
        self.child.wait().expect("it is ours").code()
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("it can be set");
        Client {
            reader: BufReader::new(stream.try_clone().expect("it can be shared")),
            stream,
        }
    }

    /// Sends a request on a connection of its own, and returns the answer.
    #[track_caller]
    pub(crate) fn send(&self, request: impl AsRef<[u8]>) -> Message {
        let mut client = self.connect();
        client.write(request);
        client.answer()
    }

    /// Asks for a path, and for nothing else.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Message {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }
}

/// Prepares a call in a project that is there.
pub(crate) fn call<'a>(test: &'a Test, project: &str, target: &str) -> Call<'a> {
    test.program(PROGRAM)
        .cwd(project)
        .env("TARGET_LLM_URL", target)
}

/// A connection to an interceptor.
pub(crate) struct Client {
    pub(crate) reader: BufReader<TcpStream>,
    pub(crate) stream: TcpStream,
}

impl Client {
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("it is read");
    }

    /// Returns the next answer.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Message {
        let answer = Message::read(&mut self.reader).expect("a whole answer");
        answer.expect("an answer")
    }

    /// Returns the head of the next answer.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Message {
        let head = Message::head(&mut self.reader).expect("a whole head");
        head.expect("an answer")
    }

    /// Breaks off.
    pub(crate) fn abort(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
