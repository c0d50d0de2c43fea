//! Looks for everything that is not as it should be (`check`), and mends what can be mended
//! (`mend`).

use camino::Utf8PathBuf;

use crate::error::Result;
use crate::registry::Registry;

mod check;
mod mend;

/// What sort of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A claim that cannot be read: damaged, torn, or no regular file.
    DamagedClaim,
    /// A claim in the format of a later version. It counts, and is left alone.
    LaterFormat,
    /// A claim that nobody committed and nobody will.
    Orphan,
    /// A commit whose claim is gone.
    DanglingCommit,
    /// A commit that cannot be read, or that has another's name.
    DamagedCommit,
    /// A file that is not portclaim's, in a directory that is.
    ForeignFile,
    /// Something that a killed process left in `staging/`.
    Leftover,
    /// Others than the user may read or change it.
    Permissions,
    /// It belongs to another user.
    Owner,
    /// The registry file does not show the claims as they are.
    StaleIndex,
    /// The registry file is damaged.
    DamagedIndex,
    /// An entry of the registry file that can be no claim.
    UnusableEntry,
    /// The registry lies on a file system whose locks cannot be trusted.
    NetworkFilesystem,
    /// Ports of the range are handed out by the kernel to outgoing connections.
    EphemeralRange,
}

impl FindingKind {
    /// Returns the kind's name, as it stands in JSON: lower case, words joined by `-`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::DamagedClaim => "damaged-claim",
            FindingKind::LaterFormat => "later-format",
            FindingKind::Orphan => "orphan",
            FindingKind::DanglingCommit => "dangling-commit",
            FindingKind::DamagedCommit => "damaged-commit",
            FindingKind::ForeignFile => "foreign-file",
            FindingKind::Leftover => "leftover",
            FindingKind::Permissions => "permissions",
            FindingKind::Owner => "owner",
            FindingKind::StaleIndex => "stale-index",
            FindingKind::DamagedIndex => "damaged-index",
            FindingKind::UnusableEntry => "unusable-entry",
            FindingKind::NetworkFilesystem => "network-filesystem",
            FindingKind::EphemeralRange => "ephemeral-range",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What sort of thing it is.
    pub kind: FindingKind,
    /// The file or directory.
    pub path: Utf8PathBuf,
    /// What is wrong, in a sentence without a full stop. It may contain names from disk.
    pub detail: String,
    /// Whether a repair mended it.
    pub fixed: bool,
}

/// What a check or a repair found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The findings: directories first, then claims by port, commits, the registry file.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns whether nothing was found, or all of it mended.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.fixed)
    }

    fn add(&mut self, kind: FindingKind, path: impl Into<Utf8PathBuf>, detail: impl Into<String>) {
        self.findings.push(Finding {
            kind,
            path: path.into(),
            detail: detail.into(),
            fixed: false,
        });
    }
}

impl Registry {
    /// Looks for everything that is not as it should be. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read at all.
    ///
    /// # Races
    ///
    /// What other processes are in the middle of is not taken for damage, except that a claim
    /// or commit which is released during the check may be reported as dangling.
    pub fn check(&self) -> Result<Report> {
        let mut report = Report::default();
        check::all(self, &mut report)?;
        Ok(report)
    }

    /// Mends what can be mended: sweeps orphans, moves damaged files to `quarantine/` (nothing
    /// is deleted that anybody wrote into), gives projects whose claims were damaged the same
    /// ports again, sets permissions, and writes the registry file anew. Returns what was
    /// found before, with what is mended marked so.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where something cannot be read or moved. What was
    /// mended until then stays so.
    pub fn repair(&self) -> Result<Report> {
        let mut report = self.check()?;
        let Some(place) = self.place_with_file()? else {
            return Ok(report);
        };
        mend::all(self, place)?;
        self.refresh_now(place)?;
        crate::index::remove_staged(&place.store.staging)?;
        let after = self.check()?;
        for finding in &mut report.findings {
            finding.fixed = !after
                .findings
                .iter()
                .any(|left| left.kind == finding.kind && left.path == finding.path);
        }
        // What the repair itself met: a port that somebody took meanwhile.
        for left in after.findings {
            if !report
                .findings
                .iter()
                .any(|finding| finding.kind == left.kind && finding.path == left.path)
            {
                report.findings.push(left);
            }
        }
        Ok(report)
    }
}
