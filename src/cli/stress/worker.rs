//! A worker: draws actions, and tells each of them on standard output before and after. It
//! may be killed or stopped at any instant.

use std::io::{BufRead, Write};

use fastrand::Rng;
use portclaim::{Durability, Error, ErrorKind, IndexPolicy, Notice, Record, Registry, Request};
use serde::{Deserialize, Serialize};

use super::super::report::{Failure, Outcome};
use super::history::{Action, Answer, Line, Moment, Seen};
use super::plan::{Plan, holder, range};

/// How many records a worker remembers, to release exactly one of them later.
const KNOWN_MAX: usize = 8;

/// How long one project gets two thirds of all actions, in nanoseconds: workers must meet.
const FOCUS: u64 = 60_000_000;

/// What a worker reads from standard input: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) plan: Plan,
    /// What this worker draws from.
    pub(super) seed: u64,
}

struct Worker {
    plan: Plan,
    random: Rng,
    registry: Registry,
    known: Vec<Record>,
}

/// Works until the plan's end.
///
/// # Errors
///
/// Where the orders cannot be read, the registry not be opened, or nobody listens any more.
pub(super) fn run() -> Result<Outcome, Failure> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::io("failed to read the orders", &error))?;
    let orders: Orders = serde_json::from_str(&line)
        .map_err(|error| Failure::new(&format!("the orders cannot be read: {error}")))?;
    let mut random = Rng::with_seed(orders.seed);
    let registry = open(&orders.plan, &mut random)?;
    let mut worker = Worker {
        plan: orders.plan,
        random,
        registry,
        known: Vec::new(),
    };
    worker
        .work()
        .map_err(|error| Failure::io("failed to tell what was done", &error))?;
    Ok(Outcome::Yes)
}

/// Opens the registry: a quarter of the times as the commands do. For the rest it waits less for
/// the disk, so that more happens at once.
fn open(plan: &Plan, random: &mut Rng) -> Result<Registry, Error> {
    let durability = if random.bool() {
        Durability::Durable
    } else {
        Durability::Volatile
    };
    let index = if random.bool() {
        IndexPolicy::Refresh
    } else {
        IndexPolicy::Mark
    };
    Registry::options()
        .range(range(&plan.ports()))
        .durability(durability)
        .index(index)
        .open(plan.root.as_str())
}

impl Worker {
    fn work(&mut self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        loop {
            let at = Moment::now();
            if at >= self.plan.until {
                return Ok(());
            }
            let (action, record) = self.draw();
            tell(&mut out, &Line::Begin { at, action })?;
            let answer = self.act(action, record.as_ref());
            let at = Moment::now();
            let notices = self.registry.take_notices();
            let line = Line::End {
                at,
                answer,
                notices: notices.iter().filter_map(told).collect(),
            };
            tell(&mut out, &line)?;
        }
    }

    /// Draws an action, and the record that it is about.
    fn draw(&mut self) -> (Action, Option<Record>) {
        let project = if self.random.u8(..3) > 0 {
            // The same for all workers, which read the same clock.
            let turn = Moment::now().0 / FOCUS % u64::from(self.plan.few_projects());
            u32::try_from(turn).expect("below a u32")
        } else {
            self.random.u32(..self.plan.projects())
        };
        let action = match self.random.u8(..100) {
            0..38 => Action::Claim { project },
            38..64 => Action::Release { project },
            64..72 => return self.draw_exactly(project),
            72..86 => Action::Find { project },
            86..92 => Action::Lookup {
                port: self.random.u16(self.plan.ports()),
            },
            92..94 => Action::List,
            94..96 => Action::Repair,
            96..98 => Action::Index,
            _ => Action::Check,
        };
        (action, None)
    }

    fn draw_exactly(&mut self, project: u32) -> (Action, Option<Record>) {
        if self.known.is_empty() {
            return (Action::Find { project }, None);
        }
        let record = self
            .known
            .swap_remove(self.random.usize(..self.known.len()));
        match Seen::of(&record) {
            Ok(claim) => (Action::ReleaseExactly { claim }, Some(record)),
            // It was told as a failure when it was met.
            Err(_) => (Action::Find { project }, None),
        }
    }

