//! Ports that are handed over, and what is met there.

use super::*;
use crate::protocol::hand_over::is_staged;

/// Hands the ports over from the first of each pair to the second.
fn moved(store: &Store<SimDir>, pairs: &[(&Record, &str)]) -> Result<HandedOver> {
    let from: Vec<Record> = pairs.iter().map(|(old, _)| (*old).clone()).collect();
    hand_over(store, &from, |old, nonce| {
        let to = pairs.iter().find(|(there, _)| *there == old);
        let (_, to) = to.expect("it is one of them");
        Record::new(old.port(), nonce, holder(to))
    })
}

fn held_by(store: &Store<SimDir>, project: &str) -> Option<u16> {
    let found = held(store, &holder(project)).expect("told");
    found.map(|record| record.port().get())
}

/// How many names there are in each directory but that of the claims.
fn count(store: &Store<SimDir>) -> [usize; 3] {
    [&store.projects, &store.staging, &store.index].map(|dir| dir.names().expect("names").len())
}

/// `/a` has port 1 and `/c` port 3, and no mark is left.
fn two() -> (Store<SimDir>, [Record; 2]) {
    let [store] = store(&[]);
    let records = [("/a", 1), ("/c", 3)].map(|(path, port)| acquired(&store, path, &[port]));
    refresh(&store, false, |_| Ok(())).expect("refreshes");
    (store, records)
}

/// All is as [`two`] made it.
fn assert_unchanged(store: &Store<SimDir>, what: &str) {
    let held = ["/a", "/c", "/b", "/d"].map(|project| held_by(store, project));
    assert_eq!(held, [Some(1), Some(3), None, None], "{what}");
    // And the file of the index lock.
    assert_eq!(count(store), [2, 0, 1], "{what}");
}

#[test]
fn ports_that_are_handed_over_are_sealed_and_all_locks_given_up() {
    let (store, [a, c]) = two();
    let (locks, unlocks) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (locked, unlocked) = (locks.clone(), unlocks.clone());
    let process = watched(&store, move |step| {
        match step.call {
            "lock" => locked.set(locked.get() + 1),
            "unlock" => unlocked.set(unlocked.get() + 1),
            _ => {}
        }
        Verdict::Go
    });
    let HandedOver::Done(new) = moved(&process, &[(&a, "/b"), (&c, "/d")]).expect("moves") else {
        panic!("nothing is in the way");
    };
    for (record, project) in new.iter().zip(["/b", "/d"]) {
        let found = lookup_seal(&store, &holder(project)).expect("told");
        assert_eq!(found, Lookup::Held(record.clone(), Flushed::Yes));
    }
    assert_eq!(
        ["/a", "/c"].map(|project| held_by(&store, project)),
        [None; 2]
    );
    assert_eq!(count(&store)[..2], [2, 0]);
    // By hand: a child that was forked meanwhile may hold a copy of the file.
    assert_eq!(locks.get(), unlocks.get());
    assert_eq!(marks(&store.index).expect("marks").len(), 2);
}

#[test]
fn what_cannot_be_handed_over_as_a_whole_is_not_at_all() {
    let (store, [a, c]) = two();
    let other = acquired(&store, "/d", &[5]);
    refresh(&store, false, |_| Ok(())).expect("refreshes");
    let answer = moved(&store, &[(&a, "/b"), (&c, "/d")]).expect("told");
    assert_eq!(answer, HandedOver::Occupied(Box::new(other)));
    assert_eq!(
        ["/a", "/c", "/d", "/b"].map(|it| held_by(&store, it)),
        [Some(1), Some(3), Some(5), None]
    );
    assert_eq!(count(&store), [3, 0, 1]);
}

