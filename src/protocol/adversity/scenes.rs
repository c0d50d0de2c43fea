//! The operations that the instruments try, each on a disk of its own.

use super::holders::SERVICES;
use super::op::{Op, TIME, USED};
use super::stage::{Scene, Stage, TORN, is_first_flush_of_claims, is_first_flush_of_names};
use crate::fs::sim::Fault;

/// Acquires a port for `/a`, as a project that has none.
pub(super) const CLAIM: Op = Op::Acquire("/a", &[1, 2, 3]);

/// Moves the port of `/a` to `/b`.
pub(super) const MOVE: Op = Op::Move("/a", "/b");

/// Every operation, on disks of all kinds.
pub(super) fn all(faults: &[Fault]) -> Vec<Scene> {
    let mut scenes = acquiring(faults);
    scenes.extend(damaged(faults));
    scenes.extend(others(faults));
    scenes.extend(moving(faults));
    scenes.extend(for_a_time(faults));
    scenes.extend(together(faults));
    scenes
}

/// A port for a project: a new one, or its own.
fn acquiring(faults: &[Fault]) -> Vec<Scene> {
    let stage = |ops: &[Op]| Stage::after(faults, ops);
    let mut again = stage(&[CLAIM]);
    again.settle();
    again.run(Op::Release("/a"));
    let mut unsealed = stage(&[]);
    unsealed.run_killed(CLAIM, is_first_flush_of_names);
    let past = Op::Acquire("/a", &[1, USED, 2]);
    vec![
        stage(&[]).settled("a new port", CLAIM),
        stage(&[Op::Acquire("/b", &[1])]).settled("past a claimed port and a used one", past),
        stage(&[CLAIM]).settled("an existing port", CLAIM),
        unsealed.scene("a port whose claimer died", CLAIM),
        again.scene("a port again", CLAIM),
        stage(&[]).settled("take-over", Op::TakeOver("/a", 1)),
        stage(&[Op::Acquire("/b", &[1])])
            .settled("take-over of another's port", Op::TakeOver("/a", 1)),
    ]
}

/// A port for a project whose files are damaged.
fn damaged(faults: &[Fault]) -> Vec<Scene> {
    let stage = |content: Option<&[u8]>| {
        let mut stage = Stage::new(faults);
        stage.run(CLAIM);
        stage.lose_claim("/a", 1, content);
        stage
    };
    let mut taken = stage(None);
    taken.run(Op::Acquire("/b", &[1]));
    let mut commit = Stage::new(faults);
    commit.run(CLAIM);
    commit.damage_commit("/a");
    let mut zeros = Stage::new(faults);
    zeros.run(CLAIM);
    zeros.lose_claim("/a", 1, Some(&[0; 100]));
    zeros.damage_commit("/a");
    vec![
        stage(None).settled("a dangling commit", CLAIM),
        stage(Some(TORN)).settled("a damaged claim", CLAIM),
        stage(Some(b"")).settled("an empty claim", CLAIM),
        taken.settled("a dangling commit of a taken port", CLAIM),
        commit.settled("a damaged commit", CLAIM),
        zeros.settled("a damaged commit and claim", CLAIM),
        stage(None).settled("take-over for a dangling commit", Op::TakeOver("/a", 2)),
    ]
}

/// The other operations.
fn others(faults: &[Fault]) -> Vec<Scene> {
    let stage = |ops: &[Op]| Stage::after(faults, ops);
    let mut dangling = stage(&[CLAIM]);
    dangling.lose_claim("/a", 1, None);
    let mut half = stage(&[CLAIM]);
    half.settle();
    half.run_killed(Op::Release("/a"), |step| {
        step.call == "remove" && step.dir == "projects"
    });
    let mut orphans = stage(&[CLAIM]);
    orphans.litter();
    let mut staged = stage(&[CLAIM]);
    staged.litter();
    vec![
        stage(&[CLAIM]).settled("release", Op::Release("/a")),
        stage(&[CLAIM]).settled("release to an archive", Op::Archive("/a")),
        dangling.settled("release of a dangling commit", Op::Release("/a")),
        half.scene("release after a killed one", Op::Release("/a")),
        stage(&[CLAIM]).settled("look-up", Op::Lookup("/a")),
        orphans.settled("sweep", Op::Sweep),
        staged.settled("sweep of staging", Op::SweepStaging),
        stage(&[CLAIM]).settled("refresh", Op::Refresh),
        stage(&[CLAIM]).scene("refresh by force", Op::Rewrite),
    ]
}

