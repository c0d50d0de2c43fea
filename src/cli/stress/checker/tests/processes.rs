//! Histories with processes that own claims, and commands of `run`.

use super::super::super::action::Running;
use super::super::super::seen::Process;
use super::super::effect::Effect;
use super::lasting::with_term;
use super::*;

const OWNER: Process = Process { pid: 7, start: 1 };

/// A claim of the first holder, as long as the process lives.
fn owned(nonce: u128) -> Seen {
    with_term(Term::Owner(OWNER), claim(0, 0, nonce))
}

fn claimed(start: u64, end: u64, claim: Seen, new: bool) -> Operation {
    let (holder, owner) = (claim.holder, OWNER);
    given(
        start,
        end,
        Action::ClaimOwned { holder, owner },
        &[(claim, new)],
    )
}

fn owner_ended(start: u64, end: u64) -> Operation {
    let (owner, killed) = (OWNER, false);
    operation(
        start,
        end,
        Action::EndOwner { owner, killed },
        Some(Answer::Ended),
    )
}

#[test]
fn a_claim_is_not_taken_away_while_its_owner_lives() {
    let (a, b) = (owned(1), claim(1, 0, 2));
    assert_legal(vec![
        claimed(0, 1, a, true),
        claimed(2, 3, a, false),
        owner_ended(4, 5),
        absent(6, 7, 0),
        new(8, 9, b),
    ]);
    // It may be taken away while the owner ends, and need not be: nobody has to want the port.
    assert_legal(vec![
        claimed(0, 1, a, true),
        owner_ended(2, 9),
        absent(3, 4, 0),
    ]);
    assert_legal(vec![
        claimed(0, 1, a, true),
        owner_ended(2, 3),
        found(4, 5, a),
    ]);
    let early = || vec![claimed(0, 1, a, true), absent(2, 3, 0), owner_ended(4, 5)];
    assert_eq!(assert_illegal(Kind::LostClaim, early()), [0, 2]);
    // The end of another process is no excuse, nor is a kill that nobody was told the end of.
    let other = Process { pid: 7, start: 2 };
    let killed = true;
    let ends = Action::EndOwner {
        owner: other,
        killed,
    };
    let history = vec![
        claimed(0, 1, a, true),
        operation(2, 3, ends, None),
        absent(4, 5, 0),
    ];
    assert_illegal(Kind::LostClaim, history);
    // Once it has lapsed it does not come back.
    let history = vec![
        claimed(0, 1, a, true),
        owner_ended(2, 3),
        absent(4, 5, 0),
        found(6, 7, a),
    ];
    assert_illegal(Kind::LostClaim, history);
}

#[test]
fn long_after_an_owner_s_end_its_claims_are_still_no_contradiction() {
    let a = owned(1);
    let mut history = vec![claimed(0, 1, a, true), owner_ended(2, 3)];
    // More than is remembered of the past to be shown.
    history.extend((0..100).map(|turn| found(10 + 2 * turn, 11 + 2 * turn, a)));
    history.push(absent(1000, 1001, 0));
    assert_legal(history.clone());
    // What is shown does not accuse the lapse, but what follows.
    history.push(found(1002, 1003, a));
    assert_eq!(assert_illegal(Kind::LostClaim, history), [1000, 1002]);
}

#[test]
fn the_port_of_a_claim_can_be_had_when_its_owner_is_gone() {
    let others = || vec![new(0, 1, claim(1, 1, 2)), new(0, 1, claim(2, 2, 3))];
    let with =
        |more: Vec<Operation>| [others(), vec![claimed(0, 1, owned(1), true)], more].concat();
    assert_legal(with(vec![exhausted(2, 3, 3), owner_ended(4, 5)]));
    assert_legal(with(vec![owner_ended(4, 6), exhausted(5, 7, 3)]));
    let kind = Kind::ImplausibleExhaustion;
    assert_illegal(kind, with(vec![owner_ended(4, 5), exhausted(6, 7, 3)]));
    // Somebody may be told of it all the same, and it may be found for the first time then.
    let (told, late) = (found(7, 9, owned(1)), exhausted(8, 10, 3));
    assert_legal(with(vec![owner_ended(4, 5), told.clone(), late.clone()]));
    let killed = vec![
        killed_claim(0, 1, 0),
        owner_ended(4, 5),
        told,
        exhausted(10, 11, 3),
    ];
    assert_illegal(kind, [others(), killed].concat());
}

