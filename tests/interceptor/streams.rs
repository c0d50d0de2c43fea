//! Streams: chunk by chunk as they come, until either side breaks off or falls silent.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::Test;
use crate::message::{Message, chunk};
use crate::proxy::{Proxy, call};
use crate::upstream::{LONG, Upstream};

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

const ASK: &str =
    "POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n{\"stream\":true}";

fn event(text: &str) -> String {
    let event = format!("data: {text}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

/// A server that sends the next event when it is told to; `None` ends the stream.
fn by_turns() -> (Upstream, Sender<Option<&'static str>>) {
    let (sender, turns): (_, Receiver<Option<&'static str>>) = channel();
    let turns = Mutex::new(turns);
    let upstream = Upstream::start(move |_, stream| {
        let _ = stream.write_all(HEAD);
        let turns = turns.lock().expect("nobody failed");
        while let Ok(Some(text)) = turns.recv_timeout(LONG) {
            let _ = stream.write_all(event(text).as_bytes());
        }
        let _ = stream.write_all(b"0\r\n\r\n");
    });
    (upstream, sender)
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    let test = Test::new();
    for path in ["/v1/chat/completions", "/v1/responses", "/anything"] {
        let (upstream, turns) = by_turns();
        let proxy = Proxy::start(&test, "shop", &upstream, &[]);
        let mut client = proxy.connect();
        client.write(ASK.replace("/v1/responses", path));
        let head = client.head();
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        for text in ["one", "two", "three"] {
            turns.send(Some(text)).expect("it waits");
            let event = chunk(&mut client.reader).expect("a chunk");
            let event = event.expect("it goes on");
            assert_eq!(event, format!("data: {text}\n\n").as_bytes());
        }
        turns.send(None).expect("it waits");
        assert_eq!(chunk(&mut client.reader).expect("an end"), None);
        drop(client);
        proxy.end();
    }
}

#[test]
fn the_status_of_a_refused_stream_comes_back() {
    let test = Test::new();
    for (status, more) in [
        ("401 Unauthorized", "WWW-Authenticate: Bearer"),
        ("429 Too Many Requests", "Retry-After: 20"),
    ] {
        let upstream = Upstream::says(format!(
            "HTTP/1.1 {status}\r\n{more}\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{{\"error\":{{}}}}"
        ));
        let proxy = Proxy::start(&test, "shop", &upstream, &[]);
        let answer = proxy.send(ASK);
        assert_eq!(answer.start, format!("HTTP/1.1 {status}"));
        let (name, value) = more.split_once(": ").expect("a field");
        assert_eq!(answer.field(name), Some(value));
        assert_eq!(answer.field("content-type"), Some("application/json"));
        assert_eq!(answer.text(), "{\"error\":{}}");
        proxy.end();
    }
}

#[test]
fn a_client_that_breaks_off_is_seen_by_the_target() {
    let test = Test::new();
    let (sender, ended) = channel();
    let sender = Mutex::new(sender);
    let upstream = Upstream::start(move |_, stream| {
        let _ = stream.write_all(HEAD);
        let _ = stream.write_all(event("one").as_bytes());
        // Nothing is written any more: only what is read can tell.
        let read = stream.read(&mut [0]);
        let _ = sender.lock().expect("nobody failed").send(read.ok());
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let mut client = proxy.connect();
    client.write(ASK);
    client.head();
    chunk(&mut client.reader).expect("the first event");
    client.abort();
    let ended = ended.recv_timeout(LONG).expect("the target sees it");
    assert!(matches!(ended, None | Some(0)), "{ended:?}");
}

#[test]
fn a_client_that_breaks_off_before_the_answer_is_seen_too() {
    let test = Test::new();
    let (sender, ended) = channel();
    let sender = Mutex::new(sender);
    let upstream = Upstream::start(move |_, stream| {
        let read = stream.read(&mut [0]);
        let _ = sender.lock().expect("nobody failed").send(read.ok());
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &["--log"]);
    let mut client = proxy.connect();
    client.write(ASK);
    // It has arrived when the target can be asked.
    while proxy.get("/.portclaim/metrics").status() != 200 {}
    thread::sleep(Duration::from_millis(100));
    client.abort();
    let ended = ended.recv_timeout(LONG).expect("the target sees it");
    assert!(matches!(ended, None | Some(0)), "{ended:?}");
    let metrics = proxy.get("/.portclaim/metrics");
    let metrics = metrics.text();
    assert!(metrics.contains("{status=\"499\"} 1\n"), "{metrics}");
    let said = proxy.end();
    assert!(said.contains("\nPOST /v1/responses 499 "), "{said}");
}

#[test]
fn a_target_that_breaks_off_is_seen_by_the_client() {
    let test = Test::new();
    let upstream = Upstream::start(|_, stream| {
        let _ = stream.write_all(HEAD);
        let _ = stream.write_all(event("one").as_bytes());
        let _ = stream.shutdown(Shutdown::Both);
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let mut client = proxy.connect();
    client.write(ASK);
    assert_eq!(client.head().status(), 200);
    chunk(&mut client.reader).expect("the first event");
    assert!(
        chunk(&mut client.reader).is_err(),
        "no end that looks like one"
    );
    let said = proxy.end();
    let warning = "warning: POST /v1/responses: the target's answer broke off: ";
    assert!(said.contains(warning), "{said}");
}

#[test]
fn a_silent_target_is_given_up_and_a_slow_one_is_not() {
    let test = Test::new();
    let upstream = Upstream::start(|_, stream| {
        let _ = stream.write_all(HEAD);
        // Longer together than the limit, each pause shorter.
        for _ in 0..8 {
            thread::sleep(Duration::from_millis(250));
            let _ = stream.write_all(event("on").as_bytes());
        }
        thread::sleep(LONG);
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &["--idle-timeout", "1s"]);
    let mut client = proxy.connect();
    client.write(ASK);
    client.head();
    for _ in 0..8 {
        chunk(&mut client.reader)
            .expect("a slow one goes on")
            .expect("an event");
    }
    let start = Instant::now();
    assert!(chunk(&mut client.reader).is_err(), "it is given up");
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn a_target_that_never_answers_is_given_up() {
    let test = Test::new();
    let upstream = Upstream::start(|_, _| thread::sleep(LONG));
    let proxy = Proxy::start(&test, "shop", &upstream, &["--idle-timeout", "1s"]);
    let answer = proxy.send(ASK);
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.json()["error"]["code"], "upstream_timeout");
}

#[test]
fn an_upload_is_no_silence() {
    let test = Test::new();
    let upstream = Upstream::says(crate::upstream::plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &["--idle-timeout", "1s"]);
    let mut client = proxy.connect();
    client.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n");
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(250));
        client.write("x");
    }
    assert_eq!(client.answer().status(), 200);
    assert_eq!(upstream.request().text(), "xxxxxxxx");
}

#[test]
fn an_upload_is_no_silence_when_the_answer_has_begun() {
    let test = Test::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it has one"));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("it can be shared"));
        let head = Message::head(&mut reader).expect("a head");
        stream.write_all(HEAD).expect("it is read");
        let mut message = head.expect("a request");
        message.read_body(&mut reader).expect("all of it");
        stream
            .write_all(event(message.text()).as_bytes())
            .expect("it is read");
        stream.write_all(b"0\r\n\r\n").expect("it is read");
    });
    test.mkdir("shop");
    let proxy = Proxy::of(call(&test, "shop", &url).with_args(["--idle-timeout", "1s"]));
    let mut client = proxy.connect();
    client.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n");
    client.write("x");
    assert_eq!(client.head().status(), 200);
    for _ in 1..8 {
        thread::sleep(Duration::from_millis(250));
        client.write("x");
    }
    let event = chunk(&mut client.reader).expect("a chunk");
    assert_eq!(event.as_deref(), Some(&b"data: xxxxxxxx\n\n"[..]));
    server.join().expect("it is done");
}

#[test]
fn hundreds_of_streams_are_open_at_once() {
    const STREAMS: usize = 300;
    let test = Test::new();
    let turn = Arc::new(std::sync::Barrier::new(STREAMS));
    let upstream = Upstream::start(move |_, stream| {
        let _ = stream.write_all(HEAD);
        let _ = stream.write_all(event("one").as_bytes());
        // Each waits for all the others.
        turn.wait();
        let _ = stream.write_all(event("two").as_bytes());
        let _ = stream.write_all(b"0\r\n\r\n");
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let mut clients: Vec<_> = (0..STREAMS).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.write(ASK);
    }
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!(answer.text(), "data: one\n\ndata: two\n\n");
    }
    let metrics = proxy.get("/.portclaim/metrics");
    let metrics = metrics.text();
    assert!(metrics.contains("open_streams 0\n"), "{metrics}");
}
