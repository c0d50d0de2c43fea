//! Several ports at once. Told, all of them are kept. Where they cannot all be had, none is given. Killed
//! in between, the first ones may be there, whole; after a power cut, any of them. Whoever asks again
//! gets the rest, and those that are there stay.

use super::World;
use super::kills::kill_meeting;
use super::op::{Answer, Op};
use super::play::{OPERATION, play_alone};
use super::report;
use super::scenes::{ROW_OF_TWO, SET, together};
use super::stage::{Scene, Stage};
use crate::fs::sim::{Disk, Fault};

/// Returns the ports that these holders have.
fn ports(disk: &Disk, names: &[&'static str]) -> Vec<Option<u16>> {
    let process = World::mount(disk).process(OPERATION);
    let port = |name: &&'static str| match Op::Lookup(name).run(&process).expect("look-up") {
        Answer::Held(record) => Some(record.port().get()),
        _ => None,
    };
    names.iter().map(port).collect()
}

/// Asks again, and checks that all is given then, and that what was kept stays.
fn expect_completed(disk: &Disk, scene: &Scene, kept: &[Option<u16>], what: &str) {
    let process = World::mount(disk).process(OPERATION + 1);
    Op::Sweep.run(&process).expect("sweep");
    let answer = scene.op.run(&process).expect("it goes on");
    let Answer::HeldAll(all) = answer else {
        panic!("{}: {what}: asked again, {answer:?}", scene.name);
    };
    let all: Vec<u16> = all.iter().map(|record| record.port().get()).collect();
    for (kept, now) in kept.iter().zip(&all) {
        let is_kept = kept.is_none_or(|kept| kept == *now);
        assert!(is_kept, "{}: {what}: {kept:?} became {all:?}", scene.name);
    }
    if scene.op == ROW_OF_TWO {
        assert_eq!(all[1], all[0] + 1, "{}: {what}: not in a row", scene.name);
    }
}

/// Acquires several ports, is killed at every step, and loses power at every step.
fn acquire(faults: &[Fault]) {
    // Of new ports the steps are those of a row, which the other instruments try.
    let set = Stage::new(faults).settled("ports for two services", SET);
    for scene in together(faults).into_iter().chain([set]) {
        let names = scene.op.acquires();
        if names.is_empty() {
            continue;
        }
        let before = ports(&scene.disk, names);
        let played = play_alone(&scene.disk, &scene.told, scene.op);
        let is_told = matches!(played.answer, Some(Ok(Answer::HeldAll(_))));
        let (mut parts, mut states) = (0, 0);
        for (at, moment) in played.moments.iter().enumerate() {
            let is_end = at + 1 == played.moments.len();
            let check = |disk: &Disk, what: &str| {
                let left = ports(disk, names);
                for (left, before) in left.iter().zip(&before) {
                    let is_kept = before.is_none() || left == before;
                    assert!(is_kept, "{}: {what}: {before:?} is lost", scene.name);
                }
                if !is_told {
                    assert_eq!(left, before, "{}: {what}: half is given", scene.name);
                } else if is_end {
                    assert!(
                        !left.contains(&None),
                        "{}: {what}: half is kept",
                        scene.name
                    );
                }
                if is_told {
                    expect_completed(disk, &scene, &left, what);
                }
                left
            };
            let killed = check(&moment.disk, "killed");
            let count = killed.iter().take_while(|port| port.is_some()).count();
            let is_first = killed[count..] == before[count..];
            assert!(is_first, "{}: killed: {killed:?}", scene.name);
            moment.disk.power_cuts(|disk| {
                let left = check(&disk, "power cut");
                states += 1;
                parts += usize::from(left != before && left.contains(&None));
            });
        }
        let name = scene.name;
        report(&format!(
            "sets: {name}: {states} states after power cuts, {parts} with a part"
        ));
    }
}

#[test]
fn several_ports_are_given_whole_or_not_at_all() {
    acquire(&[]);
}

#[test]
fn several_ports_are_given_whole_or_not_at_all_where_names_are_published_by_links() {
    acquire(&[Fault::PublishLinks]);
}

#[test]
#[should_panic(expected = "half is kept")]
fn several_ports_need_flushed_names() {
    acquire(&[Fault::SyncKeepsNothing]);
}

/// A port for one of several, and not the one that it is to get.
const ONE: Op = Op::Acquire("/a (web)", &[5]);

/// Operations for several holders meet these, on disks where none of them has a port, and where one has.
fn meet(faults: &[Fault], pairs: &[(Op, Op)]) {
    let free = Stage::new(faults);
    let mut begun = Stage::after(faults, &[Op::Acquire("/a (web)", &[1])]);
    begun.settle();
    let bases = [
        free.base("no service has a port"),
        begun.base("a service has a port"),
    ];
    kill_meeting(&bases, pairs);
}

#[test]
fn several_ports_meet_others() {
    meet(&[], &[(ROW_OF_TWO, ONE), (ONE, ROW_OF_TWO)]);
}

#[test]
#[ignore = "takes a minute; run it with --release"]
fn deep_several_ports_meet_every_operation() {
    let others = [ROW_OF_TWO, SET, ONE, Op::ReleaseRow, Op::Sweep, Op::Refresh];
    let pairs = |op: Op| {
        others
            .into_iter()
            .flat_map(move |other| [(op, other), (other, op)])
    };
    let pairs: Vec<(Op, Op)> = [ROW_OF_TWO, SET].into_iter().flat_map(pairs).collect();
    meet(&[], &pairs);
    meet(&[Fault::PublishLinks], &pairs);
}

#[test]
#[should_panic(expected = "two ports")]
fn several_ports_that_meet_others_need_a_commit_that_replaces_nothing() {
    meet(&[Fault::PublishReplaces], &[(ROW_OF_TWO, ONE)]);
}
