//! The protocol on the simulated disk, one step after the other.

use std::rc::Rc;

use rustix::io::Errno;

use super::testing::{Fixed, held, holder, port, ports, quarantine, store};
use super::*;
use crate::fs::sim::{Probe, Verdict};
use crate::port::Port;
use crate::record::{Record, claim_name};

fn acquired(
    store: &Store<crate::fs::sim::SimDir>,
    project: &str,
    tried: &[u16],
) -> Option<Acquired> {
    acquire(store, &holder(project), &mut Fixed::new(tried), quarantine).expect("acquire")
}

#[test]
fn a_holder_keeps_its_port_and_no_port_has_two() {
    let [store] = store(&[]);
    assert!(
        matches!(acquired(&store, "/a", &[1, 2]), Some(Acquired::New(record)) if record.port() == port(1))
    );
    assert!(
        matches!(acquired(&store, "/a", &[2, 3]), Some(Acquired::Existing(record)) if record.port() == port(1))
    );
    assert!(
        matches!(acquired(&store, "/b", &[1, 2]), Some(Acquired::New(record)) if record.port() == port(2))
    );
    assert_eq!(acquired(&store, "/c", &[1, 2]), None);
    assert_eq!(store.staging.names().expect("names"), Vec::<String>::new());
}

#[test]
fn a_release_frees_exactly_its_port() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    acquired(&store, "/b", &[2]);
    assert!(matches!(
        release(&store, &holder("/a"), None, None).expect("release"),
        Released::Done(_)
    ));
    assert_eq!(
        release(&store, &holder("/a"), None, None).expect("release"),
        Released::Absent
    );
    assert_eq!(held(&store, "/a"), None);
    assert_eq!(held(&store, "/b"), Some(port(2)));
    assert_eq!(ports(&store), [2]);
}

#[test]
fn a_lease_that_ended_is_swept_whatever_became_of_its_project_s_commit() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    let held = lease(&store, &holder("/a"), &mut Fixed::new(&[2])).expect("lease");
    store.projects.put(holder("/a").key(), b"");
    let sweep = || sweep(&store, quarantine).expect("sweep").freed;
    assert_eq!(sweep(), [], "it is held");
    drop(held.expect("there is a port"));
    assert_eq!(sweep(), [port(2)]);
    // The other claim may have been committed by what is damaged.
    assert_eq!(ports(&store), [1]);
}

#[test]
fn a_release_of_an_older_claim_leaves_the_newer_one() {
    let [store] = store(&[]);
    let Some(Acquired::New(old)) = acquired(&store, "/a", &[1]) else {
        panic!("not new")
    };
    release(&store, &holder("/a"), None, None).expect("release");
    let Some(Acquired::New(new)) = acquired(&store, "/a", &[1]) else {
        panic!("not new")
    };
    let answer = release(&store, &holder("/a"), Some(old.nonce()), None).expect("release");
    assert_eq!(answer, Released::Superseded(new));
    assert_eq!(held(&store, "/a"), Some(port(1)));
}

#[test]
fn a_lost_claim_is_claimed_again_at_the_same_port() {
    for damage in [
        None,
        Some(&b""[..]),
        Some(b"{\"format\":1,\"po"),
        Some(b"\0\0\0\0"),
    ] {
        let [store] = store(&[]);
        acquired(&store, "/a", &[7]);
        store.ports.remove(&claim_name(port(7))).expect("remove");
        if let Some(damage) = damage {
            store.ports.put(&claim_name(port(7)), damage);
        }
        assert!(
            matches!(acquired(&store, "/a", &[1, 2]), Some(Acquired::New(record)) if record.port() == port(7)),
            "{damage:?}"
        );
        assert_eq!(ports(&store), [7], "{damage:?}");
    }
}

#[test]
fn a_lost_claim_that_another_took_is_not_taken_back() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[7]);
    store.ports.remove(&claim_name(port(7))).expect("remove");
    acquired(&store, "/b", &[7]);
    assert!(
        matches!(acquired(&store, "/a", &[7, 8]), Some(Acquired::New(record)) if record.port() == port(8))
    );
    assert_eq!(held(&store, "/b"), Some(port(7)));
}

#[test]
fn a_sweep_removes_orphans_and_nothing_else() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    let orphan = Record::new(port(2), Nonce::from_bytes([2; 16]), holder("/b")).encode();
    let later = b"{\"format\":9}\n";
    store.ports.put("2.claim", &orphan);
    store.ports.put("3.claim", b"");
    store.ports.put("4.claim", b"half a rec");
    store.ports.put("5.claim", later);
    store.ports.put("readme.txt", b"foreign");
    // The record of port 2 under another name.
    store.ports.put("6.claim", &orphan);
    store
        .staging
        .put("2-02020202020202020202020202020202", &orphan);
    let freed: Vec<u16> = sweep(&store, quarantine)
        .expect("sweep")
        .freed
        .into_iter()
        .map(Port::get)
        .collect();
    assert_eq!(freed, [2, 3, 4, 6]);
    assert_eq!(ports(&store), [1, 5]);
    assert_eq!(held(&store, "/a"), Some(port(1)));
    assert!(store.staging.names().expect("names").is_empty());
}

