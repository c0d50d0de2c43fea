//! `kill -9` at every step: of one process alone, and of one inside another that goes on.

use crate::fs::sim::Fault;

use super::meeting::meet;
use super::op::Op;
use super::play::play_alone;
use super::scenes::{COMMON, MEETING, all};
use super::stage::{Base, bases};
use super::tried::Tried;

fn kill_alone(faults: &[Fault]) {
    for scene in all(faults) {
        let mut tried = Tried::of(&scene.disk);
        let played = play_alone(&scene.disk, &scene.told, scene.op);
        tried.kill_all(&played);
        tried.report("kills", scene.name);
    }
}

/// Plays the second one of each pair inside the first, and kills it at each of its steps.
pub(super) fn kill_meeting(bases: &[Base], pairs: &[(Op, Op)]) {
    for base in bases {
        let mut tried = Tried::of(&base.disk);
        for &(op, other) in pairs {
            let see = &mut |played: &_| tried.kill_all(played);
            meet(base, op, other, true, see);
        }
        tried.report("kills of one inside another", base.name);
    }
}

/// Each of these inside each.
fn each(ops: &[Op]) -> Vec<(Op, Op)> {
    let pairs = |op: &Op| ops.iter().map(|other| (*op, *other)).collect::<Vec<_>>();
    ops.iter().flat_map(pairs).collect()
}

#[test]
fn a_kill_at_every_step() {
    kill_alone(&[]);
}

#[test]
fn a_kill_at_every_step_where_names_are_published_by_links() {
    kill_alone(&[Fault::PublishLinks]);
}

#[test]
#[should_panic(expected = "a port leaked")]
fn a_kill_at_every_step_needs_locks_that_go_with_the_process() {
    kill_alone(&[Fault::LocksOutlive]);
}

#[test]
fn a_kill_at_every_step_inside_another_operation() {
    kill_meeting(&bases(&[])[..2], &each(&COMMON));
}

#[test]
#[should_panic(expected = "one port, two holders")]
fn a_kill_inside_another_operation_needs_exclusive_creation() {
    kill_meeting(&bases(&[Fault::CreateShares]), &each(&COMMON));
}

#[test]
#[should_panic(expected = "told and not kept")]
fn a_kill_inside_another_operation_needs_locks() {
    kill_meeting(&bases(&[Fault::LocksGranted]), &each(&COMMON));
}

#[test]
#[ignore = "takes a minute; run it with --release"]
fn deep_kills_inside_every_operation() {
    kill_meeting(&bases(&[]), &each(&MEETING));
    kill_meeting(&bases(&[Fault::PublishLinks]), &each(&MEETING));
}
