//! `portclaim run`: a command with its ports in its environment, leases, sockets handed over.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{BINARY, Test, skip};
use crate::server::{HANDED, HANDED_THIS, Server};

/// Closes all descriptors that a shell can name.
const CLOSE: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-;";

/// Starts a script under `run`, and returns it with the first line that it printed.
fn started(test: &Test, flags: &[&str], script: &str) -> (Child, String) {
    // What the tests themselves inherited: portclaim's own have numbers that the script can name.
    let call = test.shell(&format!("{CLOSE} cd shop; exec \"$portclaim\" run \"$@\""));
    let script = ["--", "sh", "-c", script];
    let args = ["sh"].iter().chain(flags).chain(&script);
    let mut child = call.with_args(args).spawn();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    out.read_line(&mut line).expect("it prints a line");
    (child, line.trim_end().to_owned())
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it lives");
}

/// A killed process's locks go a moment later.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn leases(test: &Test) -> usize {
    let list = test.args(["list", "--json"]).any_stderr().json();
    let claims = list["claims"].as_array().expect("a list");
    claims.iter().filter(|one| one["term"] == "lease").count()
}

#[test]
fn a_command_finds_its_ports_in_its_environment_and_arguments() {
    let test = Test::of_projects(&["shop"]);
    test.args([
        "run",
        "--project",
        "shop",
        "--",
        "/bin/sh",
        "-c",
        "echo $PORT {port} $PORTCLAIM_PROJECT; printf %s \"$1\"",
        "sh",
        "--bind=[::]:{port}/{x}",
    ])
    .stdout(format!(
        "{0} {0} [HOME]/shop\n--bind=[::]:{0}/{{x}}",
        test.port(0)
    ))
    .run();
    test.shell("cd shop; exec \"$portclaim\" run --service web:VITE_PORT --service my-db -- sh -c 'echo $PORT $WEB_PORT $VITE_PORT $MY_DB_PORT {port:my-db}'")
        .stdout(format!("{0} {0} {0} {1} {1}\n", test.port(1), test.port(2)))
        .run();
    test.assert_shows("shop", test.port(0));
    test.assert_healthy();
}

#[test]
fn what_another_projects_run_set_is_replaced() {
    let test = Test::of_projects(&["shop", "blog"]);
    let inner = "\"$portclaim\" run --project ../blog -- sh -c 'echo $PORT:$WEB_PORT:$API:$PORTCLAIM_PROJECT'";
    test.shell(&format!(
        "cd shop; \"$portclaim\" run --service web:API -- sh -c '{}'",
        inner.replace('\'', "'\\''")
    ))
    .stdout(format!("{}:::[HOME]/blog\n", test.port(1)))
    .run();
    // A socket is another project's, too: a server would serve on it.
    test.shell("cd shop; \"$portclaim\" run --socket -- \"$portclaim\" run --project ../blog -- sh -c 'echo $LISTEN_FDS$LISTEN_PID$LISTEN_FDNAMES:$PORT'")
        .stdout(format!(":{}\n", test.port(1)))
        .run();
}

#[test]
fn portclaim_becomes_the_command() {
    let test = Test::of_projects(&["shop"]);
    let (mut child, line) = started(&test, &[], "echo $$; exec cat");
    assert_eq!(line, child.id().to_string());
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    let (mut child, _) = started(&test, &[], "echo; exit 7");
    assert_eq!(child.wait().expect("it ends").code(), Some(7));
    let (mut child, _) = started(&test, &[], "echo; kill -TERM $$");
    assert_eq!(child.wait().expect("it ends").signal(), Some(15));
}

#[test]
fn a_command_that_cannot_be_started_leaves_no_claim_behind() {
    let test = Test::new();
    test.mkdir("shop");
    let file = test.write("shop/data", "no program");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    for lease in [&[][..], &["--lease"]] {
        for (command, code) in [("no-such-command", 127), ("./nowhere", 127), ("", 127)] {
            test.args(["run"].iter().chain(lease).chain(&["--", command]))
                .cwd("shop")
                .stderr_has("failed to run")
                .code(code)
                .run();
        }
    }
    assert!(!test.root().exists());
    // That it cannot be run, only the attempt tells.
    test.args(["run", "--lease", "--", "./data"])
        .cwd("shop")
        .stderr_has("failed to run ./data")
        .code(126)
        .run();
    assert_eq!(leases(&test), 0);
    for nonsense in [
        &["run"][..],
        &["run", "true"],
        &["run", "--"],
        &["run", "--service", "a:9x", "--", "true"],
        &["run", "--service", "a:", "--", "true"],
        &["run", "--service", ":X", "--", "true"],
        &["run", "--service", "a.b", "--service", "a-b", "--", "true"],
        &["run", "--lease", "--fallback", "--", "true"],
        &["run", "--", "/bin/echo", "{port:web}"],
    ] {
        test.args(nonsense).cwd("shop").any_stderr().code(2).run();
    }
}

