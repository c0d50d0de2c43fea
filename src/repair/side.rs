//! The directories that most registries do not have: `missing/` and `running/`.

use super::check::{self, inspect, names};
use super::{FindingKind, Report, permissions};
use crate::error::Result;
use crate::fs::Dir;
use crate::fs::os::OsDir;
use crate::place::{MISSING, Place, RUNNING};
use crate::port::Port;
use crate::prune::is_sighting;

/// What lies in one of them.
struct Side {
    name: &'static str,
    /// Returns whether portclaim gives files there such names.
    is_own: fn(&str) -> bool,
    /// What portclaim cannot do where something else has the place of a file there.
    cannot: &'static str,
    /// The same of the directory.
    cannot_there: &'static str,
}

const SIDES: [Side; 2] = [
    Side {
        name: MISSING,
        is_own: is_sighting,
        cannot: "cannot note anything there",
        cannot_there: "prune cannot note there what is missing",
    },
    Side {
        name: RUNNING,
        is_own: is_running,
        cannot: "run cannot tell there what runs",
        cannot_there: "run cannot tell there what runs",
    },
];

/// Returns whether a file in `running/` has such a name: a port's.
fn is_running(name: &str) -> bool {
    let port: Option<Port> = name.parse().ok();
    port.is_some_and(|port| port.to_string() == name)
}

/// Looks at the directories and their files.
pub(super) fn check(place: &Place, report: &mut Report) -> Result<()> {
    SIDES.iter().try_for_each(|side| side.check(place, report))
}

/// Mends what [`check`] finds; `away` moves a file out of a directory.
pub(super) fn mend(place: &Place, away: impl Fn(&OsDir, &str) -> Result<()>) -> Result<()> {
    SIDES.iter().try_for_each(|side| side.mend(place, &away))
}

impl Side {
    fn check(&self, place: &Place, report: &mut Report) -> Result<()> {
        let path = place.root.path().join(self.name);
        let Some(meta) = inspect(&place.root, self.name)? else {
            return Ok(());
        };
        if !meta.is_dir {
            let why = format!("it is no directory: portclaim {}", self.cannot_there);
            report.add(FindingKind::ForeignFile, path, why);
            return Ok(());
        }
        permissions::check(path, meta, report);
        // Its mode may keep even its user out.
        let Some(dir) = place.side(self.name)? else {
            return Ok(());
        };
        for (name, why) in self.foreign(&dir)? {
            report.add(FindingKind::ForeignFile, dir.path().join(&name), why);
        }
        for name in names(&dir)? {
            if let Some(meta) = inspect(&dir, &name)?
                && meta.is_file
                && (self.is_own)(&name)
            {
                permissions::check(dir.path().join(&name), meta, report);
            }
        }
        Ok(())
    }

    /// Returns what is not portclaim's, or stands in the place of its files, and why.
    fn foreign(&self, dir: &OsDir) -> Result<Vec<(String, String)>> {
        check::foreign(dir, self.is_own, is_running, self.cannot)
    }

    fn mend(&self, place: &Place, away: &impl Fn(&OsDir, &str) -> Result<()>) -> Result<()> {
        match inspect(&place.root, self.name)? {
            None => return Ok(()),
            Some(meta) if !meta.is_dir => return away(&place.root, self.name),
            Some(_) => permissions::mend_one(&place.root, self.name)?,
        }
        let Some(dir) = place.side(self.name)? else {
            return Ok(());
        };
        for (name, _) in self.foreign(&dir)? {
            away(&dir, &name)?;
        }
        for name in names(&dir)? {
            permissions::mend_one(&dir, &name)?;
        }
        Ok(())
    }
}