/// A port that goes from one project to another.
pub(super) fn moving(faults: &[Fault]) -> Vec<Scene> {
    let stage = |ops: &[Op]| Stage::after(faults, ops);
    let mut before = stage(&[CLAIM]);
    before.settle();
    before.run_killed(MOVE, |step| step.call == "replace");
    let mut after = stage(&[CLAIM]);
    after.settle();
    after.run_killed(MOVE, is_first_flush_of_claims);
    let mut dangling = stage(&[CLAIM, Op::Acquire("/b", &[2])]);
    dangling.lose_claim("/b", 2, None);
    vec![
        stage(&[CLAIM]).settled("move", MOVE),
        stage(&[CLAIM]).scene("move of a new port", MOVE),
        before.scene("move after one that was killed before it", MOVE),
        after.scene("move after one that was killed behind it", MOVE),
        dangling.settled("move to a project whose commit dangles", MOVE),
        stage(&[CLAIM, Op::Acquire("/b", &[2])]).settled("move to a project with a port", MOVE),
    ]
}

/// Gives `/a` a port for a time.
pub(super) const CLAIM_FOR: Op = Op::AcquireFor("/a", &[1, 2, 3]);

/// Lets that time end later, or earlier, than it would.
pub(super) const RENEWALS: [Op; 2] = [Op::Renew("/a", 600), Op::Renew("/a", 30)];

/// Ports that are given for a time.
pub(super) fn for_a_time(faults: &[Fault]) -> Vec<Scene> {
    let stage = |ops: &[Op]| Stage::after(faults, ops);
    let over = Op::Pass(TIME + 1);
    let mut before = stage(&[CLAIM_FOR, over]);
    before.settle();
    before.run_killed(RENEWALS[0], |step| step.call == "sync_file");
    vec![
        stage(&[]).settled("a port for a time", CLAIM_FOR),
        stage(&[CLAIM_FOR, Op::Pass(1)]).settled("a port for a time again", CLAIM_FOR),
        stage(&[CLAIM_FOR]).settled("renewal", RENEWALS[0]),
        stage(&[CLAIM_FOR]).settled("renewal for a shorter time", RENEWALS[1]),
        stage(&[CLAIM_FOR, over]).settled("renewal when the time is over", RENEWALS[1]),
        before.scene("renewal after one that was killed", RENEWALS[0]),
        stage(&[CLAIM_FOR, RENEWALS[0], over])
            .settled("not over, for it was renewed", Op::Reclaim("/a")),
        stage(&[CLAIM_FOR, over]).settled("over, and taken away", Op::Reclaim("/a")),
        stage(&[CLAIM_FOR, Op::Pass(1)]).settled("move of a port for a time", MOVE),
    ]
}

/// Two services that want ports together.
pub(super) const SET: Op = Op::AcquireSet(SERVICES, &[1, 2, 3, 5]);

/// A service that wants two ports in a row.
pub(super) const ROW_OF_TWO: Op = Op::AcquireRow(&[1, 2, 5]);

/// Ports for several at once.
pub(super) fn together(faults: &[Fault]) -> Vec<Scene> {
    let stage = |ops: &[Op]| Stage::after(faults, ops);
    let web = Op::Acquire("/a (web)", &[1]);
    let between = Op::Acquire("/b", &[2]);
    vec![
        stage(&[web]).settled("ports for two services, of which one has its own", SET),
        stage(&[]).settled("one port for two services", Op::AcquireSet(SERVICES, &[1])),
        stage(&[]).settled("ports in a row", ROW_OF_TWO),
        stage(&[web]).settled("a row that grows", ROW_OF_TWO),
        stage(&[web, between]).settled("a row that cannot grow", ROW_OF_TWO),
        stage(&[ROW_OF_TWO]).settled("release of a row", Op::ReleaseRow),
    ]
}

/// What processes do that meet: each of these inside each.
pub(super) const COMMON: [Op; 4] = [
    CLAIM,
    Op::Acquire("/b", &[1, 2, 3]),
    Op::Release("/a"),
    Op::Sweep,
];

/// The same with all that they may do.
pub(super) const MEETING: [Op; 9] = [
    CLAIM,
    Op::Acquire("/b", &[1, 2, 3]),
    Op::TakeOver("/a", 2),
    Op::Release("/a"),
    Op::Sweep,
    Op::Refresh,
    Op::Lookup("/a"),
    Op::Archive("/a"),
    MOVE,
];
