//! Histories written by hand, legal ones and one for each thing that cannot be.

use super::super::plan::holder_at;
use super::super::seen::{Nonce, Seen, Term};
use super::*;

mod lasting;
mod processes;
mod pruned;
mod simulated;

/// The first of the few ports; the first holders are given one of three.
const FIRST: u16 = 20_000;

fn plan() -> Plan {
    Plan {
        workers: 2,
        seed: 0,
        kill_rate: 0.0,
        directory: "/tmp".to_owned(),
        locks: true,
        first_port: FIRST,
        until: Moment::NEVER,
    }
}

/// A claim of a holder: the nonce says which one it is.
fn claim(holder: u32, port: u16, nonce: u128) -> Seen {
    Seen {
        holder,
        port: FIRST + port,
        nonce: Nonce(nonce << 96),
        term: Term::Kept,
    }
}

fn operation(start: u64, end: u64, action: Action, answer: Option<Answer>) -> Operation {
    Operation {
        worker: Some(0),
        action,
        start: Moment(start),
        end: Moment(end),
        answer,
        stopped: false,
        notices: Vec::new(),
    }
}

fn given(start: u64, end: u64, action: Action, claims: &[(Seen, bool)]) -> Operation {
    let all = claims.iter().map(|&(claim, new)| Given { claim, new });
    operation(start, end, action, Some(Answer::Given(all.collect())))
}

fn claiming(holder: u32) -> Action {
    Action::Claim { holder, ttl: None }
}

fn new(start: u64, end: u64, claim: Seen) -> Operation {
    given(start, end, claiming(claim.holder), &[(claim, true)])
}

fn again(start: u64, end: u64, claim: Seen) -> Operation {
    given(start, end, claiming(claim.holder), &[(claim, false)])
}

fn killed_claim(start: u64, end: u64, holder: u32) -> Operation {
    operation(start, end, claiming(holder), None)
}

fn exhausted(start: u64, end: u64, holder: u32) -> Operation {
    let answer = Answer::Exhausted { unbindable: 0 };
    operation(start, end, claiming(holder), Some(answer))
}

fn released(start: u64, end: u64, claim: Seen) -> Operation {
    let holder = claim.holder;
    let answer = Answer::Released(vec![claim]);
    operation(start, end, Action::Release { holder }, Some(answer))
}

fn killed_release(start: u64, end: u64, holder: u32) -> Operation {
    operation(start, end, Action::Release { holder }, None)
}

fn found(start: u64, end: u64, claim: Seen) -> Operation {
    let holder = claim.holder;
    let answer = Answer::Found(Some(claim));
    operation(start, end, Action::Find { holder }, Some(answer))
}

fn absent(start: u64, end: u64, holder: u32) -> Operation {
    let answer = Answer::Found(None);
    operation(start, end, Action::Find { holder }, Some(answer))
}

fn lookup(start: u64, end: u64, port: u16, answer: Option<Seen>) -> Operation {
    let action = Action::Lookup { port: FIRST + port };
    operation(start, end, action, Some(Answer::Found(answer)))
}

fn listed(start: u64, end: u64, all: &[Seen]) -> Operation {
    operation(start, end, Action::List, Some(Answer::Listed(all.to_vec())))
}

fn check(history: Vec<Operation>) -> Result<usize, Violation> {
    let mut checker = Checker::new(&plan());
    for operation in history {
        checker.add(operation);
    }
    checker.finish()
}

#[track_caller]
fn assert_legal(history: Vec<Operation>) {
    match check(history) {
        Ok(undecided) => assert_eq!(undecided, 0),
        Err(violation) => panic!("{violation:#?}"),
    }
}

/// Asserts that a history cannot be, and returns the starts of the operations that show it.
#[track_caller]
fn assert_illegal(kind: Kind, history: Vec<Operation>) -> Vec<u64> {
    match check(history) {
        Ok(_) => panic!("it was accepted"),
        Err(violation) => {
            assert_eq!(violation.kind, kind, "{violation:#?}");
            violation.excerpt.iter().map(|one| one.start.0).collect()
        }
    }
}

#[test]
fn what_happens_one_after_the_other_is_legal() {
    let (a, b) = (claim(0, 0, 1), claim(1, 0, 2));
    assert_legal(vec![
        absent(0, 1, 0),
        new(2, 3, a),
        again(4, 5, a),
        found(6, 7, a),
        lookup(8, 9, 0, Some(a)),
        listed(10, 11, &[a]),
        released(12, 13, a),
        lookup(14, 15, 0, None),
        new(16, 17, b),
        listed(18, 19, &[b]),
    ]);
}

