//! Whether the answers about one project can be true: a search for an order of its operations.
//!
//! A project's claim is an object with the states *free* and *held by claim n*. A history is
//! linearizable if every operation can be given one instant between its start and its end so
//! that, one after the other in that order, each has the answer that it had. The projects'
//! registers are checked one by one, for no operation changes two of them; what ties them
//! together, the ports, is checked in [`port`](super::port).
//!
//! The search is that of Wing and Gong with Lowe's just-in-time order: starts and ends are read
//! as time goes, and a *configuration* is a state together with those open operations that have
//! had their instant. When an operation ends, every way to have it done by then is followed, and
//! configurations where it is not done are dropped. If none is left, there is no order. Equal
//! configurations are followed once. This is exact, and needs no more memory than the operations
//! that are open at once make necessary:
//!
//! - An operation that changes nothing has its instant as soon as its answer fits: whatever
//!   follows, follows as well without it (so only changes branch).
//! - No two claims have one nonce. A claim that is not held any more never comes back.
//! - Releases of one claim that overlap may all be told that they released it: one that finds the
//!   claim's lock held by a stopped one takes the commit, and the other goes on with the claim. One
//!   that begins after another was told must not.
//! - An operation of a killed worker ends with the worker's death, which its effects cannot
//!   outlive. It may have had them or not: both are followed. A claim that it made is
//!   *untold* until somebody is told a nonce that nobody was told to have made; then it was this one.

use std::collections::{BTreeMap, HashSet};

use super::super::history::Nonce;

/// How many configurations are followed for one end before the search gives up.
const CONFIGURATIONS_MAX: usize = 100_000;

/// What an operation did to a project's register, by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It was free, and is held by this claim.
    Create(Nonce),
    /// It was held by this claim, and is free.
    Remove(Nonce),
    /// It was held by this claim.
    Read(Nonce),
    /// It was free.
    Absent,
    /// It was not held by this claim.
    Not(Nonce),
    /// If it was free, it may be held by a claim that nobody was told.
    MayCreate,
    /// If it was held, it may be free.
    MayRemove,
    /// If it was held by this claim, it may be free.
    MayRemoveExactly(Nonce),
}

impl Effect {
    /// Returns whether it is not known if it took place.
    fn is_open(self) -> bool {
        matches!(
            self,
            Effect::MayCreate | Effect::MayRemove | Effect::MayRemoveExactly(_)
        )
    }
}

/// Who holds a project's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum State {
    Free,
    Held(Nonce),
    /// By a claim whose worker was killed before it was told.
    Untold,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Configuration {
    state: State,
    /// The open operations that have had their instant, ascending.
    done: Vec<usize>,
    /// Claims of killed workers that were found and released, ascending: no other is them.
    spent: Vec<Nonce>,
}

/// What came of an operation's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Legal,
    /// No order has this answer.
    Illegal,
    /// There were too many orders.
    Undecided,
}

/// Where a search stands while no operation is open.
#[derive(Clone, Debug)]
pub(super) struct Standing(HashSet<Configuration>);

impl Standing {
    /// The project has no port.
    pub(super) fn free() -> Standing {
        Standing::of([State::Free])
    }

    /// Nothing is known of the project.
    pub(super) fn anything() -> Standing {
        Standing::of([State::Free, State::Untold])
    }

    fn of(states: impl IntoIterator<Item = State>) -> Standing {
        let configuration = |state| Configuration {
            state,
            done: Vec::new(),
            spent: Vec::new(),
        };
        Standing(states.into_iter().map(configuration).collect())
    }
}

/// All orders that are possible so far.
#[derive(Debug)]
pub(super) struct Search {
    configurations: HashSet<Configuration>,
    open: BTreeMap<usize, Effect>,
    /// The claims whose makers were told so.
    created: HashSet<Nonce>,
}

impl Search {
    /// Begins there; `created` are the claims whose makers were told so before.
    pub(super) fn new(standing: Standing, created: HashSet<Nonce>) -> Search {
        Search {
            configurations: standing.0,
            open: BTreeMap::new(),
            created,
        }
    }

    /// Returns where the search stands, if no operation is open.
    pub(super) fn standing(&self) -> Option<Standing> {
        let is_quiet = self.open.is_empty();
        is_quiet.then(|| Standing(self.configurations.clone()))
    }

    /// Returns the claims whose makers were told so.
    pub(super) fn created(&self) -> &HashSet<Nonce> {
        &self.created
    }

