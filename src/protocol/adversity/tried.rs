//! What an instrument has tried: nothing is tried twice, and all is counted.

use std::collections::HashSet;

use crate::fs::sim::{Disk, Fingerprint};

use super::check::{check, is_marked};
use super::play::{Moment, Played};
use super::report;

/// Most states that one moment may leave: more would be a mistake of the instrument's.
const STATES_MAX: usize = 100_000;

/// Disks, each with what was told about it.
type Seen = HashSet<(Fingerprint, u64)>;

#[derive(Default)]
pub(super) struct Tried {
    runs: usize,
    /// Whether the registry file was marked at the beginning, if it was stale.
    is_marked: bool,
    /// The moments at which the power was cut.
    cut: Seen,
    /// What it left, and how often that was something left before.
    left: Seen,
    again: usize,
    /// The distinct ones, to go on from.
    disks: Vec<Moment>,
    /// The moments at which everything was killed.
    killed: Seen,
}

impl Tried {
    /// Nothing yet of what begins with this disk.
    pub(super) fn of(disk: &Disk) -> Tried {
        Tried {
            is_marked: is_marked(disk),
            ..Tried::default()
        }
    }

    /// Cuts the power at every moment of a play, and checks every state that this may leave.
    pub(super) fn cut_all(&mut self, played: &Played) {
        self.runs += 1;
        for moment in &played.moments {
            self.cut(moment, moment.disk.fingerprint());
        }
    }

    /// Cuts the power at every moment of a play, and kills all processes at each.
    pub(super) fn cut_and_kill_all(&mut self, played: &Played) {
        self.runs += 1;
        for moment in &played.moments {
            let disk = moment.disk.fingerprint();
            self.cut(moment, disk);
            self.kill(moment, disk);
        }
    }

    fn cut(&mut self, moment: &Moment, disk: Fingerprint) {
        let told = moment.told.fingerprint();
        if !self.cut.insert((disk, told)) {
            return;
        }
        let mut count = 0;
        moment.disk.power_cuts(|disk| {
            count += 1;
            assert!(count < STATES_MAX, "too many states");
            if self.left.insert((disk.fingerprint(), told)) {
                check(&disk, &moment.told);
                let told = moment.told.clone();
                self.disks.push(Moment { disk, told });
            } else {
                self.again += 1;
            }
        });
    }

    /// Returns what the power cuts left, and forgets it.
    pub(super) fn take_left(&mut self) -> Vec<Moment> {
        std::mem::take(&mut self.disks)
    }

    /// Kills all processes at every moment of a play, and checks what they leave; also that
    /// the registry file is marked where it is stale, if that was so before.
    pub(super) fn kill_all(&mut self, played: &Played) {
        self.runs += 1;
        for moment in &played.moments {
            self.kill(moment, moment.disk.fingerprint());
        }
    }

    fn kill(&mut self, moment: &Moment, disk: Fingerprint) {
        let mut told = moment.told.clone();
        told.kill_all();
        if self.killed.insert((disk, told.fingerprint())) {
            if self.is_marked {
                assert!(is_marked(&moment.disk), "stale without a mark");
            }
            check(&moment.disk, &told);
        }
    }

    /// Says how much it was.
    pub(super) fn report(&self, instrument: &str, what: &str) {
        let mut parts = vec![format!("{instrument}: {what}: {} runs", self.runs)];
        if !self.cut.is_empty() {
            let (moments, distinct) = (self.cut.len(), self.left.len());
            let states = distinct + self.again;
            parts.push(format!(
                "power cuts at {moments} moments leave {states} states, {distinct} distinct"
            ));
        }
        if !self.killed.is_empty() {
            parts.push(format!("kills leave {} distinct", self.killed.len()));
        }
        report(&parts.join(", "));
    }
}
