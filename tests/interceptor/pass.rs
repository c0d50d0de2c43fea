//! What goes through stays as it is: bytes, paths, queries, headers, statuses, trailers.

use std::fmt::Write as _;
use std::io::Write;

use crate::harness::Test;
use crate::proxy::Proxy;
use crate::upstream::{LONG, Upstream, plain};

#[test]
fn a_body_arrives_byte_for_byte() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    // As a parser would not write it: spaces, numbers, escapes, an order.
    let body = "{ \"stream\" : false,\n  \"z\": 1E0, \"a\": 1e2, \"t\": \"\\u00e9\\/\" }\n";
    for path in ["/v1/chat/completions", "/v1/embeddings"] {
        let answer = proxy.send(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(answer.status(), 200);
        let request = upstream.request();
        assert_eq!(request.text(), body);
        assert_eq!(
            request.field("content-length"),
            Some(body.len().to_string().as_str())
        );
    }
}

#[test]
fn a_body_in_chunks_arrives_whole_on_every_path() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    // A search may be a GET with a body.
    for (method, path) in [
        ("PUT", "/v1/files"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/_search"),
    ] {
        proxy.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nfirst\r\n7\r\n second\r\n0\r\n\r\n"
        ));
        let request = upstream.request();
        assert_eq!(request.text(), "first second");
        assert_eq!(request.field("transfer-encoding"), Some("chunked"));
        assert_eq!(request.field("content-length"), None);
    }
}

#[test]
fn an_answer_in_chunks_is_as_long_as_its_chunks_are() {
    let test = Test::new();
    for length in ["3", "30"] {
        let upstream = Upstream::says(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n"
        ));
        let proxy = Proxy::start(&test, "shop", &upstream, &[]);
        let answer = proxy.get("/v1/models");
        assert_eq!(answer.text(), "hello");
        assert_eq!(answer.field("content-length"), None);
        proxy.end();
    }
}

#[test]
fn paths_and_queries_stay_raw() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    test.mkdir("shop");
    let target = upstream.url("/v3/https://api.example.com/v1/");
    let proxy = Proxy::of(crate::proxy::call(&test, "shop", &target));
    for path in [
        "/models",
        "//models///x",
        "/a%2Fb%20c",
        "/a/../b/./c",
        "/chat?userId=a%26b&x=1&x=2",
        "/?",
        "/a;b=c,d:@$!*'()",
    ] {
        proxy.get(path);
        assert_eq!(
            upstream.request().start,
            format!("GET /v3/https://api.example.com/v1{path} HTTP/1.1")
        );
    }
    // A client that takes it for its proxy names the whole address.
    proxy.get("http://localhost:1/models?a=b");
    assert_eq!(
        upstream.request().start,
        "GET /v3/https://api.example.com/v1/models?a=b HTTP/1.1"
    );
}

#[test]
fn every_method_goes_through() {
    let test = Test::new();
    let upstream = Upstream::says("HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n");
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    for method in [
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "X",
    ] {
        let answer = proxy.send(format!(
            "{method} /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(answer.status(), 204, "{method}");
        assert_eq!(answer.field("allow"), Some("GET"));
        assert!(upstream.request().start.starts_with(method));
    }
}

#[test]
fn an_answer_to_head_has_its_length_and_no_body() {
    let test = Test::new();
    let upstream = Upstream::says("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let mut client = proxy.connect();
    client.write("HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().field("content-length"), Some("1234"));
    // No body came in between.
    client.write("HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status(), 200);
}

#[test]
fn statuses_and_headers_come_back_as_they_are() {
    let test = Test::new();
    let upstream = Upstream::says(
        "HTTP/1.1 418 Short And Stout\r\nX-Request-ID: r1\r\nRetry-After: 7\r\nx-ratelimit-remaining: 3\r\n\
         Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nLocation: /else where\r\nX-Bytes: \u{e9}\r\n\
         Keep-Alive: timeout=5\r\nConnection: keep-alive, X-Once\r\nX-Once: 1\r\nContent-Length: 9\r\n\r\nnot { json",
    );
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let answer = proxy.get("/v1/models");
    assert_eq!(answer.start, "HTTP/1.1 418 Short And Stout");
    let names: Vec<&str> = answer
        .fields
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let kept = [
        "X-Request-ID",
        "Retry-After",
        "x-ratelimit-remaining",
        "Set-Cookie",
        "Set-Cookie",
        "Location",
        "X-Bytes",
        "Content-Length",
    ];
    assert_eq!(names, kept);
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.text(), "not { jso");
}

#[test]
fn an_answer_may_have_hundreds_of_headers() {
    let test = Test::new();
    let mut fields = String::new();
    for at in 0..300 {
        let _ = write!(fields, "llm_provider-x-{at}: {at}\r\n");
    }
    let upstream = Upstream::says(format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"
    ));
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let answer = proxy.get("/v1/models");
    assert_eq!((answer.status(), answer.text()), (200, "ok"));
    assert_eq!(answer.fields.len(), 301);
    assert_eq!(answer.field("llm_provider-x-299"), Some("299"));
}

#[test]
fn redirects_are_the_clients_own() {
    let test = Test::new();
    let upstream = Upstream::says(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n",
    );
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let answer = proxy.get("/v1/models");
    assert_eq!(answer.status(), 307);
    assert_eq!(answer.field("location"), Some("http://other.example/"));
}

#[test]
fn what_is_of_the_connection_goes_no_further() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    proxy.send(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n\
         Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\nX-Theirs: 2\r\n\r\n",
    );
    let request = upstream.request();
    let mut names: Vec<String> = (request.fields.iter())
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "host",
            "x-memory-user-id",
            "x-pycharm-instance",
            "x-source",
            "x-theirs"
        ]
    );
    assert_eq!(
        request.field("host"),
        Some(upstream.address.to_string().as_str())
    );
}

