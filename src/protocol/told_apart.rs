//! What each answer of the disk means to the protocol, and who is first where two meet: one
//! step of a process at a time. (`adversity` tries all of them together.)

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

use super::testing::{Fixed, holder, port, ports, quarantine, store};
use super::withdraw::Withdrawal;
use super::*;
use crate::error::Corruption;
use crate::fs::sim::{Fault, Probe, SimDir, Step, Verdict};
use crate::net::Availability;
use crate::port::Port;
use crate::record::{Draft, Record};

/// The same disk, as another process sees it whose steps `judge` watches.
fn watched(store: &Store<SimDir>, judge: impl Fn(Step<'_>) -> Verdict + 'static) -> Store<SimDir> {
    static DRAWS: AtomicU32 = AtomicU32::new(0);
    let probe: Probe = Rc::new(judge);
    Store {
        ports: store.ports.watched(&probe),
        projects: store.projects.watched(&probe),
        staging: store.staging.watched(&probe),
        index: store.index.watched(&probe),
        durability: store.durability,
        draw: Box::new(|| {
            let mut bytes = [0xee; 16];
            bytes[..4].copy_from_slice(&DRAWS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            Ok(Nonce::from_bytes(bytes))
        }),
    }
}

/// One call in one directory always fails.
fn failing(
    store: &Store<SimDir>,
    dir: &'static str,
    call: &'static str,
    errno: Errno,
) -> Store<SimDir> {
    watched(store, move |step| {
        if (step.dir, step.call) == (dir, call) {
            Verdict::Fail(errno)
        } else {
            Verdict::Go
        }
    })
}

/// Before the first such call in such a directory, `act` happens.
fn meeting(
    store: &Store<SimDir>,
    dir: &'static str,
    call: &'static str,
    act: impl FnOnce() + 'static,
) -> Store<SimDir> {
    let act = RefCell::new(Some(act));
    watched(store, move |step| {
        if (step.dir, step.call) == (dir, call)
            && let Some(act) = act.take()
        {
            act();
        }
        Verdict::Go
    })
}

/// Other processes on the same disk.
fn clone(store: &Store<SimDir>) -> Store<SimDir> {
    watched(store, |_| Verdict::Go)
}

fn try_acquire(store: &Store<SimDir>, project: &str, tried: &[u16]) -> Result<Option<Acquired>> {
    acquire(store, &holder(project), &mut Fixed::new(tried), quarantine)
}

fn acquired(store: &Store<SimDir>, project: &str, tried: &[u16]) -> Record {
    match try_acquire(store, project, tried).expect("acquires") {
        Some(Acquired::New(record) | Acquired::Existing(record)) => record,
        None => panic!("exhausted"),
    }
}

/// A record that nobody wrote through the protocol.
fn record(project: &str, number: u16, nonce: u8) -> Record {
    Record::new(
        port(number),
        Nonce::from_bytes([nonce; 16]),
        holder(project),
    )
}

#[test]
fn pauses_grow_and_all_of_them_take_about_a_second() {
    let micros = |round| pause_len(round).as_micros();
    assert_eq!([3, 4, 5].map(micros), [0, 100, 200]);
    assert!((1..ROUNDS_MAX).all(|round| micros(round - 1) <= micros(round)));
    let all: u128 = (0..ROUNDS_MAX).map(micros).sum();
    assert!((1_000_000..1_100_000).contains(&all), "{all}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_from_one_that_is_not_there() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    let read = |errno| read_record(&failing(&store, "ports", "open", errno).ports, "1.claim");
    assert_eq!(
        read_record(&store.ports, "1.claim").expect("reads"),
        Some(Ok(there.clone()))
    );
    assert_eq!(read(Errno::NOENT).expect("told"), None);
    assert_eq!(
        read(Errno::INVAL).expect("told"),
        Some(Err(Corruption::NotAFile))
    );
    assert_eq!(
        read(Errno::ACCESS).expect("told"),
        Some(Err(Corruption::Denied))
    );
    read(Errno::IO).expect_err("fails");

    let look = |dir, errno| lookup(&failing(&store, dir, "open", errno), &holder("/a"));
    assert_eq!(
        look("projects", Errno::NOENT).expect("told"),
        Lookup::Absent
    );
    assert_eq!(
        look("projects", Errno::INVAL).expect("told"),
        Lookup::Damaged(Corruption::NotAFile)
    );
    look("projects", Errno::IO).expect_err("fails");
    let dangling = Lookup::Dangling(there.clone());
    assert_eq!(look("ports", Errno::NOENT).expect("told"), dangling);
    assert_eq!(look("ports", Errno::INVAL).expect("told"), dangling);
    assert_eq!(
        look("ports", Errno::ACCESS).expect("told"),
        Lookup::Hidden(there)
    );
    look("ports", Errno::IO).expect_err("fails");
}

#[test]
fn who_holds_a_port_is_read_from_both_files() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    assert_eq!(
        held(&store, &holder("/a")).expect("told"),
        Some(there.clone())
    );
    assert_eq!(held(&store, &holder("/b")).expect("told"), None);
    assert_eq!(
        committed(&store, port(1)).expect("told"),
        Some(there.clone())
    );
    assert_eq!(
        read_held(&store, port(1)).expect("told"),
        Some(there.clone())
    );

    // A claim that nobody committed, one whose project holds another port, and no record.
    store.ports.put("2.claim", &record("/b", 2, 2).encode());
    store.ports.put("3.claim", &record("/a", 3, 3).encode());
    store.ports.put("4.claim", b"");
    // A record under the name of another port.
    store.ports.put("5.claim", &there.encode());
    for number in [2, 3, 4, 6] {
        assert_eq!(
            committed(&store, port(number)).expect("told"),
            None,
            "{number}"
        );
        assert_eq!(
            read_held(&store, port(number)).expect("told"),
            None,
            "{number}"
        );
        assert!(
            !is_unreadable(&store, port(number)).expect("told"),
            "{number}"
        );
    }
    let wrong = Corruption::WrongPort(port(1));
    assert_eq!(
        read_claim(&store, port(5)).expect("told"),
        Some(Err(wrong.clone()))
    );
    assert_eq!(committed(&store, port(5)).expect("told"), None);
    let error = read_held(&store, port(5)).expect_err("damage");
    assert_eq!(error.corruption(), Some(&wrong));

    // Another user's claim or commit, and a later version's.
    for dir in ["ports", "projects"] {
        let blind = failing(&store, dir, "open", Errno::ACCESS);
        let error = read_held(&blind, port(1)).expect_err("denied");
        assert_eq!(error.corruption(), Some(&Corruption::Denied));
        assert!(is_unreadable(&blind, port(1)).expect("told"));
    }
    assert!(!is_unreadable(&store, port(1)).expect("told"));
    store.ports.put("7.claim", b"{\"format\":2}\n");
    assert!(is_unreadable(&store, port(7)).expect("told"));
}

#[test]
fn a_claim_is_its_commits_by_the_nonce_and_not_by_the_spelling() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    let line = String::from_utf8(there.encode()).expect("UTF-8");
    store.ports.remove("1.claim").expect("removes");
    store
        .ports
        .put("1.claim", line.replace(':', ": ").as_bytes());
    assert_eq!(held(&store, &holder("/a")).expect("told"), Some(there));
}

#[test]
fn what_cannot_be_read_of_a_holder_is_no_answer() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    let blind = failing(&store, "ports", "open", Errno::ACCESS);
    let error = held(&blind, &holder("/a")).expect_err("denied");
    assert_eq!(error.corruption(), Some(&Corruption::Denied));
}

