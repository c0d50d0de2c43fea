//! Looks for the git repository around a directory. Nothing in it is read: its inode says which it is.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use camino::Utf8Path;

use crate::error::{Error, Op, Result};
use crate::project::ProjectPath;
use crate::repository::Repository;

/// What a repository and a worktree have at their top.
const GIT: &str = ".git";

impl Repository {
    /// Returns the git repository that the project is in; `None` where it is in none, or does not
    /// exist, or the file system does not tell when a file was made.
    ///
    /// As git does, it looks for `.git` in the directory and those around it, up to the top of the file
    /// system that the project lies on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the system refuses to tell.
    ///
    /// # Races
    ///
    /// The directories are looked at one after the other: while they are moved, the answer may be that
    /// there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{ProjectPath, Repository};
    /// # let dir = tempfile::tempdir()?;
    /// # let home = dir.path();
    /// std::fs::create_dir_all(home.join("shop/api"))?;
    /// let [shop, api] = ["shop", "shop/api"].map(|path| ProjectPath::resolve(home.join(path)));
    /// let (shop, api) = (shop?, api?);
    /// # let is_outside = Repository::of(&shop)?.is_none();
    /// std::fs::create_dir(home.join("shop/.git"))?;
    /// # if is_outside {
    /// assert_ne!(Repository::of(&shop)?, Repository::of(&api)?);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(project: &ProjectPath) -> Result<Option<Repository>> {
        Ok(Repository::locate(project)?.map(|(repository, _)| repository))
    }

    /// Returns the same, and the device that the project lies on.
    pub(crate) fn locate(project: &ProjectPath) -> Result<Option<(Repository, u64)>> {
        let mut dir = project.as_path();
        let Some(device) = inspect(dir)?.map(|meta| meta.dev()) else {
            return Ok(None);
        };
        for depth in 0..u16::MAX {
            if let Some(git) = inspect(&dir.join(GIT))? {
                let born = born(&git);
                return Ok(born.map(|born| (Repository::new(git.ino(), born, depth), device)));
            }
            let Some(around) = dir.parent() else {
                break;
            };
            dir = around;
            // Beyond may lie what only a server knows, or what is mounted when it is asked for.
            if inspect(dir)?.is_none_or(|meta| meta.dev() != device) {
                break;
            }
        }
        Ok(None)
    }
}

/// Looks at a path without following a link; `None` where there is nothing.
fn inspect(path: &Utf8Path) -> Result<Option<Metadata>> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::io(Op::Inspect, path, error)),
    }
}

/// Returns when a file was made, where the file system tells it.
fn born(meta: &Metadata) -> Option<u64> {
    let since = meta.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    // Some that do not know it tell 0.
    u64::try_from(since.as_nanos())
        .ok()
        .filter(|&born| born > 0)
}

#[cfg(all(test, not(loom)))]
#[expect(
    clippy::disallowed_methods,
    reason = "tests make repositories themselves"
)]
mod tests {
    use std::fs;

    use super::*;

    fn of(path: &std::path::Path) -> Option<Repository> {
        let project = ProjectPath::resolve(path).expect("it is there");
        Repository::of(&project).expect("it can be looked for")
    }

    #[test]
    fn a_repository_is_known_again_wherever_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("shop/a/b")).expect("a directory");
        if let Some(around) = of(dir.path()) {
            assert_eq!(
                of(&at("shop/a/b")).map(|there| there.depth()),
                Some(around.depth() + 3)
            );
            return;
        }
        assert_eq!(of(&at("shop")), None);
        assert_eq!(of(&at("no/such")), None);
        fs::create_dir(at("shop/.git")).expect("a directory");
        let [top, below] = ["shop", "shop/a/b"].map(|name| of(&at(name)).expect("it is in one"));
        assert_eq!((top.depth(), below.depth()), (0, 2));
        assert_eq!(below, top.clone().at_depth(2));
        fs::rename(at("shop"), at("store")).expect("it can be moved");
        assert_eq!(of(&at("store")), Some(top.clone()));
        // A linked worktree's is a file.
        fs::create_dir(at("tree")).expect("a directory");
        fs::write(at("tree/.git"), "gitdir: /no/such\n").expect("a file");
        let tree = of(&at("tree")).expect("it is in one");
        assert_ne!(tree, top);
        fs::rename(at("tree"), at("store/tree")).expect("it can be moved");
        assert_eq!(of(&at("store/tree")), Some(tree));
    }

    #[test]
    fn what_cannot_be_looked_at_is_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert_eq!(of(&file.path().join("a")), None, "nothing lies in a file");
        let long = format!("/{}", "a".repeat(300));
        let project = ProjectPath::from_normal(long).expect("normal");
        let error = Repository::of(&project).expect_err("no name is as long");
        assert_eq!(error.kind(), crate::ErrorKind::Io);
    }
}
