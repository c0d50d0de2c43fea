//! Calls that fail: each call of each operation, in each way; all calls from one on; and two.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind};
use crate::fs::sim::{Disk, Fault, Step, Verdict};

use super::op::{Answer, Op};
use super::play::{OPERATION, Played, play};
use super::scenes::all;
use super::stage::Scene;
use super::tried::Tried;
use super::{World, report, steps};

/// How a call may fail.
pub(super) const FAILURES: [Verdict; 6] = [
    Verdict::Fail(Errno::NOSPC),
    Verdict::Fail(Errno::IO),
    Verdict::Fail(Errno::ROFS),
    Verdict::Fail(Errno::MFILE),
    Verdict::Fail(Errno::ACCESS),
    Verdict::DoneAndFail(Errno::IO),
];

/// How two calls of one operation may fail.
const TWICE: [Verdict; 2] = [Verdict::Fail(Errno::IO), Verdict::DoneAndFail(Errno::IO)];

/// An operation of at most so many steps is tried with every two of its calls failing.
const SHORT: usize = 32;

/// Runs a scene of which some steps fail, and checks what is left: at the end what later
/// processes see, and at every moment all that a power cut may leave.
fn fail(
    scene: &Scene,
    tried: &mut Tried,
    what: &str,
    verdict: impl Fn(usize) -> Verdict + 'static,
) -> usize {
    let shown = Shown {
        scene: scene.name,
        what,
        failed: Rc::default(),
    };
    let failed = shown.failed.clone();
    let published = Rc::new(Cell::new(0));
    let counted = published.clone();
    let played = play(
        OPERATION,
        &scene.disk,
        &scene.told,
        scene.op,
        None,
        move |at, step| {
            let verdict = verdict(at);
            if verdict != Verdict::Go {
                let Step { call, dir, name } = step;
                let step = format!("{call} {dir}/{name}");
                failed.borrow_mut().push((step, verdict));
            } else if (step.call, step.dir) == ("publish", "staging") {
                counted.set(counted.get() + 1);
            }
            verdict
        },
    );
    if let Some(Err(error)) = &played.answer {
        expect_clear(error);
        let failed = shown.failed.borrow();
        if let [(failed, Verdict::Fail(_))] = &failed[..] {
            expect_undone(scene, failed, &played, published.get());
        }
    }
    tried.cut_and_kill_all(&played);
    played.steps[0]
}

/// After an error a holder has no port that it had not before. Where it was the flush of a published
/// name that failed, the port stays, for another process may have been told it; and so do the first
/// ones of several that were `published` before another one failed.
fn expect_undone(scene: &Scene, failed: &str, played: &Played, published: usize) {
    let is_flush = failed.starts_with("sync ");
    let mut new = 0;
    for name in scene.op.acquires() {
        let held = |disk: &Disk| {
            let process = World::mount(disk).process(OPERATION);
            Op::Lookup(name).run(&process).expect("look-up")
        };
        let before = held(&scene.disk);
        let after = held(&played.moments.last().expect("the end").disk);
        if after == before || after == Answer::Absent {
            continue;
        }
        new += 1;
        let is_kept = scene.op.is_set() && new <= published;
        assert!(is_flush || is_kept, "a failure leaves {after:?}");
    }
}

/// Says which failure it was, if the test fails.
struct Shown<'a> {
    scene: &'a str,
    what: &'a str,
    failed: Rc<RefCell<Vec<(String, Verdict)>>>,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Shown {
                scene,
                what,
                failed,
            } = self;
            report(&format!("failing calls: {scene}: {what}: {failed:?}"));
        }
    }
}

/// An error says which file it was, and why.
fn expect_clear(error: &Error) {
    let says_why = match error.kind() {
        ErrorKind::Io => error.io_error().is_some(),
        ErrorKind::Corrupt => error.corruption().is_some(),
        _ => true,
    };
    assert!(says_why && error.path().is_some(), "{error:?}");
}

/// Lets each call of each operation fail, in each way.
fn fail_once(faults: &[Fault]) {
    for scene in all(faults) {
        let mut tried = Tried::of(&scene.disk);
        for first in 0..steps(&scene.disk, scene.op) {
            for failure in FAILURES {
                let what = format!("step {first}: {failure:?}");
                fail(&scene, &mut tried, &what, move |at| {
                    if at == first { failure } else { Verdict::Go }
                });
            }
        }
        tried.report("one failing call", scene.name);
    }
}

/// Lets all calls fail from each step on.
fn fail_from(faults: &[Fault]) {
    for scene in all(faults) {
        let mut tried = Tried::of(&scene.disk);
        for first in 0..steps(&scene.disk, scene.op) {
            for failure in FAILURES {
                let what = format!("from step {first}: {failure:?}");
                fail(&scene, &mut tried, &what, move |at| {
                    if at >= first { failure } else { Verdict::Go }
                });
            }
        }
        tried.report("failing from one call on", scene.name);
    }
}

/// Lets every two calls of the shorter operations fail.
fn fail_twice(faults: &[Fault]) {
    for scene in all(faults) {
        let count = steps(&scene.disk, scene.op);
        if count > SHORT {
            continue;
        }
        let mut tried = Tried::of(&scene.disk);
        for first in 0..count {
            for failures in TWICE.iter().flat_map(|one| TWICE.map(|two| [*one, two])) {
                // The first failure can make the operation longer, or shorter.
                for second in first + 1.. {
                    let what = format!("steps {first} and {second}: {failures:?}");
                    let steps = fail(&scene, &mut tried, &what, move |at| match at {
                        at if at == first => failures[0],
                        at if at == second => failures[1],
                        _ => Verdict::Go,
                    });
                    if steps <= second {
                        break;
                    }
                }
            }
        }
        tried.report("two failing calls", scene.name);
    }
}

#[test]
fn every_call_fails_once() {
    fail_once(&[]);
}

#[test]
#[should_panic(expected = "told and not kept")]
fn every_call_fails_once_needs_flushes_that_tell() {
    fail_once(&[Fault::SyncHidesFailure]);
}

#[test]
#[should_panic(expected = "told and not kept")]
fn every_two_calls_fail_needs_flushes_that_tell() {
    fail_twice(&[Fault::SyncHidesFailure]);
}

#[test]
fn every_call_fails_from_one_on() {
    fail_from(&[]);
}

#[test]
fn every_two_calls_fail() {
    fail_twice(&[]);
}
