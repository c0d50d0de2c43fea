//! Power cuts, kills and failing calls, at every step of every operation, on the simulated disk.
//!
//! All instruments work alike. A [`Scene`](scenes::Scene) is a disk, what was told about it, and
//! an operation. A probe sees each step of the operation, and does something there. What is
//! left is [checked](check::check): it must agree with what was [told](told::Told), and
//! everything must go on working.
//!
//! ```sh
//! cargo test --lib adversity -- --nocapture                        # says how much was tried
//! cargo test --release --lib deep -- --ignored --nocapture         # tries more, for minutes
//! PROPTEST_CASES=300000 cargo test --release --lib adversity::model
//! ```
//!
//! The operations run on one thread, one inside a step of the other where they interleave: each
//! run is the same every time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Result;
use crate::fs::sim::{Disk, Fault, Probe, SimDir, Step, Verdict, is_killed};
use crate::record::Nonce;

use super::{Durability, Leased, Store};
use op::{Answer, Op};

mod check;
mod faults;
mod file;
mod holders;
mod kills;
mod leases;
mod meeting;
mod model;
mod moves;
mod op;
mod play;
mod power_cuts;
mod renewals;
mod run;
mod scenes;
mod sets;
mod stage;
mod terms;
mod together;
mod told;
mod tried;

/// A disk's directories. The last two are where a release that archives moves things.
const DIRS: [&str; 7] = [
    "ports",
    "projects",
    "staging",
    "index",
    "quarantine",
    "backups/1/ports",
    "backups/1/projects",
];

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether no other thread can be waited for: whoever is in the way is stopped.
pub(super) fn is_alone() -> bool {
    ALONE.get()
}

/// What holds leases, longest first: processes that do nothing else.
type Leases = Rc<RefCell<VecDeque<Leased<SimDir>>>>;

/// A simulated disk that processes work on.
struct World {
    dirs: [SimDir; 7],
    leases: Leases,
}

impl World {
    fn new(faults: &[Fault]) -> World {
        World::on(SimDir::disk(DIRS, faults))
    }

    fn mount(disk: &Disk) -> World {
        World::on(disk.mount(DIRS))
    }

    fn on(dirs: [SimDir; 7]) -> World {
        ALONE.set(true);
        let leases = Leases::default();
        World { dirs, leases }
    }

    /// Returns a copy of the disk, on which all processes are dead.
    fn disk(&self) -> Disk {
        self.dirs[0].killed()
    }

    /// Starts a process. Its number makes its nonces its own.
    fn process(&self, number: u8) -> Process {
        Process::on(self.dirs.clone(), &self.leases, number)
    }

    /// Starts a process whose steps are watched.
    fn watched(&self, number: u8, probe: impl Fn(Step<'_>) -> Verdict + 'static) -> Process {
        let probe: Probe = Rc::new(probe);
        let dirs = self.dirs.each_ref().map(|dir| dir.watched(&probe));
        Process::on(dirs, &self.leases, number)
    }
}

/// A process, or what one would have open.
struct Process {
    store: Store<SimDir>,
    quarantine: SimDir,
    archive: [SimDir; 2],
    leases: Leases,
}

impl Process {
    fn on(dirs: [SimDir; 7], leases: &Leases, number: u8) -> Process {
        let [ports, projects, staging, index, quarantine, archive @ ..] = dirs;
        let draws = AtomicU32::new(0);
        let draw = Box::new(move || -> io::Result<Nonce> {
            let mut bytes = [0; 16];
            bytes[0] = number;
            bytes[1..5].copy_from_slice(&draws.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            Ok(Nonce::from_bytes(bytes))
        });
        Process {
            store: Store {
                ports,
                projects,
                staging,
                index,
                durability: Durability::Durable,
                draw,
            },
            quarantine,
            archive,
            leases: leases.clone(),
        }
    }

    /// Runs an operation to its end; `None` where the process was killed in it.
    fn run(&self, op: Op) -> Option<Result<Answer>> {
        match catch_unwind(AssertUnwindSafe(|| op.run(self))) {
            Ok(answer) => Some(answer),
            Err(payload) if is_killed(payload.as_ref()) => None,
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// Returns how many steps the operation takes on this disk if nothing happens.
fn steps(disk: &Disk, op: Op) -> usize {
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    World::mount(disk)
        .watched(play::OPERATION, move |_| {
            counted.set(counted.get() + 1);
            Verdict::Go
        })
        .run(op);
    count.get()
}

/// Prints what an instrument has done. Shown by `--nocapture`.
#[expect(clippy::print_stderr, reason = "a test's output is captured")]
fn report(line: &str) {
    eprintln!("{line}");
}
