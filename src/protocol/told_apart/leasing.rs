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
    // It is asked by taking the lock, which is not got.
    for _ in 0..2 {
        assert_eq!(
            standing(&store, port(2)).expect("told"),
            Standing::Leased(record.clone())
        );
    }
    let swept = sweep_port(&store, port(2), quarantine).expect("sweeps");
    assert_eq!(swept, Swept::Leased);

    held.end(&store);
    assert_eq!(ports(&store), [1], "it leaves nothing");
    assert!(leases(&store, "/b", &[1]).is_none());

    // A process that was killed.
    drop(leases(&store, "/b", &[2]));
    for _ in 0..2 {
        // Who asks gives the lock back.
        assert_eq!(standing(&store, port(2)).expect("told"), Standing::Ended);
    }
    let swept = sweep_port(&store, port(2), quarantine).expect("sweeps");
    assert_eq!(swept, Swept::Removed);
}

#[test]
fn what_is_no_lease_is_not_taken_for_one() {
    let [store] = store(&[]);
    let there = acquired(&store, "/a", &[1]);
    store.ports.put("3.claim", b"");
    let claimer = store.ports.open("1.claim").expect("opens");
    assert!(store.ports.try_lock(&claimer).expect("locks"));
    let expected = [Standing::Held(there), Standing::Free, Standing::Unsettled];
    for (number, expected) in (1..).zip(expected) {
        assert_eq!(standing(&store, port(number)).expect("told"), expected);
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
            if *opens.borrow() % 2 == 1 {
                Verdict::Go
            } else {
                Verdict::Fail(errno)
            }
        })
    };
    assert_eq!(
        standing(&second_open(Errno::NOENT), port(1)).expect("told"),
        Standing::Ended
    );
    standing(&second_open(Errno::IO), port(1)).expect_err("fails");
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
    assert_eq!(standing(&process, port(1)).expect("told"), Standing::Ended);
    drop(held);
}

#[test]
fn a_lease_is_not_flushed_and_a_claim_is() {
    let [store] = store(&[]);
    let flushed = Rc::new(Cell::new(0));
    let count = Rc::clone(&flushed);
    let mut process = watched(&store, move |step| {
        if step.call.starts_with("sync") {
            count.set(count.get() + 1);
        }
        Verdict::Go
    });
    let lease = leases(&process, "/a", &[1]).expect("1 is free");
    assert_eq!(flushed.get(), 0);
    lease.end(&process);
    acquired(&process, "/a", &[1]);
    assert!(flushed.get() > 0);
    process.durability = Durability::Volatile;
    flushed.set(0);
    acquired(&process, "/b", &[2]);
    assert_eq!(flushed.get(), 0);
}
