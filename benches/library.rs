//! Library operations beside the system calls that they cannot do without, in one process:
//! from none to 60,000 claims, and with several threads on one registry.
//!
//! ```sh
//! cargo bench --bench library
//! PORTCLAIM_BENCH_DIR=/dev/shm cargo bench --bench library  # in this directory's file system
//! PORTCLAIM_BENCH_CLAIMS=10000 cargo bench --bench library  # at this number of claims only
//! ```
//!
//! Nothing is flushed: what is compared is the work, not the disk. Both sides take turns;
//! medians and their ratio are printed.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark is a program of its own"
)]

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use portclaim::{Durability, Holder, IndexPolicy, PortRange, ProjectPath, Registry, Request};

mod common;
#[path = "common/floor.rs"]
mod floor;

use common::{median, millis, temporary, timed};
use floor::{Probe, Raw, name};

const RANGE: &str = "1024-65535";
const CLAIMS: [usize; 4] = [0, 1_000, 10_000, 60_000];
/// Operations of each kind that count, in batches: a batch of one side, then one of the other.
const ROUNDS: usize = 100;
const BATCH: usize = 50;
/// Every so many rounds the registry file is written, as a program would that claims more often
/// than others read it. What is behind a refresh then reads the file's projects once.
const REFRESHED: usize = 10;
const THREADS: [usize; 3] = [1, 2, 4];
/// Turns of each side for each number of threads, and what each thread does in one.
const TURNS: usize = 25;
const CLAIMS_A_TURN: usize = 50;
const LOOK_UPS_A_TURN: usize = 2_000;

fn main() {
    let only = std::env::var("PORTCLAIM_BENCH_CLAIMS").ok();
    let only = only.map(|claims| vec![claims.parse().expect("a number")]);
    for claims in only.unwrap_or(CLAIMS.to_vec()) {
        let root = temporary();
        let root = Utf8PathBuf::from_path_buf(root.path().to_owned()).expect("UTF-8");
        let registry = filled(&root, claims);
        let raw = Raw::filled(&root, claims);
        println!("{claims} claims");
        one_by_one(&registry, &raw);
        for threads in THREADS {
            at_once(&registry, &raw, threads);
        }
    }
}

fn filled(root: &Utf8Path, claims: usize) -> Registry {
    let registry = Registry::options()
        .range(RANGE.parse::<PortRange>().expect("a range"))
        .durability(Durability::Volatile)
        .index(IndexPolicy::Mark)
        .open(root.join("registry"))
        .expect("opens");
    for request in requests(&holders("filled", 0, claims)) {
        let _ = registry.claim(&request).expect("a port");
    }
    registry.refresh_index().expect("an index");
    registry
}

fn holders(kind: &str, first: usize, count: usize) -> Vec<Holder> {
    (first..first + count)
        .map(|number| ProjectPath::from_normal(format!("/bench/{kind}/{number}")))
        .map(|path| Holder::new(path.expect("normal")))
        .collect()
}

fn requests(holders: &[Holder]) -> Vec<Request> {
    holders.iter().cloned().map(Request::new).collect()
}

/// Each operation by itself, by one thread.
fn one_by_one(registry: &Registry, raw: &Raw) {
    let mut times: [Vec<Duration>; 8] = std::array::from_fn(|_| Vec::new());
    // Like the requests, made before they are used.
    let names: Vec<String> = (0..BATCH).map(name).collect();
    for round in 0..ROUNDS {
        let first = round * BATCH;
        let holders = holders("new", first, BATCH);
        let requests = requests(&holders);
        let mut records = Vec::with_capacity(BATCH);
        let kind = if round % REFRESHED == 0 { 4 } else { 0 };
        times[kind].push(timed(|| {
            for request in &requests {
                records.push(registry.claim(request).expect("a port").keep());
            }
        }));
        times[1].push(timed(|| {
            for (number, name) in names.iter().enumerate() {
                raw.claim(first + number, name);
            }
        }));
        times[2].push(timed(|| {
            for holder in &holders {
                registry.find(holder).expect("reads").expect("a port");
            }
        }));
        times[3].push(timed(|| names.iter().for_each(|name| raw.look_up(name))));
        let mut leases = Vec::with_capacity(BATCH);
        times[5].push(timed(|| {
            for request in &requests {
                leases.push(registry.lease(request).expect("a port"));
            }
        }));
        drop(leases);
        for (kind, how) in [(6, Probe::Bare), (7, Probe::Telling)] {
            times[kind].push(raw_leases(raw, first, how));
        }
        // Given back, so that the count stays.
        for (record, name) in records.iter().zip((0..BATCH).map(name)) {
            registry.release(record).expect("releases");
            raw.remove(&name);
        }
        if (round + 1) % REFRESHED == 0 {
            registry.refresh_index().expect("an index");
        }
    }
    let [
        claim,
        raw_claim,
        find,
        raw_find,
        behind,
        lease,
        raw_lease,
        telling,
    ] = times.map(|mut times| {
        millis(median(&mut times)) * 1e3 / f64::from(u32::try_from(BATCH).expect("small"))
    });
    report("claim", claim, raw_claim);
    println!("  behind a refresh, the first {BATCH}: {behind:.2} us each");
    report("look-up", find, raw_find);
    report("lease", lease, raw_lease);
    println!(
        "    with the probe's two options {telling:.2} us: {:.2} x",
        lease / telling
    );
}

