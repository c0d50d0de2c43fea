//! Which port it takes, and what it says: one serves for a project, whoever else starts.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Call, Running, Test};
use crate::message::Message;
use crate::proxy::{PROGRAM, Proxy, call};
use crate::upstream::{Upstream, plain};

#[test]
fn it_serves_on_the_projects_port_every_time() {
    let test = Test::of_projects(&["blog", "shop"]);
    let upstream = Upstream::says(plain("{}"));
    for _ in 0..2 {
        let proxy = Proxy::start(&test, "shop", &upstream, &[]);
        assert_eq!(proxy.port, test.port(1));
        let said = proxy.end();
        let url = format!(
            "http://127.0.0.1:{}/v1 for {}\n",
            test.port(1),
            test.path("shop").display()
        );
        assert_eq!(said, url);
    }
    test.assert_healthy();
}

#[test]
fn it_serves_both_addresses_of_localhost() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    if TcpListener::bind("[::1]:0").is_err() {
        crate::harness::skip("::1", "this host has no IPv6");
        return;
    }
    let stream = TcpStream::connect(("::1", proxy.port));
    assert!(stream.is_ok(), "{stream:?}");
}

#[test]
fn what_it_says_for_programs_is_json() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    test.mkdir("shop");
    let mut serving = call(&test, "shop", &upstream.url("")).with_args(["--json"]);
    let mut child = serving.running();
    let mut told = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
    while !told.ends_with("}\n") {
        let read = BufRead::read_line(&mut lines, &mut told).expect("it is text");
        assert!(read > 0, "{told}");
    }
    let told: serde_json::Value = serde_json::from_str(&told).expect("it is JSON");
    assert_eq!(told["event"], "listening");
    assert_eq!(told["port"], test.port(0));
    assert_eq!(told["pid"], child.id());
    assert_eq!(told["url"], format!("http://127.0.0.1:{}/v1", test.port(0)));
    let again = call(&test, "shop", &upstream.url("")).with_args(["--json"]);
    let again = again.json();
    assert_eq!(again["event"], "running");
    assert_eq!(again["pid"], child.id());
}

#[test]
fn a_second_one_says_that_the_first_serves() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    let proxy = Proxy::start(&test, "shop", &upstream, &[]);
    let said = format!("runs already (pid {})\n", proxy.pid());
    call(&test, "shop", &upstream.url(""))
        .stderr_has(said)
        .run();
    // Under another name there is another port.
    let other = Proxy::of(call(&test, "shop", &upstream.url("")).with_args(["--service", "b"]));
    assert_ne!(other.port, proxy.port);
    assert_eq!(other.get("/").status(), 200);
}

#[test]
fn it_does_not_pass_requests_on_to_itself() {
    let test = Test::new();
    test.mkdir("shop");
    let port = test.port(0);
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        if host == "[::1]" && TcpListener::bind("[::1]:0").is_err() {
            crate::harness::skip("::1", "this host has no IPv6");
            continue;
        }
        let target = format!("http://{host}:{port}/v1");
        let refused = call(&test, "shop", &target).code(2);
        refused
            .stderr_has(format!("error: the target {target} is this interceptor"))
            .run();
    }
}

#[test]
fn a_second_one_tells_the_address_of_the_first() {
    let test = Test::new();
    test.mkdir("shop");
    if TcpListener::bind("[::1]:0").is_err() {
        crate::harness::skip("::1", "this host has no IPv6");
        return;
    }
    let serve = || call(&test, "shop", "http://127.0.0.1:1").with_args(["--host", "::1"]);
    let _first = Proxy::of(serve());
    let url = format!("http://[::1]:{}/v1 for ", test.port(0));
    serve().stderr_has(&url).run();
    // One that would listen elsewhere looks where the first one does.
    if cfg!(target_os = "linux") {
        call(&test, "shop", "http://127.0.0.1:1")
            .stderr_has(url)
            .run();
    }
}

