//! What was told, and so must hold: the model of a registry, a map from projects to ports.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};

use crate::error::Result;
use crate::port::Port;
use crate::record::{Nonce, Record};

use super::super::Lookup;
use super::op::{Answer, Op, PROJECTS, SET, of};

/// What the projects have been told of their ports.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The claims of which somebody was told.
    held: Vec<Record>,
    /// Those of them of which somebody was told that they are released, and those that a
    /// later one of the same project replaces.
    gone: Vec<Nonce>,
    /// Those of them that were released while the project was acquiring a port: whoever does
    /// may be told of the claim after it was released.
    raced: Vec<Nonce>,
    /// Those whose release was begun and failed, or whose files were damaged: they may be
    /// there or not.
    unsure: Vec<Nonce>,
    /// The projects that may have a claim of which nobody was told: whoever acquired it got
    /// an error, or was killed.
    maybe: BTreeSet<&'static str>,
    /// The projects that are acquiring a port since before a release of theirs was begun that
    /// did not come to its end: it may have taken the claim that they will be told of.
    shaken: BTreeSet<&'static str>,
    /// The leases of which somebody was told and that are held, longest first, and which of them must be
    /// there: their files were not damaged.
    leases: VecDeque<(Record, bool)>,
    /// Whether somebody is acquiring a port for one of several projects that another one is acquiring ports
    /// for together. Where that cannot have all, it may have given the first one a port by then.
    is_met: bool,
    /// The operations that are going on.
    running: Vec<Op>,
}

