//! What was told, and so must hold: the model of a registry, a map from holders to ports.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::super::Lookup;
use super::holders::{HOLDERS, PROJECTS, name_of, of};
use super::leases::Leases;
use super::op::{Answer, Op};
use super::terms::Terms;
use crate::error::Result;
use crate::port::Port;
use crate::record::{Nonce, Record};

/// What the holders have been told of their ports.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The claims of which somebody was told.
    held: Vec<Record>,
    /// Those of them of which somebody was told that they are released, and those that a
    /// later one of the same holder replaces.
    gone: Vec<Nonce>,
    /// Those of them that were released while somebody was acquiring a port for the holder, or renewing
    /// its claim: whoever does may be told of the claim after it was released.
    raced: Vec<(&'static str, Nonce)>,
    /// Those whose release was begun and failed, or whose files were damaged: they may be
    /// there or not.
    unsure: Vec<Nonce>,
    /// The holders that may have a claim of which nobody was told: whoever acquired it got
    /// an error, or was killed.
    maybe: BTreeSet<&'static str>,
    /// The holders for which somebody is acquiring a port, or renewing the claim, since before a release of
    /// theirs was begun that did not come to its end: it may have taken the claim that will be told.
    shaken: BTreeSet<&'static str>,
    leases: Leases,
    /// Whether somebody is acquiring a port for one of several holders that another one is acquiring ports
    /// for together. Where that cannot have all, it may have given the first ones a port by then.
    is_met: bool,
    /// Until when the claims hold that were given for a time.
    terms: Terms,
    /// The holders that are no projects and that were asked for.
    services: BTreeSet<&'static str>,
    /// The operations that are going on.
    running: Vec<Op>,
}

impl Told {
    /// An operation begins.
    pub(super) fn begin(&mut self, op: Op) {
        if matches!(op, Op::EndLease | Op::LeaseDies) {
            self.leases.end();
        }
        let meets = |other: &Op| op.acquires().iter().any(|it| other.acquires().contains(it));
        let mut others = self.running.iter().filter(|other| meets(other));
        self.is_met |= others.any(|other| op.is_set() || other.is_set());
        let live = match op.dates() {
            Some((name, _)) => self.live(name).map(Record::nonce).collect(),
            None => Vec::new(),
        };
        self.terms.begin(op, &live);
        let services = op.acquires().iter().filter(|it| !PROJECTS.contains(it));
        self.services.extend(services);
        self.running.push(op);
    }

    /// It ends: with an answer, or killed.
    pub(super) fn end(&mut self, op: Op, answer: Option<&Result<Answer>>) {
        let at = self.running.iter().rposition(|running| *running == op);
        self.running.remove(at.expect("it runs"));
        match answer {
            Some(Ok(Answer::Held(record))) if !op.acquires().is_empty() => self.tell(record),
            Some(Ok(Answer::HeldAll(all))) => all.iter().for_each(|record| self.tell(record)),
            Some(Ok(Answer::Leased(record))) => self.tell_leased(record),
            Some(Ok(Answer::Renewed(record))) => self.tell(record),
            Some(Ok(Answer::Released(record))) => {
                let may_be = !matches!(op, Op::Reclaim(_)) || self.terms.may_lapse(record);
                assert!(may_be, "taken away before its time: {record:?}");
                self.tell_released(record);
            }
            Some(Ok(Answer::ReleasedAll(all))) => all.iter().for_each(|it| self.tell_released(it)),
            Some(Ok(Answer::Moved(old, new))) => {
                self.tell_released(old);
                self.tell(new);
            }
            Some(Ok(Answer::Exhausted | Answer::Apart)) if op.is_set() && self.is_met => {
                self.maybe.extend(op.acquires());
            }
            Some(Ok(_)) => {}
            None | Some(Err(_)) => {
                self.maybe.extend(op.acquires());
                for name in op.releases() {
                    self.doubt_release(op, name);
                    if self.is_telling(name) {
                        self.shaken.insert(name);
                    }
                }
            }
        }
        for name in op.tells() {
            if !self.is_telling(name) {
                self.shaken.remove(name);
                self.raced.retain(|(holder, _)| holder != name);
            }
        }
        let told = match answer {
            Some(Ok(Answer::Held(it) | Answer::Renewed(it) | Answer::Moved(_, it))) => Some(it),
            _ => None,
        };
        self.terms.end(op, told);
        self.is_met &= self.running.iter().any(|op| op.is_set());
    }

    /// All processes are killed.
    pub(super) fn kill_all(&mut self) {
        while let Some(op) = self.running.last().copied() {
            self.end(op, None);
        }
        self.leases = Leases::default();
    }

    /// The same after all leases have ended.
    pub(super) fn without_leases(&self) -> Told {
        Told {
            leases: Leases::default(),
            ..self.clone()
        }
    }

    /// Whatever the file of this port's claim says may be damaged.
    pub(super) fn doubt_lease(&mut self, port: Port) {
        self.leases.doubt(port);
    }

    /// Files of a holder are damaged: its claim may be lost.
    pub(super) fn doubt(&mut self, name: &str) {
        let live: Vec<Nonce> = self.live(name).map(Record::nonce).collect();
        self.unsure.extend(live);
    }

