//! Who may send requests.

use crate::harness::Test;
use crate::message::Message;
use crate::proxy::Proxy;
use crate::upstream::{Upstream, plain};

fn ask(proxy: &Proxy, fields: &str) -> Message {
    proxy.send(format!("GET /v1/models HTTP/1.1\r\n{fields}\r\n\r\n"))
}

#[test]
fn a_foreign_name_and_a_web_page_are_refused() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    for fields in [
        "Host: rebound.example:8888",
        "Host: localhost\r\nOrigin: https://evil.example",
        "Host: localhost\r\nOrigin: http://localhost:3000",
        "Host: localhost\r\nOrigin: null",
    ] {
        let answer = ask(&proxy, fields);
        assert_eq!(answer.status(), 403, "{fields}");
        assert_eq!(answer.json()["error"]["code"], "forbidden");
        assert_eq!(answer.field("access-control-allow-origin"), None);
    }
    let own = proxy.send("GET /.portclaim/health HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
    assert_eq!(own.status(), 403);
    let full = proxy.send("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(full.status(), 403);
    upstream.assert_quiet();
    for host in ["127.0.0.1", "LOCALHOST:1", "[::1]"] {
        assert_eq!(ask(&proxy, &format!("Host: {host}")).status(), 200);
    }
}

#[test]
fn what_is_let_in_by_name_is() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let args = [
        "--allow-host",
        "dev.box",
        "--allow-origin",
        "http://localhost:3000",
    ];
    let proxy = Proxy::start(&test, "shop", &upstream, &args);
    assert_eq!(ask(&proxy, "Host: dev.box:8888").status(), 200);
    let page = "Host: localhost\r\nOrigin: http://localhost:3000";
    assert_eq!(ask(&proxy, page).status(), 200);
    upstream.request();
    // The target may have an opinion of its own.
    assert_eq!(
        upstream.request().field("origin"),
        Some("http://localhost:3000")
    );
    assert_eq!(
        ask(&proxy, "Host: localhost\r\nOrigin: http://localhost:3001").status(),
        403
    );
}

#[test]
fn a_page_that_does_not_say_where_it_is_from_is_refused() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let args = ["--allow-origin", "http://localhost:3000"];
    let proxy = Proxy::start(&test, "shop", &upstream, &args);
    // As for an image: no Origin is sent with it.
    for site in ["cross-site", "same-site"] {
        let answer = ask(
            &proxy,
            &format!("Host: localhost\r\nSec-Fetch-Site: {site}"),
        );
        assert_eq!(answer.status(), 403, "{site}");
    }
    upstream.assert_quiet();
    // What a person typed, and a page that is let in.
    for fields in [
        "Host: localhost\r\nSec-Fetch-Site: none",
        "Host: localhost\r\nSec-Fetch-Site: same-origin",
        "Host: localhost\r\nOrigin: http://localhost:3000\r\nSec-Fetch-Site: same-site",
    ] {
        assert_eq!(ask(&proxy, fields).status(), 200, "{fields}");
    }
}
