//! Runs a keeper for each worker, and has what they tell checked meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::action::KINDS;
use super::checker::{Checker, Kind, Violation};
use super::history::{Moment, Operation};
use super::keeper::{Keeper, nanos};
use super::plan::Plan;

/// How often what was told is checked.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// How long after the end a worker may still be at its last operation. None takes a
/// hundredth of this.
const GRACE: Duration = Duration::from_secs(30);

/// What was done, in numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Operations that came to an end, by kind.
    pub(super) operations: [u64; KINDS.len()],
    pub(super) kills: u64,
    pub(super) stops: u64,
    pub(super) exhausted: u64,
    pub(super) contended: u64,
}

/// What came of a run.
pub(super) struct Ran {
    pub(super) tally: Tally,
    pub(super) checker: Checker,
    pub(super) violation: Option<Violation>,
}

/// What the keepers tell the checker.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) operations: Vec<Operation>,
    /// By worker: a moment before which it starts nothing that was not told.
    pub(super) told_until: Vec<Moment>,
    /// By worker: its process, until it is waited for.
    pub(super) processes: Vec<Option<Pid>>,
    pub(super) tally: Tally,
    failure: Option<String>,
}

pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    over: AtomicBool,
}

impl Shared {
    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn fail(&self, why: String) {
        self.inbox().failure.get_or_insert(why);
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Runs the plan to its end, or to the first violation.
///
/// # Errors
///
/// Where workers cannot be started.
pub(super) fn run(plan: &Plan) -> Result<Ran, String> {
    let workers = plan.workers as usize;
    let shared = Shared {
        inbox: Mutex::new(Inbox {
            told_until: vec![Moment::now(); workers],
            processes: vec![None; workers],
            ..Inbox::default()
        }),
        over: AtomicBool::new(false),
    };
    let mut checker = Checker::new(plan);
    let violation = thread::scope(|scope| {
        for number in 0..plan.workers {
            let keeper = Keeper::new(plan, number, &shared);
            scope.spawn(move || keeper.keep());
        }
        let violation = check_along(plan, &shared, &mut checker);
        shared.over.store(true, Ordering::Relaxed);
        violation
    });
    let inbox = shared.inbox.into_inner();
    let inbox = inbox.unwrap_or_else(PoisonError::into_inner);
    if let Some(why) = inbox.failure {
        return Err(why);
    }
    Ok(Ran {
        tally: inbox.tally,
        checker,
        violation,
    })
}

/// Checks what is told while the keepers run. Returns when they are done, or should be.
fn check_along(plan: &Plan, shared: &Shared, checker: &mut Checker) -> Option<Violation> {
    let patience = Moment(plan.until.0.saturating_add(nanos(GRACE)));
    loop {
        thread::sleep(CHECK_EVERY);
        let (operations, until) = {
            let mut inbox = shared.inbox();
            let until = inbox.told_until.iter().min().copied();
            (
                std::mem::take(&mut inbox.operations),
                until.unwrap_or(Moment::NEVER),
            )
        };
        for operation in operations {
            checker.add(operation);
        }
        if let Err(violation) = checker.advance(until) {
            return Some(violation);
        }
        if until == Moment::NEVER || shared.is_over() {
            return None;
        }
        if Moment::now() > patience {
            return Some(hung(shared));
        }
    }
}

/// Ends the workers that do not end by themselves, and says so.
fn hung(shared: &Shared) -> Violation {
    let inbox = shared.inbox();
    let mut hung = Vec::new();
    for (number, process) in inbox.processes.iter().enumerate() {
        if let Some(process) = process {
            hung.push(number.to_string());
            let _ = kill_process(*process, Signal::KILL);
        }
    }
    let hung = hung.join(", ");
    Violation::new(
        Kind::Hung,
        format!("workers did not come to an end, and were killed: {hung}"),
    )
}