#[test]
fn a_stranger_on_the_port_is_named_and_the_command_not_started() {
    let test = Test::of_projects(&["shop"]);
    test.mkdir("elsewhere");
    let server = Server::start(test.port(0), &test.path("elsewhere"));
    let said = test
        .args(["run", "--", "/bin/echo", "{port}"])
        .cwd("shop")
        .stderr_has(format!(
            "error: port {} of [HOME]/shop is in use by ",
            test.port(0)
        ))
        .stderr_has("--fallback")
        .code(1)
        .run();
    if cfg!(target_os = "linux") {
        assert!(
            said.stderr.contains(&format!("pid {}", server.pid())),
            "{}",
            said.stderr
        );
        assert!(
            said.stderr.contains("not of this project"),
            "{}",
            said.stderr
        );
    }
    for flags in [&["--fallback"][..], &["--fallback", "--socket"]] {
        test.args(
            ["run"]
                .iter()
                .chain(flags)
                .chain(&["--", "/bin/echo", "{port}"]),
        )
        .cwd("shop")
        .stderr_has("is in use by")
        .any_stdout()
        .run();
    }
    assert_eq!(leases(&test), 0);
    drop(server);
    test.args(["run", "--", "/bin/echo", "{port}"])
        .cwd("shop")
        .stdout(format!("{}\n", test.port(0)))
        .run();
}

#[test]
fn the_second_run_of_a_project_is_told_of_the_first() {
    let test = Test::of_projects(&["shop"]);
    let (mut first, _) = started(&test, &[], "echo; exec cat");
    let again = |code| {
        test.args(["run", "--", "/bin/echo"])
            .cwd("shop")
            .any_stdout()
            .any_stderr()
            .code(code)
            .run()
    };
    assert_eq!(
        again(1).stderr,
        format!(
            "error: [HOME]/shop runs already, on port {} (pid {})\n\
             hint: --fallback runs it on another port, for as long as it runs\n",
            test.port(0),
            first.id()
        )
    );
    // Another service is another server.
    test.args(["run", "--service", "web", "--", "/bin/echo"])
        .cwd("shop")
        .stdout("\n")
        .run();
    signal(&first, Signal::KILL);
    first.wait().expect("it ends");
    assert_eq!(again(0).stdout, "\n");
    test.assert_healthy();
}

#[test]
fn a_lease_ends_with_the_last_process_that_holds_it() {
    let test = Test::new();
    test.mkdir("shop");
    let flags = ["--lease"];
    let (mut child, line) = started(&test, &flags, "echo $PORT; exec cat");
    assert_eq!(line, test.port(0).to_string());
    assert_eq!(leases(&test), 1);
    // A stopped process holds what it has.
    signal(&child, Signal::STOP);
    test.args(["check", &line])
        .stdout(format!(
            "{line}: claimed by shop (leased) ([HOME]/shop), free\n"
        ))
        .code(1)
        .run();
    test.args(["allocate", "blog", "--port", &line])
        .stderr_has(format!("port {line} is taken by [HOME]/shop"))
        .code(1)
        .run();
    test.mkdir("blog");
    test.args(["allocate", "blog"])
        .stdout(format!("{}\n", test.port(1)))
        .run();
    test.assert_healthy();
    signal(&child, Signal::KILL);
    child.wait().expect("it ends");
    soon("the lease ends", || leases(&test) == 0);
    test.args(["check", &line])
        .stdout(format!("{line}: not claimed, free\n"))
        .run();
    test.assert_healthy();

    // A child that outlives it, as daemons do.
    let script = "sleep 1000 >/dev/null 2>&1 </dev/null & echo $!";
    let (mut child, daemon) = started(&test, &flags, script);
    child.wait().expect("it ends");
    assert_eq!(leases(&test), 1, "the daemon holds it");
    let daemon = daemon
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process");
    kill_process(daemon, Signal::KILL).expect("it lives");
    soon("the daemon's lease ends", || leases(&test) == 0);
    test.assert_healthy();
}

#[test]
fn ports_of_leases_that_ended_are_given_out_again() {
    let test = Test::with_ports(3);
    test.mkdir("shop");
    for turn in 0..10 {
        test.args(["run", "--lease", "--", "/bin/echo", "{port}"])
            .cwd("shop")
            .stdout(format!("{}\n", test.port(turn % 3)))
            .run();
    }
    assert_eq!(test.args(["list", "--json"]).json()["available"], 3);
    let held: Vec<Child> = (0..3)
        .map(|_| started(&test, &["--lease"], "echo; exec cat").0)
        .collect();
    test.args(["run", "--lease", "--", "/bin/echo"])
        .cwd("shop")
        .stderr_has("no port is left")
        .code(1)
        .run();
    for mut child in held {
        drop(child.stdin.take());
        child.wait().expect("it ends");
    }
    test.args(["allocate", "shop"]).any_stdout().run();
    test.assert_healthy();
}

