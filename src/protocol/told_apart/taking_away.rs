//! What a withdrawal, a sweep and a release take, and what they leave.

use super::*;

#[test]
fn a_withdrawal_takes_what_was_meant_and_tells_why_it_did_not() {
    let [store] = store(&[]);
    let taken = |store: &Store<SimDir>| {
        withdraw(&store.ports, "1.claim", 9, &Aside::Nowhere, |bytes| {
            Ok(bytes == b"this")
        })
    };
    assert_eq!(taken(&store).expect("told"), Withdrawal::Gone);
    store.ports.put("1.claim", b"that");
    assert_eq!(taken(&store).expect("told"), Withdrawal::Other);
    store.ports.remove("1.claim").expect("removes");
    store.ports.put("1.claim", b"this");
    for (call, errno, expected) in [
        ("open", Errno::NOENT, Some(Withdrawal::Gone)),
        ("open", Errno::INVAL, Some(Withdrawal::Other)),
        ("open", Errno::ACCESS, Some(Withdrawal::Denied)),
        ("open", Errno::IO, None),
        ("read", Errno::STALE, Some(Withdrawal::Gone)),
        ("read", Errno::IO, None),
        ("lock", Errno::NOLCK, None),
        ("means", Errno::IO, None),
        ("remove", Errno::NOENT, Some(Withdrawal::Gone)),
        ("remove", Errno::ROFS, None),
    ] {
        let answer = taken(&failing(&store, "ports", call, errno));
        assert_eq!(
            answer.as_ref().ok(),
            expected.as_ref(),
            "{call} {errno}: {answer:?}"
        );
    }
    // The name means another file by the time that the lock is had.
    let ports_dir = store.ports.clone();
    let process = meeting(&store, "ports", "lock", move || {
        ports_dir.remove("1.claim").expect("removes");
        ports_dir.put("1.claim", b"this");
    });
    assert_eq!(taken(&process).expect("told"), Withdrawal::Gone);
    assert_eq!(ports(&store), [1]);
    // The file says something else by then.
    let ports_dir = store.ports.clone();
    let process = meeting(&store, "ports", "lock", move || {
        let file = ports_dir.open("1.claim").expect("opens");
        ports_dir.write(&file, b"that").expect("writes");
    });
    assert_eq!(taken(&process).expect("told"), Withdrawal::Other);
    assert_eq!(ports(&store), [1]);
}

#[test]
fn what_is_set_aside_replaces_nothing() {
    let [store] = store(&[]);
    let [from, to] = SimDir::disk(["from", "to"], &[]);
    for name in ["a", "a.1", "a.2"] {
        from.put("a", b"");
        assert_eq!(set_aside(&from, "a", &to).expect("moves"), Withdrawal::Done);
        assert!(to.names().expect("names").contains(&name.to_owned()));
    }
    assert_eq!(set_aside(&from, "a", &to).expect("told"), Withdrawal::Gone);
    store.ports.put("a", b"");
    let readonly = failing(&store, "ports", "publish", Errno::ROFS);
    let error = set_aside(&readonly.ports, "a", &store.staging).expect_err("fails");
    assert!(
        error.is_from(&[io::ErrorKind::ReadOnlyFilesystem]),
        "{error:?}"
    );
}

#[test]
fn a_sweep_removes_the_claim_of_a_project_that_holds_another_port() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    store.ports.put("3.claim", &record("/a", 3, 3).encode());
    let swept = sweep_port(&store, port(3), quarantine).expect("sweeps");
    assert_eq!(swept, Swept::Removed);
    let swept = sweep_port(&store, port(1), quarantine).expect("sweeps");
    assert_eq!(swept, Swept::Kept);
}

#[test]
fn a_staged_commit_stays_while_its_claim_is_pending() {
    let [store] = store(&[]);
    let committed = acquired(&store, "/a", &[1]);
    store.ports.put("2.claim", &record("/b", 2, 2).encode());
    store.ports.put("3.claim", b"{\"format\":1,");
    let staged = |number: u16, nonce: Nonce| format!("{number}-{nonce}");
    let alive = [
        staged(2, Nonce::from_bytes([2; 16])),
        staged(3, Nonce::from_bytes([3; 16])),
    ];
    let dead = [
        staged(1, committed.nonce()),
        staged(2, Nonce::from_bytes([9; 16])),
        staged(4, Nonce::from_bytes([4; 16])),
    ];
    for name in alive.iter().chain(&dead) {
        assert!(is_staged_record(name), "{name}");
        store.staging.put(name, b"");
    }
    store.staging.put("registry-x", b"");
    assert!(!is_staged_record("registry-x"));
    for (errno, why) in [(Errno::NOENT, "gone"), (Errno::ISDIR, "somebody's")] {
        sweep_staging(&failing(&store, "staging", "remove", errno)).expect(why);
    }
    sweep_staging(&failing(&store, "staging", "remove", Errno::ROFS)).expect_err("fails");
    sweep_staging(&store).expect("sweeps");
    let mut left = store.staging.names().expect("names");
    left.sort();
    assert_eq!(left, [alive[0].as_str(), &alive[1], "registry-x"]);
}

