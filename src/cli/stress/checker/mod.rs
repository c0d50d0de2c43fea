//! Whether a history can be: a check of all that workers were told.
//!
//! Each of the four parts looks for something that a correct registry cannot bring about, and
//! so raises no false alarm: [`search`] for a holder whose answers have no order (exact for one
//! holder), [`port`] for a port with two holders (exact for one port), [`exhausted`] for a range
//! that was called exhausted and was not, [`pruned`] for a prune that took what it may not. Together they are not complete: an order of one
//! holder's operations and one of a port's may each exist, and contradict each other.
//!
//! The check goes along with the run: operations are put in as they become known, and looked at up
//! to the moment before which all are known.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::rc::Rc;

use super::action::Action;
use super::history::{Answer, Given, Moment, Operation};
use super::plan::Plan;
use super::seen::{Seen, Term};

mod configuration;
mod effect;
mod effects;
mod exhausted;
mod port;
mod pruned;
mod register;
mod search;
#[cfg(test)]
mod tests;
mod violation;

use effect::Part;
use effects::effects;
use exhausted::Exhausted;
use port::Port;
use pruned::Pruned;
use register::Register;
pub(super) use violation::{Kind, Violation};

/// How many operations are shown beside a violation: the last ones.
const BESIDE_MAX: usize = 16;

/// How many operations are remembered, to be written down where a violation is found.
const RECENT_MAX: usize = 5000;

/// An operation that is not settled yet, and what it says of which holder.
struct Known {
    operation: Rc<Operation>,
    effects: Vec<(u32, Part)>,
}

/// The check of one run.
pub(super) struct Checker {
    plan: Rc<Plan>,
    /// Starts (`false`) and ends (`true`) that were not looked at yet. At one moment starts
    /// come first: operations that touch count as concurrent.
    steps: BinaryHeap<Reverse<(Moment, bool, usize)>>,
    known: HashMap<usize, Known>,
    count: usize,
    registers: Vec<Register>,
    ports: HashMap<u16, Port>,
    /// The same argument about the commands that run on each port.
    runs: HashMap<u16, Port>,
    exhausted: Exhausted,
    pruned: Pruned,
    /// The last operations, in the order in which they ended.
    recent: VecDeque<Rc<Operation>>,
}

impl Checker {
    pub(super) fn new(plan: &Plan) -> Checker {
        let plan = Rc::new(plan.clone());
        Checker {
            plan: Rc::clone(&plan),
            steps: BinaryHeap::new(),
            known: HashMap::new(),
            count: 0,
            registers: (0..plan.holders())
                .map(|holder| Register::new(holder, &plan))
                .collect(),
            ports: HashMap::new(),
            runs: HashMap::new(),
            exhausted: Exhausted::default(),
            pruned: Pruned::default(),
            recent: VecDeque::new(),
        }
    }

    /// Returns the last operations that were looked at, and those that had begun by then, in the
    /// order of their starts.
    pub(super) fn recent(&self) -> Vec<Rc<Operation>> {
        let open = self.known.values().map(|known| &known.operation);
        let mut recent: Vec<Rc<Operation>> = self.recent.iter().chain(open).cloned().collect();
        recent.sort_by_key(|operation| operation.start);
        recent
    }

    /// Puts an operation in. It must not start before what [`Checker::advance`] was told.
    pub(super) fn add(&mut self, operation: Operation) {
        let id = self.count;
        self.count += 1;
        self.steps.push(Reverse((operation.start, false, id)));
        self.steps.push(Reverse((operation.end, true, id)));
        let effects = effects(&operation, &self.plan);
        let operation = Rc::new(operation);
        self.known.insert(id, Known { operation, effects });
    }

