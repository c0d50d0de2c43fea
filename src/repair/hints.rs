//! What lies in `index/`: marks, hints and locks. All are regular files of portclaim's own.

use super::check::{inspect, kind_of, names};
use super::{FindingKind, Report};
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
    let mut foreign = Vec::new();
    for name in names(dir)? {
        if !OWN.contains(&name.as_str()) && !is_mark(&name) {
            // Not looked at: its name may not be UTF-8, and then it is not this one.
            foreign.push((name, "it is not portclaim's".to_owned()));
        } else if let Some(meta) = inspect(dir, &name)?
            && !meta.is_file
        {
            let why = format!("{}: portclaim cannot keep its own there", kind_of(meta));
            foreign.push((name, why));
        }
    }
    Ok(foreign)
}
