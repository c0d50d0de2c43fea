//! Until when claims that were given for a time must be there, by what was told.

use super::op::{Op, TIME};
use crate::record::{Nonce, Record};
use crate::term::Term;

#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// How many seconds have passed since the beginning.
    now: u64,
    /// The claims of which somebody was told, each with the earliest time at which it may end.
    ends: Vec<(Nonce, u64)>,
    /// The operations that are going on and date the claim of a holder, each with the earliest time that it
    /// or another one beside it gives that.
    dating: Vec<(Op, &'static str, u64)>,
}

impl Terms {
    /// An operation begins; `live` are the claims of the holder that it dates. From now on they
    /// may end when it lets them, whether it comes to its end or not.
    pub(super) fn begin(&mut self, op: Op, live: &[Nonce]) {
        if let Op::Pass(seconds) = op {
            self.now += seconds;
        }
        let Some((name, time)) = op.dates() else {
            return;
        };
        let mut end = self.now + time;
        for (_, dated, other) in &mut self.dating {
            if *dated == name {
                *other = end.min(*other);
                end = *other;
            }
        }
        for (nonce, earliest) in &mut self.ends {
            if live.contains(nonce) {
                *earliest = end.min(*earliest);
            }
        }
        self.dating.push((op, name, end));
    }

    /// It ends, and tells this claim, if any.
    pub(super) fn end(&mut self, op: Op, told: Option<&Record>) {
        let Some(at) = self.dating.iter().rposition(|(it, ..)| *it == op) else {
            return;
        };
        let (.., end) = self.dating.remove(at);
        let timed = |record: &&Record| matches!(record.term(), Term::Ttl(TIME));
        if let Some(record) = told.filter(timed) {
            self.ends.retain(|(nonce, _)| *nonce != record.nonce());
            self.ends.push((record.nonce(), end));
        }
    }

    /// Returns whether the claim may be taken away because its time is over.
    pub(super) fn may_lapse(&self, record: &Record) -> bool {
        matches!(record.term(), Term::Ttl(_))
            && self.earliest(record).is_none_or(|end| end <= self.now)
    }

    /// Checks when a claim ends, in seconds since the beginning.
    pub(super) fn expect(&self, record: &Record, end: u64) {
        if let Some(earliest) = self.earliest(record) {
            assert!(
                end >= earliest,
                "a term is cut short: it ends at {end}, and not {earliest}: {record:?}"
            );
        }
    }

    fn earliest(&self, record: &Record) -> Option<u64> {
        let mut ends = self.ends.iter();
        let told = ends.find(|(nonce, _)| *nonce == record.nonce());
        told.map(|(_, end)| *end)
    }

    /// Returns what tells this from other things told.
    pub(super) fn fingerprint(&self) -> impl std::hash::Hash {
        (self.now, self.ends.clone(), self.dating.clone())
    }
}
