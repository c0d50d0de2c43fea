//! A project's operations: whether some order of them explains all answers, and if none
//! does, which of them contradict each other.

use std::collections::HashSet;
use std::rc::Rc;

use super::super::history::{Action, Answer, Moment, Operation};
use super::super::plan::path;
use super::search::{Effect, Search, Settled, Standing};
use super::{Kind, Violation};

/// After how many operations the past is summed up, when the project is at rest. What is
/// before that is not shown with a violation.
const WINDOW: usize = 48;

/// One operation, as far as it is about one project.
#[derive(Clone)]
struct Event {
    id: usize,
    operation: Rc<Operation>,
    effect: Effect,
}

/// The register of one project.
pub(super) struct Register {
    project: u32,
    search: Search,
    /// Where the search stood before the operations in `window`.
    base: Standing,
    window: Vec<Event>,
    /// There were too many orders to follow.
    pub(super) undecided: bool,
}

impl Register {
    pub(super) fn new(project: u32) -> Register {
        Register {
            project,
            search: Search::new(Standing::free(), HashSet::new()),
            base: Standing::free(),
            window: Vec::new(),
            undecided: false,
        }
    }

    pub(super) fn start(&mut self, id: usize, operation: &Rc<Operation>, effect: Effect) {
        if self.undecided {
            return;
        }
        if self.window.len() >= WINDOW
            && let Some(standing) = self.search.standing()
        {
            self.base = standing;
            self.window.clear();
        }
        self.search.start(id, effect);
        self.window.push(Event {
            id,
            operation: Rc::clone(operation),
            effect,
        });
    }

    pub(super) fn end(&mut self, id: usize) -> Result<(), Violation> {
        if self.undecided {
            return Ok(());
        }
        match self.search.end(id) {
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
                path(self.project)
            ),
            project: Some(self.project),
            excerpt: excerpt.into_iter().map(|event| event.operation).collect(),
            beside: Vec::new(),
        }
    }

    /// Returns the operations whose answers contradict each other.
    ///
    /// Answers are forgotten one by one, the oldest first: then their operations may have had any
    /// effect or none, as a killed worker's. What cannot be forgotten without the contradiction
    /// going away is what it consists of. Forgetting only allows more orders, so the answers that
    /// are left contradict each other by themselves.
    fn excerpt(&self) -> Vec<Event> {
        let mut kept = vec![true; self.window.len()];
        let anything = || Search::new(Standing::anything(), HashSet::new());
        let mut before = self.search.created().clone();
        for event in &self.window {
            if let Effect::Create(nonce) = event.effect {
                before.remove(&nonce);
            }
        }
        // If it contradicts itself whatever was before, that need not be shown.
        let is_whole = contradict(anything(), &self.window, &kept);
        let begin = || {
            if is_whole {
                anything()
            } else {
                Search::new(self.base.clone(), before.clone())
            }
        };
        for at in 0..kept.len() {
            kept[at] = false;
            if !contradict(begin(), &self.window, &kept) {
                kept[at] = true;
            }
        }
        let events = self.window.iter().zip(&kept);
        let kept = events.filter(|&(_, &kept)| kept);
        let mut excerpt: Vec<Event> = kept.map(|(event, _)| event.clone()).collect();
        excerpt.sort_by_key(|event| event.operation.start);
        excerpt
    }
}

/// What sort of contradiction it is, as far as its last answer shows it.
fn kind(excerpt: &[Event]) -> Kind {
    let Some(last) = excerpt.iter().max_by_key(|event| event.operation.end) else {
        return Kind::LostClaim;
    };
    let others = || excerpt.iter().filter(|event| event.id != last.id);
    let is_released = |nonce| others().any(|event| event.effect == Effect::Remove(nonce));
    let held = |effect| match effect {
        Effect::Create(nonce) | Effect::Read(nonce) => Some(nonce),
        _ => None,
    };
    let has_other = |nonce| others().any(|event| held(event.effect).is_some_and(|it| it != nonce));
    match last.effect {
        Effect::Remove(nonce) if is_released(nonce) => Kind::ReleasedTwice,
        Effect::Read(nonce) if is_released(nonce) => match last.operation.action {
            Action::Claim { .. } => Kind::ReleaseUndone,
            _ => Kind::StaleLookup,
        },
        Effect::Create(nonce) | Effect::Read(nonce) if has_other(nonce) => Kind::ChangedPort,
        _ => Kind::LostClaim,
    }
}

/// Returns whether the answers that are kept have no order.
fn contradict(mut search: Search, window: &[Event], kept: &[bool]) -> bool {
    let mut steps: Vec<(Moment, bool, usize, Effect)> = Vec::new();
    for (event, &kept) in window.iter().zip(kept) {
        let effect = if kept {
            Some(event.effect)
        } else {
            forgotten(event.operation.action)
        };
        if let Some(effect) = effect {
            steps.push((event.operation.start, false, event.id, effect));
            steps.push((event.operation.end, true, event.id, effect));
        }
    }
    steps.sort_by_key(|&(at, is_end, id, _)| (at, is_end, id));
    for (_, is_end, id, effect) in steps {
        if !is_end {
            search.start(id, effect);
        } else if search.end(id) == Settled::Illegal {
            return true;
        }
    }
    false
}

/// Returns what an operation may have done whose answer is not known.
pub(super) fn forgotten(action: Action) -> Option<Effect> {
    match action {
        Action::Claim { .. } => Some(Effect::MayCreate),
        Action::Release { .. } => Some(Effect::MayRemove),
        Action::ReleaseExactly { claim } => Some(Effect::MayRemoveExactly(claim.nonce)),
        _ => None,
    }
}

/// Returns what an operation says of each project.
pub(super) fn effects(operation: &Operation, projects: u32) -> Vec<(u32, Effect)> {
    let action = operation.action;
    let own = |effect: Option<Effect>| action.project().zip(effect).into_iter().collect();
    match &operation.answer {
        None | Some(Answer::Failed(_)) => own(forgotten(action)),
        Some(Answer::Given { claim, new: true }) => {
            vec![(claim.project, Effect::Create(claim.nonce))]
        }
        Some(Answer::Given { claim, new: false } | Answer::Found(Some(claim))) => {
            vec![(claim.project, Effect::Read(claim.nonce))]
        }
        Some(Answer::Released(Some(claim))) => vec![(claim.project, Effect::Remove(claim.nonce))],
        // Of a port's look-up, only the port hears.
        Some(Answer::Found(None) | Answer::Released(None) | Answer::Exhausted { .. }) => {
            own(Some(Effect::Absent))
        }
        Some(Answer::Superseded) => match action {
            Action::ReleaseExactly { claim } => vec![(claim.project, Effect::Not(claim.nonce))],
            _ => Vec::new(),
        },
        Some(Answer::Listed(all)) => (0..projects)
            .map(|project| {
                let listed = all.iter().find(|claim| claim.project == project);
                let effect = listed.map_or(Effect::Absent, |claim| Effect::Read(claim.nonce));
                (project, effect)
            })
            .collect(),
        Some(Answer::Done | Answer::Contended) => Vec::new(),
    }
}