#[test]
fn a_commit_of_another_holder_is_set_aside() {
    let [store] = store(&[]);
    let key = holder("/a").key().to_owned();
    store.projects.put(&key, &record("/b", 2, 2).encode());
    let wrong = Lookup::Damaged(Corruption::WrongProject);
    assert_eq!(lookup(&store, &holder("/a")).expect("told"), wrong);
    assert_eq!(acquired(&store, "/a", &[1]).port(), port(1));
}

#[test]
fn only_what_is_no_record_of_the_place_is_damaged() {
    let line = record("/a", 1, 1).encode();
    assert!(is_damaged(b"x", |_| true));
    assert!(is_damaged(&line, |_| false));
    assert!(!is_damaged(&line, |_| true));
    assert!(!is_damaged(b"{\"format\":2}\n", |_| false));
}

#[test]
fn a_look_up_flushes_what_is_not_sealed_and_nothing_else() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    let calls = |durability, flushed| {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let seen = calls.clone();
        let process = Store {
            durability,
            ..watched(&store, move |step| {
                seen.borrow_mut().push(step.call);
                Verdict::Go
            })
        };
        make_durable(&process, &there, flushed).expect("flushes");
        calls.take()
    };
    let both = ["open", "read", "sync_file"].repeat(2);
    let names = ["sync", "sync", "seal"];
    assert_eq!(
        calls(Durability::Durable, Flushed::Unknown),
        [both.as_slice(), &names].concat()
    );
    assert!(calls(Durability::Durable, Flushed::Yes).is_empty());
    assert!(calls(Durability::Volatile, Flushed::Unknown).is_empty());
    assert!(calls(Durability::Volatile, Flushed::Yes).is_empty());
}

