//! `examples/embed.rs` is what it says: a server on its project's own port.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use portclaim::{ProjectPath, Registry};

use crate::harness::Test;

/// Longer than any child takes from its fork to its program.
const LONG: Duration = Duration::from_secs(20);

#[expect(dead_code, reason = "its `main` is the example's")]
#[path = "../../examples/embed.rs"]
mod example;

#[test]
fn an_embedder_listens_on_its_projects_port() {
    let test = Test::of_projects(&["shop"]);
    let root = test.root().to_str().expect("UTF-8").to_owned();
    let registry = Registry::open(root).expect("it is there");
    let project = || ProjectPath::resolve(test.path("shop")).expect("it is there");
    let (listener, running) = example::listen(&registry, project()).expect("nobody serves");
    let address = listener.local_addr().expect("it has one");
    assert_eq!(address.port(), test.port(0));
    assert!(TcpStream::connect(address).is_ok());
    let second = example::listen(&registry, project()).unwrap_err();
    assert!(second.to_string().contains("is served by"), "{second}");
    drop((listener, running));
    // What said that it ran may live on for a moment, in a child that another test has just forked.
    let end = Instant::now() + LONG;
    let mut again = example::listen(&registry, project());
    while again.is_err() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
        again = example::listen(&registry, project());
    }
    assert!(again.is_ok(), "the port is the same: {again:?}");
}
