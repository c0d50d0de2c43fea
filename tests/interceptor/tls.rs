//! A target behind TLS: its certificate is judged, and HTTP/2 is spoken where it is offered.
//!
//! nginx is the target, for it is what many have in front of theirs.

use std::fmt::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::harness::{Running, Test, skip};
use crate::proxy::{Proxy, call};
use crate::upstream::LONG;

/// How many requests nginx takes on a connection, and how many at once.
const REQUESTS: usize = 600;
const STREAMS: usize = 105;

/// Starts nginx on these ports, the first with HTTP/2; `None` where nginx or openssl are not to be had.
fn nginx(test: &Test, ports: [u16; 2]) -> Option<Running> {
    for (program, version) in [("nginx", "-v"), ("openssl", "version")] {
        let mut command = Command::new(program);
        command
            .arg(version)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !command.status().is_ok_and(|status| status.success()) {
            skip("TLS", &format!("there is no {program}"));
            return None;
        }
    }
    let directory = test.mkdir("nginx");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args([
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(&directory)
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("it can be started").success());
    let mut headers = String::new();
    for number in 0..400 {
        let _ = write!(headers, "add_header llm_provider-x-{number} x;");
    }
    let mut servers = String::new();
    for (port, protocol) in ports.iter().zip(["ssl http2", "ssl"]) {
        let _ = write!(
            servers,
            "server {{ listen 127.0.0.1:{port} {protocol}; root files; location / {{ \
             return 200 \"$server_protocol $http_x_source $request_uri\"; }}\n\
             location /large {{ }} location /slow {{ limit_rate 1000; }}\n\
             location /headers {{ {headers} return 200 \"x\"; }} }}\n"
        );
    }
    test.mkdir("nginx/files");
    test.write("nginx/files/large", "x".repeat(20 << 20));
    test.write("nginx/files/slow", "x".repeat(1 << 20));
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr crit; events {{}}\n\
         http {{ access_log off; ssl_certificate certificate.pem; ssl_certificate_key key.pem;\n\
         keepalive_requests {REQUESTS}; http2_max_concurrent_streams {STREAMS};\n\
         client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;\n\
         {servers} }}\n"
    );
    let config = test.write("nginx/nginx.conf", config);
    let child = Command::new("nginx")
        .arg("-p")
        .arg(&directory)
        .arg("-c")
        .arg(&config)
        .args(["-e", "stderr"])
        .spawn();
    let nginx = Running(child.expect("it can be started"));
    let end = Instant::now() + LONG;
    while TcpStream::connect(("127.0.0.1", ports[1])).is_err() {
        assert!(Instant::now() < end, "nginx does not listen");
    }
    Some(nginx)
}

/// Starts an interceptor that trusts it.
fn trusting(test: &Test, port: u16, path: &str) -> Proxy {
    test.mkdir("shop");
    let target = format!("https://127.0.0.1:{port}{path}");
    let certificate = test.path("nginx/certificate.pem");
    Proxy::of(call(test, "shop", &target).env("SSL_CERT_FILE", certificate))
}

#[test]
fn a_target_behind_tls_is_spoken_to_as_it_wants() {
    let test = Test::new();
    let ports = [test.port(6), test.port(7)];
    let Some(_nginx) = nginx(&test, ports) else {
        return;
    };
    let start = |port: u16| trusting(&test, port, "/base");
    for (port, protocol) in ports.iter().zip(["HTTP/2.0", "HTTP/1.1"]) {
        let proxy = start(*port);
        for _ in 0..2 {
            let answer = proxy.get("/v1//a%2Fb?x=1");
            let expected = format!("{protocol} pycharm-ai-chat /base/v1//a%2Fb?x=1");
            assert_eq!((answer.status(), answer.text()), (200, expected.as_str()));
            assert!(answer.start.starts_with("HTTP/1.1 "));
        }
        proxy.end();
    }
    // An upgrade takes HTTP/1.1, which nginx does not change to anything.
    let proxy = start(ports[0]);
    let answer = proxy.send(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert!(answer.text().starts_with("HTTP/1.1 "), "{answer:?}");
}

#[test]
fn a_certificate_that_nobody_trusts_is_refused() {
    let test = Test::new();
    let ports = [test.port(6), test.port(7)];
    let Some(_nginx) = nginx(&test, ports) else {
        return;
    };
    test.mkdir("shop");
    let proxy = Proxy::of(call(
        &test,
        "shop",
        &format!("https://127.0.0.1:{}", ports[0]),
    ));
    let answer = proxy.get("/");
    assert_eq!(answer.status(), 502);
    let message = answer.json()["error"]["message"].to_string();
    assert!(message.contains("certificate"), "{message}");
}

#[test]
fn connections_of_http2_are_replaced_before_the_target_takes_no_more() {
    let test = Test::new();
    let ports = [test.port(6), test.port(7)];
    let Some(_nginx) = nginx(&test, ports) else {
        return;
    };
    let proxy = trusting(&test, ports[0], "");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = proxy.connect();
                for _ in 0..2 * REQUESTS / 8 {
                    client.write("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    assert_eq!(client.answer().status(), 200);
                }
            });
        }
    });
}

#[test]
fn requests_on_one_connection_of_http2_do_not_wait_for_each_other() {
    let test = Test::new();
    let ports = [test.port(6), test.port(7)];
    let Some(_nginx) = nginx(&test, ports) else {
        return;
    };
    let proxy = trusting(&test, ports[0], "");
    let asking = |path: &str, count| {
        let mut clients: Vec<_> = (0..count).map(|_| proxy.connect()).collect();
        for client in &mut clients {
            client.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        }
        for client in &mut clients {
            assert_eq!(client.head().status(), 200);
        }
        clients
    };
    // These do not read what they asked for.
    let _unread = asking("/large", 4);
    assert_eq!(proxy.get("/x").status(), 200);
    // These are more than the target takes at once on a connection.
    let _slow = asking("/slow", STREAMS);
    assert_eq!(proxy.get("/x").status(), 200);
    let answer = proxy.get("/headers");
    assert_eq!((answer.status(), answer.text()), (200, "x"));
    assert_eq!(answer.field("llm_provider-x-399"), Some("x"));
}
