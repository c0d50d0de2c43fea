//! A claim, its lock and its commit, and who is first where two meet.

use super::*;

/// Acquires port 1 for `/a` and port 2 for `/b`, both or none.
fn acquire_both(
    store: &Store<SimDir>,
    seen: [Lookup; 2],
    made: &mut Vec<Nonce>,
) -> Result<Result<Vec<Acquired>, Fixed>> {
    let drafts = ["/a", "/b"].map(|project| Draft::from(holder(project)));
    let picker = |at: usize| Ok(Fixed::new(&[[1], [2]][at]));
    let accept = |_: usize, _: &Record| Ok(());
    acquire_set(
        store,
        &drafts,
        seen.into(),
        picker,
        accept,
        quarantine,
        made,
    )
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
    let process = failing_to_publish(&store, Errno::IO);
    let answer = acquire_both(&process, [Lookup::Absent, Lookup::Absent], &mut Vec::new());
    assert_eq!(
        answer.map(drop).expect_err("fails").kind(),
        crate::ErrorKind::Io
    );
    assert!(ports(&store).is_empty());
    assert!(store.projects.names().expect("names").is_empty());
    assert!(store.staging.names().expect("names").is_empty());
}

#[test]
fn what_a_call_gave_stays_new_when_it_tries_again() {
    let [store, other] = store(&[]);
    let (published, sealed) = (Cell::new(0), Cell::new(false));
    // Another process is first with a port for the second one, and gives it back before this one looks again.
    let process = watched(&store, move |step| {
        match step.call {
            "publish" if published.replace(published.get() + 1) == 1 => {
                acquired(&other, "/b", &[3]);
            }
            "seal" => sealed.set(true),
            "open" if sealed.take() => {
                release(&other, &holder("/b"), None, None).expect("releases");
            }
            _ => {}
        }
        Verdict::Go
    });
    let made = &mut Vec::new();
    let answer = acquire_both(&process, [Lookup::Absent, Lookup::Absent], made);
    assert!(
        answer.expect("looks").is_err(),
        "there is no port left for the second"
    );
    let seen = ["/a", "/b"].map(|project| lookup_seal(&store, &holder(project)).expect("looks"));
    let answer = acquire_both(&store, seen, made);
    let both = answer.expect("looks").ok().expect("there are two ports");
    assert!(
        matches!(&both[..], [Acquired::New(a), Acquired::New(b)] if (a.port(), b.port()) == (port(1), port(2)))
    );
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
    let (other, met) = (clone(&store), Rc::new(Cell::new(false)));
    let seen = met.clone();
    let process = meeting(&store, "staging", "publish", move || {
        let claim = other.ports.open("1.claim").expect("opens");
        assert!(!other.ports.try_lock(&claim).expect("told"));
        let swept = sweep_port(&other, port(1), quarantine).expect("sweeps");
        assert_eq!(swept, Swept::Busy);
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
    let process = failing_to_publish(&store, Errno::EXIST);
    assert_eq!(acquired(&process, "/a", &[1]).port(), port(1));
    let process = failing(&store, "staging", "publish", Errno::ROFS);
    let error = try_acquire(&process, "/b", &[2]).expect_err("fails");
    assert_eq!(error.kind(), crate::ErrorKind::Io);
}
