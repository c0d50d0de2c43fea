//! Whether the answers about one holder can be true: a search for an order of its operations.
//!
//! A holder's port is an object with the states *free* and *held by claim n*. A history is
//! linearizable if every operation can be given one instant between its start and its end so
//! that, one after the other in that order, each has the answer that it had. The holders'
//! registers are checked one by one: what an operation on several does to each of them has an instant
//! of its own. What ties them together, the ports, is checked in [`port`](super::port).
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
//! - A claim that was given for a time *lapses* at any instant when that is over, whoever takes it away;
//!   not before, counted from the start of the last operation that has ended and gave it so long. (One that is
//!   still open may have given it more. So a lapse is allowed a little too often, never too seldom.) One
//!   of a killed worker may have lapsed before anybody was told of it.
//! - One that a process owns lapses at any instant after that process has begun to end, and not before.
//! - A list may lack a port that is moving while it is made, and no other.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::history::Moment;
use super::super::seen::{Nonce, Process, Seen, Term};
use super::configuration::{Configuration, State};
use super::effect::{Effect, Part};

/// How many configurations are followed for one end before the search gives up.
const CONFIGURATIONS_MAX: usize = 100_000;

/// The same while it is found out which answers contradict each other, where answers are forgotten and many
/// histories are searched.
const CONFIGURATIONS_MAX_OF_MANY: usize = 1000;

/// What came of an operation's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Legal,
    /// No order has this answer.
    Illegal,
    /// There were too many orders.
    Undecided,
}

/// All orders that are possible so far.
#[derive(Clone, Debug)]
pub(super) struct Search {
    configurations: HashSet<Configuration>,
    open: BTreeMap<usize, Part>,
    /// The claims whose makers were told so.
    created: HashSet<Nonce>,
    /// When claims may lapse that were given for a time. Those that are missing may at any moment.
    terms: HashMap<Nonce, Moment>,
    /// The processes whose ends have begun.
    ended: HashSet<Process>,
    /// How many configurations are followed for one end.
    configurations_max: usize,
    /// How many have been followed.
    pub(super) followed: usize,
}

impl Search {
    /// Begins where the holder has no port.
    pub(super) fn free() -> Search {
        Search::of([State::Free])
    }

    /// Begins where nothing is known of the holder, after those processes have ended that have in another search.
    pub(super) fn anything_after(other: &Search) -> Search {
        let mut anything = Search::of([State::Free, State::Untold]);
        anything.ended.clone_from(&other.ended);
        anything
    }

    fn of(states: impl IntoIterator<Item = State>) -> Search {
        let configuration = |state| Configuration {
            state,
            done: Vec::new(),
            spent: Vec::new(),
        };
        Search {
            configurations: states.into_iter().map(configuration).collect(),
            open: BTreeMap::new(),
            created: HashSet::new(),
            terms: HashMap::new(),
            ended: HashSet::new(),
            configurations_max: CONFIGURATIONS_MAX,
            followed: 0,
        }
    }

    /// Returns a copy that is one of many searches.
    pub(super) fn one_of_many(&self) -> Search {
        Search {
            configurations_max: CONFIGURATIONS_MAX_OF_MANY,
            followed: 0,
            ..self.clone()
        }
    }

    /// Returns whether no operation is open.
    pub(super) fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// An operation begins.
    pub(super) fn start(&mut self, id: usize, part: Part) {
        match part.effect {
            Effect::Create(claim) => {
                self.created.insert(claim.nonce);
                self.terms.insert(claim.nonce, part.until);
            }
            // It has an answer that always fits, and may have no end: it is not waited for.
            Effect::OwnerEnds(process) => {
                self.ended.insert(process);
                return;
            }
            _ => {}
        }
        self.open.insert(id, part);
    }