    /// An operation begins.
    pub(super) fn start(&mut self, id: usize, effect: Effect) {
        if let Effect::Create(nonce) = effect {
            self.created.insert(nonce);
        }
        self.open.insert(id, effect);
    }

    /// An operation ends: it must have had its instant.
    pub(super) fn end(&mut self, id: usize) -> Settled {
        let effect = self.open[&id];
        let mut seen: HashSet<Configuration> = HashSet::new();
        let mut left: Vec<Configuration> = Vec::new();
        let mut found = HashSet::new();
        for configuration in std::mem::take(&mut self.configurations) {
            let configuration = self.with_reads(configuration);
            if effect.is_open() && !configuration.done.contains(&id) {
                found.insert(configuration.clone());
            }
            if seen.insert(configuration.clone()) {
                left.push(configuration);
            }
        }
        while let Some(mut configuration) = left.pop() {
            if let Ok(at) = configuration.done.binary_search(&id) {
                configuration.done.remove(at);
                found.insert(configuration);
                continue;
            }
            for next in self.nexts(&configuration) {
                if seen.insert(next.clone()) {
                    left.push(next);
                }
            }
            if seen.len() > CONFIGURATIONS_MAX {
                return Settled::Undecided;
            }
        }
        self.open.remove(&id);
        self.configurations = found;
        if self.configurations.is_empty() {
            Settled::Illegal
        } else {
            Settled::Legal
        }
    }

    /// Gives every open operation its instant that fits and changes nothing.
    fn with_reads(&self, mut configuration: Configuration) -> Configuration {
        for (&id, &effect) in &self.open {
            let state = configuration.state;
            let fits = match effect {
                Effect::Read(nonce) => state == State::Held(nonce),
                Effect::Absent => state == State::Free,
                Effect::Not(nonce) => state != State::Held(nonce),
                _ => false,
            };
            if fits && let Err(at) = configuration.done.binary_search(&id) {
                configuration.done.insert(at, id);
            }
        }
        configuration
    }

    /// Returns what comes of one more change.
    fn nexts<'a>(&'a self, from: &'a Configuration) -> impl Iterator<Item = Configuration> + 'a {
        self.open.iter().filter_map(move |(&id, &effect)| {
            let at = from.done.binary_search(&id).err()?;
            let (state, spent) = self.change(from, effect)?;
            let mut next = from.clone();
            next.state = state;
            next.done.insert(at, id);
            if let Some(nonce) = spent
                && let Err(at) = next.spent.binary_search(&nonce)
            {
                next.spent.insert(at, nonce);
            }
            if let Effect::Remove(_) = effect {
                self.with_others(&mut next, effect);
            }
            Some(self.with_reads(next))
        })
    }

    /// Gives the same instant to all open operations with this effect.
    fn with_others(&self, configuration: &mut Configuration, effect: Effect) {
        for (&id, _) in self.open.iter().filter(|&(_, other)| *other == effect) {
            if let Err(at) = configuration.done.binary_search(&id) {
                configuration.done.insert(at, id);
            }
        }
    }

    /// Returns the state after a change, and the claim that is spent by it. `None` where the
    /// change is not possible, or none.
    fn change(&self, from: &Configuration, effect: Effect) -> Option<(State, Option<Nonce>)> {
        let is_untold =
            |nonce: Nonce| !self.created.contains(&nonce) && !from.spent.contains(&nonce);
        let spent = |nonce: Nonce| (!self.created.contains(&nonce)).then_some(nonce);
        match (from.state, effect) {
            (State::Free, Effect::Create(nonce)) if !from.spent.contains(&nonce) => {
                Some((State::Held(nonce), None))
            }
            (State::Free, Effect::MayCreate) => Some((State::Untold, None)),
            (State::Untold, Effect::Read(nonce)) if is_untold(nonce) => {
                Some((State::Held(nonce), None))
            }
            (State::Untold, Effect::Remove(nonce) | Effect::MayRemoveExactly(nonce))
                if is_untold(nonce) =>
            {
                Some((State::Free, Some(nonce)))
            }
            (State::Untold, Effect::MayRemove) => Some((State::Free, None)),
            (State::Held(held), Effect::MayRemove) => Some((State::Free, spent(held))),
            (State::Held(held), Effect::Remove(nonce) | Effect::MayRemoveExactly(nonce))
                if held == nonce =>
            {
                Some((State::Free, spent(nonce)))
            }
            _ => None,
        }
    }
}
