//! Asks what listens on a port whether it is an interceptor, and whose.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use portclaim::Holder;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::forward::HEALTH;

/// How long an answer may take: what listens may be anything.
const TIME: Duration = Duration::from_secs(2);

/// Longest answer, bytes.
const LEN_MAX: usize = 64 * 1024;

/// What an interceptor says of itself.
#[derive(Deserialize)]
pub(super) struct Peer {
    program: String,
    project: String,
    service: String,
    pub(super) pid: u32,
}

impl Peer {
    /// Returns whether it serves this project.
    pub(super) fn is_of(&self, holder: &Holder) -> bool {
        self.program == env!("CARGO_BIN_NAME")
            && self.project == holder.project().as_str()
            && self.service == holder.service()
    }
}

/// Returns what is said there; `None` where nobody is, or something else, or one that is about to end.
pub(super) async fn ask(address: SocketAddr) -> Option<Peer> {
    timeout(TIME, exchange(address)).await.ok().flatten()
}

async fn exchange(address: SocketAddr) -> Option<Peer> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    // It ends with the sender.
    tokio::spawn(connection);
    let request = Request::get(HEALTH).header(HOST, address.to_string());
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let answer = sender.send_request(request).await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    let body = Limited::new(answer.into_body(), LEN_MAX).collect();
    let body = body.await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}
