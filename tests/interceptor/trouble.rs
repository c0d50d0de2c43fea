//! What a client is told when the target cannot be had.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::listen;

use crate::harness::Test;
use crate::proxy::{Proxy, call};
use crate::upstream::{Upstream, nowhere};

const ASK: &str = "POST /v1/chat/completions?key=hidden HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n{\"stream\":true}";

#[test]
fn a_target_that_is_down_is_a_bad_gateway() {
    let test = Test::new();
    test.mkdir("shop");
    let target = nowhere();
    let proxy = Proxy::of(call(&test, "shop", &format!("http://{target}")));
    let answer = proxy.send(ASK);
    assert_eq!(answer.start, "HTTP/1.1 502 Bad Gateway");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let json = answer.json();
    let error = &json["error"];
    assert_eq!(error["type"], "interceptor_error");
    assert_eq!(error["code"], "upstream_unreachable");
    assert!(error["param"].is_null());
    let message = error["message"].as_str().expect("a sentence");
    assert!(message.contains(&target.to_string()), "{message}");
    assert!(message.contains("refused"), "{message}");
    let said = proxy.end();
    assert!(
        said.contains("warning: POST /v1/chat/completions: the target"),
        "{said}"
    );
    assert!(!said.contains("hidden"), "{said}");
}

#[test]
fn who_sends_all_of_a_large_body_before_it_reads_is_told_why() {
    const LENGTH: usize = 8 << 20;
    let test = Test::new();
    test.mkdir("shop");
    let proxy = Proxy::of(call(&test, "shop", &format!("http://{}", nowhere())));
    let length = format!("Content-Length: {LENGTH}\r\n\r\n");
    let coded = format!("Transfer-Encoding: gzip, chunked\r\n\r\n{LENGTH:x}\r\n");
    for (host, length, status) in [
        ("localhost", &length, 502),
        ("example.com", &length, 403),
        ("localhost", &coded, 501),
    ] {
        let mut client = proxy.connect();
        client.write(format!("POST / HTTP/1.1\r\nHost: {host}\r\n{length}"));
        client.write(vec![b'x'; LENGTH]);
        if length.contains("chunked") {
            client.write("\r\n0\r\n\r\n");
        }
        assert_eq!(client.answer().status(), status);
    }
    // Who asks whether to send it is told before.
    let mut client = proxy.connect();
    client.write(
        "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    );
    assert_eq!(client.answer().status(), 502);
}

#[test]
fn a_body_that_is_coded_for_the_way_is_not_passed_on_as_another_one() {
    let test = Test::new();
    let upstream = Upstream::says(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    );
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let answer = proxy.get("/");
    assert_eq!(
        (answer.status(), upstream.request().start),
        (502, "GET / HTTP/1.1".into())
    );
    let request = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    assert_eq!(proxy.send(request).status(), 501);
    upstream.assert_quiet();
}

#[test]
fn a_name_that_leads_nowhere_is_a_bad_gateway() {
    let test = Test::new();
    test.mkdir("shop");
    let proxy = Proxy::of(call(&test, "shop", "http://no-such-host.invalid:1"));
    let answer = proxy.send(ASK);
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.json()["error"]["code"], "upstream_unreachable");
}

#[test]
fn connecting_does_not_take_for_ever() {
    let test = Test::new();
    test.mkdir("shop");
    // Takes connections and says nothing: with TLS, that is no connection yet.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let target = format!("https://{}", silent.local_addr().expect("it has one"));
    let proxy = Proxy::of(call(&test, "shop", &target).with_args(["--connect-timeout", "1s"]));
    let answer = proxy.send(ASK);
    assert_eq!(answer.start, "HTTP/1.1 504 Gateway Timeout");
    assert_eq!(answer.json()["error"]["code"], "upstream_connect_timeout");
}

#[test]
fn a_target_that_takes_no_connection_is_not_waited_for_for_ever() {
    let test = Test::new();
    test.mkdir("shop");
    let target = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listen(&target, 0).expect("it listens");
    let address = target.local_addr().expect("it has one");
    let limit = Duration::from_millis(200);
    let fill = |_| TcpStream::connect_timeout(&address, limit).ok();
    let waiting: Vec<TcpStream> = (0..8).map_while(fill).collect();
    assert!(
        waiting.len() < 8,
        "the system lets more wait than it was told"
    );
    let url = format!("http://{address}");
    let proxy = Proxy::of(call(&test, "shop", &url).with_args(["--connect-timeout", "1s"]));
    let answer = proxy.send(ASK);
    assert_eq!(answer.start, "HTTP/1.1 504 Gateway Timeout");
    assert_eq!(answer.json()["error"]["code"], "upstream_connect_timeout");
}

#[test]
fn what_is_no_http_is_a_bad_gateway() {
    let test = Test::new();
    for bytes in [&b"SSH-2.0-x\r\n"[..], b"", b"HTTP/1.1 200"] {
        let upstream = Upstream::start(move |_, stream| {
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(Shutdown::Both);
        });
        let proxy = Proxy::start(&test, "shop", &upstream, &[]);
        let answer = proxy.send(ASK);
        assert_eq!(answer.status(), 502, "{bytes:?}");
        assert_eq!(answer.json()["error"]["code"], "upstream_failed");
        proxy.end();
    }
}

#[test]
fn a_target_that_comes_back_is_used_again() {
    let test = Test::new();
    let upstream = Upstream::start(|request, stream| {
        let _ = stream.write_all(crate::upstream::plain("{}").as_bytes());
        if request.start.contains("last") {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let mut client = proxy.connect();
    // A connection that the target has closed is not taken for the next request.
    for path in ["/last", "/next", "/last", "/next"] {
        client.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(client.answer().status(), 200);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn nonsense_from_a_client_is_refused_and_passed_on_to_nobody() {
    let test = Test::new();
    let upstream = Upstream::says(crate::upstream::plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    for request in [
        "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nno field\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ] {
        let answer = proxy.send(request);
        assert!(
            matches!(answer.status(), 400 | 505),
            "{request:?}: {answer:?}"
        );
    }
    let tunnel = proxy.send("CONNECT other:1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(matches!(tunnel.status(), 403 | 501), "{tunnel:?}");
    upstream.assert_quiet();
    assert_eq!(proxy.get("/").status(), 200);
}
