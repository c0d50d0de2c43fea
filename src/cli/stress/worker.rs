//! A worker: draws actions, and tells each of them on standard output before and after. It
//! may be killed or stopped at any instant.

use std::io::{BufRead, Write};
use std::time::Duration;

use fastrand::Rng;
use portclaim::{
    Claim, Durability, Error, ErrorKind, IndexPolicy, Notice, Port, Record, Registry, Request,
};
use serde::{Deserialize, Serialize};

use super::super::report::{Failure, Outcome};
use super::history::{Action, Answer, Given, Line, Moment, Seen, Term};
use super::leases::Leases;
use super::plan::{NAMED, Plan, ROW, SET, holder, holder_at, path, project_of, range, ttl_of};

/// How many records a worker remembers, to release or renew exactly one of them later.
const KNOWN_MAX: usize = 8;

/// How long one holder gets three quarters of all actions, in nanoseconds: workers must meet, also those that are
/// stopped for a while.
const FOCUS: u64 = 100_000_000;

/// What a worker reads from standard input: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) plan: Plan,
    /// Which worker it is.
    pub(super) worker: u32,
    /// What this worker draws from.
    pub(super) seed: u64,
}

struct Worker {
    plan: Plan,
    number: u32,
    random: Rng,
    registry: Registry,
    known: Vec<Record>,
    leases: Leases,
}

/// Works until the plan's end. Where there are no orders, it is a child that holds what it has inherited
/// until nobody can give it any more.
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
    if line.is_empty() {
        return Ok(Outcome::Yes);
    }
    let orders: Orders = serde_json::from_str(&line)
        .map_err(|error| Failure::new(&format!("the orders cannot be read: {error}")))?;
    let mut random = Rng::with_seed(orders.seed);
    let registry = open(&orders.plan, &mut random)?;
    let mut worker = Worker {
        plan: orders.plan,
        number: orders.worker,
        random,
        registry,
        known: Vec::new(),
        leases: Leases::default(),
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
        let now = Moment::now();
        let (project, service) = if self.random.u8(..4) > 0 {
            // The same for all workers, which read the same clock.
            let holders = self.plan.few_projects() * NAMED;
            let turn = now.0 / FOCUS % u64::from(holders);
            let turn = u32::try_from(turn).expect("below a u32");
            (turn / NAMED, turn % NAMED)
        } else {
            let project = self.random.u32(..self.plan.projects());
            (project, self.random.u32(..NAMED))
        };
        if self.plan.is_timed(project) {
            return (self.draw_timed(project, now), None);
        }
        let holder = holder_at(project, service);
        let is_own = self.plan.is_own(project);
        let action = match self.random.u8(..102) {
            // Nobody claims for another worker's own project, and its own are claimed together.
            0..37 if is_own => self.draw_own(),
            0..26 => Action::Claim { holder, ttl: None },
            26..31 => Action::Claim {
                holder,
                ttl: Some(ttl_of(holder)),
            },
            31..35 => Action::ClaimSet { project },
            35..37 => Action::ClaimRow { project },
            37..60 => Action::Release { holder },
            60..64 => Action::ReleaseRow { project },
            64..72 => return self.draw_known(holder),
            72..76 => Action::Find { holder },
            76..82 if self.plan.locks => self.leases.draw(project, &mut self.random),
            76..88 if self.plan.locks && !is_own => Action::Move {
                from: project,
                to: self.random.u32(..self.plan.few_projects()),
            },
            76..91 => Action::Lookup {
                port: self.random.u16(self.plan.ports()),
            },
            91..93 => Action::State {
                port: self.random.u16(self.plan.ports()),
            },
            93..95 => Action::List,
            95 => Action::ListLeases,
            96..98 => Action::Repair,
            98..100 => Action::Index,
            _ => Action::Check,
        };
        match action {
            Action::Move { from, to } if from == to => (Action::Find { holder }, None),
            action => (action, None),
        }
    }

    /// A project of the third lot is looked at, whoever's turn it is.
    fn draw_timed(&mut self, project: u32, now: Moment) -> Action {
        let holder = holder_at(project, 0);
        if self.random.bool() {
            return Action::Find { holder };
        }
        let project = self.random.u32(self.plan.timed_projects_at(now));
        let holder = holder_at(project, 0);
        Action::Claim {
            holder,
            ttl: Some(ttl_of(holder)),
        }
    }

    /// As many ports are given back as are taken, or these projects would hold most of the few.
    fn draw_own(&mut self) -> Action {
        let project = self.plan.own_project(self.number);
        match self.random.u8(..6) {
            0 => Action::ClaimRow { project },
            1 | 2 => Action::ClaimSet { project },
            3 => Action::ReleaseRow { project },
            _ => Action::Release {
                holder: holder_at(project, SET[0]),
            },
        }
    }

    fn draw_known(&mut self, holder: u32) -> (Action, Option<Record>) {
        if self.known.is_empty() {
            return (Action::Find { holder }, None);
        }
        let record = self
            .known
            .swap_remove(self.random.usize(..self.known.len()));
        // It was told as a failure when it was met.
        let Ok(claim) = Seen::of(&record) else {
            return (Action::Find { holder }, None);
        };
        let is_timed = self.plan.is_timed(project_of(claim.holder));
        match claim.term {
            Term::Ttl(_) if is_timed || self.random.bool() => {
                let ttl = ttl_of(claim.holder);
                (Action::Renew { claim, ttl }, Some(record))
            }
            _ => (Action::ReleaseExactly { claim }, Some(record)),
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
        let drawn = "it was drawn with its record";
        Ok(match action {
            Action::Claim {
                holder: number,
                ttl,
            } => {
                let request = self.request(number);
                let request = match ttl {
                    Some(ttl) => request.for_time(Duration::from_secs(ttl)),
                    None => request,
                };
                let claim = registry.claim(&request)?;
                self.given(vec![claim])
            }
            Action::ClaimSet { project } => {
                let requests = SET.map(|service| self.request(holder_at(project, service)));
                let claims = registry.claim_all(&requests)?;
                self.given(claims)
            }
            Action::ClaimRow { project } => {
                let request = self.request(holder_at(project, ROW[0]));
                let count = u16::try_from(ROW.len()).expect("small");
                let claims = registry.claim_block(&request, count)?;
                self.given(claims)
            }
            Action::Find { holder: number } => {
                let found = registry.find(&holder(number))?;
                let answer = seen_or_none(found.as_ref());
                if let Some(record) = found {
                    self.remember(record);
                }
                answer
            }
            Action::Release { holder: number } => {
                let released = registry.release_holder(&holder(number))?;
                seen_all(&Vec::from_iter(released), Answer::Released)
            }
            Action::ReleaseExactly { claim } => {
                registry.release(record.expect(drawn))?;
                Answer::Released(vec![claim])
            }
            Action::ReleaseRow { project } => {
                let row = holder(holder_at(project, ROW[0]));
                seen_all(&registry.release_block(&row)?, Answer::Released)
            }
            Action::Renew { claim, ttl } => {
                let record = record.expect(drawn);
                if registry.renew(record, Duration::from_secs(ttl))? {
                    Answer::Renewed(claim)
                } else {
                    Answer::Superseded
                }
            }
            Action::Lease { project, by } => {
                let range = range(&self.plan.ports_of(project));
                let request = Request::new(holder(holder_at(project, 0))).within(range);
                self.leases.hold(registry.lease(&request)?, by)
            }
            Action::EndLease { killed, .. } => self.leases.end(killed),
            Action::Move { from, to } => {
                let moved = registry.move_project(&path(from), &path(to))?;
                seen_all(&moved, Answer::Moved)
            }
            Action::Lookup { port } => seen_or_none(registry.lookup(port_of(port))?.as_ref()),
            Action::State { port } => {
                seen_or_none(registry.port_state(port_of(port))?.claim.as_ref())
            }
            Action::List => list(registry)?,
            Action::ListLeases => seen_all(&registry.leases()?, Answer::Leases),
            Action::Repair => registry.repair().map(|_| Answer::Done)?,
            Action::Index => registry.refresh_index().map(|_| Answer::Done)?,
            Action::Check => registry.check().map(|_| Answer::Done)?,
        })
    }

    fn request(&self, number: u32) -> Request {
        let ports = self.plan.ports_of(project_of(number));
        Request::new(holder(number)).within(range(&ports))
    }

    fn given(&mut self, claims: Vec<Claim>) -> Answer {
        let mut all = Vec::new();
        for claim in claims {
            let new = claim.is_new();
            let record = claim.keep();
            match Seen::of(&record) {
                Ok(claim) => all.push(Given { claim, new }),
                Err(why) => return Answer::Failed(why),
            }
            self.remember(record);
        }
        Answer::Given(all)
    }

    fn remember(&mut self, record: Record) {
        if self.known.len() == KNOWN_MAX {
            self.known.swap_remove(self.random.usize(..KNOWN_MAX));
        }
        self.known.push(record);
    }
}