#[test]
fn what_was_released_meanwhile_is_not_flushed() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    for (call, errno, is_gone) in [
        ("open", Errno::NOENT, true),
        ("open", Errno::IO, false),
        ("read", Errno::STALE, true),
        ("read", Errno::IO, false),
    ] {
        let process = failing(&store, "ports", call, errno);
        let answer = make_durable(&process, &there, Flushed::Unknown);
        assert_eq!(answer.is_ok(), is_gone, "{call} {errno}: {answer:?}");
    }
    // Another claim of the port: this record's seal is not for it.
    let sealed = Rc::new(Cell::new(false));
    let seen = sealed.clone();
    let process = watched(&store, move |step| {
        seen.set(seen.get() || step.call == "seal");
        Verdict::Go
    });
    let other = record("/a", 1, 7);
    make_durable(&process, &other, Flushed::Unknown).expect("nothing to do");
    assert!(!sealed.get());
}

#[test]
fn a_new_commit_is_sealed() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    let found = lookup_seal(&store, &holder("/a")).expect("told");
    assert_eq!(found, Lookup::Held(there, Flushed::Yes));
}

#[test]
fn a_claim_that_cannot_be_bound_or_committed_leaves_nothing() {
    struct InUse(Option<Port>, Vec<(Port, Rejection)>);
    impl Picker for InUse {
        fn next(&mut self) -> Result<Option<Port>> {
            Ok(self.0.take())
        }
        fn rejected(&mut self, port: Port, why: Rejection) {
            self.1.push((port, why));
        }
        fn prefer(&mut self, _: Port) {}
        fn availability(&mut self, _: Port) -> Result<Availability> {
            Ok(Availability::InUse)
        }
    }
    let [store] = store(&[]);
    let mut picker = InUse(Some(port(1)), Vec::new());
    let answer = acquire(&store, &holder("/a"), &mut picker, quarantine).expect("told");
    assert_eq!(answer, None);
    assert_eq!(picker.1, [(port(1), Rejection::InUse)]);
    assert!(ports(&store).is_empty());

    // Two at once, of which the first cannot be committed: the second is given up.
    let first = Cell::new(true);
    let process = watched(&store, move |step| {
        if step.call == "publish" && first.take() {
            Verdict::Fail(Errno::IO)
        } else {
            Verdict::Go
        }
    });
    let drafts = [holder("/a"), holder("/b")].map(Draft::from);
    let seen = vec![Lookup::Absent, Lookup::Absent];
    let picker = |at: usize| Ok(Fixed::new(if at == 0 { &[1] } else { &[2] }));
    let answer = acquire_set(&process, &drafts, seen, picker, |_, _| Ok(()), quarantine);
    assert_eq!(
        answer.map(drop).expect_err("fails").kind(),
        crate::ErrorKind::Io
    );
    assert!(ports(&store).is_empty());
    assert!(store.projects.names().expect("names").is_empty());
    assert!(store.staging.names().expect("names").is_empty());
}

#[test]
fn a_taken_port_is_tried_once_and_a_failure_is_none() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    let creates = Rc::new(Cell::new(0));
    let seen = creates.clone();
    let process = watched(&store, move |step| {
        if (step.dir, step.call) == ("ports", "create") {
            seen.set(seen.get() + 1);
        }
        Verdict::Go
    });
    assert_eq!(try_acquire(&process, "/b", &[1]).expect("told"), None);
    assert_eq!(creates.get(), 1);
    let process = failing(&store, "ports", "create", Errno::ACCESS);
    try_acquire(&process, "/b", &[2]).expect_err("fails");
}