    /// Looks at everything before `until`: all operations that start before it were put in.
    pub(super) fn advance(&mut self, until: Moment) -> Result<(), Violation> {
        while let Some(&Reverse((at, is_end, id))) = self.steps.peek()
            && at < until
        {
            self.steps.pop();
            if is_end {
                if let Some(known) = self.known.remove(&id) {
                    self.end(id, &known)
                        .map_err(|violation| self.with_others(violation))?;
                }
            } else if let Some(known) = self.known.get(&id) {
                self.pruned.start(&known.operation, &self.plan);
                for &(holder, part) in &known.effects {
                    if let Some(register) = self.registers.get_mut(holder as usize) {
                        register.start(id, &known.operation, part);
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at the rest, and judges what can only be judged at the end. Returns how many
    /// holders had too many possible orders to decide.
    pub(super) fn finish(&mut self) -> Result<usize, Violation> {
        self.advance(Moment::NEVER)?;
        self.exhausted.judge(&self.plan)?;
        Ok(self.registers.iter().filter(|one| one.undecided).count())
    }

    fn end(&mut self, id: usize, known: &Known) -> Result<(), Violation> {
        let operation = &known.operation;
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Rc::clone(operation));
        if let Some(violation) = alone(operation) {
            return Err(violation);
        }
        self.exhausted.learn(operation);
        self.pruned.end(operation, &self.plan)?;
        self.look_at_runs(operation)?;
        self.look_at_ports(operation)?;
        for &(holder, _) in &known.effects {
            if let Some(register) = self.registers.get_mut(holder as usize) {
                register.end(id, operation.end)?;
            }
        }
        Ok(())
    }

    /// A command ran from the end of its start to the start of its end.
    fn look_at_runs(&mut self, operation: &Rc<Operation>) -> Result<(), Violation> {
        let run = match (&operation.answer, operation.action) {
            (Some(Answer::Ran { run, .. }), _) => *run,
            (_, Action::EndRun { run, .. }) => run,
            _ => return Ok(()),
        };
        // As if it were a claim of its own.
        let (holder, port, nonce, term) = (run.holder, run.port, run.id, Term::Kept);
        let seen = Seen {
            holder,
            port,
            nonce,
            term,
        };
        let runs = self.runs.entry(port).or_default();
        runs.told(seen, operation).map_err(|violation| Violation {
            kind: Kind::TwoRuns,
            detail: "two commands of run were on one port at the same time".to_owned(),
            ..violation
        })
    }

    fn look_at_ports(&mut self, operation: &Rc<Operation>) -> Result<(), Violation> {
        // It was held until then, however that came out.
        if let Action::EndLease { claim, .. } = operation.action {
            self.port(claim.port).told(claim, operation)?;
        }
        match (&operation.answer, operation.action) {
            (Some(Answer::Found(None)), Action::Lookup { port } | Action::State { port }) => {
                self.port(port).absent(operation)
            }
            (Some(Answer::Listed(all)), _) => {
                for number in self.plan.ports() {
                    match all.iter().find(|claim| claim.port == number) {
                        Some(claim) => self.port(number).told(*claim, operation)?,
                        None => self.port(number).absent(operation)?,
                    }
                }
                Ok(())
            }
            (Some(answer), _) => {
                for claim in answer.claims() {
                    self.port(claim.port).told(claim, operation)?;
                }
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// Adds what others were told of the same ports at that time.
    fn with_others(&self, mut violation: Violation) -> Violation {
        let excerpt = &violation.excerpt;
        let (Some(start), Some(end)) = (
            excerpt.iter().map(|one| one.start).min(),
            excerpt.iter().map(|one| one.end).max(),
        ) else {
            return violation;
        };
        let mut beside: Vec<Rc<Operation>> = Vec::new();
        for port in excerpt.iter().flat_map(|one| ports_of(one)) {
            let recent = self.ports.get(&port).into_iter().flat_map(Port::recent);
            for other in recent.filter(|other| other.end >= start && other.start <= end) {
                let is_same = |one: &Rc<Operation>| Rc::ptr_eq(one, other);
                if !excerpt.iter().any(is_same) && !beside.iter().any(is_same) {
                    beside.push(Rc::clone(other));
                }
            }
        }
        beside.sort_by_key(|one| one.start);
        beside.drain(..beside.len().saturating_sub(BESIDE_MAX));
        violation.beside = beside;
        violation
    }

    fn port(&mut self, number: u16) -> &mut Port {
        self.ports.entry(number).or_default()
    }
}

/// Returns the ports of the claims that an operation was told of.
pub(super) fn ports_of(operation: &Operation) -> Vec<u16> {
    let claims = operation.answer.iter().flat_map(Answer::claims);
    let mut ports: Vec<u16> = claims.map(|claim| claim.port).collect();
    if let Action::EndLease { claim, .. } = operation.action {
        ports.push(claim.port);
    }
    ports
}

/// What is wrong with an operation whatever the others did.
fn alone(operation: &Rc<Operation>) -> Option<Violation> {
    let (kind, detail) = match &operation.answer {
        Some(Answer::Failed(why)) => (Kind::Failed, format!("an operation failed: {why}")),
        _ if !operation.notices.is_empty() => (
            Kind::Notice,
            format!(
                "the library met what nobody did: {}",
                operation.notices.join("; ")
            ),
        ),
        Some(Answer::Listed(all)) => {
            let mut holders: Vec<u32> = all.iter().map(|claim| claim.holder).collect();
            holders.sort_unstable();
            // A holder may get another port while the list is made, and then be met twice.
            holders.dedup();
            let is_quiet = operation.worker.is_none();
            if holders.len() == all.len() || !is_quiet {
                return None;
            }
            (Kind::ChangedPort, "a holder has two ports".to_owned())
        }
        Some(Answer::Given(all)) => {
            let is_row = |pair: &[Given]| pair[0].claim.port + 1 == pair[1].claim.port;
            let wants_row = matches!(operation.action, Action::ClaimRow { .. });
            if !wants_row || all.windows(2).all(is_row) {
                return None;
            }
            (Kind::NoRow, "ports do not lie in a row".to_owned())
        }
        _ => return None,
    };
    Some(Violation {
        kind,
        detail,
        holder: operation.action.holder(),
        excerpt: vec![Rc::clone(operation)],
        beside: Vec::new(),
    })
}
