//! Whether what a prune gave back was a project's whose directory was gone, and had been seen so before.
//!
//! A directory was *there* throughout an interval if somebody had made it, or found it, before, and nobody began
//! to remove it from then on. A prune looks for the directory within its own interval; so if it was there throughout, it must
//! not give anything back. And another prune must have looked before this one's end, not before the claim was made, and while the
//! directory may have been missing.
//!
//! Operations are put in as they start, so that at the end of a prune all that began before are known.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::action::Action;
use super::super::history::{Answer, Given, Moment, Operation};
use super::super::plan::{Plan, project_of};
use super::super::seen::Nonce;
use super::{Kind, Violation};

type Interval = (Moment, Moment);

/// What is known of directories and prunes.
#[derive(Default)]
pub(super) struct Pruned {
    /// When each project's directory was made, or found.
    made: HashMap<u32, Vec<Rc<Operation>>>,
    /// When it may have been removed.
    removed: HashMap<u32, Vec<Interval>>,
    prunes: Vec<Rc<Operation>>,
    /// The start of the operation that made each claim of a project that has a directory at times, if that was told.
    claimed: HashMap<Nonce, Moment>,
}

impl Pruned {
    /// An operation starts.
    pub(super) fn start(&mut self, operation: &Rc<Operation>, plan: &Plan) {
        match operation.action {
            Action::MakeDirectory { project } if operation.answer == Some(Answer::Done) => {
                let made = self.made.entry(project).or_default();
                made.push(Rc::clone(operation));
            }
            Action::RemoveDirectory { project, .. } => {
                let removed = self.removed.entry(project).or_default();
                removed.push((operation.start, operation.end));
            }
            Action::Prune => self.prunes.push(Rc::clone(operation)),
            _ => {}
        }
        let Some(Answer::Given(all)) = &operation.answer else {
            return;
        };
        for Given { claim, new } in all {
            if *new && plan.is_placed(project_of(claim.holder)) {
                self.claimed.insert(claim.nonce, operation.start);
            }
        }
    }

    /// A prune has ended.
    pub(super) fn end(&self, operation: &Rc<Operation>, plan: &Plan) -> Result<(), Violation> {
        let Some(Answer::Pruned(all)) = &operation.answer else {
            return Ok(());
        };
        for claim in all {
            let project = project_of(claim.holder);
            let name = plan.path(project);
            let violation = |detail: String, beside: Vec<Rc<Operation>>| {
                let mut excerpt = beside;
                excerpt.push(Rc::clone(operation));
                excerpt.sort_by_key(|one| one.start);
                Err(Violation {
                    holder: Some(claim.holder),
                    excerpt,
                    ..Violation::new(Kind::WrongPrune, detail)
                })
            };
            if !plan.is_placed(project) {
                let detail =
                    format!("{name} was pruned, and not even the directory around it exists");
                return violation(detail, Vec::new());
            }
            if let Some(made) = self.there(project, operation) {
                let detail = format!("{name} was pruned, and it was there all the time");
                return violation(detail, vec![made]);
            }
            let claimed = self.claimed.get(&claim.nonce).copied();
            let mut others = self
                .prunes
                .iter()
                .rev()
                .filter(|other| !Rc::ptr_eq(other, operation));
            let has_seen = |other: &Rc<Operation>| {
                other.start <= operation.end
                    && claimed.is_none_or(|claimed| claimed <= other.end)
                    && self.there(project, other).is_none()
            };
            if !others.any(has_seen) {
                let detail =
                    format!("{name} was pruned, and nobody had seen before that it was missing");
                return violation(detail, Vec::new());
            }
        }
        Ok(())
    }

    /// Returns the operation that shows that a project's directory was there throughout another one.
    fn there(&self, project: u32, during: &Operation) -> Option<Rc<Operation>> {
        let made = self.made.get(&project)?.iter();
        let made = made
            .filter(|made| made.end < during.start)
            .max_by_key(|made| made.start)?;
        let removed = self.removed.get(&project).map_or(&[][..], Vec::as_slice);
        let is_clear = |removed: &Interval| removed.1 < made.start || removed.0 > during.end;
        removed.iter().all(is_clear).then(|| Rc::clone(made))
    }
}
