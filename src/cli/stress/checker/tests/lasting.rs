//! Histories with claims that are given for a time, leases, sets, rows and moves.

use super::super::super::action::LeasedBy;
use super::super::super::plan::{ROW, SET};
use super::*;

/// A claim that is given for a second, or not kept for good at all.
pub(super) fn with_term(term: Term, claim: Seen) -> Seen {
    Seen { term, ..claim }
}

/// Seconds, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

fn renewed(start: u64, end: u64, claim: Seen) -> Operation {
    let action = Action::Renew { claim, ttl: 1 };
    operation(start, end, action, Some(Answer::Renewed(claim)))
}

#[test]
fn a_claim_that_was_given_for_a_time_may_lapse_afterwards_and_not_before() {
    let a = with_term(Term::Ttl(1), claim(0, 0, 1));
    let b = claim(1, 0, 2);
    let early = SECOND / 2;
    assert_legal(vec![new(0, 1, a), found(early, early + 1, a)]);
    let gone = |at| vec![new(0, 1, a), absent(at, at + 1, 0), new(at + 2, at + 3, b)];
    assert_legal(gone(SECOND));
    let shown = assert_illegal(Kind::LostClaim, gone(early));
    assert_eq!(shown, [0, early]);
    // One that was kept does not lapse.
    let kept = claim(0, 0, 1);
    assert_illegal(
        Kind::LostClaim,
        vec![new(0, 1, kept), absent(SECOND, SECOND + 1, 0)],
    );
    // What has lapsed does not come back.
    let (late, later) = (SECOND, SECOND + 10);
    let lapsed = vec![new(0, 1, a), absent(late, late + 1, 0)];
    let history = [lapsed, vec![found(later, later + 1, a)]].concat();
    assert_illegal(Kind::LostClaim, history);
}

#[test]
fn a_claim_that_was_renewed_lapses_later() {
    let a = with_term(Term::Ttl(1), claim(0, 0, 1));
    let again = |start, end| {
        given(
            start,
            end,
            Action::Claim {
                holder: 0,
                ttl: Some(1),
            },
            &[(a, false)],
        )
    };
    let (early, late) = (SECOND / 2, SECOND * 5 / 4);
    for renews in [renewed(early, early + 1, a), again(early, early + 1)] {
        let begun = || vec![new(0, 1, a), renews.clone()];
        assert_legal([begun(), vec![found(late, late + 1, a)]].concat());
        let history = [begun(), vec![absent(late, late + 1, 0)]].concat();
        assert_eq!(assert_illegal(Kind::LostClaim, history), [0, early, late]);
        assert_legal([begun(), vec![absent(2 * SECOND, 2 * SECOND + 1, 0)]].concat());
    }
    // It was over, and nobody had taken it away.
    assert_legal(vec![
        new(0, 1, a),
        renewed(late, late + 1, a),
        found(2 * SECOND, 2 * SECOND + 1, a),
    ]);
    // It was taken away while somebody was about to renew it, or after.
    assert_legal(vec![
        new(0, 1, a),
        renewed(SECOND / 4, 3 * SECOND, a),
        absent(2 * SECOND, 2 * SECOND + 1, 0),
    ]);
    // One that is gone is not renewed.
    let history = vec![new(0, 1, a), released(2, 3, a), renewed(4, 5, a)];
    assert_eq!(assert_illegal(Kind::StaleLookup, history), [2, 4]);
}

fn leased(start: u64, end: u64, claim: Seen) -> Operation {
    let by = LeasedBy::Child;
    let action = Action::Lease { project: 0, by };
    operation(start, end, action, Some(Answer::Leased(claim)))
}

fn ended(start: u64, end: u64, claim: Seen) -> Operation {
    let killed = true;
    operation(
        start,
        end,
        Action::EndLease { claim, killed },
        Some(Answer::Ended),
    )
}

#[test]
fn a_leased_port_is_nobody_else_s_until_the_last_holder_ends() {
    let lease = with_term(Term::Lease, claim(0, 0, 1));
    let b = claim(1, 0, 2);
    let state = |start, end, answer| {
        let action = Action::State { port: FIRST };
        operation(start, end, action, Some(Answer::Found(answer)))
    };
    assert_legal(vec![
        leased(0, 1, lease),
        // It is no claim of the holder's, and a look-up does not see it.
        absent(2, 3, 0),
        lookup(2, 3, 0, None),
        listed(2, 3, &[]),
        state(2, 3, Some(lease)),
        ended(4, 5, lease),
        new(6, 7, b),
        found(8, 9, b),
    ]);
    // Somebody may be given it while the last holder is ending.
    assert_legal(vec![
        leased(0, 1, lease),
        ended(4, 8, lease),
        new(5, 6, b),
        found(9, 10, b),
    ]);
    let kind = Kind::TwoHolders;
    let shown = assert_illegal(
        kind,
        vec![leased(0, 1, lease), new(2, 3, b), ended(4, 5, lease)],
    );
    assert_eq!(shown, [0, 2, 4]);
    // Also where the one that ends it was killed meanwhile, and where the other one is a lease.
    let mut killed = ended(4, 5, lease);
    killed.answer = None;
    let other = with_term(Term::Lease, b);
    assert_illegal(kind, vec![leased(0, 1, lease), leased(2, 3, other), killed]);
    let history = vec![leased(0, 1, lease), state(2, 3, None), ended(4, 5, lease)];
    assert_illegal(Kind::LostClaim, history);
}

