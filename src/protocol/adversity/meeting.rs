//! Two operations that meet: one runs inside the other, wherever that one can be stopped, and is
//! killed wherever that makes a difference.

use crate::error::{ErrorKind, Result};
use crate::fs::sim::Verdict;

use super::op::{Answer, Op};
use super::play::{Inside, OPERATION, Played, play};
use super::stage::Base;

/// Plays `other` inside `op` before each step of that, whole; and, if `kills` says so, killed
/// at each step of its own that changes the disk.
pub(super) fn meet(base: &Base, op: Op, other: Op, kills: bool, see: &mut dyn FnMut(&Played)) {
    for at in 0.. {
        let whole = meet_once(base, op, other, at, usize::MAX);
        if whole.steps[0] <= at {
            return;
        }
        see(&whole);
        let kills = if kills { &whole.kills[..] } else { &[] };
        for &killed in kills {
            see(&meet_once(base, op, other, at, killed));
        }
    }
}

fn meet_once(base: &Base, op: Op, other: Op, at: usize, killed: usize) -> Played {
    let inside = Inside {
        at,
        op: other,
        killed,
    };
    let played = play(
        OPERATION,
        &base.disk,
        &base.told,
        op,
        Some(inside),
        |_, _| Verdict::Go,
    );
    expect_answer(op, played.answer.as_ref(), other);
    expect_answer(other, played.inside.as_ref(), op);
    played
}

/// Checks an answer of an operation that met another. The only excuse for a failure is that
/// the other one is stopped while it withdraws the same project's files (NO-WAIT).
fn expect_answer(op: Op, answer: Option<&Result<Answer>>, other: Op) {
    match answer {
        None => {}
        Some(Ok(answer)) => {
            // The ports that complete a row may be pending; the registry waits for that.
            let is_barred = op.is_set() && other.is_set();
            let may_fail = is_barred || matches!(op, Op::TakeOver(..));
            let exhausted = matches!(answer, Answer::Exhausted | Answer::Apart);
            assert!(may_fail || !exhausted, "{op:?} beside {other:?}");
        }
        Some(Err(error)) => {
            let is_excused = error.kind() == ErrorKind::Contended && op.meets(other);
            assert!(is_excused, "{op:?} beside {other:?}: {error:?}");
        }
    }
}
