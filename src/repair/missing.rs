//! What lies in `missing/`: when directories of projects were seen missing first. Most registries
//! have no such directory.

use super::check::{self, check_meta, inspect, names};
use super::{FindingKind, Report};
use crate::error::{Op, Result};
use crate::fs::Dir;
use crate::fs::os::OsDir;
use crate::place::{MISSING, Place};
use crate::protocol::Context;
use crate::prune::is_sighting;

/// Looks at the directory and its files.
pub(super) fn check(place: &Place, report: &mut Report) -> Result<()> {
    let path = place.root.path().join(MISSING);
    match inspect(&place.root, MISSING)? {
        None => return Ok(()),
        Some(meta) if meta.is_dir => check_meta(path, meta, 0o700, report),
        Some(_) => {
            report.add(
                FindingKind::ForeignFile,
                path,
                "it is no directory: portclaim prune cannot note there what is missing",
            );
            return Ok(());
        }
    }
    let Some(dir) = place.missing()? else {
        return Ok(());
    };
    for (name, why) in foreign(&dir)? {
        report.add(FindingKind::ForeignFile, dir.path().join(&name), why);
    }
    for name in names(&dir)? {
        if let Some(meta) = inspect(&dir, &name)?
            && meta.is_file
            && is_sighting(&name)
        {
            check_meta(dir.path().join(&name), meta, 0o600, report);
        }
    }
    Ok(())
}

/// Returns what is not portclaim's, or stands in the place of its files, and why.
fn foreign(dir: &OsDir) -> Result<Vec<(String, String)>> {
    check::foreign(dir, is_sighting, "cannot note anything there")
}

/// Mends what [`check`] finds; `away` moves a file out of a directory.
pub(super) fn mend(place: &Place, away: impl Fn(&OsDir, &str) -> Result<()>) -> Result<()> {
    match inspect(&place.root, MISSING)? {
        None => return Ok(()),
        Some(meta) if !meta.is_dir => return away(&place.root, MISSING),
        Some(_) => {}
    }
    let Some(dir) = place.missing()? else {
        return Ok(());
    };
    let user = rustix::process::geteuid().as_raw();
    let own = dir.inspect_self().on(Op::Inspect, &dir)?;
    if own.user == user && own.mode & 0o077 != 0 {
        dir.make_self_private().on(Op::Permit, &dir)?;
    }
    for (name, _) in foreign(&dir)? {
        away(&dir, &name)?;
    }
    for name in names(&dir)? {
        if let Some(meta) = inspect(&dir, &name)?
            && meta.is_file
            && meta.user == user
            && meta.mode & !0o600 != 0
        {
            dir.make_private(&name).at(Op::Permit, &dir, &name)?;
        }
    }
    Ok(())
}
