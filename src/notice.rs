//! What an operation met besides its result: for the caller to tell, the library prints nothing.

use camino::Utf8PathBuf;

use crate::port::Port;
use crate::project::{Holder, ProjectPath};

/// Something that a user of the registry should hear of, as
/// [`Registry::take_notices`](crate::Registry::take_notices) tells it.
///
/// # Examples
///
/// ```
/// use portclaim::{Notice, Registry};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// // The Python system was here.
/// std::fs::write(
///     dir.path().join("port_registry.json"),
///     r#"{"mappings": {"/home/a/shop": 8888}, "next_available": 8889}"#,
/// )?;
/// let registry = Registry::open(root)?;
/// assert_eq!(registry.records()?.count(), 1);
/// let notices = registry.take_notices();
/// assert!(matches!(notices[..], [Notice::TakenOver { claims: 1, .. }]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A registry file that portclaim did not write for these claims was taken over.
    TakenOver {
        /// The registry file.
        path: Utf8PathBuf,
        /// Where the original is kept.
        backup: Utf8PathBuf,
        /// How many of its mappings became claims.
        claims: usize,
    },
    /// What others wrote into the registry file could not become claims, because nothing can be
    /// written: the disk is full or read-only, or this user may not. Who asks is told what the file
    /// says. The nonce of such records is no claim's, so that they cannot be released.
    NotTakenOver {
        /// The registry file.
        path: Utf8PathBuf,
        /// What was refused.
        why: String,
    },
    /// The registry file was damaged: it was backed up, and is derived from the claims again.
    Damaged {
        /// The registry file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        why: String,
        /// Where the damaged file is kept.
        backup: Utf8PathBuf,
        /// How many mappings could be read from it that were no claims yet.
        claims: usize,
    },
    /// A mapping that somebody added to the registry file became a claim.
    Adopted {
        /// The project.
        project: ProjectPath,
        /// Its port.
        port: Port,
    },
    /// The registry file gave a project a port that belongs to another one. The project
    /// gets a new port at its next allocation.
    Conflict {
        /// The project that lost the port.
        project: ProjectPath,
        /// The port.
        port: Port,
        /// Who has it.
        holder: Holder,
    },
    /// The registry file gives a project another port than its claim. The claim counts.
    Differs {
        /// The project.
        project: ProjectPath,
        /// The port in the file.
        written: Port,
        /// The port that the project has.
        claimed: Port,
    },
    /// A mapping of the registry file could not become a claim now. It stays in the file.
    NotAdopted {
        /// The project.
        project: ProjectPath,
        /// The port.
        port: Port,
        /// Why not.
        why: String,
    },
    /// An entry of the registry file can be no claim. It stays in the file.
    Kept {
        /// The entry's key as the file spells it.
        key: String,
        /// Why it is no claim.
        why: String,
    },
    /// The registry file is long, and was not brought up to date. Something should call
    /// [`Registry::refresh_when_quiet`](crate::Registry::refresh_when_quiet) soon. Only with
    /// [`IndexPolicy::Defer`](crate::IndexPolicy::Defer), and not where somebody does already.
    IndexDeferred {
        /// The registry file.
        path: Utf8PathBuf,
    },
    /// The registry file could not be brought up to date. The claims are not affected.
    IndexBehind {
        /// The registry file.
        path: Utf8PathBuf,
        /// Why not.
        why: String,
    },
}

impl Notice {
    /// Returns whether both tell of one event. A file that is taken over is looked at again
    /// before it is replaced, and then has nothing left to take over.
    pub(crate) fn is_same_event(&self, other: &Notice) -> bool {
        match (self, other) {
            (Notice::TakenOver { path, .. }, Notice::TakenOver { path: again, .. })
            | (Notice::NotTakenOver { path, .. }, Notice::NotTakenOver { path: again, .. })
            | (Notice::Damaged { path, .. }, Notice::Damaged { path: again, .. }) => path == again,
            _ => self == other,
        }
    }
}