    fn act(&mut self, action: Action, record: Option<&Record>) -> Answer {
        self.reopen()
            .and_then(|()| self.ask(action, record))
            .unwrap_or_else(|error| refused(&error))
    }

    /// Opens the registry again now and then, as new processes do.
    fn reopen(&mut self) -> Result<(), Error> {
        if self.random.u8(..4) == 0 {
            self.registry = open(&self.plan, &mut self.random)?;
        }
        Ok(())
    }

    fn ask(&mut self, action: Action, record: Option<&Record>) -> Result<Answer, Error> {
        let registry = &self.registry;
        Ok(match action {
            Action::Claim { project } => {
                let range = range(&self.plan.ports_of(project));
                let claim = registry.claim(&Request::new(holder(project)).within(range))?;
                let new = claim.is_new();
                let record = claim.keep();
                let answer = seen(&record, |claim| Answer::Given { claim, new });
                self.remember(record);
                answer
            }
            Action::Find { project } => {
                let found = registry.find(&holder(project))?;
                let answer = seen_or_none(found.as_ref(), Answer::Found);
                if let Some(record) = found {
                    self.remember(record);
                }
                answer
            }
            Action::Release { project } => seen_or_none(
                registry.release_holder(&holder(project))?.as_ref(),
                Answer::Released,
            ),
            Action::ReleaseExactly { claim } => {
                registry.release(record.expect("it was drawn with its record"))?;
                Answer::Released(Some(claim))
            }
            Action::Lookup { port } => {
                let port = portclaim::Port::new(port).expect("no run uses port 0");
                seen_or_none(registry.lookup(port)?.as_ref(), Answer::Found)
            }
            Action::List => list(registry)?,
            Action::Repair => registry.repair().map(|_| Answer::Done)?,
            Action::Index => registry.refresh_index().map(|_| Answer::Done)?,
            Action::Check => registry.check().map(|_| Answer::Done)?,
        })
    }

    fn remember(&mut self, record: Record) {
        if self.known.len() == KNOWN_MAX {
            self.known.swap_remove(self.random.usize(..KNOWN_MAX));
        }
        self.known.push(record);
    }
}

/// Returns what a registry lists.
pub(super) fn list(registry: &Registry) -> Result<Answer, Error> {
    let mut all = Vec::new();
    for record in registry.records()? {
        match Seen::of(&record?) {
            Ok(seen) => all.push(seen),
            Err(why) => return Ok(Answer::Failed(why)),
        }
    }
    Ok(Answer::Listed(all))
}

/// Returns the answer about a record that was found, or about none.
pub(super) fn seen_or_none(
    record: Option<&Record>,
    answer: impl FnOnce(Option<Seen>) -> Answer,
) -> Answer {
    match record {
        Some(record) => seen(record, |seen| answer(Some(seen))),
        None => answer(None),
    }
}

fn seen(record: &Record, answer: impl FnOnce(Seen) -> Answer) -> Answer {
    Seen::of(record).map_or_else(Answer::Failed, answer)
}

/// Returns the answer that an error is.
pub(super) fn refused(error: &Error) -> Answer {
    match (error.kind(), error.exhaustion()) {
        (ErrorKind::Exhausted, Some(exhaustion)) => Answer::Exhausted {
            unbindable: exhaustion.in_use + exhaustion.denied,
        },
        (ErrorKind::Superseded, _) => Answer::Superseded,
        (ErrorKind::Contended, _) => Answer::Contended,
        _ => Answer::Failed(match error.io_error() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }),
    }
}

/// Returns what a notice says, unless it is none to worry about: the registry file may be
/// written by another process at the moment, and nobody edits it during a run.
fn told(notice: &Notice) -> Option<String> {
    match notice {
        Notice::IndexBehind { .. } | Notice::IndexDeferred { .. } => None,
        _ => Some(format!("{notice:?}")),
    }
}

fn tell(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line).expect("numbers, strings and lists are valid JSON");
    bytes.push(b'\n');
    out.write_all(&bytes)?;
    out.flush()
}
