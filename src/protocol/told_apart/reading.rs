//! What a claim and a commit say, and what is flushed before anybody is told.

use super::*;

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
fn a_claim_whose_commit_is_missed_is_looked_at_once_more() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    // As if another claim had been there when this one's commit was looked for.
    let missed_at_first = || {
        let is_first = Cell::new(true);
        watched(&store, move |step| {
            if (step.dir, step.call) == ("projects", "open") && is_first.replace(false) {
                Verdict::Fail(Errno::NOENT)
            } else {
                Verdict::Go
            }
        })
    };
    assert_eq!(
        committed(&missed_at_first(), port(1)).expect("told"),
        Some(there.clone())
    );
    assert_eq!(
        standing(&missed_at_first(), port(1)).expect("told"),
        Standing::Held(there)
    );
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
        standing(&store, port(1)).expect("told"),
        Standing::Held(there.clone())
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
        let none = if number == 6 {
            Standing::Free
        } else {
            Standing::Unsettled
        };
        assert_eq!(
            standing(&store, port(number)).expect("told"),
            none,
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
    let error = standing(&store, port(5)).expect_err("damage");
    assert_eq!(error.corruption(), Some(&wrong));

    // Another user's claim or commit, and a later version's.
    for dir in ["ports", "projects"] {
        let blind = failing(&store, dir, "open", Errno::ACCESS);
        let error = standing(&blind, port(1)).expect_err("denied");
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