#[test]
fn what_overlaps_may_have_happened_in_either_order() {
    let (a, b) = (claim(0, 0, 1), claim(1, 0, 2));
    // Two ask at once, one makes the claim; look-ups see it or not.
    assert_legal(vec![
        new(0, 10, a),
        again(1, 9, a),
        absent(2, 8, 0),
        found(3, 7, a),
    ]);
    // A port changes hands while both are at it.
    assert_legal(vec![
        new(0, 5, a),
        released(10, 20, a),
        new(11, 19, b),
        lookup(12, 18, 0, Some(a)),
        lookup(13, 17, 0, Some(b)),
    ]);
    // The claim was made, found, and released, all within one operation.
    assert_legal(vec![
        new(0, 100, a),
        found(10, 20, a),
        released(30, 40, a),
        absent(50, 60, 0),
    ]);
}

#[test]
fn releases_that_overlap_may_both_be_told() {
    let a = claim(0, 0, 1);
    assert_legal(vec![
        new(0, 1, a),
        released(2, 10, a),
        released(3, 5, a),
        absent(11, 12, 0),
    ]);
    let shown = assert_illegal(
        Kind::ReleasedTwice,
        vec![new(0, 1, a), released(2, 3, a), released(4, 5, a)],
    );
    assert_eq!(shown, [2, 4]);
}

#[test]
fn what_a_killed_worker_began_may_have_happened_or_not() {
    let (a, b) = (claim(0, 0, 1), claim(0, 1, 2));
    assert_legal(vec![killed_claim(0, 5, 0), found(6, 7, a), again(8, 9, a)]);
    assert_legal(vec![killed_claim(0, 5, 0), absent(6, 7, 0)]);
    assert_legal(vec![killed_claim(0, 5, 0), released(6, 7, a), new(8, 9, b)]);
    assert_legal(vec![new(0, 1, a), killed_release(2, 3, 0), found(4, 5, a)]);
    assert_legal(vec![new(0, 1, a), killed_release(2, 3, 0), new(4, 5, b)]);
}

#[test]
fn what_a_killed_worker_began_does_not_happen_after_its_death() {
    let a = claim(0, 0, 1);
    assert_illegal(
        Kind::LostClaim,
        vec![killed_claim(0, 5, 0), absent(6, 7, 0), found(8, 9, a)],
    );
    let shown = assert_illegal(
        Kind::LostClaim,
        vec![
            new(0, 1, a),
            killed_release(2, 3, 0),
            found(4, 5, a),
            absent(6, 7, 0),
        ],
    );
    assert_eq!(shown, [4, 6], "the release is not part of it");
}

#[test]
fn a_killed_claim_that_was_released_does_not_come_back() {
    let a = claim(0, 0, 1);
    assert_illegal(
        Kind::StaleLookup,
        vec![
            killed_claim(0, 5, 0),
            released(6, 7, a),
            killed_claim(8, 9, 0),
            found(10, 11, a),
        ],
    );
}

#[test]
fn a_port_with_two_holders_is_found() {
    let (a, b) = (claim(0, 0, 1), claim(1, 0, 2));
    let shown = assert_illegal(
        Kind::TwoHolders,
        vec![new(0, 1, a), new(2, 3, b), found(4, 5, a), found(6, 7, b)],
    );
    assert_eq!(shown, [0, 2, 4]);
    // Also where the second one was there only for a moment.
    assert_illegal(
        Kind::TwoHolders,
        vec![
            new(0, 1, a),
            new(2, 5, b),
            released(3, 4, b),
            found(6, 7, a),
        ],
    );
}

#[test]
fn a_lost_claim_is_found() {
    let a = claim(0, 0, 1);
    let kind = Kind::LostClaim;
    let shown = assert_illegal(kind, vec![new(0, 1, a), absent(2, 3, 0)]);
    assert_eq!(shown, [0, 2]);
    assert_illegal(kind, vec![new(0, 1, a), listed(2, 3, &[])]);
    assert_illegal(kind, vec![new(0, 1, a), exhausted(2, 3, 0)]);
    let shown = assert_illegal(
        kind,
        vec![new(0, 1, a), lookup(2, 3, 0, None), found(4, 5, a)],
    );
    assert_eq!(shown, [0, 2, 4]);
}

#[test]
fn a_changed_port_is_found() {
    let (a, b) = (claim(0, 0, 1), claim(0, 1, 2));
    let kind = Kind::ChangedPort;
    assert_eq!(
        assert_illegal(kind, vec![new(0, 1, a), new(2, 3, b)]),
        [0, 2]
    );
    assert_illegal(kind, vec![new(0, 1, a), again(2, 3, b)]);
    // Both at once, too: one must be told of the other's.
    assert_illegal(kind, vec![new(0, 3, a), new(1, 2, b)]);
}

#[test]
fn a_release_that_is_undone_is_found() {
    let a = claim(0, 0, 1);
    let history = vec![new(0, 1, a), released(2, 3, a), again(4, 5, a)];
    assert_eq!(assert_illegal(Kind::ReleaseUndone, history), [2, 4]);
}

