//! A process that listens on a port, in a directory and as a user of its choice.
//!
//! It opens the socket itself: one that this process opened would for moments belong to whatever
//! other tests start as well.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::Running;

/// The port to listen on; set in the server alone.
pub(crate) const PORT: &str = "PORTCLAIM_TEST_SERVER";

/// The name to go by; set in the server alone.
const NAME: &str = "PORTCLAIM_TEST_SERVER_NAME";

/// The test that listens, as libtest knows it.
pub(crate) const THIS: &str = "server::listens_where_it_is_told_to";

/// Set in a server that is handed its socket.
pub(crate) const HANDED: &str = "PORTCLAIM_TEST_HANDED";

/// The test that serves from it, as libtest knows it.
pub(crate) const HANDED_THIS: &str = "server::serves_the_socket_that_it_was_handed";

/// A server, which ends with this value.
pub(crate) struct Server {
    child: Running,
}

impl Server {
    /// Starts a server in a directory, and returns when it listens.
    pub(crate) fn start(port: u16, directory: &Path) -> Server {
        Server::of(Server::command(port).current_dir(directory))
    }

    /// The same as another user, which only root can.
    pub(crate) fn start_as(user: u32, port: u16, directory: &Path) -> Server {
        let mut command = Server::command(port);
        Server::of(command.current_dir(directory).uid(user).gid(user))
    }

    /// The same as a process that goes by this name.
    pub(crate) fn start_called(name: &str, port: u16, directory: &Path) -> Server {
        let mut command = Server::command(port);
        Server::of(command.current_dir(directory).env(NAME, name))
    }

    fn command(port: u16) -> Command {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command
            .args(["--exact", THIS])
            .env_clear()
            .env(PORT, port.to_string());
        command
    }

    fn of(command: &mut Command) -> Server {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Server::listening(Running(child.expect("this program can be started")))
    }

    /// Waits until a child that has been started as a server listens.
    pub(crate) fn listening(mut child: Running) -> Server {
        let said = child.stderr.take().expect("it is piped");
        let mut line = String::new();
        let read = BufReader::new(said).read_line(&mut line);
        read.expect("it can be read");
        assert_eq!(line, "listening\n");
        Server { child }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the name that the process goes by.
    pub(crate) fn command_name(&self) -> String {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid()));
        name.expect("Linux has it").trim_end().to_owned()
    }
}

/// Nothing, except in a server.
#[test]
fn listens_where_it_is_told_to() {
    let Ok(port) = std::env::var(PORT) else {
        return;
    };
    let port: u16 = port.parse().expect("a port");
    let _socket = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    if let Ok(name) = std::env::var(NAME) {
        fs::write("/proc/self/comm", name).expect("its own name");
    }
    // libtest does not catch this.
    writeln!(std::io::stderr(), "listening").expect("the test reads it");
    // Until the test is over, whatever becomes of it.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Nothing, except in a server: gives one client back what it sent.
#[test]
fn serves_the_socket_that_it_was_handed() {
    if std::env::var_os(HANDED).is_none() {
        return;
    }
    let mut handed = listenfd::ListenFd::from_env();
    assert_eq!(handed.len(), 1);
    let socket = handed.take_tcp_listener(0).expect("a TCP socket");
    let (mut client, _) = socket.expect("it is there").accept().expect("a client");
    let mut line = String::new();
    BufReader::new(&client)
        .read_line(&mut line)
        .expect("a line");
    client.write_all(line.as_bytes()).expect("it is read");
}
