//! Another protocol on the same connection, as WebSocket.

use std::io::{Read, Write};

use crate::harness::Test;
use crate::proxy::Proxy;
use crate::upstream::Upstream;

#[test]
fn bytes_of_another_protocol_go_through_both_ways() {
    let test = Test::new();
    let upstream = Upstream::start(|request, stream| {
        assert_eq!(request.field("upgrade"), Some("websocket"));
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: x\r\n\r\n",
        );
        let mut word = [0; 4];
        while stream.read_exact(&mut word).is_ok() {
            word.reverse();
            let _ = stream.write_all(&word);
        }
    });
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let mut client = proxy.connect();
    client.write(
        "GET /v1/realtime?model=m HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
    );
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("sec-websocket-accept"), Some("x"));
    for (word, back) in [("\0\u{1}ab", "ba\u{1}\0"), ("wxyz", "zyxw")] {
        client.write(word);
        let mut answer = [0; 4];
        client.reader.read_exact(&mut answer).expect("it answers");
        assert_eq!(answer, back.as_bytes());
    }
    client.abort();
    let request = upstream.request();
    assert_eq!(request.start, "GET /v1/realtime?model=m HTTP/1.1");
    assert_eq!(request.field("sec-websocket-key"), Some("k"));
    assert!(request.field("x-memory-user-id").is_some());
}

#[test]
fn a_target_that_does_not_change_the_protocol_answers() {
    let test = Test::new();
    let upstream = Upstream::says("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let answer = proxy.send(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!((answer.status(), answer.text()), (426, "no"));
}

#[test]
fn a_protocol_that_nobody_asked_for_is_trouble() {
    let test = Test::new();
    let upstream = Upstream::says(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
    );
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    assert_eq!(proxy.get("/").status(), 502);
}