    /// The operation may have released the holder's claim.
    fn doubt_release(&mut self, op: Op, name: &str) {
        let live = self.live(name).filter(|record| self.takes(op, record));
        let live: Vec<Nonce> = live.map(Record::nonce).collect();
        self.unsure.extend(live);
    }

    /// Somebody is told of a claim.
    fn tell(&mut self, record: &Record) {
        let name = name_of(record.holder());
        let nonce = record.nonce();
        if self.gone.contains(&nonce) {
            assert!(
                self.raced.contains(&(name, nonce)),
                "a released port is told: {record:?}"
            );
            return;
        }
        self.maybe.remove(name);
        if self.held.iter().all(|told| told.nonce() != nonce) {
            self.held.push(record.clone());
        }
        if self.shaken.contains(name) {
            self.unsure.push(nonce);
            return;
        }
        self.unsure.retain(|unsure| *unsure != nonce);
        // This one takes the place of those that were not sure to be there.
        let replaced: Vec<Nonce> = self
            .live(name)
            .filter(|it| self.unsure.contains(&it.nonce()) || self.is_being_released(it))
            .map(Record::nonce)
            .filter(|it| *it != nonce)
            .collect();
        self.gone.extend(replaced);
        for other in HOLDERS {
            for told in self.sure(other).filter(|told| told.nonce() != nonce) {
                let is_other = told.port() != record.port();
                assert!(is_other, "one port, two holders: {told:?} and {record:?}");
                let is_other = told.holder() != record.holder();
                assert!(is_other, "two ports: {told:?} and {record:?}");
            }
        }
        self.leases.expect_none(record);
    }

    fn tell_leased(&mut self, lease: &Record) {
        for name in HOLDERS {
            for told in self.sure(name) {
                let is_other = told.port() != lease.port();
                assert!(is_other, "one port, two holders: {told:?} and {lease:?}");
            }
        }
        self.leases.tell(lease);
    }

    /// The leases that must be held.
    pub(super) fn leases(&self) -> impl Iterator<Item = &Record> {
        self.leases.sure()
    }

    /// Returns what tells this from other things told.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        // A nonce is one record's.
        let held: Vec<Nonce> = self.held.iter().map(Record::nonce).collect();
        (held, &self.gone, &self.raced, &self.unsure).hash(&mut hasher);
        (&self.maybe, &self.shaken, &self.running).hash(&mut hasher);
        let leases = self.leases.fingerprint();
        (leases, self.is_met, self.terms.fingerprint()).hash(&mut hasher);
        self.services.hash(&mut hasher);
        hasher.finish()
    }

    fn tell_released(&mut self, record: &Record) {
        let name = name_of(record.holder());
        if self.is_telling(name) {
            self.raced.push((name, record.nonce()));
        }
        self.gone.push(record.nonce());
    }

    fn live(&self, name: &str) -> impl Iterator<Item = &Record> {
        let holder = of(name);
        self.held
            .iter()
            .filter(move |record| record.holder() == holder && !self.gone.contains(&record.nonce()))
    }

    /// Returns whether the operation takes this claim away, if it comes to that.
    fn takes(&self, op: Op, record: &Record) -> bool {
        let is_its = |name: &&str| record.holder() == of(name);
        op.releases().iter().any(is_its)
            && (!matches!(op, Op::Reclaim(_)) || self.terms.may_lapse(record))
    }

    fn is_being_released(&self, record: &Record) -> bool {
        self.running.iter().any(|op| self.takes(*op, record))
    }

    fn is_acquiring(&self, name: &str) -> bool {
        self.running.iter().any(|op| op.acquires().contains(&name))
    }

    fn is_telling(&self, name: &str) -> bool {
        self.running.iter().any(|op| op.tells().contains(&name))
    }

    /// The claims of a holder that must be there: at most one.
    fn sure(&self, name: &str) -> impl Iterator<Item = &Record> {
        self.live(name).filter(move |record| {
            !self.unsure.contains(&record.nonce()) && !self.is_being_released(record)
        })
    }

    /// The holders to be looked for.
    pub(super) fn holders(&self) -> impl Iterator<Item = &'static str> {
        let services = self.services.iter().copied();
        PROJECTS.into_iter().chain(services)
    }

    /// Checks what a holder is found to hold.
    pub(super) fn expect(&self, name: &'static str, found: &Lookup) {
        let found = match found {
            Lookup::Held(record, _) => Some(record),
            _ => None,
        };
        if let Some(record) = found {
            self.leases.expect_none(record);
        }
        if let Some(record) = self.sure(name).next() {
            assert_eq!(found, Some(record), "told and not kept");
        } else if let Some(found) = found {
            assert_eq!(found.holder(), of(name));
            assert!(
                !self.gone.contains(&found.nonce()),
                "a released port is back: {found:?}"
            );
            let was_told = self.live(name).any(|told| told == found);
            assert!(
                was_told || self.is_acquiring(name) || self.maybe.contains(name),
                "nobody asked for {found:?}"
            );
        }
    }

    /// Checks when a claim ends that was given for a time, in seconds since the beginning.
    pub(super) fn expect_end(&self, record: &Record, end: u64) {
        self.terms.expect(record, end);
    }
}
