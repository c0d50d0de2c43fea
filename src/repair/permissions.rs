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
    if_settable(dir.make_private(name)).at(Op::Permit, dir, name)
}

/// It is no failure where the file has gone, something else has its name now, or the system needs /proc for it.
fn if_settable(set: io::Result<()>) -> io::Result<()> {
    match set {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        set => set,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_set_stays_and_a_disk_that_fails_is_told() {
        use io::ErrorKind::{InvalidInput, NotFound, Other, PermissionDenied, Unsupported};
        for kind in [NotFound, InvalidInput, Unsupported] {
            if_settable(Err(kind.into())).expect("it is another matter now");
        }
        for kind in [PermissionDenied, Other] {
            let error = if_settable(Err(kind.into())).expect_err("it fails");
            assert_eq!(error.kind(), kind);
        }
    }

    #[test]
    fn a_record_that_is_denied_against_its_mode_is_a_finding_of_its_own() {
        let own = Meta {
            is_file: true,
            is_dir: false,
            is_link: false,
            mode: FILE,
            user: rustix::process::geteuid().as_raw(),
            names: 1,
        };
        let (hidden, others) = (
            Meta { mode: 0, ..own },
            Meta {
                user: own.user ^ 1,
                ..own
            },
        );
        for (meta, is_found) in [(own, true), (hidden, false), (others, false)] {
            let mut report = Report::default();
            check_denied("ports/8888.claim".into(), meta, &mut report);
            let kinds: Vec<_> = report.findings.iter().map(|found| found.kind).collect();
            let expected: &[_] = if is_found {
                &[FindingKind::Permissions]
            } else {
                &[]
            };
            assert_eq!(kinds, expected, "{meta:?}");
        }
    }
}