/// A run of the first project's, on the first port.
fn running(id: u128) -> Running {
    let (holder, port, id) = (0, FIRST, Nonce(id));
    Running { holder, port, id }
}

fn ran(start: u64, end: u64, run: Running, claim: Option<Seen>) -> Operation {
    let answer = Answer::Ran { run, claim };
    operation(start, end, Action::Run { project: 0 }, Some(answer))
}

fn run_ended(start: u64, end: u64, run: Running) -> Operation {
    let killed = true;
    operation(
        start,
        end,
        Action::EndRun { run, killed },
        Some(Answer::Ended),
    )
}

#[test]
fn of_two_commands_on_one_port_the_second_is_not_run() {
    let a = claim(0, 0, 1);
    let (one, other) = (running(1), running(2));
    assert_legal(vec![
        ran(0, 1, one, Some(a)),
        run_ended(2, 5, one),
        ran(3, 4, other, Some(a)),
        run_ended(6, 7, other),
    ]);
    let history = vec![
        ran(0, 1, one, Some(a)),
        ran(2, 3, other, Some(a)),
        run_ended(4, 5, one),
        run_ended(6, 7, other),
    ];
    assert_eq!(assert_illegal(Kind::TwoRuns, history), [0, 2, 4]);
    // Also where the end of the first was not told, as its worker was killed.
    let mut killed = run_ended(4, 5, one);
    killed.answer = None;
    let history = vec![
        ran(0, 1, one, Some(a)),
        ran(2, 3, other, Some(a)),
        killed,
        run_ended(6, 7, other),
    ];
    assert_illegal(Kind::TwoRuns, history);
}

#[test]
fn a_command_runs_on_its_project_s_port_which_stays() {
    let (a, run) = (claim(0, 0, 1), running(1));
    assert_legal(vec![new(0, 1, a), ran(2, 3, run, Some(a)), found(4, 5, a)]);
    assert_legal(vec![
        ran(2, 3, run, Some(a)),
        found(4, 5, a),
        released(6, 7, a),
    ]);
    assert_legal(vec![ran(0, 1, run, None), found(4, 5, a)]);
    let other = claim(0, 1, 2);
    let history = vec![new(0, 1, other), ran(2, 3, run, Some(a))];
    assert_illegal(Kind::LostClaim, history);
    let history = vec![new(0, 1, other), ran(2, 3, run, None), found(4, 5, other)];
    assert_illegal(Kind::LostClaim, history);
    // The run began before the project's port was released, and gave it another one.
    let b = claim(0, 0, 2);
    for claim in [None, Some(b)] {
        assert_legal(vec![
            new(0, 1, a),
            ran(2, 7, run, claim),
            released(3, 4, a),
            found(8, 9, b),
        ]);
    }
    // What it was given was released before its project was asked.
    let c = claim(0, 0, 3);
    assert_legal(vec![
        new(0, 1, a),
        ran(2, 9, run, Some(c)),
        released(3, 4, a),
        released(5, 6, b),
        new(7, 8, c),
    ]);
    // Who was refused may have been given the port before, and who was killed as well.
    for answer in [Answer::Refused, Answer::Killed] {
        let run = || operation(0, 1, Action::Run { project: 0 }, Some(answer.clone()));
        assert_legal(vec![run(), found(2, 3, a)]);
        assert_legal(vec![run(), absent(2, 3, 0)]);
    }
}

#[test]
fn an_owner_whose_end_nobody_sees_keeps_no_holder_busy() {
    let mut search = search::Search::free();
    search.start(0, Effect::OwnerEnds(OWNER).into());
    assert!(search.is_quiet());
    // So what came long before is not shown with a contradiction.
    let a = claim(0, 0, 1);
    let killed = Action::EndOwner {
        owner: OWNER,
        killed: true,
    };
    let mut history = vec![operation(0, Moment::NEVER.0, killed, None)];
    history.extend((1..100).map(|at| absent(2 * at, 2 * at + 1, 0)));
    history.extend([new(300, 301, a), absent(302, 303, 0), found(304, 305, a)]);
    assert_eq!(assert_illegal(Kind::LostClaim, history), [300, 302]);
}