#[test]
fn trailers_go_through_both_ways() {
    let test = Test::new();
    let upstream = Upstream::says(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let answer = proxy.send(
        "POST / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\
         Transfer-Encoding: chunked\r\nTrailer: X-In\r\n\r\n2\r\nho\r\n0\r\nX-In: 7\r\n\r\n",
    );
    let lower = |fields: Vec<(String, String)>| {
        fields
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect::<Vec<_>>()
    };
    assert_eq!(answer.text(), "hi");
    assert_eq!(
        lower(answer.trailers),
        [("x-sum".to_owned(), "42".to_owned())]
    );
    let request = upstream.request();
    assert_eq!(request.field("te"), Some("trailers"));
    assert_eq!(request.text(), "ho");
    assert_eq!(
        lower(request.trailers),
        [("x-in".to_owned(), "7".to_owned())]
    );
}

#[test]
fn compressed_and_long_bodies_go_through_untouched() {
    let test = Test::new();
    // No gzip at all: nobody looks.
    let body: Vec<u8> = (0..10_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (sent, given) = (body.clone(), body.clone());
    let upstream = Upstream::start(move |_, stream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            given.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&given);
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let mut client = proxy.connect();
    let head = format!(
        "POST /v1/audio HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        sent.len()
    );
    client.write(head);
    client.write(&sent);
    let answer = client.answer();
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert!(answer.body == body, "10 MB came back");
    assert!(upstream.request().body == body, "10 MB arrived");
}

#[test]
fn one_connection_serves_many_requests_on_one_connection() {
    let test = Test::new();
    let ports = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let all = std::sync::Arc::clone(&ports);
    let upstream = Upstream::start(move |_, stream| {
        let from = stream.peer_addr().expect("it is connected").port();
        all.lock().expect("nobody failed").push(from);
        let _ = stream.write_all(plain("{}").as_bytes());
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let mut client = proxy.connect();
    for _ in 0..20 {
        client.write("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.answer().text(), "{}");
    }
    let mut ports = ports.lock().expect("nobody failed").clone();
    assert_eq!(ports.len(), 20);
    ports.dedup();
    assert_eq!(ports.len(), 1, "{ports:?}");
}

#[test]
fn a_connection_that_nobody_needs_is_closed() {
    let test = Test::new();
    let (sender, opened) = std::sync::mpsc::channel();
    let upstream = Upstream::start(move |_, stream| {
        let _ = sender.send(stream.try_clone().expect("a second handle"));
        let _ = stream.write_all(plain("{}").as_bytes());
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    // Twice: what closes them sleeps while there are none.
    for _ in 0..2 {
        proxy.get("/v1/models");
        let stream = opened.recv_timeout(LONG).expect("a connection");
        stream.set_read_timeout(Some(LONG)).expect("a limit");
        let left = stream.peek(&mut [0]).expect("it is closed");
        assert_eq!(left, 0, "nobody asked for more");
        let next = opened.try_recv();
        assert!(next.is_err(), "one request, one connection");
    }
}

#[test]
fn old_and_careful_clients_are_served() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let old = proxy.send("GET /v1/models HTTP/1.0\r\n\r\n");
    assert_eq!((old.status(), old.text()), (200, "{}"));
    upstream.request();
    let mut client = proxy.connect();
    client.write(
        "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    assert_eq!(client.head().status(), 100);
    client.write("ok");
    assert_eq!(client.answer().status(), 200);
    assert_eq!(upstream.request().text(), "ok");
}
