//! What the interceptor answers itself, and what it says to whoever runs it.

use crate::harness::Test;
use crate::proxy::Proxy;
use crate::upstream::{Upstream, plain};

#[test]
fn health_is_told_as_the_python_one_tells_it() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &["--legacy-identity"]);
    let health = proxy.get("/health");
    assert_eq!(health.status(), 200);
    let expected = serde_json::json!({
        "status": "healthy", "instance_id": "pycharm-shop", "target": upstream.url("")
    });
    assert_eq!(health.json(), expected);
    let own = proxy.get("/.portclaim/health").json();
    assert_eq!(own["version"], 1);
    assert_eq!(own["project"], test.path("shop").to_str().expect("UTF-8"));
    assert_eq!(own["port"], proxy.port);
    assert_eq!(own["pid"], proxy.pid());
    assert_eq!(proxy.get("/.portclaim/else").status(), 404);
    upstream.assert_quiet();
    // What only looks like it is the target's.
    assert_eq!(proxy.get("/healthy").status(), 200);
    assert_eq!(upstream.request().start, "GET /healthy HTTP/1.1");
    proxy.send("POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(upstream.request().start, "POST /health HTTP/1.1");
}

#[test]
fn requests_are_counted() {
    let test = Test::new();
    let upstream = Upstream::says("HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    for _ in 0..3 {
        proxy.get("/v1/models");
    }
    let metrics = proxy.get("/.portclaim/metrics");
    let kind = metrics.field("content-type").expect("a kind");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    for line in [
        "portclaim_interceptor_requests_total{status=\"429\"} 3\n",
        "portclaim_interceptor_latency_seconds_count 3\n",
        "portclaim_interceptor_open_streams 0\n",
    ] {
        let told = metrics.text();
        assert!(told.contains(line), "{line} in {told}");
    }
}

#[test]
fn a_log_tells_neither_keys_nor_bodies_nor_queries() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{\"answer\":\"ANSWER\"}"));
    let key = test.write("key", "sk-FILE\n");
    crate::harness::chmod(&key, 0o600);
    let key = key.to_str().expect("UTF-8");
    let proxy = Proxy::start(&test, "shop", &upstream, &["--log", "--key-file", key]);
    proxy.send(
        "POST /v1/chat?q=QUERY HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-CLIENT\r\n\
         X-Else: HEADER\r\nContent-Length: 6\r\n\r\nPROMPT",
    );
    proxy.send("POST /a%1b[31m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let said = proxy.end();
    assert!(said.contains("POST /v1/chat 200 "), "{said}");
    for secret in ["QUERY", "sk-", "HEADER", "PROMPT", "ANSWER", "\u{1b}"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    let metrics = Proxy::start(&test, "shop", &upstream, &[]).get("/.portclaim/metrics");
    assert!(!metrics.text().contains("chat"));
}

#[test]
fn it_serves_where_nobody_reads_what_it_says() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    test.mkdir("shop");
    let mut call = crate::proxy::call(&test, "shop", &upstream.url("")).with_args(["--log"]);
    // It is kept open, and not read: a pipe takes 64 KiB.
    let mut proxy = Proxy::unread(&mut call, test.port(0));
    let path = "x".repeat(16 * 1024);
    for _ in 0..20 {
        assert_eq!(proxy.get(&format!("/{path}")).status(), 200);
    }
    proxy.signal(rustix::process::Signal::TERM);
    proxy.wait();
}
