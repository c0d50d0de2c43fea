//! What was told, and so must hold: the model of a registry, a map from projects to ports.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::error::Result;
use crate::record::{Nonce, Record};

use super::super::Lookup;
use super::op::{Answer, Op, PROJECTS, of};

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
    /// The operations that are going on.
    running: Vec<Op>,
}

impl Told {
    /// An operation begins.
    pub(super) fn begin(&mut self, op: Op) {
        self.running.push(op);
    }

    /// It ends: with an answer, or killed.
    pub(super) fn end(&mut self, op: Op, answer: Option<&Result<Answer>>) {
        let at = self.running.iter().rposition(|running| *running == op);
        self.running.remove(at.expect("it runs"));
        match answer {
            Some(Ok(Answer::Held(record))) if op.acquires().is_some() => self.tell(record),
            Some(Ok(Answer::Released(record))) => self.tell_released(record),
            Some(Ok(Answer::Moved(old, new))) => {
                self.tell_released(old);
                self.tell(new);
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
        if let Some(project) = op.acquires().filter(|project| !self.is_acquiring(project)) {
            self.shaken.remove(project);
        }
    }

    /// All processes are killed.
    pub(super) fn kill_all(&mut self) {
        while let Some(op) = self.running.last().copied() {
            self.end(op, None);
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
    }

    /// Returns what tells this from other things told.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        // A nonce is one record's.
        let held: Vec<Nonce> = self.held.iter().map(Record::nonce).collect();
        (held, &self.gone, &self.raced, &self.unsure).hash(&mut hasher);
        (&self.maybe, &self.shaken, &self.running).hash(&mut hasher);
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
        self.running.iter().any(|op| op.acquires() == Some(project))
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