#[test]
fn a_stale_lookup_is_found() {
    let a = claim(0, 0, 1);
    let history = vec![new(0, 1, a), released(2, 3, a), found(4, 5, a)];
    assert_eq!(assert_illegal(Kind::StaleLookup, history), [2, 4]);
    let history = vec![new(0, 1, a), released(2, 3, a), lookup(4, 5, 0, Some(a))];
    assert_eq!(assert_illegal(Kind::StaleLookup, history), [2, 4]);
}

#[test]
fn an_exhaustion_that_was_none_is_found() {
    let all = [claim(0, 0, 1), claim(1, 1, 2), claim(2, 2, 3)];
    let taken = || all.iter().map(|&claim| new(0, 1, claim));
    let with = |more: Vec<Operation>| taken().chain(more).collect::<Vec<_>>();
    assert_legal(with(vec![exhausted(2, 3, 3)]));
    assert_legal(with(vec![released(2, 5, all[0]), exhausted(3, 4, 3)]));
    let kind = Kind::ImplausibleExhaustion;
    assert_illegal(kind, with(vec![released(2, 3, all[0]), exhausted(4, 5, 3)]));
    // Somebody was at it: a killed claim nobody has seen, two that raced, a stopped worker.
    let two = || vec![new(0, 1, all[0]), new(0, 1, all[1])];
    let with = |more: Vec<Operation>| two().into_iter().chain(more).collect::<Vec<_>>();
    assert_illegal(kind, with(vec![exhausted(4, 5, 3)]));
    assert_legal(with(vec![killed_claim(2, 3, 5), exhausted(4, 5, 3)]));
    assert_illegal(
        kind,
        with(vec![
            killed_claim(2, 3, 5),
            absent(4, 5, 5),
            exhausted(6, 7, 3),
        ]),
    );
    let many = claim(holder_at(plan().own_project(2), 0), 3, 9);
    assert_legal(with(vec![
        new(2, 5, many),
        again(2, 5, many),
        exhausted(3, 4, 3),
    ]));
    let mut stopped = operation(2, 5, Action::Repair, Some(Answer::Done));
    stopped.stopped = true;
    assert_legal(with(vec![stopped, exhausted(3, 4, 3)]));
}

#[test]
fn failures_and_notices_are_told() {
    let holder = 0;
    let failed = Answer::Failed("no space".to_owned());
    assert_illegal(
        Kind::Failed,
        vec![operation(0, 1, Action::Find { holder }, Some(failed))],
    );
    let mut notice = absent(0, 1, holder);
    notice.notices.push("Conflict".to_owned());
    assert_illegal(Kind::Notice, vec![notice]);
}

#[test]
fn an_excerpt_has_only_what_contradicts() {
    let mut history = Vec::new();
    // Forty claims come and go, then one is lost, among look-ups of others.
    for turn in 0..40 {
        let claim = claim(0, 0, u128::from(turn) + 10);
        let at = turn * 100;
        history.push(new(at, at + 1, claim));
        history.push(found(at + 2, at + 3, claim));
        history.push(released(at + 4, at + 5, claim));
    }
    let lost = claim(0, 1, 1);
    history.push(new(5000, 5001, lost));
    history.push(found(5002, 5003, lost));
    history.push(lookup(5004, 5005, 2, None));
    history.push(absent(5006, 5007, 0));
    assert_eq!(assert_illegal(Kind::LostClaim, history), [5002, 5006]);
}

#[test]
fn what_is_forgotten_of_long_runs_makes_no_difference() {
    let mut history = Vec::new();
    for turn in 0..3000 {
        let holder = u32::try_from(turn % 4).expect("small");
        let claim = claim(holder, 0, u128::from(turn) + 10);
        history.push(new(turn * 100, turn * 100 + 1, claim));
        history.push(released(turn * 100 + 2, turn * 100 + 3, claim));
    }
    let (a, b) = (claim(0, 0, 1), claim(1, 0, 2));
    history.push(new(500_000, 500_001, a));
    assert_legal(history.clone());
    history.push(new(500_002, 500_003, b));
    history.push(found(500_004, 500_005, a));
    let shown = assert_illegal(Kind::TwoHolders, history);
    assert_eq!(shown, [500_000, 500_002, 500_004]);
}

#[test]
fn what_contradicts_is_found_among_many_killed_ones() {
    let a = claim(0, 0, 1);
    let mut history = vec![new(0, 1, a)];
    // Each may have had its effect before or after each other one, or none.
    history.extend((0..6).map(|at| killed_release(2 + at, 100, 1)));
    history.extend((0..6).map(|at| killed_claim(2 + at, 100, 1)));
    let b = claim(1, 1, 2);
    history.extend([new(20, 21, b), released(22, 23, b), found(101, 102, b)]);
    let shown = assert_illegal(Kind::StaleLookup, history);
    assert!(shown.ends_with(&[22, 101]), "{shown:?}");
}