#[test]
fn the_port_of_a_lease_is_free_when_its_last_holder_has_ended() {
    let all = [
        claim(0, 0, 1),
        claim(1, 1, 2),
        with_term(Term::Lease, claim(2, 2, 3)),
    ];
    let begun = || vec![new(0, 1, all[0]), new(0, 1, all[1]), leased(0, 1, all[2])];
    assert_legal([begun(), vec![exhausted(2, 3, 3), ended(4, 5, all[2])]].concat());
    assert_legal([begun(), vec![ended(4, 6, all[2]), exhausted(5, 7, 3)]].concat());
    let history = [begun(), vec![ended(4, 5, all[2]), exhausted(6, 7, 3)]].concat();
    assert_illegal(Kind::ImplausibleExhaustion, history);
}

/// The ports of a project's services, both new.
fn set(start: u64, end: u64, project: u32, answer: Option<Answer>) -> Operation {
    operation(start, end, Action::ClaimSet { project }, answer)
}

#[test]
fn of_a_set_all_are_given_or_none() {
    let project = plan().own_project(0);
    let [web, db] = SET.map(|service| holder_at(project, service));
    let (a, b) = (claim(web, 0, 1), claim(db, 1, 2));
    let both = Answer::Given([a, b].map(|claim| Given { claim, new: true }).into());
    assert_legal(vec![
        set(0, 1, project, Some(both)),
        found(2, 3, a),
        found(2, 3, b),
    ]);
    let refused = Answer::Refused;
    assert_legal(vec![
        set(0, 1, project, Some(refused.clone())),
        absent(2, 3, web),
    ]);
    let half = vec![set(0, 1, project, Some(refused)), found(2, 3, a)];
    assert_eq!(assert_illegal(Kind::LostClaim, half), [2]);
    // A killed one may have been about to give the second.
    assert_legal(vec![
        set(0, 1, project, None),
        found(2, 3, a),
        absent(4, 5, db),
    ]);
}

#[test]
fn ports_in_a_row_lie_in_a_row() {
    let project = 0;
    let [first, second] = ROW.map(|service| holder_at(project, service));
    let row = |ports: [u16; 2]| {
        let claims = [
            (claim(first, ports[0], 1), true),
            (claim(second, ports[1], 2), true),
        ];
        given(0, 1, Action::ClaimRow { project }, &claims)
    };
    assert_legal(vec![row([0, 1])]);
    assert_illegal(Kind::NoRow, vec![row([0, 2])]);
    assert_illegal(Kind::NoRow, vec![row([1, 0])]);
}

#[test]
fn a_port_that_moves_stays_the_same() {
    let (from, to) = (0, 1);
    let a = claim(holder_at(from, 1), 0, 1);
    let b = claim(holder_at(to, 1), 0, 2);
    let moved = |start, end, claims: &[Seen]| {
        let action = Action::Move { from, to };
        operation(start, end, action, Some(Answer::Moved(claims.to_vec())))
    };
    assert_legal(vec![
        new(0, 1, a),
        moved(2, 3, &[b]),
        absent(4, 5, a.holder),
        found(4, 5, b),
    ]);
    // A list may lack it while it moves, and not before.
    assert_legal(vec![
        new(0, 1, a),
        moved(2, 5, &[b]),
        listed(3, 4, &[]),
        found(6, 7, b),
    ]);
    assert_illegal(
        Kind::LostClaim,
        vec![new(0, 1, a), listed(2, 3, &[]), moved(4, 5, &[b])],
    );
    let other = claim(b.holder, 1, 2);
    assert_illegal(Kind::LostClaim, vec![new(0, 1, a), moved(2, 3, &[other])]);
    let history = vec![new(0, 1, a), moved(2, 3, &[b]), found(4, 5, a)];
    assert_eq!(assert_illegal(Kind::TwoHolders, history), [0, 2, 4]);
    // What a killed one has done, nobody knows.
    let killed = || operation(2, 3, Action::Move { from, to }, None);
    assert_legal(vec![
        new(0, 1, a),
        killed(),
        found(4, 5, b),
        absent(6, 7, a.holder),
    ]);
    assert_legal(vec![
        new(0, 1, a),
        killed(),
        found(4, 5, a),
        absent(6, 7, b.holder),
    ]);
}
