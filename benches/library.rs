//! Library operations beside the system calls that they cannot do without, in one process.
//!
//! ```sh
//! cargo bench --bench library                               # in the current directory's file system
//! PORTCLAIM_BENCH_DIR=/dev/shm cargo bench --bench library
//! ```
//!
//! Nothing is flushed: what is compared is the work, not the disk. Both sides take turns;
//! medians and their ratio are printed.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark is a program of its own"
)]

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use portclaim::{Durability, Holder, IndexPolicy, PortRange, ProjectPath, Registry, Request};
use rustix::fs::{AtFlags, Mode, OFlags};

/// Operations of each kind that count, in batches: a batch of one side, then one of the other.
const ROUNDS: usize = 100;
const BATCH: usize = 50;
/// What a record is as long as, bytes.
const RECORD: [u8; 130] = [b'x'; 130];

fn main() {
    let dir =
        std::env::var_os("PORTCLAIM_BENCH_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    for claims in [0, 1_000] {
        let root = tempfile::tempdir_in(&dir).expect("a directory");
        let path = Utf8PathBuf::from_path_buf(root.path().to_owned()).expect("UTF-8");
        compare(&path, claims);
    }
}

fn holder(kind: &str, number: usize) -> Holder {
    Holder::new(ProjectPath::from_normal(format!("/bench/{kind}/{number}")).expect("normal"))
}

fn compare(root: &Utf8PathBuf, claims: usize) {
    let range: PortRange = "10000-31999".parse().expect("a range");
    let registry = Registry::options()
        .range(range)
        .durability(Durability::Volatile)
        .index(IndexPolicy::Mark)
        .open(root.join("registry"))
        .expect("opens");
    for number in 0..claims {
        let _ = registry
            .claim(&Request::new(holder("filled", number)))
            .expect("a port");
    }
    registry.refresh_index().expect("an index");
    let raw = Raw::new(root, claims);

    let mut times: [Vec<Duration>; 4] = std::array::from_fn(|_| Vec::new());
    let mut number = 0;
    // As long as portclaim's, and like those made before they are used.
    let names: Vec<String> = (0..BATCH).map(name).collect();
    for _ in 0..ROUNDS {
        let numbers = number..number + BATCH;
        let holders: Vec<Holder> = numbers
            .clone()
            .map(|number| holder("new", number))
            .collect();
        let requests: Vec<Request> = holders.iter().cloned().map(Request::new).collect();
        number += BATCH;
        let mut records = Vec::with_capacity(BATCH);
        times[0].push(timed(|| {
            for request in &requests {
                records.push(registry.claim(request).expect("a port").keep());
            }
        }));
        times[1].push(timed(|| {
            numbers
                .clone()
                .for_each(|number| raw.claim(number, &names[number % BATCH]));
        }));
        times[2].push(timed(|| {
            for holder in &holders {
                registry.find(holder).expect("reads").expect("a port");
            }
        }));
        times[3].push(timed(|| {
            numbers
                .clone()
                .for_each(|number| raw.look_up(&names[number % BATCH]));
        }));
        // Given back, and the marks with them, so that the count stays.
        for (record, number) in records.iter().zip(numbers) {
            registry.release(record).expect("releases");
            raw.remove(&names[number % BATCH]);
        }
        registry.refresh_index().expect("an index");
    }
    let [claim, raw_claim, find, raw_find] = times.map(median);
    println!("{claims} claims");
    report("claim", claim, raw_claim);
    report("look-up", find, raw_find);
}

fn name(number: usize) -> String {
    format!("{number:032x}.claim")
}

/// The floor: the same files by bare system calls.
struct Raw {
    ports: OwnedFd,
    projects: OwnedFd,
    staging: OwnedFd,
}

const CREATE: OFlags = OFlags::CREATE
    .union(OFlags::EXCL)
    .union(OFlags::RDWR)
    .union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

impl Raw {
    fn new(root: &Utf8PathBuf, claims: usize) -> Raw {
        let open = |name: &str| {
            let path = root.join("raw").join(name);
            std::fs::create_dir_all(&path).expect("a directory");
            rustix::fs::open(
                path.as_str(),
                OFlags::RDONLY | OFlags::DIRECTORY,
                Mode::empty(),
            )
            .expect("opens")
        };
        let raw = Raw {
            ports: open("ports"),
            projects: open("projects"),
            staging: open("staging"),
        };
        for number in 0..claims {
            raw.claim(number, &name(100_000 + number));
        }
        raw
    }

    /// Probe, create and write the claim, stage the commit and publish it.
    fn claim(&self, number: usize, name: &str) {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::INET6,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        let port = 10_000 + u16::try_from(number % 20_000).expect("a port");
        let address = std::net::SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, port, 0, 0);
        let _ = rustix::net::bind(&socket, &address);
        drop(socket);
        create(&self.ports, name);
        create(&self.staging, name);
        rustix::fs::renameat_with(
            &self.staging,
            name,
            &self.projects,
            name,
            rustix::fs::RenameFlags::NOREPLACE,
        )
        .expect("publishes");
    }

    fn look_up(&self, name: &str) {
        for dir in [&self.projects, &self.ports] {
            let file = rustix::fs::openat(dir, name, READ, Mode::empty()).expect("opens");
            let mut bytes = [0; 1024];
            assert_eq!(
                rustix::io::read(&file, &mut bytes).expect("reads"),
                RECORD.len()
            );
        }
    }

    fn remove(&self, name: &str) {
        for dir in [&self.projects, &self.ports] {
            rustix::fs::unlinkat(dir, name, AtFlags::empty()).expect("removes");
        }
    }
}

fn create(dir: impl AsFd, name: &str) {
    let file = rustix::fs::openat(dir, name, CREATE, Mode::from_raw_mode(0o600)).expect("creates");
    assert_eq!(
        rustix::io::write(&file, &RECORD).expect("writes"),
        RECORD.len()
    );
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6 / f64::from(u32::try_from(BATCH).expect("small"))
}

fn report(what: &str, ours: f64, floor: f64) {
    println!(
        "  {what:8} {ours:>7.2} us, system calls alone {floor:>7.2} us: {:.2} x",
        ours / floor
    );
}
