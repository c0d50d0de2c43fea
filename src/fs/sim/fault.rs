//! What a disk may not give.

/// A guarantee that the disk does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `create` opens a file that exists: `O_CREAT` without `O_EXCL`.
    CreateShares,
    /// `try_lock` always says that it got the lock.
    LocksGranted,
    /// The same, for files that lie in `staging`.
    StagedLocksGranted,
    /// `means` always says yes: no check after the lock.
    AnyNameMeans,
    /// `publish` replaces: `rename` without `NOREPLACE`.
    PublishReplaces,
    /// The first flush of a directory fails, and later ones succeed, as on Linux.
    FirstSyncFails,
    /// `publish` takes two steps, `link` and `unlink`: a file system without
    /// `RENAME_NOREPLACE`. The protocol copes with it.
    PublishLinks,
    /// New files look sealed: an odd umask. The protocol copes with it.
    CreateSeals,
    /// All files look sealed, whatever is done about it.
    AllSealed,
    /// `seal` says that it did, and did not.
    SealsNothing,
    /// No flush of a directory keeps anything.
    SyncKeepsNothing,
    /// No flush of a file keeps anything.
    SyncFileKeepsNothing,
    /// A flush of a file keeps its content, and not its date: `fdatasync`.
    SyncFileKeepsNoDate,
    /// `touch` says that it did, and did not.
    DatesNothing,
    /// Directories are flushed before a name is published in one, and not when asked.
    SyncsBeforePublish,
    /// A flush that fails says that it did not.
    SyncHidesFailure,
    /// A lock outlives the process that held it.
    LocksOutlive,
    /// There are no locks: a network file system. The protocol copes with it.
    NoLocks,
}
