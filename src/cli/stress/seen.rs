//! A claim as answers tell it.

use std::fmt;

use portclaim::{Owner, Record};
use serde::{Deserialize, Serialize};

use super::plan::Plan;

/// What tells two claims apart: no two are ever made with the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Nonce(pub(super) u128);

impl TryFrom<String> for Nonce {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Nonce, Self::Error> {
        u128::from_str_radix(&text, 16).map(Nonce)
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> String {
        format!("{:032x}", nonce.0)
    }
}

impl fmt::Debug for Nonce {
    /// The first digits, which tell the claims of one run apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

/// How long a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Term {
    Kept,
    /// For so many seconds from when it was given or renewed.
    Ttl(u64),
    /// As long as somebody has its lock.
    Lease,
    /// As long as this process lives.
    Owner(Process),
}

/// A process, told from all others that have had its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// When it was started, in the kernel's ticks.
    pub(super) start: u64,
}

impl Process {
    /// Returns whether the process is there, if only because nobody has waited for its end yet.
    pub(super) fn exists(self) -> bool {
        Owner::of(self.pid).is_ok_and(|there| Process::from(&there) == self)
    }
}

impl From<&Owner> for Process {
    fn from(owner: &Owner) -> Process {
        let (pid, start) = (owner.pid, owner.start);
        Process { pid, start }
    }
}

/// A claim as answers tell it. Holders are numbered; see [`Plan`](super::plan::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) holder: u32,
    pub(super) port: u16,
    pub(super) nonce: Nonce,
    pub(super) term: Term,
}

impl Seen {
    /// Reads a record of this run; the error says what is wrong with it.
    pub(super) fn of(record: &Record, plan: &Plan) -> Result<Seen, String> {
        let holder = record.holder();
        let number = plan
            .holder_of(holder)
            .ok_or_else(|| format!("a record of {holder}, which nobody claimed"))?;
        let nonce = Nonce::try_from(record.nonce().to_string());
        Ok(Seen {
            holder: number,
            port: record.port().get(),
            nonce: nonce.map_err(|error| format!("a nonce that is none: {error}"))?,
            term: match record.term() {
                portclaim::Term::Kept => Term::Kept,
                portclaim::Term::Ttl(ttl) => Term::Ttl(*ttl),
                portclaim::Term::Lease => Term::Lease,
                portclaim::Term::Owner(owner) => Term::Owner((&**owner).into()),
                other => return Err(format!("a record with the term {other:?}")),
            },
        })
    }

    pub(super) fn is_lease(self) -> bool {
        self.term == Term::Lease
    }
}
