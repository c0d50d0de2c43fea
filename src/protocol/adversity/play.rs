//! Plays an operation, another one inside it, and keeps what the disk was like at each moment.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::error::Result;
use crate::fs::sim::{Disk, SimDir, Step, Verdict, kill};

use super::World;
use super::op::{Answer, Op};
use super::told::Told;

/// The process of the operation that is played.
pub(super) const OPERATION: u8 = 2;

/// The process of the one inside.
const INSIDE: u8 = 3;

/// An operation of another process, run where the first one stops for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inside {
    /// Before this step of the first one, from 0.
    pub(super) at: usize,
    pub(super) op: Op,
    /// Before which step of its own it is killed; behind its end, it is not.
    pub(super) killed: usize,
}

/// A moment between two steps.
pub(super) struct Moment {
    /// The disk, if all processes were killed now.
    pub(super) disk: Disk,
    /// What was told by now, and what is going on.
    pub(super) told: Told,
}

/// What came of a play.
pub(super) struct Played {
    /// The moments at which the disk or what was told changed, the end last. Where another
    /// operation was played inside, those since it began; if it was killed, those since then.
    pub(super) moments: Vec<Moment>,
    pub(super) answer: Option<Result<Answer>>,
    /// The answer of the other operation: `None` where it was not reached or was killed.
    pub(super) inside: Option<Result<Answer>>,
    /// How many steps each operation took.
    pub(super) steps: [usize; 2],
    /// The steps of the other operation before which the disk had changed since the one
    /// before: to be killed before any other step leaves nothing else.
    pub(super) kills: Vec<usize>,
}

/// What is shared between the play and its probes.
struct Tape {
    dir: SimDir,
    told: RefCell<Told>,
    moments: RefCell<Vec<Moment>>,
    /// Whether moments are kept.
    runs: Cell<bool>,
    /// The disk's version when the latest moment was kept.
    version: Cell<usize>,
    /// How many steps each operation has taken.
    steps: [Cell<usize>; 2],
    kills: RefCell<Vec<usize>>,
}

impl Tape {
    fn begin(&self, op: Op) {
        self.told.borrow_mut().begin(op);
        self.keep();
    }

    fn end(&self, op: Op, answer: Option<&Result<Answer>>) {
        self.told.borrow_mut().end(op, answer);
        self.keep();
    }

    /// Counts a step, and returns its number.
    fn step(&self, which: usize) -> usize {
        let version = self.dir.version();
        if self.version.replace(version) != version {
            // Behind the other one's end, it cannot be killed any more.
            if which == 1 {
                self.kills.borrow_mut().push(self.steps[1].get());
            }
            self.keep();
        }
        self.steps[which].replace(self.steps[which].get() + 1)
    }

    fn keep(&self) {
        if self.runs.get() {
            let disk = self.dir.killed();
            let told = self.told.borrow().clone();
            self.moments.borrow_mut().push(Moment { disk, told });
        }
    }
}

/// Plays `op` on a copy of the disk.
pub(super) fn play_alone(disk: &Disk, told: &Told, op: Op) -> Played {
    play(OPERATION, disk, told, op, None, |_, _| Verdict::Go)
}

/// Runs `op` on a copy of the disk, by the process of this number. `verdict` is asked about each of its steps by number.
pub(super) fn play(
    number: u8,
    disk: &Disk,
    told: &Told,
    op: Op,
    inside: Option<Inside>,
    verdict: impl Fn(usize, Step<'_>) -> Verdict + 'static,
) -> Played {
    let world = World::mount(disk);
    let tape = Rc::new(Tape {
        dir: world.dirs[0].clone(),
        told: RefCell::new(told.clone()),
        moments: RefCell::default(),
        runs: Cell::new(inside.is_none()),
        version: Cell::new(world.dirs[0].version()),
        steps: [const { Cell::new(0) }; 2],
        kills: RefCell::default(),
    });
    let dirs = world.dirs.clone();
    let other = Rc::new(RefCell::new(None));
    let (shared, answers) = (tape.clone(), other.clone());
    let process = world.watched(number, move |step| {
        let at = shared.step(0);
        if let Some(inside) = inside.filter(|inside| inside.at == at) {
            *answers.borrow_mut() = play_inside(&World::on(dirs.clone()), &shared, inside);
        }
        verdict(at, step)
    });
    tape.begin(op);
    let answer = process.run(op);
    tape.end(op, answer.as_ref());
    Played {
        moments: tape.moments.take(),
        answer,
        inside: other.take(),
        steps: tape.steps.each_ref().map(Cell::get),
        kills: tape.kills.take(),
    }
}

fn play_inside(world: &World, tape: &Rc<Tape>, inside: Inside) -> Option<Result<Answer>> {
    tape.kills.borrow_mut().clear();
    tape.runs.set(inside.killed == usize::MAX);
    let shared = tape.clone();
    let process = world.watched(INSIDE, move |_| {
        if shared.step(1) == inside.killed {
            shared.runs.set(true);
            kill();
        }
        Verdict::Go
    });
    tape.begin(inside.op);
    let answer = process.run(inside.op);
    tape.end(inside.op, answer.as_ref());
    answer
}