#[test]
fn a_release_takes_both_files_under_a_mark() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    refresh(&store, false, |_| Ok(())).expect("refreshes");
    let index = store.index.clone();
    let (locks, unlocks) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (locked, unlocked) = (locks.clone(), unlocks.clone());
    let process = watched(&store, move |step| {
        match (step.dir, step.call) {
            // A refresher took the mark before it was locked.
            ("index", "lock") if locked.get() == 0 => {
                let mark = marks(&index).expect("marks").remove(0);
                index.remove(&mark.name).expect("removes");
                locked.set(1);
            }
            (_, "lock") => locked.set(locked.get() + 1),
            (_, "unlock") => unlocked.set(unlocked.get() + 1),
            (_, "remove") => assert_eq!(marks(&index).expect("marks").len(), 1),
            _ => {}
        }
        Verdict::Go
    });
    let answer = release(&process, &holder("/a"), None, None).expect("releases");
    assert!(matches!(answer, Released::Done(_)));
    assert!(ports(&store).is_empty());
    assert!(store.projects.names().expect("names").is_empty());
    // Given up by hand: a child that was forked meanwhile may hold a copy of the file. All but
    // the lock of the mark that is gone.
    assert_eq!(unlocks.get() + 1, locks.get());
}

#[test]
fn a_release_waits_a_moment_for_the_claims_lock() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    let held = store.ports.open("1.claim").expect("opens");
    assert!(store.ports.try_lock(&held).expect("locks"));
    let (held, locks) = (RefCell::new(Some(held)), Cell::new(0));
    let process = watched(&store, move |step| {
        if (step.dir, step.call) == ("ports", "lock") {
            locks.set(locks.get() + 1);
            if locks.get() == 2 {
                held.replace(None);
            }
        }
        Verdict::Go
    });
    let answer = release(&process, &holder("/a"), None, None).expect("releases");
    assert!(matches!(answer, Released::Done(_)));
    assert!(ports(&store).is_empty());
}

#[test]
fn a_release_that_may_not_open_the_claim_leaves_the_commit() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    let opens = Cell::new(0);
    // Hidden between the look-up and the withdrawal.
    let process = watched(&store, move |step| {
        if (step.dir, step.call) == ("ports", "open") {
            opens.set(opens.get() + 1);
            if opens.get() > 1 {
                return Verdict::Fail(Errno::ACCESS);
            }
        }
        Verdict::Go
    });
    let error = release(&process, &holder("/a"), None, None).expect_err("denied");
    assert_eq!(error.corruption(), Some(&Corruption::Denied));
    assert_eq!(held(&store, &holder("/a")).expect("told"), Some(there));
}

#[test]
fn what_has_ended_is_released_and_nothing_else() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    let asked = Cell::new(0);
    let ended = |store: &Store<SimDir>, record: &Record, answer: bool| {
        let has_ended = || {
            asked.set(asked.get() + 1);
            Ok(answer)
        };
        release_ended(store, record, has_ended).expect("told")
    };
    assert_eq!(ended(&store, &there, false), Withdrawal::Other);
    // Another claim of the port is not asked about.
    let other = record("/a", 1, 7);
    assert_eq!(ended(&store, &other, true), Withdrawal::Other);
    assert_eq!(asked.get(), 1, "once about the first");
    assert_eq!(ports(&store), [1]);
    // It is asked under the lock, at last.
    let (ports_dir, was_locked) = (store.ports.clone(), Cell::new(false));
    let has_ended = || {
        let claim = ports_dir.open("1.claim").expect("opens");
        let is_free = ports_dir.try_lock(&claim).expect("told");
        if is_free {
            ports_dir.unlock(&claim);
        }
        was_locked.set(!is_free);
        Ok(true)
    };
    let taken = release_ended(&store, &there, has_ended).expect("released");
    assert_eq!(taken, Withdrawal::Done);
    assert!(was_locked.get());
    assert!(ports(&store).is_empty());
    assert_eq!(store.projects.names().expect("names"), [""; 0]);
    assert_eq!(ended(&store, &there, true), Withdrawal::Gone);
}
