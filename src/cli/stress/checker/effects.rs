//! What an operation says of each holder, by its answer.

use super::super::action::Action;
use super::super::history::{Answer, Moment, Operation};
use super::super::plan::{Plan, in_project};
use super::super::seen::{Seen, Term};
use super::effect::{Effect, Part};

/// By how much a time that claims are given for may seem shorter than it is: files are dated by a clock
/// that goes in ticks.
const TICK: u64 = 50_000_000;

impl From<Effect> for Part {
    fn from(effect: Effect) -> Part {
        Part {
            effect,
            until: Moment::default(),
            moves: false,
        }
    }
}

/// Returns what an operation says of each holder.
pub(super) fn effects(operation: &Operation, plan: &Plan) -> Vec<(u32, Part)> {
    let action = operation.action;
    if let Action::EndOwner { owner, .. } = action {
        let ends = Part::from(Effect::OwnerEnds(owner));
        return (0..plan.holders()).map(|holder| (holder, ends)).collect();
    }
    let own = |effect: Effect| match action.holder() {
        Some(holder) => vec![(holder, Part::from(effect))],
        None => Vec::new(),
    };
    match &operation.answer {
        None => unknown(action, plan),
        Some(answer) if answer.is_unknown() => unknown(action, plan),
        Some(Answer::Given(all)) => all
            .iter()
            .map(|given| {
                let claim = given.claim;
                let effect = if given.new {
                    Effect::Create(claim)
                } else {
                    Effect::Read(claim)
                };
                let until = until(operation, claim, given.new);
                (
                    claim.holder,
                    Part {
                        until,
                        ..effect.into()
                    },
                )
            })
            .collect(),
        Some(Answer::Renewed(claim)) => {
            let until = until(operation, *claim, false);
            let effect = Effect::Read(*claim);
            vec![(
                claim.holder,
                Part {
                    until,
                    ..effect.into()
                },
            )]
        }
        // A lease is no holder's port.
        Some(Answer::Found(Some(claim))) if claim.is_lease() => Vec::new(),
        Some(Answer::Found(Some(claim))) => vec![(claim.holder, Effect::Read(*claim).into())],
        // Of a port's look-up, only the port hears.
        Some(Answer::Found(None)) => own(Effect::Absent),
        Some(Answer::Released(all)) => {
            let mut parts: Vec<(u32, Part)> = all
                .iter()
                .map(|claim| (claim.holder, Effect::Remove(*claim).into()))
                .collect();
            let is_told = |holder| all.iter().any(|claim| claim.holder == holder);
            if let Some(holder) = action.holder().filter(|&holder| !is_told(holder)) {
                parts.push((holder, Effect::Absent.into()));
            }
            parts
        }
        Some(Answer::Pruned(all)) => all
            .iter()
            .map(|claim| (claim.holder, Effect::Withdraw(*claim).into()))
            .collect(),
        // Which claim it was given is not told: what was found later may be another one.
        Some(Answer::Ran { run, .. }) => own(Effect::HasPort(run.port)),
        Some(Answer::Moved(all)) => all
            .iter()
            .flat_map(|&claim| moved(operation, claim))
            .collect(),
        Some(Answer::Exhausted { .. }) if action.is_claim() => own(Effect::Absent),
        Some(Answer::Exhausted { .. } | Answer::Refused | Answer::Contended) => {
            refused(action, plan)
        }
        Some(Answer::Superseded) => match action {
            Action::ReleaseExactly { claim } | Action::Renew { claim, .. } => {
                own(Effect::Not(claim.nonce))
            }
            _ => Vec::new(),
        },
        Some(Answer::Listed(all)) => (0..plan.holders())
            .map(|holder| {
                let listed = all.iter().find(|claim| claim.holder == holder);
                let effect = listed.map_or(Effect::Unlisted, |claim| Effect::Read(*claim));
                (holder, effect.into())
            })
            .collect(),
        Some(_) => Vec::new(),
    }
}

/// Returns what an operation may have done to a holder if its answer is not known.
pub(super) fn forgotten(action: Action, holder: u32, plan: &Plan) -> Option<Part> {
    let parts = unknown(action, plan).into_iter();
    parts
        .filter(|part| part.0 == holder)
        .map(|part| part.1)
        .next()
}

/// The same for all holders.
fn unknown(action: Action, plan: &Plan) -> Vec<(u32, Part)> {
    let moves = matches!(action, Action::Move { .. });
    let part = |effect: Effect| Part {
        moves,
        ..effect.into()
    };
    let given = action.gives_to().into_iter();
    let taken = action.takes_from(plan).into_iter();
    let mut parts: Vec<(u32, Part)> = given
        .map(|holder| (holder, part(Effect::MayCreate)))
        .chain(taken.map(|holder| (holder, part(Effect::MayRemove))))
        .collect();
    if let Action::ReleaseExactly { claim } = action {
        parts.push((claim.holder, part(Effect::MayRemoveExactly(claim.nonce))));
    }
    parts
}

/// Returns what an operation says that could not be done. Of several holders all are given a port or none:
/// so it has changed nothing. Only where another process is giving one of them a port at the same time, those before
/// it may have been given theirs, and for each worker there is a project for which nobody else claims ports.
fn refused(action: Action, plan: &Plan) -> Vec<(u32, Part)> {
    match action {
        Action::ClaimSet { project } | Action::ClaimRow { project } if !plan.is_own(project) => {
            unknown(action, plan)
        }
        // One after the other. Who may not run a command has been given the port before.
        Action::ReleaseRow { .. } | Action::Prune | Action::Run { .. } => unknown(action, plan),
        _ => Vec::new(),
    }
}

/// Returns what a move says of both holders of a port.
fn moved(operation: &Operation, claim: Seen) -> Vec<(u32, Part)> {
    let Action::Move { from, .. } = operation.action else {
        return Vec::new();
    };
    let part = |effect: Effect| Part {
        until: until(operation, claim, true),
        moves: true,
        ..effect.into()
    };
    vec![
        (
            in_project(claim.holder, from),
            part(Effect::GiveAway(claim.port)),
        ),
        (claim.holder, part(Effect::Create(claim))),
    ]
}

/// Returns until when a claim holds at least that was made or found: as long as it was given for, from
/// the operation's start.
fn until(operation: &Operation, claim: Seen, is_new: bool) -> Moment {
    let given = match (operation.action, claim.term) {
        (_, Term::Ttl(ttl)) if is_new => ttl,
        (Action::Claim { ttl: Some(ttl), .. } | Action::Renew { ttl, .. }, Term::Ttl(_)) => ttl,
        _ => return Moment::default(),
    };
    let given = given.saturating_mul(1_000_000_000).saturating_sub(TICK);
    Moment(operation.start.0.saturating_add(given))
}