#[test]
fn who_is_at_a_claim_or_commit_is_not_disturbed() {
    let (store, [a, c]) = two();
    let pairs = [(&a, "/b"), (&c, "/d")];
    let key = holder("/c").key().to_owned();
    for (dir, name) in [(&store.ports, "3.claim"), (&store.projects, &*key)] {
        let file = dir.open(name).expect("opens");
        assert!(dir.try_lock(&file).expect("locks"));
        assert_eq!(moved(&store, &pairs).expect("told"), HandedOver::Changed);
        dir.unlock(&file);
        assert_unchanged(&store, name);
    }
    for (dir, name) in [("ports", "3.claim"), ("projects", &*key)] {
        // Taken away before it is open, or before it is locked.
        for call in ["open", "lock"] {
            let (store, [a, c]) = two();
            let gone = if dir == "ports" {
                store.ports.clone()
            } else {
                store.projects.clone()
            };
            let (file, name) = (gone.clone(), name.to_owned());
            let seen = Cell::new(0);
            let process = watched(&store, move |step| {
                if (step.dir, step.call) == (dir, call) {
                    seen.set(seen.get() + 1);
                    if seen.get() == 2 {
                        file.remove(&name).expect("it is there");
                    }
                }
                Verdict::Go
            });
            let answer = moved(&process, &[(&a, "/b"), (&c, "/d")]).expect("told");
            assert_eq!(answer, HandedOver::Changed, "{dir}, {call}");
            assert_eq!(held_by(&store, "/a"), Some(1));
            assert_eq!(count(&store)[1..], [0, 1]);
        }
    }
    // Another claim than the one that was looked up.
    let (store, [a, _]) = two();
    store.ports.put("3.claim", &record("/c", 3, 9).encode());
    store.projects.put(&key, &record("/c", 3, 9).encode());
    assert_eq!(
        moved(&store, &[(&a, "/b"), (&c, "/d")]).expect("told"),
        HandedOver::Changed
    );
    assert_unchanged(&store, "another claim");
}

#[test]
fn what_fails_before_the_claims_are_replaced_changes_nothing() {
    for (dir, call) in [
        ("ports", "open"),
        ("projects", "open"),
        ("ports", "lock"),
        ("staging", "create"),
        ("staging", "unseal"),
        ("staging", "write"),
        ("staging", "sync_file"),
        ("staging", "publish"),
        ("staging", "replace"),
        ("projects", "sync"),
    ] {
        let (store, [a, c]) = two();
        let process = failing(&store, dir, call, Errno::IO);
        moved(&process, &[(&a, "/b"), (&c, "/d")]).expect_err(call);
        assert_unchanged(&store, call);
    }
}

#[test]
fn a_replacement_that_was_done_and_reported_as_failed_is_done() {
    let (store, [a, c]) = two();
    let process = watched(&store, |step| match step.call {
        "replace" => Verdict::DoneAndFail(Errno::IO),
        _ => Verdict::Go,
    });
    let answer = moved(&process, &[(&a, "/b"), (&c, "/d")]).expect("told");
    assert!(matches!(answer, HandedOver::Done(_)));
    assert_eq!(
        ["/b", "/d"].map(|project| held_by(&store, project)),
        [Some(1), Some(3)]
    );
}

#[test]
fn where_nothing_need_survive_a_power_cut_nothing_is_flushed() {
    let [mut store] = store(&[]);
    store.durability = Durability::Volatile;
    let a = acquired(&store, "/a", &[1]);
    let process = watched(&store, |step| {
        assert!(!step.call.starts_with("sync"), "{}", step.dir);
        Verdict::Go
    });
    moved(&process, &[(&a, "/b")]).expect("moves");
    assert_eq!(held_by(&store, "/b"), Some(1));
}

#[test]
fn a_sweep_takes_what_a_killed_process_was_handing_over() {
    let (store, _) = two();
    let nonce = "ab".repeat(16);
    let names = ["moved-claim-", "moved-commit-"].map(|prefix| format!("{prefix}{nonce}"));
    assert!(
        names
            .iter()
            .all(|name| is_staged(name) && is_staged_record(name))
    );
    for other in ["moved-claim-", "moved-claim-x", &nonce] {
        assert!(!is_staged(other), "{other}");
    }
    for name in &names {
        store.staging.put(name, b"half");
    }
    // Its process is alive.
    let file = store.staging.open(&names[0]).expect("opens");
    assert!(store.staging.try_lock(&file).expect("locks"));
    sweep_staging(&store).expect("sweeps");
    assert_eq!(store.staging.names().expect("names"), names[..1]);
    drop(file);
    // No regular file, gone meanwhile, or not to be opened.
    for (errno, is_error) in [
        (Errno::INVAL, false),
        (Errno::NOENT, false),
        (Errno::IO, true),
    ] {
        let answer = sweep_staging(&failing(&store, "staging", "open", errno));
        assert_eq!(answer.is_err(), is_error, "{errno}");
        assert_eq!(count(&store)[1], 1);
    }
    // Another file has the name now.
    let again = store.staging.clone();
    let name = names[0].clone();
    let process = meeting(&store, "staging", "lock", move || {
        again.remove(&name).expect("it is there");
        again.put(&name, b"another");
    });
    sweep_staging(&process).expect("sweeps");
    assert_eq!(count(&store)[1], 1);
    sweep_staging(&store).expect("sweeps");
    assert_eq!(count(&store)[1], 0);
}
