//! Many histories of a simulated registry, sound and with planted faults.

use fastrand::Rng;

use super::*;

/// What a simulated registry does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    /// A claim vanishes.
    Loses,
    /// A release is told and does not happen.
    KeepsReleased,
    /// A port that is held is given to another one.
    GivesTwice,
}

/// Draws a history of a registry of three ports: each operation has its effect at an instant of
/// its own, and some are cut off there.
fn simulate(random: &mut Rng, fault: Fault) -> Vec<Operation> {
    let mut instants: Vec<(u64, u64, u64)> = Vec::new();
    for worker in 0..4 {
        let mut at = worker;
        while at < 600 {
            let (before, after) = (random.u64(1..15), random.u64(1..15));
            instants.push((at + before, at, at + before + after));
            at += before + after + random.u64(1..3);
        }
    }
    instants.sort_unstable();
    let mut held: Vec<Option<Seen>> = vec![None; 4];
    let mut history = Vec::new();
    for (nonce, (_, start, end)) in (1..).zip(instants) {
        let holder = random.u32(..4);
        let place = holder as usize;
        let is_fault = fault != Fault::Nothing && random.u8(..5) == 0;
        if is_fault && fault == Fault::Loses {
            held[random.usize(..4)] = None;
        }
        let taken = |port| held.iter().flatten().any(|seen| seen.port == FIRST + port);
        let gives = is_fault && fault == Fault::GivesTwice;
        let free = (0..3).find(|&port| gives || !taken(port));
        let before = held[place];
        let (action, answer) = match (random.u8(..4), before, free) {
            (0 | 1, Some(claim), _) => {
                let new = false;
                (claiming(holder), Answer::Given(vec![Given { claim, new }]))
            }
            (0 | 1, None, Some(port)) => {
                let (claim, new) = (claim(holder, port, nonce), true);
                held[place] = Some(claim);
                (claiming(holder), Answer::Given(vec![Given { claim, new }]))
            }
            (0 | 1, None, None) => {
                let answer = Answer::Exhausted { unbindable: 0 };
                (claiming(holder), answer)
            }
            (2, before, _) => {
                if !(is_fault && fault == Fault::KeepsReleased) {
                    held[place] = None;
                }
                let answer = Answer::Released(Vec::from_iter(before));
                (Action::Release { holder }, answer)
            }
            (_, before, _) => (Action::Find { holder }, Answer::Found(before)),
        };
        let killed = random.u8(..12) == 0;
        if killed && random.bool() {
            // Before it had its effect.
            held[place] = before;
        }
        history.push(operation(start, end, action, (!killed).then_some(answer)));
    }
    let rest: Vec<Seen> = held.into_iter().flatten().collect();
    let mut last = listed(1000, 1001, &rest);
    last.worker = None;
    history.push(last);
    history
}

#[test]
fn histories_of_a_sound_registry_are_accepted() {
    for seed in 0..300 {
        let history = simulate(&mut Rng::with_seed(seed), Fault::Nothing);
        if let Err(violation) = check(history) {
            panic!("seed {seed}: {violation:#?}");
        }
    }
}

#[test]
fn histories_of_a_faulty_registry_are_not() {
    for fault in [Fault::Loses, Fault::KeepsReleased, Fault::GivesTwice] {
        let found = (0..100).filter(|&seed| {
            let history = simulate(&mut Rng::with_seed(seed), fault);
            check(history).is_err()
        });
        let found = found.count();
        // A fault may stay without consequences, or hide behind a kill.
        assert!(found >= 90, "{fault:?} was found in {found} of 100");
    }
}
