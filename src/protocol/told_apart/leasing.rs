//! Leases, and what is none.

use super::*;

fn leases(store: &Store<SimDir>, project: &str, tried: &[u16]) -> Option<Leased<SimDir>> {
    let holder = holder(project);
    lease(store, &holder, &mut Fixed::new(tried)).expect("leases")
}

#[test]
fn a_lease_lasts_as_long_as_its_lock() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    let held = leases(&store, "/b", &[1, 2]).expect("2 is free");
    let record = held.record().clone();
    assert_eq!((record.port(), record.is_lease()), (port(2), true));
    assert!(store.ports.means("2.claim", held.file()).expect("told"));
    assert_eq!(leased(&store, port(2)).expect("told"), Some(record));
    assert!(is_lease(&store, port(2)).expect("told"));
    // It was asked by taking the lock, which was not got.
    assert!(leased(&store, port(2)).expect("told").is_some());
    let swept = sweep_port(&store, port(2), quarantine).expect("sweeps");
    assert_eq!(swept, Swept::Leased);

    held.end(&store);
    assert_eq!(ports(&store), [1], "it leaves nothing");
    assert!(leases(&store, "/b", &[1]).is_none());

    // A process that was killed.
    drop(leases(&store, "/b", &[2]));
    assert!(is_lease(&store, port(2)).expect("told"));
    for _ in 0..2 {
        // Who asks gives the lock back.
        assert_eq!(leased(&store, port(2)).expect("told"), None);
    }
    let swept = sweep_port(&store, port(2), quarantine).expect("sweeps");
    assert_eq!(swept, Swept::Removed);
}

#[test]
fn what_is_no_lease_is_not_taken_for_one() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    store.ports.put("3.claim", b"");
    let claimer = store.ports.open("1.claim").expect("opens");
    assert!(store.ports.try_lock(&claimer).expect("locks"));
    for number in [1, 2, 3] {
        assert_eq!(
            leased(&store, port(number)).expect("told"),
            None,
            "{number}"
        );
        assert!(!is_lease(&store, port(number)).expect("told"), "{number}");
    }
}

#[test]
fn a_lease_that_ends_while_it_is_looked_at_is_none() {
    let [store] = store(&[]);
    let held = leases(&store, "/a", &[1]).expect("1 is free");
    let second_open = |errno| {
        let opens = Rc::new(RefCell::new(0));
        watched(&store, move |step| {
            if (step.dir, step.call) != ("ports", "open") {
                return Verdict::Go;
            }
            *opens.borrow_mut() += 1;
            if *opens.borrow() == 1 {
                Verdict::Go
            } else {
                Verdict::Fail(errno)
            }
        })
    };
    assert_eq!(
        leased(&second_open(Errno::NOENT), port(1)).expect("told"),
        None
    );
    leased(&second_open(Errno::IO), port(1)).expect_err("fails");
    drop(held);
}

#[test]
fn where_there_are_no_locks_there_is_no_lease() {
    let [store] = store(&[Fault::NoLocks]);
    let held = leases(&store, "/a", &[1]).expect("1 is free");
    let process = watched(&store, |step| {
        assert_ne!(step.call, "lock", "it can block for ever there");
        Verdict::Go
    });
    assert_eq!(leased(&process, port(1)).expect("told"), None);
    drop(held);
}
