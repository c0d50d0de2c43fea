//! Random programs: three processes at a time on one disk, which act inside each other, are
//! killed, and meet failing calls, damage and power cuts. After each action every project must
//! find what it was told, and in the end everything must be well.
//!
//! `PROPTEST_CASES=100000 cargo test --release --lib adversity::model` tries more.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{TestError, TestRunner};
use rustix::io::Errno;

use crate::fs::Dir;
use crate::fs::sim::{Fault, Verdict, kill};
use crate::record::{LEN_MAX, Record};

use super::World;
use super::check::{check, expect_told};
use super::holders::{HOLDERS, PAIR, PROJECTS, SERVICES, name_of};
use super::op::Op;
use super::told::Told;

/// Most steps until something happens in an operation; the longest takes about as many.
const STEPS_MAX: usize = 50;

/// What damaged files say.
const DAMAGE: [&[u8]; 4] = [
    b"",
    b"{\"format\":1,\"po",
    b"\0\0\0\0\0\0\0\0",
    b"no record\n",
];

/// A line of a program.
#[derive(Clone, Debug)]
enum Action {
    Act(Act),
    /// Another hand overwrites a claim (or a commit), if there is any.
    Damage {
        commit: bool,
        which: Index,
        content: &'static [u8],
    },
    PowerCut(Vec<Index>),
}

/// An operation of a process.
#[derive(Clone, Debug)]
struct Act {
    op: Op,
    trouble: Trouble,
    /// What another process does before one of its steps.
    inside: Option<(usize, Box<Act>)>,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Nothing,
    KilledBefore(usize),
    Fails(usize, Verdict),
}

