//! Looks for everything that is not as it should be (`check`), and mends what can be mended
//! (`mend`).

use camino::Utf8PathBuf;

use crate::error::Result;
use crate::registry::Registry;

mod check;
mod hints;
mod mend;
mod own;
mod permissions;
mod registry_file;
mod side;

/// What sort of thing was found. The order is that of the list, and says nothing.
///
/// # Examples
///
/// ```
/// # use portclaim::{FindingKind, Registry};
/// # let dir = tempfile::tempdir()?;
/// # let registry = Registry::open(dir.path().to_str().unwrap())?;
/// # registry.refresh_index()?;
/// std::fs::write(dir.path().join("ports/notes.txt"), "not a claim")?;
/// let found = registry.check()?.findings;
/// assert!(found.iter().any(|finding| finding.kind == FindingKind::ForeignFile));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A claim that cannot be read: damaged, torn, or no regular file.
    DamagedClaim,
    /// A claim or a commit in the format of a later version. It counts, and is left alone.
    LaterFormat,
    /// A claim that nobody committed and nobody will.
    Orphan,
    /// A commit whose claim is gone.
    DanglingCommit,
    /// A commit that cannot be read, that is another holder's than its name says, or that is no
    /// regular file.
    DamagedCommit,
    /// A file that is not portclaim's, in a directory that is.
    ForeignFile,
    /// Something that a killed process left in `staging/`.
    Leftover,
    /// Others than the user may read or change it.
    Permissions,
    /// It belongs to another user.
    Owner,
    /// The registry file does not show the claims as they are, or has not been taken over.
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
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(portclaim::FindingKind::DamagedClaim.name(), "damaged-claim");
    /// ```
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
///
/// # Examples
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let registry = portclaim::Registry::open(dir.path().to_str().unwrap())?;
/// # registry.refresh_index()?;
/// std::fs::write(dir.path().join("ports/8888.claim"), "")?;
/// let found = registry.check()?.findings;
/// let finding = found.iter().find(|finding| finding.kind.name() == "damaged-claim");
/// let finding = finding.expect("it is found");
/// assert!(finding.path.ends_with("ports/8888.claim"));
/// assert_eq!((finding.detail.as_str(), finding.fixed), ("it is empty", false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What sort of thing it is.
    pub kind: FindingKind,
    /// The file or directory it is about; of the machine's settings, the registry's directory.
    pub path: Utf8PathBuf,
    /// What is wrong, in a sentence without a full stop. It may contain names from disk.
    pub detail: String,
    /// Whether a repair mended it.
    pub fixed: bool,
}

impl Finding {
    /// Returns whether both tell of one thing, whatever is wrong with it now.
    fn is_same(&self, other: &Finding) -> bool {
        self.kind == other.kind && self.path == other.path
    }
}

/// What a check or a repair found.
///
/// # Examples
///
/// ```
/// let report = portclaim::Report::default();
/// assert!(report.findings.is_empty() && report.is_healthy());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The findings: the range and directories first, then claims by port, commits, what killed
    /// processes left, the registry file; behind them, what a repair met itself.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns whether nothing was found, or all of it mended.
    ///
    /// # Examples
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = portclaim::Registry::open(dir.path().to_str().unwrap())?;
    /// # registry.refresh_index()?;
    /// std::fs::write(dir.path().join("ports/8888.claim"), "")?;
    /// assert!(!registry.check()?.is_healthy());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read at all,
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where a file changes to something that
    /// cannot be read while it is looked at.
    ///
    /// # Races
    ///
    /// What other processes are in the middle of is not taken for damage, with two exceptions: a
    /// claim or commit that is released during the check may be reported as an orphan or as
    /// dangling, and a file that is being staged as a leftover.
    ///
    /// # Examples
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = portclaim::Registry::open(dir.path().to_str().unwrap())?;
    /// let file = registry.refresh_index()?;
    /// std::fs::write(&file, "{")?;
    /// let found = registry.check()?.findings;
    /// assert!(found.iter().any(|finding| finding.path == file));
    /// assert_eq!(std::fs::read_to_string(&file)?, "{", "nothing is mended");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// A port is given again for as long as the claim or its commit, whichever can be read, says:
    /// a [time](crate::Term::Ttl) begins anew. The registry file knows whose a port is, and no
    /// time: where it alone is left, the port is kept until it is given back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where something cannot be read or moved,
    /// [`ErrorKind::Contended`](crate::ErrorKind::Contended) where others did not come to an end,
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where a later version's file or something
    /// that appeared meanwhile is in the way. What was mended until then stays so.
    ///
    /// # Races
    ///
    /// Other processes may go on meanwhile: what they are in the middle of is left to them. A port
    /// that one of them takes from a damaged claim is theirs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let port = registry.claim(&Request::new(shop.clone()))?.port();
    /// std::fs::write(dir.path().join(format!("ports/{port}.claim")), "damage\n")?;
    /// let report = registry.repair()?;
    /// let finding = report.findings.iter().find(|finding| finding.kind.name() == "damaged-claim");
    /// assert!(finding.expect("it was found").fixed);
    /// assert_eq!(registry.find(&shop)?.map(|record| record.port()), Some(port));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
            finding.fixed = !after.findings.iter().any(|left| left.is_same(finding));
        }
        // What the repair itself met: a port that somebody took meanwhile.
        for left in after.findings {
            if !report.findings.iter().any(|before| before.is_same(&left)) {
                report.findings.push(left);
            }
        }
        Ok(report)
    }
}