#[test]
fn of_many_at_once_one_serves() {
    const MANY: usize = 6;
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    test.mkdir("shop");
    let mut calls: Vec<_> = (0..MANY)
        .map(|_| call(&test, "shop", &upstream.url("")))
        .collect();
    let mut children: Vec<_> = calls.iter_mut().map(Call::running).collect();
    let mut serving = Vec::new();
    let mut done = 0;
    let end = std::time::Instant::now() + crate::upstream::LONG;
    while done < MANY - 1 {
        assert!(std::time::Instant::now() < end, "{done} have said so");
        done = 0;
        serving.clear();
        for (at, child) in children.iter_mut().enumerate() {
            match child.try_wait().expect("it is ours") {
                Some(status) => {
                    assert_eq!(status.code(), Some(0));
                    done += 1;
                }
                None => serving.push(at),
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(serving.len(), 1, "one goes on");
    // Which of the ports it is, the first to commit has decided.
    let port = test.args(["show", "shop"]).any_stdout().run().stdout;
    let port: u16 = port.trim().parse().expect("a port");
    let stream = TcpStream::connect(("127.0.0.1", port));
    assert!(stream.is_ok(), "and listens");
}

#[test]
fn after_a_kill_it_is_back_at_once_on_its_port() {
    let test = Test::new();
    let upstream = Upstream::says(plain("{}"));
    for _ in 0..3 {
        let mut proxy = Proxy::start(&test, "shop", &upstream, &[]);
        assert_eq!(proxy.port, test.port(0));
        // A connection that the server's side closes waits there (TIME_WAIT).
        let mut client = proxy.connect();
        client.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(client.answer().status(), 200);
        let open = proxy.connect();
        proxy.signal(Signal::KILL);
        drop(open);
        assert_eq!(proxy.status(), None, "it was killed");
    }
    test.assert_healthy();
}

#[test]
fn a_stranger_on_the_port_is_named() {
    let test = Test::of_projects(&["shop"]);
    let _stranger = TcpListener::bind(("127.0.0.1", test.port(0))).expect("it is free");
    let refused = call(&test, "shop", "http://127.0.0.1:1").code(1);
    let refused = refused.stderr_has(format!("error: port {} of ", test.port(0)));
    let said = refused.stderr_has("is in use by ").any_stdout().run();
    if cfg!(target_os = "linux") {
        let pid = format!("pid {}", std::process::id());
        assert!(said.stderr.contains(&pid), "{}", said.stderr);
    }
}

#[test]
fn another_program_of_the_project_is_told_of() {
    let test = Test::of_projects(&["shop"]);
    let mut run = test.args(["run", "--project", "shop", "--", "sleep", "60"]);
    run = run.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let _sleeping = run.running();
    // It says so in this file.
    let end = std::time::Instant::now() + crate::upstream::LONG;
    let running = test.root().join("running").join(test.port(0).to_string());
    while std::fs::read(&running).is_ok_and(|pid| pid.is_empty()) || !running.exists() {
        assert!(std::time::Instant::now() < end);
        thread::sleep(Duration::from_millis(10));
    }
    let refused = call(&test, "shop", "http://127.0.0.1:1").code(1);
    refused.stderr_has("runs already, on port ").run();
}

#[test]
fn a_port_besides_the_registrys_is_held_while_it_runs() {
    let test = Test::of_projects(&["blog"]);
    let upstream = Upstream::says(plain("{}"));
    test.mkdir("shop");
    let port = test.port(3);
    let serve = || call(&test, "shop", &upstream.url("")).env("INTERCEPTOR_PORT", port.to_string());
    let proxy = Proxy::of(serve());
    assert_eq!(proxy.port, port);
    // Nobody else is given it, and the project has no port for good.
    for name in ["a", "b", "c", "d"] {
        let given = test
            .args(["allocate", name])
            .any_stderr()
            .any_stdout()
            .run();
        assert_ne!(given.stdout.trim(), port.to_string());
    }
    test.args(["show", "shop"]).code(1).any_stderr().run();
    // A second one says so; another project is refused.
    serve().stderr_has("runs already").run();
    let other = call(&test, "blog", &upstream.url("")).env("INTERCEPTOR_PORT", port.to_string());
    let other = other
        .code(1)
        .stderr_has(format!("hint: portclaim who {port}"));
    other.run();
    proxy.end();
    let other = call(&test, "blog", &upstream.url("")).env("INTERCEPTOR_PORT", port.to_string());
    assert_eq!(Proxy::of(other).port, port);
    // What somebody has for good is refused as well.
    let taken =
        call(&test, "shop", &upstream.url("")).env("INTERCEPTOR_PORT", test.port(0).to_string());
    taken.code(1).stderr_has("hint: portclaim who").run();
}

#[test]
fn sockets_that_are_handed_over_are_served() {
    let test = Test::of_projects(&["shop"]);
    let upstream = Upstream::says(plain("{}"));
    let run = test
        .args(["run", "--project", "shop", "--socket", "--", PROGRAM])
        .with_args(["--project", "shop"])
        .env("TARGET_LLM_URL", upstream.url(""));
    let proxy = Proxy::of(run);
    assert_eq!(proxy.port, test.port(0));
    assert_eq!(proxy.get("/").status(), 200);
    let said = proxy.end();
    assert!(!said.contains("warning"), "{said}");
}

/// Starts it in `shop` by a script of the shell, whose standard input is this socket, and returns what it says.
fn started_with(
    test: &Test,
    socket: TcpListener,
    script: &str,
) -> (Running, impl Iterator<Item = String>) {
    let child = Command::new("/bin/sh")
        .args(["-euc", script])
        .env_clear()
        .envs([
            ("HOME", test.home().as_os_str()),
            ("program", PROGRAM.as_ref()),
        ])
        .current_dir(test.path("shop"))
        .stdin(std::os::fd::OwnedFd::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Running(child.expect("it starts"));
    let said = BufReader::new(child.stderr.take().expect("it is piped"));
    let said = said.lines().map(|line| line.expect("it is text"));
    (child, said)
}

#[test]
fn a_socket_that_other_machines_reach_is_warned_of() {
    let test = Test::new();
    test.mkdir("shop");
    let open = TcpListener::bind("0.0.0.0:0").expect("a port is free");
    let address = open.local_addr().expect("it has one");
    let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$program\" 3<&0 </dev/null";
    let (_child, said) = started_with(&test, open, script);
    let warned = format!("warning: other machines can reach {address}, ");
    // It stands before the address is told.
    let mut before = said.take_while(|line| !line.starts_with("http://"));
    assert!(before.any(|line| line.starts_with(&warned)));
}

#[test]
fn a_socket_that_is_standard_input_is_served() {
    let test = Test::of_projects(&["shop"]);
    let socket = TcpListener::bind(("127.0.0.1", test.port(0))).expect("it is free");
    let (_child, mut said) = started_with(&test, socket, "exec \"$program\"");
    let url = format!("http://127.0.0.1:{}/v1 for ", test.port(0));
    let first = said.next().expect("it says where");
    assert!(first.starts_with(&url), "{first}");
    let mut stream = TcpStream::connect(("127.0.0.1", test.port(0))).expect("it listens");
    let request = "GET /.portclaim/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let answer = Message::read(&mut BufReader::new(stream)).expect("it answers");
    let told = answer.expect("an answer").json();
    assert_eq!(told["port"], test.port(0));
}

#[test]
fn a_connection_that_is_standard_input_is_none_to_be_served() {
    let test = Test::of_projects(&["shop"]);
    let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let stream = TcpStream::connect(other.local_addr().expect("it has one")).expect("it listens");
    // As inetd does with `nowait`.
    let socket = TcpListener::from(std::os::fd::OwnedFd::from(stream));
    let (_child, mut said) = started_with(&test, socket, "exec \"$program\"");
    let url = format!("http://127.0.0.1:{}/v1 for ", test.port(0));
    let first = said.next().expect("it says where");
    assert!(first.starts_with(&url), "{first}");
}

#[test]
fn without_sockets_run_starts_it_as_well() {
    let test = Test::of_projects(&["shop"]);
    let upstream = Upstream::says(plain("{}"));
    for args in [&["--"][..], &["--supervise", "--"]] {
        let run = test
            .args(["run", "--project", "shop"])
            .with_args(args)
            .with_args([PROGRAM, "--project", "shop"])
            .env("TARGET_LLM_URL", upstream.url(""));
        let proxy = Proxy::of(run);
        assert_eq!(proxy.port, test.port(0));
        assert_eq!(proxy.get("/").status(), 200);
        proxy.end();
    }
}

#[test]
fn requests_under_way_come_to_their_end() {
    let test = Test::new();
    let (sender, turn) = std::sync::mpsc::channel();
    let turn = std::sync::Mutex::new(turn);
    let upstream = Upstream::start(move |_, stream| {
        let turn = turn.lock().expect("nobody failed");
        let _: Result<(), _> = turn.recv_timeout(crate::upstream::LONG);
        let _ = stream.write_all(plain("late").as_bytes());
    });
    let mut proxy = Proxy::start(&test, "shop", &upstream, &["--drain-timeout", "20s"]);
    let mut client = proxy.connect();
    client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // It was taken when another one is answered.
    proxy.get("/health");
    proxy.signal(Signal::TERM);
    // No new ones are taken, and the port is free for the next.
    let end = std::time::Instant::now() + crate::upstream::LONG;
    while TcpStream::connect(("127.0.0.1", test.port(0))).is_ok() {
        assert!(std::time::Instant::now() < end);
    }
    sender.send(()).expect("it waits");
    let answer = Message::read(&mut client.reader).expect("a whole answer");
    assert_eq!(answer.expect("an answer").text(), "late");
    proxy.wait();
}

#[test]
fn requests_that_have_come_when_it_ends_are_answered() {
    const CLIENTS: usize = 100;
    let test = Test::new();
    let upstream = Upstream::says(plain("there"));
    for is_stopped in [false, true, false, true] {
        let mut proxy = Proxy::start(&test, "shop", &upstream, &[]);
        if is_stopped {
            // None is taken before it ends.
            proxy.signal(Signal::STOP);
        }
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect()).collect();
        for client in &mut clients {
            client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        proxy.signal(Signal::TERM);
        proxy.signal(Signal::CONT);
        for client in &mut clients {
            assert_eq!(client.answer().text(), "there");
        }
        proxy.wait();
    }
}

#[test]
fn one_that_ends_does_not_say_that_it_runs() {
    let test = Test::new();
    let upstream = Upstream::says(plain("there"));
    let mut proxy = Proxy::start(&test, "shop", &upstream, &[]);
    for path in ["/health", "/.portclaim/health"] {
        let mut client = proxy.connect();
        client.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n"));
        let closed = || TcpStream::connect(("127.0.0.1", proxy.port)).is_err();
        proxy.signal(Signal::TERM);
        while !closed() {
            thread::sleep(Duration::from_millis(5));
        }
        client.write("\r\n");
        let answer = client.answer();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.json()["status"], "ending");
        proxy.wait();
        proxy = Proxy::start(&test, "shop", &upstream, &[]);
    }
}

#[test]
fn the_next_one_serves_while_the_last_one_ends() {
    let test = Test::new();
    let upstream = Upstream::start(|request, stream| {
        let answer = if request.start.contains("endless") {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()
        } else {
            plain("next")
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    for more in [&[][..], &[("INTERCEPTOR_PORT", test.port(5).to_string())]] {
        let start = || {
            let mut call =
                call(&test, "shop", &upstream.url("")).with_args(["--drain-timeout", "20s"]);
            for (name, value) in more {
                call = call.env(name, value);
            }
            Proxy::of(call)
        };
        test.mkdir("shop");
        let mut first = start();
        let mut client = first.connect();
        client.write("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.head();
        first.signal(Signal::TERM);
        let next = start();
        assert_eq!((next.port, next.get("/").text()), (first.port, "next"));
        // The second signal ends what still runs.
        first.signal(Signal::TERM);
        first.wait();
        next.end();
    }
}

#[test]
fn a_stream_that_does_not_end_is_ended() {
    let test = Test::new();
    let upstream = Upstream::says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut proxy = Proxy::start(&test, "shop", &upstream, &["--drain-timeout", "1s"]);
    let mut client = proxy.connect();
    client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.head();
    proxy.signal(Signal::INT);
    proxy.wait();
}

#[test]
fn nonsense_is_refused_before_a_port_is_taken() {
    let test = Test::new();
    test.mkdir("shop");
    for (args, said) in [
        (&["--target", "ftp://x"][..], "only http and https"),
        (&["--target", "http://u:p@x"], "no user and password"),
        (&["--host", "localhost"], "invalid value"),
        (&["--port", "0"], "invalid value"),
        (&["--connect-timeout", "0s"], "not 0"),
        (&["--idle-timeout", "soon"], "a time is a number"),
        (&["--service", "a b"], "a b"),
        (&["--identity-header", "a b"], "no header's name"),
        (
            &["--key-env", "A", "--key-file", "b"],
            "cannot be used with",
        ),
        (&["setup", "--model", "m"], "--junie"),
        (&["serve"], "unrecognized subcommand"),
    ] {
        let call = call(&test, "shop", "").with_args(args).code(2);
        call.stderr_has(said).run();
    }
    for (name, value) in [
        ("TARGET_LLM_URL", "nowhere"),
        ("INTERCEPTOR_PORT", "abc"),
        ("INTERCEPTOR_PORT", "65536"),
    ] {
        let call = test.program(PROGRAM).cwd("shop").env(name, value).code(2);
        call.stderr_has(name).run();
    }
    assert!(!test.root().exists());
    // What a socket that is handed over is not, is said as well.
    let mut wrong = test.shell("LISTEN_FDS=1 LISTEN_PID=$$ exec \"$program\" 3</dev/null");
    wrong = wrong.env("program", PROGRAM).code(2);
    wrong.stderr_has("a socket that was handed over").run();
}
