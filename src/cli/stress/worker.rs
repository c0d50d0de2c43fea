//! A worker: draws actions, and tells each of them on standard output before and after. It
//! may be killed or stopped at any instant.

use std::io::{BufRead, Write};
use std::time::Duration;

use fastrand::Rng;
use portclaim::{Claim, Durability, Error, IndexPolicy, Port, Record, Registry, Request};
use serde::{Deserialize, Serialize};

use super::super::report::{Failure, Outcome};
use super::action::{Action, LeasedBy};
use super::answers::{list, prune, refused, seen_all, seen_or_none, told};
use super::children::Owners;
use super::commands::{self, Commands};
use super::ground;
use super::history::{Answer, Given, Line, Moment};
use super::leases::Leases;
use super::plan::{Plan, ROW, SET, holder_at, project_of, range};
use super::seen::Seen;

/// How many records a worker remembers, to release or renew exactly one of them later.
const KNOWN_MAX: usize = 8;

/// What a worker reads from standard input: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) plan: Plan,
    /// Which worker it is.
    pub(super) worker: u32,
    /// What this worker draws from.
    pub(super) seed: u64,
}

pub(super) struct Worker {
    pub(super) plan: Plan,
    pub(super) number: u32,
    pub(super) random: Rng,
    registry: Registry,
    pub(super) known: Vec<Record>,
    pub(super) leases: Leases,
    pub(super) owners: Owners,
    pub(super) commands: Commands,
}

/// Works until the plan's end. Where there are no orders, it is a process of a worker's that lives until nobody can give
/// it any more: it holds what it has inherited, or owns claims. As a command of `run`, it is asked for its port before.
///
/// # Errors
///
/// Where the orders cannot be read, the registry not be opened, or nobody listens any more.
pub(super) fn run() -> Result<Outcome, Failure> {
    let mut line = String::new();
    let mut orders = std::io::stdin().lock();
    let failed = |error: std::io::Error| Failure::io("failed to read the orders", &error);
    orders.read_line(&mut line).map_err(failed)?;
    while line == commands::WHICH {
        commands::say_port().map_err(failed)?;
        line.clear();
        orders.read_line(&mut line).map_err(failed)?;
    }
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
        owners: Owners::default(),
        commands: Commands::default(),
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
        .open(plan.root())
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
        let plan = &self.plan;
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
            Action::ClaimOwned { holder: number, .. } => {
                let request = self.request(number);
                let owner = self.owners.owner().expect("it was drawn while it lives");
                let claim = registry.claim(&request.owned_by(owner.clone()))?;
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
                let found = registry.find(&plan.holder(number))?;
                let answer = seen_or_none(found.as_ref(), plan);
                if let Some(record) = found {
                    self.remember(record);
                }
                answer
            }
            Action::Release { holder: number } => {
                let released = registry.release_holder(&plan.holder(number))?;
                seen_all(&Vec::from_iter(released), plan, Answer::Released)
            }
            Action::ReleaseExactly { claim } => {
                registry.release(record.expect(drawn))?;
                Answer::Released(vec![claim])
            }
            Action::ReleaseRow { project } => {
                let row = plan.holder(holder_at(project, ROW[0]));
                seen_all(&registry.release_block(&row)?, plan, Answer::Released)
            }
            Action::Renew { claim, ttl } => {
                let record = record.expect(drawn);
                if registry.renew(record, Duration::from_secs(ttl))? {
                    Answer::Renewed(claim)
                } else {
                    Answer::Superseded
                }
            }
            Action::Lease {
                project,
                by: LeasedBy::Command,
            } => {
                let (leases, random) = (&mut self.leases, &mut self.random);
                commands::lease(plan, project, registry, leases, random)?
            }
            Action::Lease { project, by } => {
                let request = self.request(holder_at(project, 0));
                self.leases.hold(registry.lease(&request)?, by, plan)
            }
            Action::EndLease { killed, .. } => self.leases.end(killed),
            Action::StartOwner => self.owners.start(),
            Action::EndOwner { killed, .. } => self.owners.end(killed),
            Action::Run { project } => {
                self.commands
                    .run(plan, project, registry, &mut self.random)?
            }
            Action::EndRun { killed, .. } => self.commands.end(killed),
            Action::MakeDirectory { project } => ground::make_place(plan, project),
            Action::RemoveDirectory { project, moved } => {
                ground::remove_place(plan, project, moved)
            }
            Action::Prune => prune(registry, plan)?,
            Action::Move { from, to } => {
                let moved = registry.move_project(&plan.path(from), &plan.path(to))?;
                seen_all(&moved, plan, Answer::Moved)
            }
            Action::Lookup { port } => seen_or_none(registry.lookup(port_of(port))?.as_ref(), plan),
            Action::State { port } => {
                seen_or_none(registry.port_state(port_of(port))?.claim.as_ref(), plan)
            }
            Action::List => list(registry, plan)?,
            Action::ListLeases => seen_all(&registry.leases()?, plan, Answer::Leases),
            Action::Repair => registry.repair().map(|_| Answer::Done)?,
            Action::Index => registry.refresh_index().map(|_| Answer::Done)?,
            Action::Check => registry.check().map(|_| Answer::Done)?,
        })
    }

    fn request(&self, number: u32) -> Request {
        let ports = self.plan.ports_of(project_of(number));
        Request::new(self.plan.holder(number)).within(range(&ports))
    }

    fn given(&mut self, claims: Vec<Claim>) -> Answer {
        let mut all = Vec::new();
        for claim in claims {
            let new = claim.is_new();
            let record = claim.keep();
            match Seen::of(&record, &self.plan) {
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

fn tell(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line).expect("numbers, strings and lists are valid JSON");
    bytes.push(b'\n');
    out.write_all(&bytes)?;
    out.flush()
}