#[test]
fn a_sweep_leaves_a_living_claimer_alone() {
    let [store] = store(&[]);
    let file = store.ports.create("1.claim").expect("create");
    assert!(store.ports.try_lock(&file).expect("lock"));
    assert_eq!(
        sweep_port(&store, port(1), quarantine).expect("sweep"),
        Swept::Busy
    );
    drop(file);
    assert_eq!(
        sweep_port(&store, port(1), quarantine).expect("sweep"),
        Swept::Removed
    );
}

#[test]
fn a_frozen_claimer_does_not_hold_a_release_up() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    let frozen = store.ports.open("1.claim").expect("open");
    assert!(store.ports.try_lock(&frozen).expect("lock"));
    assert!(matches!(
        release(&store, &holder("/a"), None, None).expect("release"),
        Released::Done(_)
    ));
    assert_eq!(held(&store, "/a"), None);
    drop(frozen);
    assert_eq!(sweep(&store, quarantine).expect("sweep").freed, [port(1)]);
}

#[test]
fn a_claim_that_cannot_be_locked_is_removed_and_no_other_one() {
    let [store] = store(&[]);
    let unwatched = store.ports.clone();
    let failing: Probe = Rc::new(move |step| {
        if step.call != "lock" {
            return Verdict::Go;
        }
        // By then somebody has removed the file, and another one has its name.
        unwatched.remove("1.claim").expect("removes");
        unwatched.put("1.claim", b"");
        Verdict::Fail(Errno::NOLCK)
    });
    let store = Store {
        ports: store.ports.watched(&failing),
        ..store
    };
    acquire(&store, &holder("/a"), &mut Fixed::new(&[1]), quarantine).expect_err("no lock");
    assert_eq!(ports(&store), [1], "another's");
}

#[test]
fn a_commit_that_dangles_no_more_is_not_withdrawn() {
    for is_released in [false, true] {
        let [store] = store(&[]);
        acquired(&store, "/a", &[1]);
        // What another process is about to hand over.
        let new = Record::new(port(1), Nonce::from_bytes([7; 16]), holder("/b"));
        store.projects.put(holder("/b").key(), &new.encode());
        let (unwatched, line) = (store.ports.clone(), new.encode());
        let handed_over: Probe = Rc::new(move |step| {
            // The commit was read, and its claim: now it has one.
            if (step.call, step.dir) == ("lock", "projects") {
                unwatched.put("1.claim", &line);
            }
            Verdict::Go
        });
        let store = Store {
            projects: store.projects.watched(&handed_over),
            ..store
        };
        if is_released {
            let released = release(&store, &holder("/b"), None, None);
            assert_eq!(released.expect("release"), Released::Done(new));
        } else {
            let existing = acquired(&store, "/b", &[2]);
            assert_eq!(existing, Some(Acquired::Existing(new)));
        }
    }
}

#[test]
fn a_commit_of_a_later_format_is_an_error_and_stays() {
    let [store] = store(&[]);
    store.projects.put(holder("/a").key(), b"{\"format\":2}\n");
    let error =
        acquire(&store, &holder("/a"), &mut Fixed::new(&[1]), quarantine).expect_err("later");
    assert_eq!(error.corruption(), Some(&crate::Corruption::NewerFormat(2)));
    assert_eq!(store.projects.names().expect("names").len(), 1);
}

#[test]
fn a_damaged_commit_is_set_aside() {
    let [store] = store(&[]);
    store.projects.put(holder("/a").key(), b"garbage");
    assert!(matches!(
        acquired(&store, "/a", &[1]),
        Some(Acquired::New(_))
    ));
    assert_eq!(held(&store, "/a"), Some(port(1)));
}

#[test]
fn marks_stay_until_the_index_shows_the_change() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    assert_eq!(marks(&store.index).expect("marks").len(), 1);
    let mut written = 0;
    // A refresh that fails, as one that is killed, leaves the mark.
    let failed = refresh(&store, false, |_| Err(Error::contended("x")));
    assert!(failed.is_err());
    assert_eq!(marks(&store.index).expect("marks").len(), 1);
    for _ in 0..2 {
        let answer = refresh(&store, false, |marked| {
            written += 1;
            assert_eq!(marked.len(), 1);
            Ok(())
        });
        assert_eq!(answer.expect("refresh"), Refreshed::Done);
    }
    assert_eq!(written, 1, "nothing to do the second time");
    assert!(marks(&store.index).expect("marks").is_empty());
}

#[test]
fn a_claim_that_may_not_be_read_is_not_taken_for_lost() {
    let [store] = store(&[]);
    acquired(&store, "/a", &[1]);
    // Another user's, or hidden by a security module: perhaps only for a while.
    let refused: Probe = Rc::new(|step| match (step.dir, step.call) {
        ("ports", "open") => Verdict::Fail(Errno::ACCESS),
        _ => Verdict::Go,
    });
    let blind = Store {
        ports: store.ports.watched(&refused),
        projects: store.projects.clone(),
        staging: store.staging.clone(),
        index: store.index.clone(),
        durability: Durability::Durable,
        draw: Box::new(|| Ok(Nonce::from_bytes([9; 16]))),
    };
    let denied = Some(&crate::Corruption::Denied);
    let picker = &mut Fixed::new(&[2]);
    let answer = acquire(&blind, &holder("/a"), picker, quarantine);
    assert_eq!(answer.expect_err("a port").corruption(), denied);
    let answer = release(&blind, &holder("/a"), None, None);
    assert_eq!(answer.expect_err("released").corruption(), denied);
    assert_eq!(held(&store, "/a"), Some(port(1)));
    assert_eq!(ports(&store), [1]);
}
