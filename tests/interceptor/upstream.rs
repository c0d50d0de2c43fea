//! A server in the place of a language model's: says what a test wants, byte for byte.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::message::Message;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// How an answer is written.
type Answer = dyn Fn(&Message, &mut TcpStream) + Send + Sync;

/// A server that answers each request in the same way, and remembers them.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Receiver<Message>,
}

impl Upstream {
    /// Answers every request with these bytes.
    pub(crate) fn says(bytes: impl Into<Vec<u8>>) -> Upstream {
        let bytes = bytes.into();
        Upstream::start(move |_, stream| {
            let _ = stream.write_all(&bytes);
        })
    }

    /// Answers every request as it is told to. A connection ends where the answer shuts it down.
    pub(crate) fn start(
        answer: impl Fn(&Message, &mut TcpStream) + Send + Sync + 'static,
    ) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let (sender, seen) = channel();
        let (answer, sender) = (Arc::new(answer), Arc::new(Mutex::new(sender)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, sender) = (Arc::clone(&answer), Arc::clone(&sender));
                let stream = stream.expect("a connection");
                thread::spawn(move || serve(stream, answer.as_ref(), &sender));
            }
        });
        Upstream { address, seen }
    }

    /// Returns the request that came, and no other one has.
    #[track_caller]
    pub(crate) fn request(&self) -> Message {
        self.seen.recv_timeout(LONG).expect("a request comes")
    }

    /// Asserts that nothing came that was not looked at.
    #[track_caller]
    pub(crate) fn assert_quiet(&self) {
        assert!(self.seen.try_recv().is_err(), "nothing was passed on");
    }

    /// Returns its address, with a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn serve(stream: TcpStream, answer: &Answer, seen: &Mutex<Sender<Message>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("it can be shared"));
    let mut stream = stream;
    while let Ok(Some(mut message)) = Message::head(&mut reader) {
        if message.field("expect") == Some("100-continue") {
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if message.read_body(&mut reader).is_err() {
            return;
        }
        answer(&message, &mut stream);
        let _ = seen.lock().expect("nobody failed").send(message);
    }
}

/// Returns an answer with this body.
pub(crate) fn plain(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Returns an address where nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    // A port of 127.0.0.2 which is bound, and not listened on, until the process ends.
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let address: SocketAddr = "127.0.0.2:0".parse().expect("an address");
    bind(&socket, &address).expect("a port is free");
    let bound = getsockname(&socket).expect("it has one");
    std::mem::forget(socket);
    bound.try_into().expect("an address of IP")
}
