//! Histories with directories and prunes.

use super::*;

/// The first project that has a directory at times, and a claim of it.
fn placed() -> (u32, Seen) {
    let project = plan().placed_projects().start;
    (project, claim(holder_at(project, 0), 0, 1))
}

fn made(start: u64, end: u64) -> Operation {
    let project = placed().0;
    operation(
        start,
        end,
        Action::MakeDirectory { project },
        Some(Answer::Done),
    )
}

fn removed(start: u64, end: u64) -> Operation {
    let (project, moved) = (placed().0, true);
    let action = Action::RemoveDirectory { project, moved };
    operation(start, end, action, Some(Answer::Done))
}

fn pruned(start: u64, end: u64, claims: &[Seen]) -> Operation {
    let answer = Answer::Pruned(claims.to_vec());
    operation(start, end, Action::Prune, Some(answer))
}

#[test]
fn a_project_is_pruned_whose_directory_is_gone_and_was_seen_so_before() {
    let (_, a) = placed();
    let begun = || vec![made(0, 1), new(2, 3, a)];
    let with = |more: Vec<Operation>| [begun(), more].concat();
    assert_legal(with(vec![
        removed(4, 5),
        pruned(6, 7, &[]),
        pruned(8, 9, &[a]),
        absent(10, 11, a.holder),
        new(12, 13, claim(0, 0, 2)),
    ]));
    let kind = Kind::WrongPrune;
    // It was there all the time.
    let history = with(vec![pruned(4, 5, &[]), pruned(6, 7, &[a]), removed(8, 9)]);
    assert_eq!(assert_illegal(kind, history), [0, 6]);
    // It was there again.
    let back = with(vec![
        removed(4, 5),
        pruned(6, 7, &[]),
        made(8, 9),
        pruned(10, 11, &[a]),
    ]);
    assert_eq!(assert_illegal(kind, back), [8, 10]);
    // It was about to be removed.
    assert_legal(with(vec![
        removed(4, 20),
        pruned(6, 7, &[]),
        pruned(8, 9, &[a]),
    ]));
    // Once is not enough: the earlier one was made of another claim, or while the directory was there.
    let once = with(vec![removed(4, 5), pruned(6, 7, &[a])]);
    assert_eq!(assert_illegal(kind, once), [6]);
    let before = with(vec![pruned(4, 5, &[]), removed(6, 7), pruned(8, 9, &[a])]);
    assert_eq!(assert_illegal(kind, before), [8]);
    let again = vec![
        removed(0, 1),
        pruned(2, 3, &[]),
        new(4, 5, a),
        pruned(6, 7, &[a]),
    ];
    assert_eq!(assert_illegal(kind, again), [6]);
    // Two at once: the other one may have seen it before.
    assert_legal(with(vec![
        removed(4, 5),
        pruned(6, 20, &[]),
        pruned(7, 8, &[a]),
    ]));
}

#[test]
fn what_was_pruned_is_gone_and_nothing_else_is() {
    let (project, a) = placed();
    let begun = || vec![made(0, 1), new(2, 3, a), removed(4, 5), pruned(6, 7, &[])];
    let with = |more: Vec<Operation>| [begun(), more].concat();
    let history = with(vec![pruned(8, 9, &[a]), found(10, 11, a)]);
    assert_eq!(assert_illegal(Kind::StaleLookup, history), [8, 10]);
    assert_illegal(
        Kind::LostClaim,
        with(vec![pruned(8, 9, &[]), absent(10, 11, a.holder)]),
    );
    // It was claimed after the prune had begun.
    assert_legal(vec![
        made(0, 1),
        removed(2, 8),
        pruned(3, 4, &[]),
        pruned(5, 12, &[a]),
        new(6, 7, a),
        pruned(9, 10, &[]),
        absent(13, 14, a.holder),
    ]);
    // Somebody else may have released it meanwhile.
    assert_legal(with(vec![pruned(8, 15, &[a]), released(9, 10, a)]));
    // What was claimed later is not touched.
    let later = claim(a.holder, 1, 2);
    let history = with(vec![
        pruned(8, 9, &[a]),
        new(10, 11, later),
        absent(12, 13, a.holder),
    ]);
    assert_illegal(Kind::LostClaim, history);
    // A killed one may have given it back, and no project's that has no directory.
    let killed = || operation(8, 9, Action::Prune, None);
    assert_legal(with(vec![killed(), absent(10, 11, a.holder)]));
    assert_legal(with(vec![killed(), found(10, 11, a)]));
    let kept = claim(0, 1, 3);
    assert_illegal(
        Kind::LostClaim,
        vec![new(0, 1, kept), killed(), absent(10, 11, 0)],
    );
    let history = vec![new(0, 1, kept), pruned(2, 3, &[]), pruned(4, 5, &[kept])];
    assert_eq!(assert_illegal(Kind::WrongPrune, history), [4]);
    assert!(plan().is_placed(project) && !plan().is_placed(0));
}
