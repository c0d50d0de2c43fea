//! A claim that was given for a time ends when it would have, or when it was renewed to: at every
//! step, whatever fails, is killed or loses power, and whatever meets a renewal.

use std::time::{Duration, UNIX_EPOCH};

use super::super::{expires, held};
use super::World;
use super::faults::FAILURES;
use super::holders::of;
use super::kills::kill_meeting;
use super::op::{Answer, Op, TIME};
use super::play::{OPERATION, play, play_alone};
use super::scenes::{CLAIM_FOR, COMMON, MOVE, RENEWALS};
use super::stage::{Base, Stage};
use super::{report, steps};
use crate::fs::sim::{Disk, Fault, START, Verdict};

/// Returns in how many seconds since the beginning `/a`'s claim ends.
fn end(disk: &Disk) -> u64 {
    let process = World::mount(disk).process(OPERATION);
    let record = held(&process.store, of("/a")).expect("look-up");
    let end = expires(&process.store, &record.expect("/a has a port")).expect("a date");
    let start = UNIX_EPOCH + Duration::from_secs(START);
    let since = end.expect("it ends").duration_since(start);
    since.expect("later than the beginning").as_secs()
}

/// The disk on which `/a` has a port for a time, and when that ends.
fn given(faults: &[Fault]) -> (Base, u64) {
    let mut stage = Stage::after(faults, &[CLAIM_FOR]);
    stage.settle();
    (stage.base("/a has a port for a time"), TIME)
}

/// Lets each call of a renewal fail in each way, and cuts the power at each of its steps.
fn renew_to_one_of_two(faults: &[Fault]) {
    let (base, old) = given(faults);
    for op in RENEWALS {
        let Op::Renew(_, new) = op else {
            panic!("no renewal")
        };
        let expect = |disk: &Disk, ends: &[u64], what: &str| {
            let end = end(disk);
            assert!(ends.contains(&end), "{op:?}: {what}: ends at {end}");
        };
        let played = play_alone(&base.disk, &base.told, op);
        let (last, earlier) = played.moments.split_last().expect("the end");
        for moment in earlier {
            expect(&moment.disk, &[old, new], "killed");
            moment
                .disk
                .power_cuts(|disk| expect(&disk, &[old, new], "power cut"));
        }
        assert!(matches!(played.answer, Some(Ok(Answer::Renewed(_)))));
        last.disk
            .power_cuts(|disk| expect(&disk, &[new], "power cut when it was told"));
        let count = steps(&base.disk, op);
        for at in 0..count {
            for failure in FAILURES {
                let fails = move |step, _: crate::fs::sim::Step<'_>| {
                    if step == at { failure } else { Verdict::Go }
                };
                let played = play(OPERATION, &base.disk, &base.told, op, None, fails);
                let left = &played.moments.last().expect("the end").disk;
                let is_told = matches!(played.answer, Some(Ok(Answer::Renewed(_))));
                let ends = if is_told { &[new][..] } else { &[old, new] };
                left.power_cuts(|disk| expect(&disk, ends, "power cut after a failure"));
            }
        }
        report(&format!(
            "renewals: {op:?}: {} failures",
            count * FAILURES.len()
        ));
    }
}

#[test]
fn a_renewal_that_is_not_told_leaves_one_of_the_two_ends() {
    renew_to_one_of_two(&[]);
}

#[test]
#[should_panic(expected = "power cut when it was told: ends at 60")]
fn a_renewal_needs_a_flush_that_keeps_dates() {
    renew_to_one_of_two(&[Fault::SyncFileKeepsNoDate]);
}

#[test]
#[should_panic(expected = "power cut after a failure: ends at 60")]
fn a_renewal_needs_flushes_that_tell() {
    renew_to_one_of_two(&[Fault::SyncHidesFailure]);
}

/// What renewals meet, on disks where the time is not over, and where it is.
fn meet(faults: &[Fault]) {
    let (given, _) = given(faults);
    let mut over = Stage::after(faults, &[CLAIM_FOR, Op::Pass(TIME + 1)]);
    over.settle();
    let over = over.base("the time of /a's port is over");
    let others = [
        CLAIM_FOR,
        RENEWALS[0],
        RENEWALS[1],
        COMMON[1],
        COMMON[2],
        Op::Sweep,
        MOVE,
    ];
    let others = [&others[..], &[Op::Reclaim("/a"), Op::Pass(TIME)]].concat();
    let pairs = others
        .iter()
        .flat_map(|other| [(RENEWALS[0], *other), (*other, RENEWALS[0])]);
    kill_meeting(&[given, over], pairs.collect::<Vec<_>>().as_slice());
}

#[test]
fn a_renewal_meets_others() {
    meet(&[]);
}

#[test]
#[should_panic(expected = "taken away before its time")]
fn a_renewal_that_meets_others_needs_locks() {
    meet(&[Fault::LocksGranted]);
}

#[test]
#[should_panic(expected = "a term is cut short")]
fn a_renewal_that_meets_others_needs_dates() {
    meet(&[Fault::DatesNothing]);
}
