//! The leases of which somebody was told, and that are held.

use std::collections::VecDeque;
use std::hash::Hash;

use crate::port::Port;
use crate::record::{Nonce, Record};

/// Longest first, and which of them must be there: their files were not damaged.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases(VecDeque<(Record, bool)>);

impl Leases {
    /// Who has held one for longest ends it, or is killed.
    pub(super) fn end(&mut self) {
        self.0.pop_front();
    }

    /// Somebody is told of one.
    pub(super) fn tell(&mut self, lease: &Record) {
        self.expect_none(lease);
        self.0.push_back((lease.clone(), true));
    }

    /// Whatever the file of this port's claim says may be damaged.
    pub(super) fn doubt(&mut self, port: Port) {
        for (lease, is_sure) in &mut self.0 {
            *is_sure &= lease.port() != port;
        }
    }

    /// Those that must be held.
    pub(super) fn sure(&self) -> impl Iterator<Item = &Record> {
        let sure = self.0.iter().filter(|(_, is_sure)| *is_sure);
        sure.map(|(lease, _)| lease)
    }

    /// Checks that nobody holds the port of this claim by a lease.
    pub(super) fn expect_none(&self, record: &Record) {
        let by = self.sure().find(|lease| lease.port() == record.port());
        assert!(by.is_none(), "one port, two holders: {by:?} and {record:?}");
    }

    /// Returns what tells this from other things told.
    pub(super) fn fingerprint(&self) -> impl Hash {
        let leases = self.0.iter();
        let leases = leases.map(|(lease, is_sure)| (lease.nonce(), *is_sure));
        leases.collect::<Vec<(Nonce, bool)>>()
    }
}
