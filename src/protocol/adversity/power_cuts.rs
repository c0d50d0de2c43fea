//! A power cut at every step of every operation, and every state of the disk that it may leave.

use crate::fs::sim::{Fault, Verdict};

use super::meeting::meet;
use super::op::Op;
use super::play::{Moment, play, play_alone};
use super::scenes::{CLAIM, COMMON, MEETING, MOVE, all};
use super::stage::{Scene, bases};
use super::tried::Tried;

/// The process of that.
const LATER: u8 = 4;

/// What may happen after a kill or a power cut, until the power is cut again.
const SEQUELS: [Op; 4] = [
    CLAIM,
    Op::Acquire("/b", &[1, 2, 3]),
    Op::Release("/a"),
    Op::Sweep,
];

/// Cuts the power at every step of each scene.
fn cut_alone(faults: &[Fault]) {
    for scene in all(faults) {
        let mut tried = Tried::of(&scene.disk);
        let played = play_alone(&scene.disk, &scene.told, scene.op);
        let answer = played.answer.as_ref().expect("nobody kills it");
        assert!(answer.is_ok(), "{}: {answer:?}", scene.name);
        tried.cut_all(&played);
        tried.report("power cuts", scene.name);
    }
}

/// Kills each operation at every step, and cuts the power at every step of what comes after.
fn cut_after_kills(scenes: &[Scene], sequels: &[Op]) {
    for scene in scenes {
        let mut tried = Tried::of(&scene.disk);
        let played = play_alone(&scene.disk, &scene.told, scene.op);
        for mut moment in played.moments {
            moment.told.kill_all();
            cut_sequels(&mut tried, &moment, sequels);
        }
        tried.report("power cuts after a kill", scene.name);
    }
}

/// Cuts the power at every step of each operation, and again at every step of what comes after.
fn cut_twice(faults: &[Fault]) {
    for scene in all(faults) {
        let mut tried = Tried::of(&scene.disk);
        let played = play_alone(&scene.disk, &scene.told, scene.op);
        tried.cut_all(&played);
        for mut left in tried.take_left() {
            left.told.kill_all();
            cut_sequels(&mut tried, &left, &SEQUELS);
        }
        tried.report("two power cuts", scene.name);
    }
}

fn cut_sequels(tried: &mut Tried, start: &Moment, sequels: &[Op]) {
    for &op in sequels {
        let played = play(LATER, &start.disk, &start.told, op, None, |_, _| {
            Verdict::Go
        });
        tried.cut_all(&played);
    }
}

/// Cuts the power while two operations meet.
fn cut_meeting(faults: &[Fault], ops: &[Op], kills: bool) {
    for base in bases(faults) {
        let mut tried = Tried::of(&base.disk);
        for &op in ops {
            for &other in ops {
                meet(&base, op, other, kills, &mut |played| tried.cut_all(played));
            }
        }
        tried.report("power cuts of two that meet", base.name);
    }
}

#[test]
fn a_power_cut_at_every_step() {
    cut_alone(&[]);
}

#[test]
fn a_power_cut_at_every_step_where_names_are_published_by_links() {
    cut_alone(&[Fault::PublishLinks]);
}

#[test]
fn a_power_cut_at_every_step_where_new_files_look_sealed() {
    cut_alone(&[Fault::CreateSeals]);
}

#[test]
#[should_panic(expected = "told and not kept")]
fn a_power_cut_at_every_step_needs_flushed_names() {
    cut_alone(&[Fault::SyncKeepsNothing]);
}

#[test]
#[should_panic(expected = "told and not kept")]
fn a_power_cut_at_every_step_needs_names_that_are_flushed_after_they_are_published() {
    cut_alone(&[Fault::SyncsBeforePublish]);
}

#[test]
#[should_panic(expected = "told and not kept")]
fn a_power_cut_at_every_step_needs_flushed_contents() {
    cut_alone(&[Fault::SyncFileKeepsNothing]);
}

#[test]
#[should_panic(expected = "told and not kept")]
fn a_power_cut_at_every_step_needs_a_seal_that_comes_after_the_flush() {
    cut_alone(&[Fault::AllSealed]);
}

#[test]
fn a_power_cut_after_a_kill_at_every_step() {
    let mut scenes = all(&[]);
    scenes.retain(|scene| ["a new port", "release"].contains(&scene.name));
    cut_after_kills(&scenes, &[CLAIM]);
}

#[test]
#[ignore = "takes minutes; run it with --release"]
fn deep_power_cuts_after_kills() {
    cut_after_kills(&all(&[]), &SEQUELS);
    cut_after_kills(&all(&[Fault::PublishLinks]), &SEQUELS);
}

#[test]
#[ignore = "takes minutes; run it with --release"]
fn deep_power_cuts_after_power_cuts() {
    cut_twice(&[]);
}

#[test]
#[ignore = "takes minutes; run it with --release"]
fn deep_power_cuts_while_two_operations_meet() {
    cut_meeting(&[], &COMMON, true);
    // Two files that are staged and one that is replaced, beside another operation's: more states
    // in one moment than can be tried. `moves` cuts the power in a move by itself.
    let mut ops = MEETING.to_vec();
    ops.retain(|&op| op != MOVE);
    cut_meeting(&[], &ops, false);
}
