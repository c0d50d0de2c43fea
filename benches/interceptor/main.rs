//! Both ends of the interceptor's measurements: a server that takes no time, and a client that reads streams.
//! `benches/interceptor.sh` runs this, with proxies in between and `wrk` for everything else.
//!
//! ```sh
//! interceptor serve              # prints its port; JSON at once, or a stream as `x-plan` says
//! interceptor delay PORT         # one stream after the other; prints delays in microseconds
//! interceptor hold PORT COUNT    # so many streams at once, until its standard input ends
//! ```
//!
//! Delays are told from times within the chunks: all processes of a host read the same clock.
#![expect(clippy::print_stdout, reason = "a benchmark is a program of its own")]

use std::io::{self, ErrorKind, Read};
use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::time::sleep;

/// A small answer of a model.
const JSON: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"fake","choices":[{"index":0,"message":{"role":"assistant","content":"A stable port of its own for every project."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}"#;

const REQUEST: &str =
    r#"{"model":"fake","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// What is read of a stream one after the other: so many, each of so many chunks, milliseconds apart.
const STREAMS: usize = 100;
const CHUNKS: u64 = 10;
const PAUSE: u64 = 2;

/// Milliseconds between the chunks of a stream that is held open; it ends some time after all should be.
const HELD_PAUSE: u64 = 1_000;
const HELD_CHUNKS: u64 = 120;

fn main() -> io::Result<()> {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| {
        text.parse()
            .map_err(|_| io::Error::from(ErrorKind::InvalidInput))
    };
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match args[..] {
        ["serve", ..] => runtime.block_on(serve()),
        ["delay", port, ..] => runtime.block_on(delays(number(port)?)),
        ["hold", port, count, ..] => runtime.block_on(hold(number(port)?, number(count)?.into())),
        _ => {
            println!("benches/interceptor.sh runs this");
            Ok(())
        }
    }
}

async fn serve() -> io::Result<()> {
    let listener = tokio::net::TcpSocket::new_v4()?;
    listener.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener: TcpListener = listener.listen(4096)?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // Whoever goes away does not want the rest.
            let _ = answer_all(stream).await;
        });
    }
}

/// Answers the requests of a connection, one after the other.
async fn answer_all(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8192);
    while let Some(head_len) = read_until(&mut stream, &mut buffer, b"\r\n\r\n").await? {
        let head = String::from_utf8_lossy(&buffer[..head_len]).to_ascii_lowercase();
        let body_len: usize =
            field(&head, "content-length").map_or(0, |text| text.parse().unwrap_or(0));
        while buffer.len() < head_len + body_len {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..head_len + body_len);
        if let Some((chunks, pause)) = field(&head, "x-plan").and_then(plan) {
            send_stream(&mut stream, chunks, pause).await?;
        } else {
            let len = JSON.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n\r\n{JSON}"
            );
            stream.write_all(answer.as_bytes()).await?;
        }
        if field(&head, "connection") == Some("close") {
            return stream.shutdown().await;
        }
    }
    Ok(())
}

/// Sends chunks that tell when they were sent.
async fn send_stream(stream: &mut TcpStream, chunks: u64, pause: Duration) -> io::Result<()> {
    stream.write_all(STREAM_HEAD.as_bytes()).await?;
    for number in 0..chunks {
        if number > 0 {
            sleep(pause).await;
        }
        let event = format!("data: {{\"at\":{}}}\n\n", now());
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        stream.write_all(chunk.as_bytes()).await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

async fn delays(port: u16) -> io::Result<()> {
    let mut stream = connect(port).await?;
    let (mut firsts, mut others) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        let start = now();
        ask(&mut stream, CHUNKS, PAUSE).await?;
        let mut buffer = Vec::new();
        let (mut seen, mut count) = (0, 0);
        while !buffer.ends_with(b"\r\n0\r\n\r\n") {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let arrived = now();
            for sent in events(&buffer, &mut seen) {
                match count {
                    0 => firsts.push(arrived - start),
                    _ => others.push(arrived - sent),
                }
                count += 1;
            }
        }
        if count != CHUNKS {
            return Err(io::Error::other(format!(
                "{count} chunks came, not {CHUNKS}"
            )));
        }
    }
    let [first, chunk] = [&mut firsts, &mut others].map(|delays| {
        delays.sort_unstable();
        let at = |percent: usize| micros(delays[delays.len() * percent / 100]);
        format!("{} {}", at(50), at(99))
    });
    println!("{first} {chunk}");
    Ok(())
}

/// Opens streams, says so when each has sent something, and reads them on.
async fn hold(port: u16, count: usize) -> io::Result<()> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut stream = connect(port).await?;
        ask(&mut stream, HELD_CHUNKS, HELD_PAUSE).await?;
        open.push(stream);
    }
    for stream in &mut open {
        let found = read_until(stream, &mut Vec::new(), b"data: ").await?;
        found.ok_or(ErrorKind::UnexpectedEof)?;
    }
    println!("open");
    for mut stream in open {
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|len| len > 0) {}
        });
    }
    let ended = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
    ended.await.map_err(io::Error::other)?.map(drop)
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn ask(stream: &mut TcpStream, chunks: u64, pause: u64) -> io::Result<()> {
    let len = REQUEST.len();
    let port = stream.peer_addr()?.port();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\nx-plan: {chunks} {pause}\r\ncontent-length: {len}\r\n\r\n{REQUEST}"
    );
    stream.write_all(request.as_bytes()).await
}

/// Reads on until these bytes are there; returns where they end, `None` at the stream's end.
async fn read_until(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    what: &[u8],
) -> io::Result<Option<usize>> {
    loop {
        if let Some(at) = memchr::memmem::find(buffer, what) {
            return Ok(Some(at + what.len()));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Returns when the events were sent that are whole, from a position on, which it moves behind them.
fn events(buffer: &[u8], seen: &mut usize) -> Vec<u64> {
    let mut sent = Vec::new();
    while let Some(end) = memchr::memmem::find(&buffer[*seen..], b"}\n\n") {
        let text = String::from_utf8_lossy(&buffer[*seen..*seen + end]);
        let at: Option<u64> = text
            .rsplit(':')
            .next()
            .and_then(|digits| digits.parse().ok());
        sent.extend(at);
        *seen += end + 3;
    }
    sent
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        Some(value.trim())
    })
}

fn plan(text: &str) -> Option<(u64, Duration)> {
    let (chunks, pause) = text.split_once(' ')?;
    Some((
        chunks.parse().ok()?,
        Duration::from_millis(pause.parse().ok()?),
    ))
}

/// Nanoseconds on a clock that all processes share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let nanos = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    nanos.try_into().unwrap_or(0)
}

fn micros(nanos: u64) -> String {
    format!("{}.{}", nanos / 1000, nanos % 1000 / 100)
}