fn op() -> impl Strategy<Value = Op> {
    const PORTS: [&[u16]; 3] = [&[1, 2, 3], &[3, 1, 2], &[2, 4, 5, 1, 6, 3]];
    const FIRSTS: [&[u16]; 2] = [&[1, 2, 5], &[5, 2]];
    let project = || select(&PROJECTS[..]);
    let timed = || select(&PROJECTS[..2]);
    let service = || select(&HOLDERS[3..5]);
    let ports = || select(&PORTS[..]);
    prop_oneof![
        4 => (project(), ports()).prop_map(|(project, ports)| Op::Acquire(project, ports)),
        2 => (timed(), ports()).prop_map(|(project, ports)| Op::AcquireFor(project, ports)),
        2 => (timed(), select(&[30, 90, 600][..])).prop_map(|(project, time)| Op::Renew(project, time)),
        1 => select(&[20, 61, 700][..]).prop_map(Op::Pass),
        1 => (select(&[PAIR, SERVICES][..]), ports()).prop_map(|(all, ports)| Op::AcquireSet(all, ports)),
        1 => select(&FIRSTS[..]).prop_map(Op::AcquireRow),
        1 => prop_oneof![service().prop_map(Op::Release), Just(Op::ReleaseRow)],
        1 => (project(), 1..4u16).prop_map(|(project, port)| Op::TakeOver(project, port)),
        3 => project().prop_map(Op::Release),
        1 => project().prop_map(Op::Archive),
        2 => timed().prop_map(Op::Reclaim),
        2 => (project(), ports()).prop_map(|(project, ports)| Op::Lease(project, ports)),
        1 => select(&[Op::EndLease, Op::LeaseDies][..]),
        2 => (project(), project()).prop_map(|(from, to)| Op::Move(from, to)),
        1 => project().prop_map(Op::Lookup),
        4 => select(&[Op::Sweep, Op::SweepStaging, Op::Refresh, Op::Rewrite][..]),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let failures = [
        Verdict::Fail(Errno::IO),
        Verdict::Fail(Errno::NOSPC),
        Verdict::Fail(Errno::ACCESS),
        Verdict::DoneAndFail(Errno::IO),
    ];
    prop_oneof![
        3 => Just(Trouble::Nothing),
        1 => (0..STEPS_MAX).prop_map(Trouble::KilledBefore),
        1 => (0..STEPS_MAX, select(failures.to_vec()))
            .prop_map(|(at, failure)| Trouble::Fails(at, failure)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let alone = || {
        (op(), trouble()).prop_map(|(op, trouble)| Act {
            op,
            trouble,
            inside: None,
        })
    };
    let with = |outer: Act, at: usize, inner: Act| Act {
        inside: Some((at, Box::new(inner))),
        ..outer
    };
    prop_oneof![
        2 => alone(),
        2 => (alone(), 0..STEPS_MAX, alone()).prop_map(move |(a, at, b)| with(a, at, b)),
        1 => (alone(), 0..STEPS_MAX, alone(), 0..STEPS_MAX, alone())
            .prop_map(move |(a, at, b, then, c)| with(a, at, with(b, then, c))),
    ]
}

fn program() -> impl Strategy<Value = Vec<Action>> {
    let damage = (any::<bool>(), any::<Index>(), select(&DAMAGE[..]));
    let action = prop_oneof![
        6 => act().prop_map(Action::Act),
        1 => damage.prop_map(|(commit, which, content)| Action::Damage { commit, which, content }),
        1 => prop::collection::vec(any::<Index>(), 40).prop_map(Action::PowerCut),
    ];
    prop::collection::vec(action, 1..20)
}

/// A disk, and what was told about it.
struct Play {
    world: Rc<World>,
    told: Rc<RefCell<Told>>,
    /// The number of the latest process.
    processes: Rc<Cell<u8>>,
}

impl Play {
    fn action(&mut self, action: &Action) {
        match action {
            Action::Act(act) => perform(&self.world, &self.told, &self.processes, act),
            Action::Damage {
                commit,
                which,
                content,
            } => self.damage(*commit, *which, content),
            Action::PowerCut(choices) => {
                let mut choices = choices.iter().cycle();
                let choose = &mut |count| choices.next().expect("a cycle").index(count);
                self.world = Rc::new(World::mount(&self.world.disk().power_cut(choose)));
                self.told.borrow_mut().kill_all();
            }
        }
        expect_told(&self.world.process(0), &self.told.borrow());
    }

    fn damage(&self, commit: bool, which: Index, content: &[u8]) {
        let dir = &self.world.dirs[usize::from(commit)];
        let names = dir.names().expect("names");
        if names.is_empty() {
            return;
        }
        let name = which.get(&names);
        let before = dir.read(name, LEN_MAX).expect("read");
        if let Ok(record) = Record::decode(&before) {
            let mut told = self.told.borrow_mut();
            told.doubt(name_of(record.holder()));
            if !commit {
                told.doubt_lease(record.port());
            }
        }
        dir.put(name, content);
    }
}

fn perform(world: &Rc<World>, told: &Rc<RefCell<Told>>, processes: &Rc<Cell<u8>>, act: &Act) {
    processes.set(processes.get() + 1);
    let steps = Cell::new(0);
    let (shared, heard, counted) = (world.clone(), told.clone(), processes.clone());
    let Act {
        op,
        trouble,
        inside,
    } = act.clone();
    let process = world.watched(processes.get(), move |_| {
        let at = steps.replace(steps.get() + 1);
        if let Some((_, inner)) = inside.as_ref().filter(|(then, _)| *then == at) {
            perform(&shared, &heard, &counted, inner);
        }
        match trouble {
            Trouble::KilledBefore(step) if step == at => kill(),
            Trouble::Fails(step, verdict) if step == at => verdict,
            _ => Verdict::Go,
        }
    });
    told.borrow_mut().begin(op);
    let answer = process.run(op);
    told.borrow_mut().end(op, answer.as_ref());
}

fn run(faults: &[Fault], program: &[Action]) {
    let mut play = Play {
        world: Rc::new(World::new(faults)),
        told: Rc::default(),
        processes: Rc::new(Cell::new(0)),
    };
    for action in program {
        play.action(action);
    }
    check(&play.world.disk(), &play.told.borrow());
}

/// Runs random programs, and panics with the shortest that fails.
fn run_programs(faults: &[Fault], mut runner: TestRunner) {
    let answer = runner.run(&program(), |program| {
        run(faults, &program);
        Ok(())
    });
    match answer {
        Ok(()) => {}
        Err(TestError::Fail(why, program)) => panic!("{why}\n{program:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn random_programs_keep_what_they_told() {
    run_programs(&[], TestRunner::new(config()));
}

fn find(faults: &[Fault]) {
    // The same programs every time.
    let rng = proptest::test_runner::TestRng::deterministic_rng(config().rng_algorithm);
    run_programs(faults, TestRunner::new_with_rng(config(), rng));
}

#[test]
#[should_panic(expected = "told and not kept")]
fn random_programs_need_flushes() {
    find(&[Fault::SyncKeepsNothing]);
}

#[test]
#[should_panic(expected = "two ports")]
fn random_programs_need_a_commit_that_replaces_nothing() {
    find(&[Fault::PublishReplaces]);
}

#[test]
#[should_panic(expected = "a lease is lost")]
fn random_programs_need_the_locks_of_leases() {
    find(&[Fault::LocksGranted]);
}

#[test]
#[should_panic(expected = "one port, two holders")]
fn random_programs_need_exclusive_creation() {
    find(&[Fault::CreateShares]);
}

#[test]
#[should_panic(expected = "a term is cut short")]
fn random_programs_need_dates() {
    find(&[Fault::DatesNothing]);
}
