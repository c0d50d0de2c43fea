//! Who may read and change what is portclaim's: its user, and nobody else.

use std::io;

use camino::Utf8PathBuf;

use super::check::{inspect, names};
use super::{FindingKind, Report};
use crate::error::{Corruption, Op, Result};
use crate::fs::os::{Meta, OsDir};
use crate::place::Place;
use crate::protocol::Context;

/// The permissions that a directory must have, and those that a file may.
const DIR: u32 = 0o700;
const FILE: u32 = 0o600;
/// What its user needs of a file. A sealed commit has no more.
const READABLE: u32 = 0o400;

fn is_own(meta: Meta) -> bool {
    meta.user == rustix::process::geteuid().as_raw()
}

/// Returns whether the permissions are too many, or too few for its user.
fn is_wrong(meta: Meta) -> bool {
    if meta.is_dir {
        meta.mode != DIR
    } else {
        meta.mode & !FILE != 0 || meta.mode & READABLE == 0
    }
}

/// Looks at the owner and the permissions of a directory or a regular file.
pub(super) fn check(path: Utf8PathBuf, meta: Meta, report: &mut Report) {
    if !is_own(meta) {
        let user = rustix::process::geteuid().as_raw();
        let detail = format!("it belongs to user {}, not to user {user}", meta.user);
        report.add(FindingKind::Owner, path, detail);
    } else if is_wrong(meta) {
        let right = if meta.is_dir { DIR } else { FILE };
        let detail = format!("its mode is {:04o}, not {right:04o}", meta.mode);
        report.add(FindingKind::Permissions, path, detail);
    }
}

/// A record that may not be read although its permissions, and those of its directory, say otherwise. Where
/// they do not, or it is another user's, that was found already.
pub(super) fn check_denied(path: Utf8PathBuf, meta: Meta, report: &mut Report) {
    if is_own(meta) && meta.mode & READABLE != 0 {
        report.add(
            FindingKind::Permissions,
            path,
            Corruption::Denied.to_string(),
        );
    }
}

/// Sets the permissions of portclaim's directories, of claims and of commits.
pub(super) fn mend(place: &Place) -> Result<()> {
    for dir in place.own_dirs() {
        let meta = dir.inspect_self().on(Op::Inspect, dir)?;
        if is_own(meta) && is_wrong(meta) {
            dir.make_self_private().on(Op::Permit, dir)?;
        }
    }
    for dir in [&place.store.ports, &place.store.projects] {
        for name in names(dir)? {
            mend_one(dir, &name)?;
        }
    }
    Ok(())
}

/// Sets the permissions of a regular file, or of a directory. What cannot be set stays a finding.
pub(super) fn mend_one(dir: &OsDir, name: &str) -> Result<()> {
    let Some(meta) = inspect(dir, name)? else {
        return Ok(());
    };
    if !(meta.is_file || meta.is_dir) || !is_own(meta) || !is_wrong(meta) {
        return Ok(());
    }
    match dir.make_private(name) {
        // It has gone, or something else has its name now; or the system needs /proc for it.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        answer => answer.at(Op::Permit, dir, name),
    }
}
