//! Runs the workers, writes down what they tell, and kills and stops them at random instants.
//!
//! Each worker has a keeper, a thread that reads its pipe. A keeper that is told of the beginning of
//! an operation may draw to hit it: then it waits for some part of the time that such operations
//! take, and kills the worker, or stops it and lets it go on later. A killed worker is replaced.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use super::WORKER;
use super::checker::{Checker, Kind, Violation};
use super::history::{Action, Answer, KINDS, Line, Moment, Operation, Seen};
use super::plan::Plan;
use super::worker::Orders;

/// How often what was told is checked.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// How long after the end a worker may still be at its last operation. None takes a
/// hundredth of this.
const GRACE: Duration = Duration::from_secs(30);

/// How long after a child's output was closed its leases may still be: both are closed when it ends,
/// one after the other.
const EXIT: Duration = Duration::from_millis(100);

/// A stopped worker is stopped for less than the first, in which the others come a long way; and
/// now and then for up to the second: longer than they try again before they change their way.
const STOP_MAX: [Duration; 2] = [Duration::from_millis(40), Duration::from_millis(400)];

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
struct Inbox {
    operations: Vec<Operation>,
    /// By worker: a moment before which it starts nothing that was not told.
    told_until: Vec<Moment>,
    /// By worker: its process, until it is waited for.
    processes: Vec<Option<Pid>>,
    tally: Tally,
    failure: Option<String>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    over: AtomicBool,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn fail(&self, why: String) {
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

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Keeps one worker, and its successors.
struct Keeper<'a> {
    plan: &'a Plan,
    number: u32,
    shared: &'a Shared,
    random: Rng,
    /// How long operations take, by kind: the mean of the last ones.
    usual: [Duration; KINDS.len()],
    /// What starts until then may have met a stop.
    stopped_until: Moment,
    /// The leases of the worker that is running.
    leases: Vec<Seen>,
    /// When it was last heard of.
    heard: Moment,
}

/// An operation that has begun, as far as it is known.
#[derive(Clone, Copy)]
struct Begun {
    start: Moment,
    action: Action,
}

impl<'a> Keeper<'a> {
    fn new(plan: &'a Plan, number: u32, shared: &'a Shared) -> Keeper<'a> {
        let mut random = Rng::with_seed(plan.seed);
        // One sequence for each worker.
        let seed = (0..=number).fold(0, |_, _| random.u64(..));
        Keeper {
            plan,
            number,
            shared,
            random: Rng::with_seed(seed),
            usual: [Duration::from_millis(1); KINDS.len()],
            stopped_until: Moment::default(),
            leases: Vec::new(),
            heard: Moment::default(),
        }
    }

    fn keep(mut self) {
        while !self.shared.is_over() && Moment::now() < self.plan.until {
            if let Err(why) = self.keep_one() {
                self.shared.fail(why);
                break;
            }
        }
        self.tell(Moment::NEVER, None);
    }