fn port_of(number: u16) -> Port {
    Port::new(number).expect("no run uses port 0")
}

/// Returns what a registry lists.
pub(super) fn list(registry: &Registry) -> Result<Answer, Error> {
    let all = registry.records()?.collect::<Result<Vec<_>, _>>()?;
    Ok(seen_all(&all, Answer::Listed))
}

/// Returns the answer about a record that was found, or about none.
pub(super) fn seen_or_none(record: Option<&Record>) -> Answer {
    let seen = record.map(Seen::of).transpose();
    seen.map_or_else(Answer::Failed, Answer::Found)
}

/// Returns the answer about these records.
pub(super) fn seen_all(records: &[Record], answer: impl FnOnce(Vec<Seen>) -> Answer) -> Answer {
    let seen: Result<Vec<Seen>, String> = records.iter().map(Seen::of).collect();
    seen.map_or_else(Answer::Failed, answer)
}

/// Returns the answer that an error is.
pub(super) fn refused(error: &Error) -> Answer {
    match (error.kind(), error.exhaustion()) {
        (ErrorKind::Exhausted, Some(exhaustion)) => Answer::Exhausted {
            unbindable: exhaustion.in_use + exhaustion.denied,
        },
        // There is no row of ports, or a holder has a port that does not go with what was asked for.
        (ErrorKind::Exhausted | ErrorKind::Taken | ErrorKind::HasAnother, _) => Answer::Refused,
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
