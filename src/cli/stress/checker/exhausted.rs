//! Whether a range can have been exhausted when a worker was told so.
//!
//! A worker that is told so has found a claim of every port of the range, each at some instant
//! between start and end of the operation. So each port of the range must have had one that can be accounted
//! for: a claim that was told and may have been held by then; or one that is never told. Of
//! these there are only so many at a time: of a killed worker, of one that raced with others for
//! one holder and gave its port up again, of one that wanted several ports and could not have all,
//! and a file that cannot be swept because a worker was stopped at it. Told is generous, as fits an accusation: held
//! from the start of the operation that made the claim until the end of the first one after which it was
//! certainly gone. So what was given for a time counts until it is seen that it is gone; but a lease is over
//! when its last holder has ended, and what a process owns, when that is gone.
//!
//! Judged at the end, when everything has been told that will be.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::action::Action;
use super::super::history::{Answer, Moment, Operation};
use super::super::plan::{Plan, holder_at, in_project};
use super::super::seen::{Nonce, Process, Seen, Term};
use super::{Kind, Violation};

struct Span {
    port: u16,
    term: Term,
    start: Moment,
    /// The end of the last operation that was told of the claim.
    told: Moment,
    /// When it was certainly gone.
    gone: Moment,
}

/// What is known of when ports were taken. Operations come in the order in which they ended.
#[derive(Default)]
pub(super) struct Exhausted {
    answers: Vec<(Rc<Operation>, u32)>,
    spans: HashMap<Nonce, Span>,
    /// The claims of each holder that may still be held.
    standing: HashMap<u32, Vec<Nonce>>,
    /// When processes ended that could own claims.
    owners: HashMap<Process, Moment>,
    /// When killed operations ended that may have given each holder a port, and nobody has seen it, with
    /// their starts.
    hidden: HashMap<u32, Vec<(Moment, Moment)>>,
    /// When each holder was claimed a port for.
    claims: HashMap<u32, Vec<(Moment, Moment)>>,
    /// When some port may have had a claim that nobody was told.
    untold: Vec<(Moment, Moment)>,
}

impl Exhausted {
    /// Learns of an operation.
    pub(super) fn learn(&mut self, operation: &Rc<Operation>) {
        let (start, end) = (operation.start, operation.end);
        let action = operation.action;
        let gives_to = action.gives_to();
        let is_unknown = operation.answer.as_ref().is_none_or(Answer::is_unknown);
        if operation.stopped {
            // It may have been about to give each of them a port, or to take one away.
            let count = gives_to.len().max(1);
            self.untold.extend([(start, end)].repeat(count));
        }
        match action {
            Action::Claim { holder, .. } | Action::ClaimOwned { holder, .. } => {
                self.claims.entry(holder).or_default().push((start, end));
            }
            // Of ports that are tried together, all but one may be given up again.
            Action::ClaimSet { .. } | Action::ClaimRow { .. } => {
                self.untold.extend([(start, end)].repeat(gives_to.len()));
            }
            Action::EndLease { claim, .. } => {
                self.told_of(claim, start, end);
                self.gone(claim, end);
            }
            Action::EndOwner { owner, .. } => self.ended(owner, end),
            Action::Lease { .. } if is_unknown => self.untold.push((start, end)),
            Action::Run { project } => {
                let holder = holder_at(project, 0);
                self.claims.entry(holder).or_default().push((start, end));
                // Whether or not the command was run, its project may have been given a port that is not told.
                self.hidden.entry(holder).or_default().push((start, end));
            }
            _ => {}
        }
        if is_unknown && !matches!(action, Action::Run { .. }) {
            for holder in gives_to {
                self.hidden.entry(holder).or_default().push((start, end));
            }
        }
        let Some(answer) = &operation.answer else {
            return;
        };
        for claim in answer.claims() {
            self.told(claim, start, end);
        }
        match answer {
            Answer::Released(all) | Answer::Pruned(all) => {
                for &claim in all {
                    self.gone(claim, end);
                }
            }
            Answer::Moved(all) => {
                if let Action::Move { from, .. } = action {
                    for claim in all {
                        self.seen(in_project(claim.holder, from), None, start, end);
                    }
                }
            }
            Answer::Listed(all) => {
                for &claim in all {
                    self.told(claim, start, end);
                }
            }
            Answer::Exhausted { unbindable } => {
                self.answers.push((Rc::clone(operation), *unbindable));
            }
            _ => {}
        }
        let has_none = match answer {
            Answer::Found(None) => true,
            Answer::Released(all) => all.is_empty(),
            Answer::Exhausted { .. } => action.is_claim(),
            _ => false,
        };
        if let Some(holder) = action.holder().filter(|_| has_none) {
            self.seen(holder, None, start, end);
        }
    }

    /// The claim was held at an instant of this interval.
    fn told(&mut self, claim: Seen, start: Moment, end: Moment) {
        let is_new = self.told_of(claim, start, end);
        if claim.is_lease() {
            return;
        }
        if is_new {
            self.standing
                .entry(claim.holder)
                .or_default()
                .push(claim.nonce);
        }
        self.seen(claim.holder, Some(claim.nonce), start, end);
    }

