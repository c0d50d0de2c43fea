//! Which git repository a project is in, wherever that lies.

use serde::{Deserialize, Serialize};

/// The git repository that a project is in, and how deep in it.
///
/// It is known by the `.git` at its top (a directory, or the file that a linked worktree has): by the
/// inode of that, and the time when it was made. Both stay when the repository is moved on its file
/// system. Those of a clone, of another worktree and of a copy differ; so do those of whatever is given the same
/// inode after a deletion, for it was made later.
///
/// Two are equal if they are of the same repository and the same depth.
///
/// # Examples
///
/// ```
/// use portclaim::{ProjectPath, Repository};
/// # let dir = tempfile::tempdir()?;
/// # let home = dir.path();
/// std::fs::create_dir_all(home.join("shop/.git"))?;
/// let before = Repository::of(&ProjectPath::resolve(home.join("shop"))?)?;
/// std::fs::rename(home.join("shop"), home.join("store"))?;
/// let after = Repository::of(&ProjectPath::resolve(home.join("store"))?)?;
/// assert_eq!(before, after);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Repository {
    inode: u64,
    /// Nanoseconds since 1970.
    born: u64,
    /// How many directories lie between its top and the project.
    #[serde(default, skip_serializing_if = "is_top")]
    depth: u16,
}

impl Repository {
    pub(crate) fn new(inode: u64, born: u64, depth: u16) -> Repository {
        Repository { inode, born, depth }
    }

    /// Returns the same repository so deep in it.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn at_depth(self, depth: u16) -> Repository {
        Repository { depth, ..self }
    }

    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_top(depth: &u16) -> bool {
    *depth == 0
}