/// How long the floor of so many leases takes.
fn raw_leases(raw: &Raw, first: usize, how: Probe) -> Duration {
    // Other names than those of the claims.
    let names: Vec<String> = (0..BATCH).map(|number| name(50_000 + number)).collect();
    let mut files = Vec::with_capacity(BATCH);
    let time = timed(|| {
        for (number, name) in names.iter().enumerate() {
            files.push(raw.lease(first + number, name, how));
        }
    });
    for name in &names {
        raw.remove_lease(name);
    }
    time
}

fn report(what: &str, ours: f64, floor: f64) {
    println!(
        "  {what:8} {ours:>7.2} us, system calls alone {floor:>7.2} us: {:.2} x",
        ours / floor
    );
}

/// So many threads at once on one registry, each for projects of its own.
fn at_once(registry: &Registry, raw: &Raw, threads: usize) {
    let holders: Vec<_> = (0..threads)
        .map(|thread| holders("thread", thread * CLAIMS_A_TURN, CLAIMS_A_TURN))
        .collect();
    let requests: Vec<_> = holders.iter().map(|holders| requests(holders)).collect();
    let names: Vec<Vec<String>> = (0..threads)
        .map(|thread| thread * CLAIMS_A_TURN)
        .map(|first| (first..first + CLAIMS_A_TURN).map(name).collect())
        .collect();

    let mut times: [Vec<Duration>; 4] = std::array::from_fn(|_| Vec::new());
    for turn in 0..TURNS {
        times[0].push(in_threads(threads, |thread| {
            for request in &requests[thread] {
                let record = registry.claim(request).expect("a port").keep();
                registry.release(&record).expect("releases");
            }
        }));
        if turn % REFRESHED == 0 {
            registry.refresh_index().expect("an index");
        }
        times[1].push(in_threads(threads, |thread| {
            for (number, name) in names[thread].iter().enumerate() {
                raw.claim(thread * CLAIMS_A_TURN + number, name);
                raw.remove(name);
            }
        }));
    }
    let claimed: Vec<_> = requests
        .iter()
        .flatten()
        .map(|request| registry.claim(request).expect("a port").keep())
        .collect();
    for (number, name) in names.iter().flatten().enumerate() {
        raw.claim(number, name);
    }
    for _ in 0..TURNS {
        times[2].push(in_threads(threads, |thread| {
            for holder in holders[thread].iter().cycle().take(LOOK_UPS_A_TURN) {
                registry.find(holder).expect("reads").expect("a port");
            }
        }));
        times[3].push(in_threads(threads, |thread| {
            let names = names[thread].iter().cycle();
            names
                .take(LOOK_UPS_A_TURN)
                .for_each(|name| raw.look_up(name));
        }));
    }
    for (record, name) in claimed.iter().zip(names.iter().flatten()) {
        registry.release(record).expect("releases");
        raw.remove(name);
    }
    registry.refresh_index().expect("an index");

    let [claim, raw_claim, find, raw_find] = times;
    println!("  {threads} thread{}", if threads == 1 { "" } else { "s" });
    report_rate(
        "claim and release",
        threads * CLAIMS_A_TURN,
        claim,
        raw_claim,
    );
    report_rate("look-up", threads * LOOK_UPS_A_TURN, find, raw_find);
}

/// How long it takes until all have done `work`, which is told the thread's number.
fn in_threads(threads: usize, work: impl Fn(usize) + Sync) -> Duration {
    timed(|| {
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let work = &work;
                scope.spawn(move || work(thread));
            }
        });
    })
}

fn report_rate(what: &str, operations: usize, ours: Vec<Duration>, floor: Vec<Duration>) {
    let operations = f64::from(u32::try_from(operations).expect("small"));
    let [ours, floor] =
        [ours, floor].map(|mut times| operations / median(&mut times).as_secs_f64());
    println!(
        "    {what:17} {ours:>8.0}/s, system calls alone {floor:>8.0}/s: {:.2} x",
        floor / ours
    );
}
