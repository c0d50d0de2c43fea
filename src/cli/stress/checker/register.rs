//! A holder's operations: whether some order of them explains all answers, and if none
//! does, which of them contradict each other.

use std::rc::Rc;

use super::super::history::{Moment, Operation};
use super::super::plan::Plan;
use super::effect::{Effect, Part};
use super::effects::forgotten;
use super::search::{Search, Settled};
use super::{Kind, Violation};

/// After how many operations the past is summed up, when the holder is at rest. What is
/// before that is not shown with a violation.
const WINDOW: usize = 48;

/// How many configurations are followed, about, to find out which answers contradict each other: some seconds' worth.
const FOLLOWED_MAX: usize = 500_000;

/// One operation, as far as it is about one holder.
#[derive(Clone)]
struct Event {
    id: usize,
    operation: Rc<Operation>,
    part: Part,
}

/// The register of one holder.
pub(super) struct Register {
    holder: u32,
    plan: Rc<Plan>,
    search: Search,
    /// The search as it was before the operations in `window`.
    base: Search,
    window: Vec<Event>,
    /// There were too many orders to follow.
    pub(super) undecided: bool,
}

impl Register {
    pub(super) fn new(holder: u32, plan: &Rc<Plan>) -> Register {
        Register {
            holder,
            plan: Rc::clone(plan),
            search: Search::free(),
            base: Search::free(),
            window: Vec::new(),
            undecided: false,
        }
    }

    pub(super) fn start(&mut self, id: usize, operation: &Rc<Operation>, part: Part) {
        if self.undecided {
            return;
        }
        if self.window.len() >= WINDOW && self.search.is_quiet() {
            self.base = self.search.clone();
            self.window.clear();
        }
        self.search.start(id, part);
        self.window.push(Event {
            id,
            operation: Rc::clone(operation),
            part,
        });
    }

    pub(super) fn end(&mut self, id: usize, at: Moment) -> Result<(), Violation> {
        if self.undecided {
            return Ok(());
        }
        match self.search.end(id, at) {
            Settled::Legal => {}
            Settled::Undecided => self.undecided = true,
            Settled::Illegal => return Err(self.violation()),
        }
        Ok(())
    }

    fn violation(&self) -> Violation {
        let excerpt = self.excerpt();
        Violation {
            kind: kind(&excerpt),
            detail: format!(
                "no order of the operations on {} explains their answers",
                self.plan.name(self.holder)
            ),
            holder: Some(self.holder),
            excerpt: excerpt.into_iter().map(|event| event.operation).collect(),
            beside: Vec::new(),
        }
    }

    /// Returns the operations whose answers contradict each other.
    ///
    /// Answers are forgotten one by one, the oldest first: then their operations may have had any
    /// effect or none, as a killed worker's. What cannot be forgotten without the contradiction
    /// going away is what it consists of. Forgetting only allows more orders, so the answers that
    /// are left contradict each other by themselves. Where that takes too long, some of them are not needed.
    fn excerpt(&self) -> Vec<Event> {
        let mut kept = vec![true; self.window.len()];
        // If it contradicts itself whatever was before, that need not be shown.
        let mut followed = 0;
        let anything = Search::anything_after(&self.base);
        let begin = if self.contradict(&anything, &kept, &mut followed) {
            anything
        } else {
            self.base.clone()
        };
        for at in 0..kept.len() {
            if followed > FOLLOWED_MAX {
                break;
            }
            kept[at] = false;
            kept[at] = !self.contradict(&begin, &kept, &mut followed);
        }
        let events = self.window.iter().zip(&kept);
        let kept = events.filter(|&(_, &kept)| kept);
        let mut excerpt: Vec<Event> = kept.map(|(event, _)| event.clone()).collect();
        excerpt.sort_by_key(|event| event.operation.start);
        excerpt
    }

    /// Returns whether the answers that are kept certainly have no order. Adds how many configurations were followed.
    fn contradict(&self, begin: &Search, kept: &[bool], followed: &mut usize) -> bool {
        let mut steps: Vec<(Moment, bool, usize, Part)> = Vec::new();
        for (event, &kept) in self.window.iter().zip(kept) {
            let part = if kept {
                Some(event.part)
            } else {
                forgotten(event.operation.action, self.holder, &self.plan)
            };
            if let Some(part) = part {
                steps.push((event.operation.start, false, event.id, part));
                steps.push((event.operation.end, true, event.id, part));
            }
        }
        steps.sort_by_key(|&(at, is_end, id, _)| (at, is_end, id));
        let mut search = begin.one_of_many();
        let mut settled = Settled::Legal;
        for (at, is_end, id, part) in steps {
            if !is_end {
                search.start(id, part);
                continue;
            }
            settled = search.end(id, at);
            if settled != Settled::Legal {
                break;
            }
        }
        *followed += search.followed;
        settled == Settled::Illegal
    }
}

/// What sort of contradiction it is, as far as its last answer shows it.
fn kind(excerpt: &[Event]) -> Kind {
    let Some(last) = excerpt.iter().max_by_key(|event| event.operation.end) else {
        return Kind::LostClaim;
    };
    let others = || excerpt.iter().filter(|event| event.id != last.id);
    let is_released = |claim| {
        others().any(|event| {
            [Effect::Remove(claim), Effect::Withdraw(claim)].contains(&event.part.effect)
        })
    };
    let has_other = |claim| {
        others().any(|event| match event.part.effect {
            Effect::Create(it) | Effect::Read(it) => it != claim,
            _ => false,
        })
    };
    match last.part.effect {
        Effect::Remove(claim) if is_released(claim) => Kind::ReleasedTwice,
        Effect::Read(claim) if is_released(claim) => match last.operation.action {
            action if action.is_claim() => Kind::ReleaseUndone,
            _ => Kind::StaleLookup,
        },
        Effect::Create(claim) | Effect::Read(claim) if has_other(claim) => Kind::ChangedPort,
        _ => Kind::LostClaim,
    }
}