    /// Runs one worker to its end.
    fn keep_one(&mut self) -> Result<(), String> {
        let mut child = self.start()?;
        let process = Pid::from_child(&child);
        self.shared.inbox().processes[self.number as usize] = Some(process);
        let out = child.stdout.take().ok_or("the worker has no output")?;
        let mut was_killed = false;
        let mut begun: Option<Begun> = None;
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|error| format!("failed to hear a worker: {error}"))?;
            let line = match serde_json::from_str(&line) {
                Ok(line) => line,
                // It was killed in the middle of it.
                Err(_) if was_killed => break,
                Err(error) => return Err(format!("a worker said {line:?}: {error}")),
            };
            match line {
                Line::Begin { at, action } => {
                    begun = Some(Begun { start: at, action });
                    self.heard = at;
                    if let Action::EndLease { claim, .. } = action {
                        self.leases.retain(|held| *held != claim);
                    }
                    self.tell(at, None);
                }
                Line::End {
                    at,
                    answer,
                    notices,
                } => {
                    self.heard = at;
                    if let Answer::Leased(claim) = answer {
                        self.leases.push(claim);
                    }
                    if let Some(begun) = begun.take() {
                        self.learn(begun.action, begun.start, at);
                        let mut operation = self.operation(begun, at);
                        operation.answer = Some(answer);
                        operation.notices = notices;
                        self.tell(at, Some(operation));
                    }
                }
            }
            if self.shared.is_over() && !was_killed {
                was_killed = true;
                // It is not waited for yet, so the number is still its own.
                let _ = kill_process(process, Signal::KILL);
            }
            if let Some(begun) = begun
                && !was_killed
                && self.random.f64() < self.plan.kill_rate
            {
                was_killed = self.hit(process, begun.action);
            }
        }
        self.bury(child, begun, was_killed)
    }

    fn start(&mut self) -> Result<Child, String> {
        let failed = |error: std::io::Error| format!("failed to start a worker: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let orders = Orders {
            plan: self.plan.clone(),
            worker: self.number,
            seed: self.random.u64(..),
        };
        let line = serde_json::to_string(&orders).expect("numbers and strings are valid JSON");
        let mut stdin = child.stdin.take().ok_or("the worker has no input")?;
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .map_err(failed)?;
        Ok(child)
    }

    /// Waits for a part of the operation's usual time; then kills the worker, or stops it for a
    /// while. Returns whether it was killed.
    fn hit(&mut self, process: Pid, action: Action) -> bool {
        let usual = self.usual[action.kind()];
        // Up to twice as long: it is hit anywhere, or the next one at its beginning, which is over
        // before a keeper hears of it.
        wait(usual.mul_f64(2.0 * self.random.f64()));
        let kills = self.random.u8(..3) == 0;
        let signal = if kills { Signal::KILL } else { Signal::STOP };
        let _ = kill_process(process, signal);
        let mut inbox = self.shared.inbox();
        if kills {
            inbox.tally.kills += 1;
            return true;
        }
        inbox.tally.stops += 1;
        drop(inbox);
        let most = STOP_MAX[usize::from(self.random.u8(..16) == 0)];
        thread::sleep(most.mul_f64(self.random.f64()));
        let _ = kill_process(process, Signal::CONT);
        // It may have come to a later operation by then.
        self.stopped_until = Moment::now();
        false
    }

    /// Waits for the worker's end, whose output has ended: its children, which have that too, are ending as
    /// well. What it had begun may have taken effect until then, and its leases end with it.
    fn bury(&mut self, mut child: Child, begun: Option<Begun>, killed: bool) -> Result<(), String> {
        // A process that was waited for may not be killed any more: its number may be another's.
        let mut inbox = self.shared.inbox();
        let listed = inbox.processes[self.number as usize].take().is_some();
        drop(inbox);
        let ended = child
            .wait()
            .map_err(|error| format!("failed to wait for a worker: {error}"))?;
        let death = Moment::now();
        let operation = begun.map(|begun| self.operation(begun, death));
        self.tell(self.heard, operation);
        for claim in std::mem::take(&mut self.leases) {
            let killed = true;
            let action = Action::EndLease { claim, killed };
            let start = self.heard;
            let end = Moment(death.0.saturating_add(nanos(EXIT)));
            self.tell(start, Some(self.operation(Begun { start, action }, end)));
        }
        self.tell(death, None);
        if ended.success() || killed || self.shared.is_over() || !listed {
            return Ok(());
        }
        Err(format!("a worker ended by itself: {ended}"))
    }

    fn operation(&self, begun: Begun, end: Moment) -> Operation {
        Operation {
            worker: Some(self.number),
            action: begun.action,
            start: begun.start,
            end,
            answer: None,
            stopped: begun.start <= self.stopped_until,
            notices: Vec::new(),
        }
    }

    /// Learns how long operations take.
    fn learn(&mut self, action: Action, start: Moment, end: Moment) {
        let usual = &mut self.usual[action.kind()];
        let took = Duration::from_nanos(end.0.saturating_sub(start.0));
        *usual = (*usual * 7 + took.min(Duration::from_millis(50))) / 8;
    }

    /// Tells the checker of an operation, and that none follows that starts before `until`.
    fn tell(&self, until: Moment, operation: Option<Operation>) {
        let mut inbox = self.shared.inbox();
        inbox.told_until[self.number as usize] = until;
        let Some(operation) = operation else { return };
        if let Some(answer) = &operation.answer {
            inbox.tally.operations[operation.action.kind()] += 1;
            match answer {
                Answer::Exhausted { .. } => inbox.tally.exhausted += 1,
                Answer::Contended => inbox.tally.contended += 1,
                _ => {}
            }
        }
        inbox.operations.push(operation);
    }
}

/// Waits, also for less than a sleep takes at least.
fn wait(duration: Duration) {
    let begin = Instant::now();
    if duration > Duration::from_micros(200) {
        thread::sleep(duration);
    }
    while begin.elapsed() < duration {
        std::hint::spin_loop();
    }
}