    /// Returns whether it is the first that is told of the claim.
    fn told_of(&mut self, claim: Seen, start: Moment, end: Moment) -> bool {
        let mut is_new = false;
        let ended = &self.owners;
        let span = self.spans.entry(claim.nonce).or_insert_with(|| {
            is_new = true;
            let gone = match claim.term {
                Term::Owner(process) => ended.get(&process).copied(),
                _ => None,
            };
            Span {
                port: claim.port,
                term: claim.term,
                start,
                told: end,
                gone: gone.unwrap_or(Moment::NEVER),
            }
        });
        span.start = span.start.min(start);
        span.told = span.told.max(end);
        is_new
    }

    /// What the process owns can be had from now on.
    fn ended(&mut self, process: Process, end: Moment) {
        self.owners.insert(process, end);
        for span in self.spans.values_mut() {
            if span.term == Term::Owner(process) {
                span.gone = span.gone.min(end);
            }
        }
    }

    /// The claim was taken away by an operation that has ended.
    fn gone(&mut self, claim: Seen, end: Moment) {
        if let Some(span) = self.spans.get_mut(&claim.nonce) {
            span.gone = span.gone.min(end);
        }
    }

    /// The holder was seen with this claim, or with none, at an instant of this interval.
    fn seen(&mut self, holder: u32, nonce: Option<Nonce>, start: Moment, end: Moment) {
        let spans = &mut self.spans;
        self.standing.entry(holder).or_default().retain(|other| {
            let Some(span) = spans.get_mut(other) else {
                return false;
            };
            if Some(*other) != nonce && span.told < start {
                span.gone = span.gone.min(end);
            }
            span.gone == Moment::NEVER
        });
        let untold = &mut self.untold;
        self.hidden.entry(holder).or_default().retain(|hidden| {
            let is_over = hidden.1 < start;
            if is_over {
                untold.push((hidden.0, end));
            }
            !is_over
        });
    }

    /// Judges all answers.
    pub(super) fn judge(&mut self, plan: &Plan) -> Result<(), Violation> {
        for hidden in std::mem::take(&mut self.hidden).into_values().flatten() {
            self.untold.push((hidden.0, Moment::NEVER));
        }
        for mut claims in std::mem::take(&mut self.claims).into_values() {
            claims.sort_unstable();
            self.untold.extend(races(&claims));
        }
        let mut starts: Vec<Moment> = self.untold.iter().map(|span| span.0).collect();
        let mut ends: Vec<Moment> = self.untold.iter().map(|span| span.1).collect();
        starts.sort_unstable();
        ends.sort_unstable();
        let taken = taken(std::mem::take(&mut self.spans).into_values());
        for (operation, unbindable) in std::mem::take(&mut self.answers) {
            let Some(project) = operation.action.picks_for() else {
                continue;
            };
            let free = plan.ports_of(project).filter(|port| {
                let spans = taken.get(port).map_or(&[][..], Vec::as_slice);
                !is_taken(spans, operation.start, operation.end)
            });
            let free: Vec<u16> = free.collect();
            let begun = starts.partition_point(|&start| start <= operation.end);
            let over = ends.partition_point(|&end| end < operation.start);
            if free.len() > begun - over + unbindable as usize {
                return Err(Violation {
                    kind: Kind::ImplausibleExhaustion,
                    detail: format!("a range was called exhausted while {free:?} were free"),
                    holder: operation.action.holder(),
                    excerpt: vec![operation],
                    beside: Vec::new(),
                });
            }
        }
        Ok(())
    }
}

/// Returns for each two claims of one holder that met both intervals: either may have had a
/// port for a moment that it gave up.
fn races(claims: &[(Moment, Moment)]) -> Vec<(Moment, Moment)> {
    let mut races = Vec::new();
    let mut open: Vec<(Moment, Moment)> = Vec::new();
    for &claim in claims {
        open.retain(|other| other.1 >= claim.0);
        for &other in &open {
            races.extend([claim, other]);
        }
        open.push(claim);
    }
    races
}

/// Returns when each port may have been taken: starts, ascending, with the latest end so far.
fn taken(spans: impl Iterator<Item = Span>) -> HashMap<u16, Vec<(Moment, Moment)>> {
    let mut taken: HashMap<u16, Vec<(Moment, Moment)>> = HashMap::new();
    for span in spans {
        // A claimer may hold the file after somebody else has released the claim.
        let end = span.gone.max(span.told);
        taken.entry(span.port).or_default().push((span.start, end));
    }
    for spans in taken.values_mut() {
        spans.sort_unstable();
        let mut latest = Moment::default();
        for span in spans {
            latest = latest.max(span.1);
            span.1 = latest;
        }
    }
    taken
}

fn is_taken(spans: &[(Moment, Moment)], start: Moment, end: Moment) -> bool {
    let begun = spans.partition_point(|span| span.0 <= end);
    begun > 0 && spans[begun - 1].1 >= start
}