#[test]
fn a_claim_that_a_sweep_takes_away_is_made_again() {
    let [store] = store(&[]);
    let (ports_dir, creates) = (store.ports.clone(), Cell::new(0));
    let process = watched(&store, move |step| {
        match (step.dir, step.call) {
            // A sweep's: not this claim any more, and not yet gone when it is tried again.
            ("ports", "lock") if creates.get() == 1 => {
                ports_dir.remove("1.claim").expect("removes");
                ports_dir.put("1.claim", b"");
            }
            ("ports", "create") => {
                creates.set(creates.get() + 1);
                if creates.get() == 3 {
                    ports_dir.remove("1.claim").expect("removes");
                }
            }
            _ => {}
        }
        Verdict::Go
    });
    assert_eq!(acquired(&process, "/a", &[1]).port(), port(1));
}

#[test]
fn a_claim_is_locked_until_it_is_committed() {
    let [store] = store(&[]);
    let (ports_dir, met) = (store.ports.clone(), Rc::new(Cell::new(false)));
    let seen = met.clone();
    let process = meeting(&store, "staging", "publish", move || {
        let claim = ports_dir.open("1.claim").expect("opens");
        assert!(!ports_dir.try_lock(&claim).expect("told"));
        seen.set(true);
    });
    acquired(&process, "/a", &[1]);
    assert!(met.get());
    let claim = store.ports.open("1.claim").expect("opens");
    assert!(store.ports.try_lock(&claim).expect("locks"));
}

#[test]
fn a_lock_that_a_check_holds_for_a_moment_costs_nobody_the_port() {
    let [store] = store(&[]);
    let (ports_dir, check) = (store.ports.clone(), RefCell::new(None));
    let locks = Cell::new(0);
    let process = watched(&store, move |step| {
        if (step.dir, step.call) == ("ports", "lock") {
            locks.set(locks.get() + 1);
            if locks.get() == 1 {
                let file = ports_dir.open("1.claim").expect("opens");
                assert!(ports_dir.try_lock(&file).expect("locks"));
                check.replace(Some(file));
            } else {
                check.replace(None);
            }
        }
        Verdict::Go
    });
    assert_eq!(acquired(&process, "/a", &[1]).port(), port(1));
}

#[test]
fn a_commit_that_a_server_was_asked_for_twice_is_this_claims() {
    let [store] = store(&[]);
    let process = watched(&store, |step| match step.call {
        "publish" => Verdict::DoneAndFail(Errno::EXIST),
        _ => Verdict::Go,
    });
    assert_eq!(acquired(&process, "/a", &[1]).port(), port(1));
    assert_eq!(ports(&store), [1]);
}

#[test]
fn another_process_of_the_project_that_commits_first_is_followed() {
    let [store] = store(&[]);
    let other = clone(&store);
    let process = meeting(&store, "staging", "publish", move || {
        acquired(&other, "/a", &[2]);
    });
    let answer = try_acquire(&process, "/a", &[1]).expect("told");
    assert!(
        matches!(&answer, Some(Acquired::Existing(record)) if record.port() == port(2)),
        "{answer:?}"
    );
    assert_eq!(ports(&store), [2]);
    assert_eq!(marks(&store.index).expect("marks").len(), 1, "the other's");
}

#[test]
fn what_is_met_when_a_commit_is_published() {
    // (what stands there then, what comes of it)
    let dangling = record("/a", 2, 2).encode();
    let foreign = record("/b", 2, 2).encode();
    for (content, expected) in [
        (dangling.as_slice(), Ok(())),
        (&foreign, Err(Corruption::WrongProject)),
        (b"{\"format\":2}\n", Err(Corruption::NewerFormat(2))),
    ] {
        let [store] = store(&[]);
        let (projects, content) = (store.projects.clone(), content.to_vec());
        // The claim of the dangling one's port is there, and not this commit's.
        store.ports.put("2.claim", &record("/c", 2, 3).encode());
        let process = meeting(&store, "staging", "publish", move || {
            projects.put(holder("/a").key(), &content);
        });
        let answer = try_acquire(&process, "/a", &[1]);
        let is_new = matches!(&answer, Ok(Some(Acquired::New(record))) if record.port() == port(1));
        let corruption = answer.as_ref().err().and_then(|error| error.corruption());
        assert_eq!(
            (is_new, corruption),
            (expected.is_ok(), expected.as_ref().err())
        );
        assert_eq!(ports(&store).contains(&1), is_new);
    }
}

