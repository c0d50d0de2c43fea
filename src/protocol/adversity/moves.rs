//! A port that moves from one project to another is at every moment held by exactly one of them,
//! whatever is killed and wherever the power is cut; and whatever meets a move, nothing told is lost.

use crate::fs::sim::{Disk, Fault};

use super::World;
use super::meeting::meet;
use super::op::{Answer, Op};
use super::play::{OPERATION, play_alone};
use super::scenes::{COMMON, MEETING, MOVE, moving};
use super::stage::{Base, bases};
use super::tried::Tried;

/// Returns which of the two projects have port 1.
fn holders(disk: &Disk) -> Vec<&'static str> {
    let process = World::mount(disk).process(OPERATION);
    let has_it = |project: &&'static str| {
        let found = Op::Lookup(project).run(&process).expect("look-up");
        matches!(found, Answer::Held(record) if record.port().get() == 1)
    };
    ["/a", "/b"].into_iter().filter(has_it).collect()
}

/// Moves a port whose claim is durable, is killed at every step, and loses power at every step.
fn move_with_one_holder(faults: &[Fault]) {
    for scene in moving(faults) {
        if scene.name == "move of a new port" {
            // It may be lost: it was flushed and told, but the names that are flushed with it not.
            continue;
        }
        let played = play_alone(&scene.disk, &scene.told, scene.op);
        for moment in &played.moments {
            let now = holders(&moment.disk);
            assert_eq!(now.len(), 1, "{}: killed, held by {now:?}", scene.name);
            moment.disk.power_cuts(|disk| {
                let left = holders(&disk);
                assert_eq!(left.len(), 1, "{}: power cut, held by {left:?}", scene.name);
            });
        }
    }
}

/// A move inside each other operation, and each inside a move; the one inside is killed at each
/// of its steps as well.
fn meet_others(bases: &[Base], others: &[Op]) {
    for base in bases {
        let mut tried = Tried::of(&base.disk);
        let see = &mut |played: &_| tried.kill_all(played);
        for &other in others {
            meet(base, MOVE, other, true, see);
            meet(base, other, MOVE, true, see);
        }
        tried.report("moves inside others", base.name);
    }
}

#[test]
fn one_of_two_has_the_port_at_every_step() {
    move_with_one_holder(&[]);
}

#[test]
fn one_of_two_has_the_port_at_every_step_where_names_are_published_by_links() {
    move_with_one_holder(&[Fault::PublishLinks]);
}

#[test]
#[should_panic(expected = "power cut, held by []")]
fn one_of_two_has_the_port_at_every_step_needs_flushed_names() {
    move_with_one_holder(&[Fault::SyncKeepsNothing]);
}

#[test]
#[should_panic(expected = "power cut, held by []")]
fn one_of_two_has_the_port_at_every_step_needs_flushed_contents() {
    move_with_one_holder(&[Fault::SyncFileKeepsNothing]);
}

/// The disk on which `/a` has a port.
fn held(faults: &[Fault]) -> Vec<Base> {
    bases(faults).into_iter().skip(1).take(1).collect()
}

#[test]
fn a_move_meets_others() {
    meet_others(&held(&[]), &[COMMON[1], COMMON[2], Op::Sweep, MOVE]);
}

#[test]
#[ignore = "takes minutes; run it with --release"]
fn deep_moves_meet_every_operation() {
    meet_others(&bases(&[]), &MEETING);
    meet_others(&bases(&[Fault::PublishLinks]), &MEETING);
}

#[test]
#[should_panic(expected = "two ports")]
fn a_move_that_meets_others_needs_the_lock_of_the_new_commit() {
    meet_others(&held(&[Fault::StagedLocksGranted]), &COMMON);
}
