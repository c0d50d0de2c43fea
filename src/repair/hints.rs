//! What lies in `index/`: marks, hints and locks. All are regular files of portclaim's own.

use super::{FindingKind, Report, check};
use crate::error::Result;
use crate::fs::Dir;
use crate::fs::os::OsDir;
use crate::index::{turn, written};
use crate::place::Place;
use crate::protocol::{LOCK_NAME, is_mark};
use crate::registry::WAITER_NAME;

const OWN: [&str; 4] = [LOCK_NAME, turn::NAME, written::NAME, WAITER_NAME];

/// Looks for what is not portclaim's, and for what stands in the place of its files.
pub(super) fn check(place: &Place, report: &mut Report) -> Result<()> {
    let dir = &place.store.index;
    for (name, why) in foreign(dir)? {
        report.add(FindingKind::ForeignFile, dir.path().join(&name), why);
    }
    Ok(())
}

/// Returns the names that [`check`] finds, and why.
pub(super) fn foreign(dir: &OsDir) -> Result<Vec<(String, String)>> {
    let is_own = |name: &str| OWN.contains(&name) || is_mark(name);
    let is_slot = |name: &str| [turn::NAME, written::NAME].contains(&name);
    check::foreign(dir, is_own, is_slot, "cannot keep its own there")
}