    /// An operation ends at this moment: it must have had its instant. Where there are too many orders, the search
    /// is over.
    pub(super) fn end(&mut self, id: usize, at: Moment) -> Settled {
        let Some(&part) = self.open.get(&id) else {
            return Settled::Legal;
        };
        let mut seen: HashSet<Configuration> = HashSet::new();
        let mut left: Vec<Configuration> = Vec::new();
        let mut found = HashSet::new();
        for configuration in std::mem::take(&mut self.configurations) {
            let configuration = self.with_reads(configuration);
            if part.effect.is_open() && !configuration.done.contains(&id) {
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
            for next in self
                .nexts(&configuration)
                .chain(self.lapsed(&configuration, at))
            {
                if seen.insert(next.clone()) {
                    left.push(next);
                }
            }
            if seen.len() > self.configurations_max {
                self.followed += seen.len();
                return Settled::Undecided;
            }
        }
        self.followed += seen.len();
        self.open.remove(&id);
        if let Effect::Read(claim) = part.effect {
            self.renew(&mut found, claim, part.until, at);
        }
        self.configurations = found;
        if self.configurations.is_empty() {
            Settled::Illegal
        } else {
            Settled::Legal
        }
    }

    /// The claim was given a longer time by an operation that ends now. If the time before was over, it may
    /// have lapsed after that operation had its instant.
    fn renew(
        &mut self,
        configurations: &mut HashSet<Configuration>,
        claim: Seen,
        until: Moment,
        at: Moment,
    ) {
        if until <= self.terms.get(&claim.nonce).copied().unwrap_or_default() {
            return;
        }
        let lapsed: Vec<Configuration> = configurations
            .iter()
            .filter_map(|from| self.lapsed(from, at))
            .collect();
        configurations.extend(lapsed);
        self.terms.insert(claim.nonce, until);
    }

    /// Gives every open operation its instant that fits and changes nothing.
    fn with_reads(&self, mut configuration: Configuration) -> Configuration {
        let is_moving = self.open.values().any(|part| part.moves);
        for (&id, part) in &self.open {
            let state = configuration.state;
            let fits = match part.effect {
                Effect::Read(claim) => state == State::Held(claim),
                Effect::Absent => state == State::Free,
                Effect::Unlisted => state == State::Free || is_moving,
                Effect::Not(nonce) => !matches!(state, State::Held(claim) if claim.nonce == nonce),
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
        self.open.iter().filter_map(move |(&id, part)| {
            let at = from.done.binary_search(&id).err()?;
            let mut next = self.changed(from, part.effect)?;
            next.done.insert(at, id);
            if let Effect::Remove(_) = part.effect {
                self.with_others(&mut next, part.effect);
            }
            Some(self.with_reads(next))
        })
    }

    /// Returns what comes of a lapse by this moment, if there can have been one.
    fn lapsed(&self, from: &Configuration, at: Moment) -> Option<Configuration> {
        match from.state {
            State::Held(claim) if matches!(claim.term, Term::Ttl(_)) => {
                let term = self.terms.get(&claim.nonce).copied().unwrap_or_default();
                (term <= at).then_some(())?;
            }
            State::Held(claim) => match claim.term {
                Term::Owner(process) if self.ended.contains(&process) => {}
                _ => return None,
            },
            State::Untold => {}
            State::Free => return None,
        }
        Some(self.with_reads(self.freed(from)))
    }

    /// Gives the same instant to all open operations with this effect.
    fn with_others(&self, configuration: &mut Configuration, effect: Effect) {
        let same = self.open.iter().filter(|(_, other)| other.effect == effect);
        for (&id, _) in same {
            if let Err(at) = configuration.done.binary_search(&id) {
                configuration.done.insert(at, id);
            }
        }
    }

    /// Returns what an effect makes of a configuration that may change it. `None` where it is not possible.
    fn changed(&self, from: &Configuration, effect: Effect) -> Option<Configuration> {
        let is_spent = |nonce: Nonce| from.spent.contains(&nonce);
        let is_untold = |nonce: Nonce| !self.created.contains(&nonce) && !is_spent(nonce);
        let state = |state| Configuration {
            state,
            ..from.clone()
        };
        match (from.state, effect) {
            (State::Free, Effect::Create(claim)) if !is_spent(claim.nonce) => {
                Some(state(State::Held(claim)))
            }
            (State::Free, Effect::MayCreate | Effect::HasPort(_)) => Some(state(State::Untold)),
            (State::Untold, Effect::Read(claim)) if is_untold(claim.nonce) => {
                Some(state(State::Held(claim)))
            }
            (
                State::Untold,
                Effect::Remove(Seen { nonce, .. })
                | Effect::Withdraw(Seen { nonce, .. })
                | Effect::MayRemoveExactly(nonce),
            ) if is_untold(nonce) => {
                let mut next = state(State::Free);
                next.spend(nonce);
                Some(next)
            }
            (State::Held(_) | State::Untold, Effect::MayRemove)
            | (State::Untold, Effect::GiveAway(_)) => Some(self.freed(from)),
            (State::Held(held), Effect::GiveAway(port)) if held.port == port => {
                Some(self.freed(from))
            }
            (State::Held(held), Effect::Remove(claim) | Effect::Withdraw(claim))
                if held == claim =>
            {
                Some(self.freed(from))
            }
            (State::Held(held), Effect::MayRemoveExactly(nonce)) if held.nonce == nonce => {
                Some(self.freed(from))
            }
            // Nothing to do. Not in `with_reads`: it may have something to do later.
            (State::Held(held), Effect::HasPort(port)) if held.port == port => Some(from.clone()),
            (State::Untold, Effect::HasPort(_)) => Some(from.clone()),
            (_, Effect::Withdraw(claim)) if from.state != State::Held(claim) => Some(from.clone()),
            _ => None,
        }
    }

    /// Returns the same without a holder.
    fn freed(&self, from: &Configuration) -> Configuration {
        let mut next = from.clone();
        if let State::Held(claim) = from.state
            && !self.created.contains(&claim.nonce)
        {
            next.spend(claim.nonce);
        }
        next.state = State::Free;
        next
    }
}
