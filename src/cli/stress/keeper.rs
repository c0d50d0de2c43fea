//! Keeps a worker: writes down what it tells, and kills and stops it at random instants.
//!
//! A keeper is a thread that reads the worker's pipe. When it is told of the beginning of
//! an operation, it may draw to hit it: then it waits for some part of the time that such operations
//! take, and kills the worker, or stops it and lets it go on later. A killed worker is replaced.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use super::super::settings::own_program;
use super::WORKER;
use super::action::{Action, KINDS};
use super::history::{Answer, Line, Moment, Operation};
use super::plan::Plan;
use super::supervisor::Shared;
use super::worker::Orders;

/// How long after a child's output was closed its leases may still be, and its commands be said to run: all of it is
/// closed when it ends, one after the other.
const EXIT: Duration = Duration::from_millis(100);

/// A stopped worker is stopped for less than the first, in which the others come a long way; and
/// now and then for up to the second: longer than they try again before they change their way.
const STOP_MAX: [Duration; 2] = [Duration::from_millis(40), Duration::from_millis(400)];

/// An operation that takes longer may have been kept from going on as if it had been stopped: on a busy machine. About
/// half as long as others wait for it.
const HELD_UP: Duration = Duration::from_millis(500);

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Keeps one worker, and its successors.
pub(super) struct Keeper<'a> {
    plan: &'a Plan,
    number: u32,
    shared: &'a Shared,
    random: Rng,
    /// How long operations take, by kind: the mean of the last ones.
    usual: [Duration; KINDS.len()],
    /// What starts until then may have met a stop.
    stopped_until: Moment,
    /// The ends of what the worker that is running has begun, and that ends with it.
    endings: Vec<Action>,
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
    pub(super) fn new(plan: &'a Plan, number: u32, shared: &'a Shared) -> Keeper<'a> {
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
            endings: Vec::new(),
            heard: Moment::default(),
        }
    }

    pub(super) fn keep(mut self) {
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
                    self.endings.retain(|ending| *ending != action.by_kill());
                    self.tell(at, None);
                }
                Line::End {
                    at,
                    answer,
                    notices,
                } => {
                    self.heard = at;
                    self.endings.extend(answer.ending());
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
        let program = own_program().map_err(failed)?;
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
    /// well. What it had begun may have taken effect until then, and its leases, owners and commands end with it.
    fn bury(&mut self, mut child: Child, begun: Option<Begun>, killed: bool) -> Result<(), String> {
        // A process that was waited for may not be killed any more: its number may be another's.
        let mut inbox = self.shared.inbox();
        let listed = inbox.processes[self.number as usize].take().is_some();
        drop(inbox);
        let ended = child
            .wait()
            .map_err(|error| format!("failed to wait for a worker: {error}"))?;
        let death = Moment::now();
        let closed = Moment(death.0.saturating_add(nanos(EXIT)));
        let operation = begun.map(|begun| {
            let is_outlived = begun.action.starts_processes();
            self.operation(begun, if is_outlived { closed } else { death })
        });
        self.tell(self.heard, operation);
        for action in std::mem::take(&mut self.endings) {
            let start = self.heard;
            let end = match action {
                // When whoever inherits it waits for it: until then it counts as alive.
                Action::EndOwner { .. } => Moment::NEVER,
                _ => closed,
            };
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
            stopped: begun.start <= self.stopped_until
                || end.0.saturating_sub(begun.start.0) > nanos(HELD_UP),
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