#[test]
fn a_commit_whose_claim_may_not_be_read_is_not_withdrawn() {
    let [store] = store(&[]);
    let other = clone(&store);
    let now = Rc::new(Cell::new(false));
    let met = now.clone();
    let process = watched(&store, move |step| {
        if step.call == "publish" && !now.replace(true) {
            acquired(&other, "/a", &[2]);
        }
        match (step.dir, step.call, step.name) {
            ("ports", "open", "2.claim") => Verdict::Fail(Errno::ACCESS),
            _ => Verdict::Go,
        }
    });
    let error = try_acquire(&process, "/a", &[1]).expect_err("denied");
    assert!(met.get());
    assert_eq!(error.corruption(), Some(&Corruption::Denied));
    let found = lookup(&store, &holder("/a")).expect("told");
    assert!(matches!(found, Lookup::Held(record, _) if record.port() == port(2)));
}

#[test]
fn a_name_that_was_there_and_is_gone_is_published_again_and_a_failure_is_told() {
    let [store] = store(&[]);
    let first = Cell::new(true);
    let process = watched(&store, move |step| {
        if step.call == "publish" && first.take() {
            Verdict::Fail(Errno::EXIST)
        } else {
            Verdict::Go
        }
    });
    assert_eq!(acquired(&process, "/a", &[1]).port(), port(1));
    let process = failing(&store, "staging", "publish", Errno::ROFS);
    let error = try_acquire(&process, "/b", &[2]).expect_err("fails");
    assert_eq!(error.kind(), crate::ErrorKind::Io);
}

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
    sweep_staging(&failing(&store, "staging", "remove", Errno::NOENT)).expect("gone");
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

/// The marks that a refresh takes.
fn refreshed(store: &Store<SimDir>) -> Result<Vec<u16>> {
    let mut taken = Vec::new();
    refresh(store, false, |marked| {
        taken.extend(marked.iter().map(|mark| mark.port.get()));
        Ok(())
    })?;
    Ok(taken)
}

#[test]
fn a_mark_is_finished_when_its_claim_cannot_be_committed_any_more() {
    let [store] = store(&[]);
    let nonce = Nonce::from_bytes([1; 16]);
    let mark = format!("claimed-1-{nonce}");
    let put = || store.index.put(&mark, b"");
    put();
    assert!(is_mark(&mark) && !is_mark("lock"));
    assert_eq!(refreshed(&store).expect("gone for good"), [1]);

    put();
    store.ports.put("1.claim", &record("/a", 1, 1).encode());
    let pending = store.ports.open("1.claim").expect("opens");
    assert!(store.ports.try_lock(&pending).expect("locks"));
    assert!(refreshed(&store).expect("pending").is_empty());
    let blind = failing(&store, "ports", "open", Errno::ACCESS);
    store.ports.unlock(&pending);
    assert!(refreshed(&blind).expect("perhaps pending").is_empty());
    for (errno, expected) in [(Errno::NOENT, Some(vec![1])), (Errno::IO, None)] {
        put_again(&store, &mark);
        let opens = Cell::new(0);
        // Gone, or unreadable, between the look at it and at its lock.
        let process = watched(&store, move |step| {
            if (step.dir, step.call) == ("ports", "open") {
                opens.set(opens.get() + 1);
                if opens.get() == 2 {
                    return Verdict::Fail(errno);
                }
            }
            Verdict::Go
        });
        assert_eq!(refreshed(&process).ok(), expected, "{errno}");
    }
    put_again(&store, &mark);
    assert_eq!(refreshed(&store).expect("its claimer is dead"), [1]);

    // Another claim of the port is pending.
    put_again(&store, &mark);
    store.ports.remove("1.claim").expect("removes");
    store.ports.put("1.claim", &record("/a", 1, 2).encode());
    let pending = store.ports.open("1.claim").expect("opens");
    assert!(store.ports.try_lock(&pending).expect("locks"));
    assert_eq!(refreshed(&store).expect("another's"), [1]);
}

fn put_again(store: &Store<SimDir>, name: &str) {
    let _ = store.index.remove(name);
    store.index.put(name, b"");
}

