//! A server that embeds portclaim: it listens on its project's own port, the same every time.
//!
//! ```sh
//! cargo run --example embed --no-default-features -- path/to/registry    # in the project's directory
//! ```

use std::error::Error;
use std::io::Write;
use std::net::TcpListener;

use portclaim::{Holder, ProjectPath, Registry, Request, Running, Start};

/// Takes the project's port and listens on it. Keep both: the second one says that it runs.
pub(crate) fn listen(
    registry: &Registry,
    project: ProjectPath,
) -> Result<(TcpListener, Running), Box<dyn Error>> {
    let claim = registry.claim(&Request::new(Holder::new(project)))?;
    match claim.start()? {
        Start::First(running) => Ok((claim.bind()?, running)),
        Start::Second { pid } => Err(format!("port {} is served by {pid:?}", claim.port()).into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args()
        .nth(1)
        .ok_or("name the registry's directory")?;
    let registry = Registry::open(root)?;
    let (listener, _running) = listen(&registry, ProjectPath::resolve(".")?)?;
    let mut out = std::io::stderr();
    for notice in registry.take_notices() {
        writeln!(out, "{notice:?}")?;
    }
    writeln!(out, "http://{}", listener.local_addr()?)?;
    for stream in listener.incoming() {
        stream?.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n")?;
    }
    Ok(())
}