impl Told {
    /// An operation begins.
    pub(super) fn begin(&mut self, op: Op) {
        if matches!(op, Op::EndLease | Op::LeaseDies) {
            self.leases.pop_front();
        }
        let is_set = |op: &Op| matches!(op, Op::AcquireSet(_));
        let meets = |other: &Op| op.acquires().iter().any(|it| other.acquires().contains(it));
        let mut others = self.running.iter().filter(|other| meets(other));
        self.is_met |= others.any(|other| is_set(&op) || is_set(other));
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
            Some(Ok(Answer::Released(record))) => self.tell_released(record),
            Some(Ok(Answer::Moved(old, new))) => {
                self.tell_released(old);
                self.tell(new);
            }
            Some(Ok(Answer::Exhausted)) if matches!(op, Op::AcquireSet(_)) && self.is_met => {
                self.maybe.insert(SET[0]);
            }
            Some(Ok(_)) => {}
            None | Some(Err(_)) => {
                self.maybe.extend(op.acquires());
                if let Some(project) = op.releases() {
                    self.doubt(project);
                    if self.is_acquiring(project) {
                        self.shaken.insert(project);
                    }
                }
            }
        }
        for project in op.acquires() {
            if !self.is_acquiring(project) {
                self.shaken.remove(project);
            }
        }
        self.is_met &= self
            .running
            .iter()
            .any(|op| matches!(op, Op::AcquireSet(_)));
    }

    /// All processes are killed.
    pub(super) fn kill_all(&mut self) {
        while let Some(op) = self.running.last().copied() {
            self.end(op, None);
        }
        self.leases.clear();
    }

    /// The same after all leases have ended.
    pub(super) fn without_leases(&self) -> Told {
        let leases = VecDeque::new();
        Told {
            leases,
            ..self.clone()
        }
    }

    /// Whatever the file of this port's claim says may be damaged.
    pub(super) fn doubt_lease(&mut self, port: Port) {
        for (lease, is_sure) in &mut self.leases {
            *is_sure &= lease.port() != port;
        }
    }

    /// Files of a project are damaged, or its release was begun: its claim may be lost.
    pub(super) fn doubt(&mut self, project: &str) {
        let live: Vec<Nonce> = self.live(project).map(Record::nonce).collect();
        self.unsure.extend(live);
    }

    /// Somebody is told of a claim.
    fn tell(&mut self, record: &Record) {
        let project = record.project().as_str();
        let nonce = record.nonce();
        if self.gone.contains(&nonce) {
            assert!(
                self.raced.contains(&nonce),
                "a released port is told: {record:?}"
            );
            return;
        }
        self.maybe.remove(project);
        if self.held.iter().all(|told| told.nonce() != nonce) {
            self.held.push(record.clone());
        }
        if self.shaken.contains(project) {
            self.unsure.push(nonce);
            return;
        }
        self.unsure.retain(|unsure| *unsure != nonce);
        // This one takes the place of those that were not sure to be there.
        let replaced: Vec<Nonce> = self
            .live(project)
            .map(Record::nonce)
            .filter(|it| self.unsure.contains(it) || self.is_being_released(project))
            .filter(|it| *it != nonce)
            .collect();
        self.gone.extend(replaced);
        for other in PROJECTS {
            for told in self.sure(other).filter(|told| told.nonce() != nonce) {
                let both = format!("{told:?} and {record:?}");
                assert_ne!(told.port(), record.port(), "one port, two holders: {both}");
                assert_ne!(told.project(), record.project(), "two ports: {both}");
            }
        }
        self.expect_unleased(record);
    }

    fn tell_leased(&mut self, lease: &Record) {
        for project in PROJECTS {
            for told in self.sure(project) {
                let both = format!("{told:?} and {lease:?}");
                assert_ne!(told.port(), lease.port(), "one port, two holders: {both}");
            }
        }
        self.expect_unleased(lease);
        self.leases.push_back((lease.clone(), true));
    }

    fn expect_unleased(&self, record: &Record) {
        let mut sure = self.leases.iter().filter(|(_, is_sure)| *is_sure);
        let by = sure.find(|(lease, _)| lease.port() == record.port());
        assert!(by.is_none(), "one port, two holders: {by:?} and {record:?}");
    }

    /// The leases that must be held.
    pub(super) fn leases(&self) -> impl Iterator<Item = &Record> {
        let sure = self.leases.iter().filter(|(_, is_sure)| *is_sure);
        sure.map(|(lease, _)| lease)
    }

    /// Returns what tells this from other things told.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        // A nonce is one record's.
        let held: Vec<Nonce> = self.held.iter().map(Record::nonce).collect();
        (held, &self.gone, &self.raced, &self.unsure).hash(&mut hasher);
        (&self.maybe, &self.shaken, &self.running).hash(&mut hasher);
        let leases = self.leases.iter();
        let leases: Vec<(Nonce, bool)> =
            leases.map(|(it, is_sure)| (it.nonce(), *is_sure)).collect();
        (leases, self.is_met).hash(&mut hasher);
        hasher.finish()
    }

    fn tell_released(&mut self, record: &Record) {
        if self.is_acquiring(record.project().as_str()) {
            self.raced.push(record.nonce());
        }
        self.gone.push(record.nonce());
    }

    fn live(&self, project: &str) -> impl Iterator<Item = &Record> {
        self.held.iter().filter(move |record| {
            record.project().as_str() == project && !self.gone.contains(&record.nonce())
        })
    }

    fn is_being_released(&self, project: &str) -> bool {
        self.running.iter().any(|op| op.releases() == Some(project))
    }

    fn is_acquiring(&self, project: &str) -> bool {
        self.running
            .iter()
            .any(|op| op.acquires().contains(&project))
    }

    /// The claims of a project that must be there: at most one.
    fn sure(&self, project: &str) -> impl Iterator<Item = &Record> {
        self.live(project).filter(move |record| {
            !self.unsure.contains(&record.nonce()) && !self.is_being_released(project)
        })
    }

    /// Checks what a project is found to hold.
    pub(super) fn expect(&self, project: &'static str, found: &Lookup) {
        let found = match found {
            Lookup::Held(record, _) => Some(record),
            _ => None,
        };
        if let Some(record) = found {
            self.expect_unleased(record);
        }
        if let Some(record) = self.sure(project).next() {
            assert_eq!(found, Some(record), "told and not kept");
        } else if let Some(found) = found {
            assert_eq!(found.holder(), of(project));
            assert!(
                !self.gone.contains(&found.nonce()),
                "a released port is back: {found:?}"
            );
            let was_told = self.live(project).any(|told| told == found);
            assert!(
                was_told || self.is_acquiring(project) || self.maybe.contains(project),
                "nobody asked for {found:?}"
            );
        }
    }
}