#[test]
fn a_refresh_tells_what_is_gone_from_what_fails() {
    let [store] = store(&[]);
    let mark = format!("changed-1-{}", Nonce::from_bytes([1; 16]));
    for (call, name, errno, is_fine) in [
        ("open", mark.as_str(), Errno::NOENT, true),
        ("open", &mark, Errno::IO, false),
        ("remove", &mark, Errno::NOENT, true),
        ("remove", &mark, Errno::ROFS, false),
        ("open", "lock", Errno::IO, false),
    ] {
        put_again(&store, &mark);
        let name = name.to_owned();
        let process = watched(&store, move |step| {
            if (step.dir, step.call, step.name) == ("index", call, &*name) {
                Verdict::Fail(errno)
            } else {
                Verdict::Go
            }
        });
        let failure = refreshed(&process).err().map(|error| error.kind());
        let expected = (!is_fine).then_some(crate::ErrorKind::Io);
        assert_eq!(failure, expected, "{call} {errno}");
    }
    store.index.remove("lock").expect("removes");
    let error = refreshed(&failing(&store, "index", "create", Errno::ROFS)).expect_err("fails");
    assert!(
        error.is_from(&[io::ErrorKind::ReadOnlyFilesystem]),
        "{error:?}"
    );
    // Another process makes the lock file at the same moment.
    let index = store.index.clone();
    let process = meeting(&store, "index", "create", move || index.put("lock", b""));
    refreshed(&process).expect("opens that one");
}

#[test]
fn a_refresh_takes_all_marks_and_holds_few_locks() {
    let [store] = store(&[]);
    let marked = 1..=4000;
    for number in marked.clone() {
        let nonce = Nonce::from_bytes([7; 16]);
        store.index.put(&format!("changed-{number}-{nonce}"), b"");
    }
    let (held, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (now, max) = (held.clone(), most.clone());
    let process = watched(&store, move |step| {
        match step.call {
            "lock" => now.set(now.get() + 1),
            "unlock" => now.set(now.get() - 1),
            _ => {}
        }
        max.set(max.get().max(now.get()));
        Verdict::Go
    });
    // In one turn: further ones are for what others change meanwhile.
    let mut taken = Vec::new();
    let turn = mark::refresh_once(&process, &mut false, &mut |marked: &[Marked]| {
        taken.extend(marked.iter().map(|mark| mark.port.get()));
        Ok(())
    });
    assert_eq!(turn.expect("refreshes"), Refreshed::Done);
    taken.sort_unstable();
    assert!(taken.into_iter().eq(marked));
    assert!(marks(&store.index).expect("marks").is_empty());
    // A hundred marks and the index.
    assert_eq!((held.get(), most.get()), (0, 101));
}

#[test]
fn a_refresh_looks_once_more_and_ends() {
    let [store] = store(&[]);
    let mark = |number: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        format!("changed-1-{}", Nonce::from_bytes(bytes))
    };
    let locks = Rc::new(Cell::new(0));
    let seen = locks.clone();
    let process = watched(&store, move |step| {
        seen.set(seen.get() + u32::from(step.call == "lock"));
        Verdict::Go
    });
    assert!(refreshed(&process).expect("nothing to do").is_empty());
    assert_eq!(locks.get(), 1);

    // A change that met the index lock relies on the refresher.
    let (index, name) = (store.index.clone(), mark(0));
    let process = meeting(&store, "index", "unlock", move || index.put(&name, b""));
    assert_eq!(refreshed(&process).expect("refreshes"), [1]);

    // Others go on changing the registry: four rounds of four, and no more.
    let mut written = 0;
    store.index.put(&mark(0), b"");
    let answer = refresh(&store, false, |_| {
        written += 1;
        store.index.put(&mark(written), b"");
        Ok(())
    });
    assert_eq!((answer.expect("refreshes"), written), (Refreshed::Done, 16));

    let lock = store.index.open("lock").expect("opens");
    assert!(store.index.try_lock(&lock).expect("locks"));
    let answer = refresh(&store, true, |_| panic!("another process does it"));
    assert_eq!(answer.expect("told"), Refreshed::Elsewhere);
}

#[test]
fn where_there_are_no_locks_none_is_asked_for() {
    let [store] = store(&[Fault::NoLocks]);
    let process = watched(&store, |step| {
        assert_ne!(step.call, "lock", "it can block for ever there");
        Verdict::Go
    });
    acquired(&process, "/a", &[1]);
    store.ports.put("2.claim", b"");
    let swept = sweep(&process, quarantine).expect("sweeps");
    assert!(
        swept.freed.is_empty(),
        "nobody knows whether its claimer is alive"
    );
    let mut written = 0;
    let answer = refresh(&process, false, |_| {
        written += 1;
        Ok(())
    });
    assert_eq!((answer.expect("refreshes"), written), (Refreshed::Done, 1));
    let answer = release(&process, &holder("/a"), None, None).expect("releases");
    assert!(matches!(answer, Released::Done(_)));
    assert_eq!(ports(&store), [2]);
    assert!(marks(&store.index).expect("marks").is_empty());
}