#[test]
fn many_leases_at_once_are_of_different_ports() {
    let test = Test::with_ports(40);
    test.mkdir("shop");
    let children: Vec<(Child, String)> = (0..24)
        .map(|_| started(&test, &["--lease"], "echo $PORT; exec cat"))
        .collect();
    let mut ports: Vec<&String> = children.iter().map(|(_, port)| port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 24);
    assert_eq!(leases(&test), 24);
    for (mut child, _) in children {
        drop(child.stdin.take());
        child.wait().expect("it ends");
    }
}

#[test]
fn a_supervised_command_may_close_what_it_inherited() {
    let test = Test::new();
    test.mkdir("shop");
    // Closes all that it does not know, as Python's subprocess does.
    let script = &format!("{CLOSE} echo $PORT; exec cat");
    for (flags, held) in [(&["--lease", "--supervise"][..], 1), (&["--lease"], 0)] {
        let (mut child, _) = started(&test, flags, script);
        assert_eq!(leases(&test), held, "{flags:?}");
        drop(child.stdin.take());
        assert!(child.wait().expect("it ends").success());
        assert_eq!(leases(&test), 0);
    }

    let script = "trap 'echo told; exit 5' TERM; echo; while :; do sleep 0.01; done";
    let call = test.shell("cd shop; exec \"$portclaim\" run --supervise -- sh -c \"$1\" sh");
    let mut child = call.with_args(["sh", script]).spawn();
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    out.read_line(&mut String::new()).expect("it prints a line");
    signal(&child, Signal::TERM);
    let mut said = String::new();
    out.read_to_string(&mut said).expect("it ends");
    assert_eq!(said, "told\n");
    assert_eq!(child.wait().expect("it ends").code(), Some(5));
    test.shell("cd shop; \"$portclaim\" run --supervise -- sh -c 'kill -KILL $$'")
        .code(128 + 9)
        .run();
}

/// A server of this test program, which takes the socket by the listenfd crate.
fn serves(test: &Test, flags: &[&str]) {
    let this = std::env::current_exe().expect("this program");
    let mut child = Command::new(BINARY)
        .arg("run")
        .args(flags)
        .arg("--")
        .arg(this)
        .args(["--exact", HANDED_THIS])
        .current_dir(test.path("shop"))
        .env("HOME", test.home())
        .env("INTERCEPTOR_PORT_MIN", test.port(0).to_string())
        .env("INTERCEPTOR_PORT_MAX", test.port(7).to_string())
        .env(HANDED, "1")
        .stdout(Stdio::null())
        .spawn()
        .expect("it can be started");
    // From the moment of the claim on, a client is not refused.
    let mut client = None;
    soon("it listens", || {
        client = TcpStream::connect(("127.0.0.1", test.port(0))).ok();
        client.is_some()
    });
    let mut client = client.expect("it is connected");
    client.write_all(b"hello\n").expect("it can be written");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it is answered");
    assert_eq!(answer, "hello\n");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_server_takes_the_socket_that_is_handed_over() {
    let test = Test::new();
    test.mkdir("shop");
    serves(&test, &["--socket"]);
    serves(&test, &["--socket", "--supervise"]);
    test.assert_shows("shop", test.port(0));
    test.assert_healthy();
}

#[test]
fn sockets_are_handed_over_by_name_whatever_is_open() {
    let test = Test::new();
    test.mkdir("shop");
    let python = "import os, socket\n\
        assert int(os.environ['LISTEN_PID']) == os.getpid()\n\
        names = os.environ['LISTEN_FDNAMES'].split(':')\n\
        assert int(os.environ['LISTEN_FDS']) == len(names)\n\
        for at, name in enumerate(names):\n\
        \x20   s = socket.socket(fileno=3 + at)\n\
        \x20   assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1\n\
        \x20   print(name, s.getsockname()[1])\n";
    test.write("shop/server.py", python);
    let has_python = Command::new("python3").arg("--version").output().is_ok();
    if !has_python {
        return skip("sockets handed to Python", "there is no python3");
    }
    // What the caller has open lies where the sockets go.
    let script = "cd shop; exec 3</dev/null 4</dev/null 9</dev/null; \"$portclaim\" run $flags --socket --service a --service b --service c -- python3 server.py";
    for flags in ["", "--supervise"] {
        test.shell(script)
            .env("flags", flags)
            .stdout(format!(
                "a {}\nb {}\nc {}\n",
                test.port(0),
                test.port(1),
                test.port(2)
            ))
            .run();
    }
    test.shell(script)
        .env("flags", "--lease")
        .stdout(format!(
            "a {}\nb {}\nc {}\n",
            test.port(3),
            test.port(4),
            test.port(5)
        ))
        .run();
    let node = "process.env.LISTEN_PID == process.pid || process.exit(9);\
        require('net').createServer().listen({fd: 3}, function () { console.log(this.address().port); process.exit() })";
    if Command::new("node").arg("--version").output().is_err() {
        return skip("sockets handed to Node", "there is no node");
    }
    test.shell("cd shop; \"$portclaim\" run --socket --service a -- node -e \"$node\"")
        .env("node", node)
        .stdout(format!("{}\n", test.port(0)))
        .run();
}
