//! When a mark is finished, and what a refresh takes.

use super::*;

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
        // No file, and so no mark.
        ("open", &mark, Errno::INVAL, true),
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
