//! A target behind TLS: its certificate is judged, and HTTP/2 is spoken where it is offered.
//!
//! nginx is the target, for it is what many have in front of theirs.

use std::fmt::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::harness::{Running, Test, skip};
use crate::proxy::{Proxy, call};
use crate::upstream::LONG;

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
    let mut servers = String::new();
    for (port, protocol) in ports.iter().zip(["ssl http2", "ssl"]) {
        let _ = write!(
            servers,
            "server {{ listen 127.0.0.1:{port} {protocol}; location / {{ \
             return 200 \"$server_protocol $http_x_source $request_uri\"; }} }}"
        );
    }
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr crit; events {{}}\n\
         http {{ access_log off; ssl_certificate certificate.pem; ssl_certificate_key key.pem;\n\
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

#[test]
fn a_target_behind_tls_is_spoken_to_as_it_wants() {
    let test = Test::new();
    let ports = [test.port(6), test.port(7)];
    let Some(_nginx) = nginx(&test, ports) else {
        return;
    };
    test.mkdir("shop");
    let start = |port: u16| {
        let target = format!("https://127.0.0.1:{port}/base");
        let certificate = test.path("nginx/certificate.pem");
        Proxy::of(call(&test, "shop", &target).env("SSL_CERT_FILE", certificate))
    };
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
