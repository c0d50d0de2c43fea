//! Who holds a port: a project, known by its path in normal form, and a service in it.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The path of a project in normal form: absolute, UTF-8, without `.`, `..`, empty
/// components or a slash at the end. One directory has one such path, which
/// [`ProjectPath::resolve`] finds.
///
/// # Examples
///
/// ```
/// use portclaim::ProjectPath;
/// let here = ProjectPath::resolve(".")?;
/// assert_eq!(here, ProjectPath::resolve("./no-such-directory/..")?);
/// assert_eq!(here, ProjectPath::from_normal(here.as_path())?);
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectPath(Box<str>);

impl ProjectPath {
    /// Returns `path` as a project path if it already is in normal form; the disk is
    /// not asked. [`ProjectPath::resolve`] finds the normal form of any path.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath) where it is not, or contains a
    /// NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::ProjectPath;
    /// assert_eq!(ProjectPath::from_normal("/home/a/shop")?.name(), "shop");
    /// assert!(ProjectPath::from_normal("/home/a/../shop").is_err());
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn from_normal(path: impl Into<Utf8PathBuf>) -> Result<ProjectPath> {
        let path = path.into();
        let text = path.as_str();
        let refuse = |why| Err(Error::invalid_path(text.as_bytes(), why));
        let Some(tail) = text.strip_prefix('/') else {
            return refuse("it is not absolute");
        };
        if text.contains('\0') {
            return refuse("it contains a NUL byte");
        }
        if !tail.is_empty() && tail.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return refuse("it is not in normal form");
        }
        Ok(ProjectPath(path.into_string().into()))
    }

    /// Returns the path.
    ///
    /// # Examples
    ///
    /// ```
    /// let shop = portclaim::ProjectPath::from_normal("/home/a/shop")?;
    /// assert!(shop.as_path().starts_with("/home"));
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn as_path(&self) -> &Utf8Path {
        Utf8Path::new(&*self.0)
    }

    /// Returns the path as text. Any character but NUL may be in it: line feeds, and those that
    /// terminals obey.
    ///
    /// # Examples
    ///
    /// ```
    /// let shop = portclaim::ProjectPath::from_normal("/home/a/shop")?;
    /// assert_eq!(shop.as_str(), "/home/a/shop");
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last component, `/` for the root.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::ProjectPath;
    /// assert_eq!(ProjectPath::from_normal("/home/a/shop")?.name(), "shop");
    /// assert_eq!(ProjectPath::from_normal("/")?.name(), "/");
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        self.as_path().file_name().unwrap_or("/")
    }

    /// Returns the directory around this one, `None` for the root.
    ///
    /// # Examples
    ///
    /// ```
    /// let a = portclaim::ProjectPath::from_normal("/a")?;
    /// let root = a.parent().expect("it is not the root");
    /// assert_eq!(root.as_str(), "/");
    /// assert_eq!(root.parent(), None);
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn parent(&self) -> Option<ProjectPath> {
        let parent = self.as_path().parent()?;
        Some(ProjectPath(parent.as_str().into()))
    }
}

impl fmt::Display for ProjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who holds a port: a service of a project. Each holder has a port of its own. Most projects
/// have only the unnamed service, and no other can be asked for; records on disk may name one.
///
/// # Examples
///
/// ```
/// use portclaim::{Holder, ProjectPath};
/// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// assert_eq!(shop, Holder::new(ProjectPath::from_normal("/home/a/shop")?));
/// assert_ne!(shop, Holder::new(ProjectPath::from_normal("/home/a/blog")?));
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    project: ProjectPath,
    service: String,
    key: Box<str>,
}

impl Holder {
    /// Returns the unnamed service of `project`.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath};
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// assert_eq!(shop.project().name(), "shop");
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn new(project: ProjectPath) -> Holder {
        Holder::with_service(project, String::new())
    }

    /// Returns the service `service` of `project`; an empty name is the unnamed one.
    pub(crate) fn with_service(project: ProjectPath, service: String) -> Holder {
        let key = key(&project, &service).into();
        Holder {
            project,
            service,
            key,
        }
    }

    /// Returns the project.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath};
    /// let shop = ProjectPath::from_normal("/home/a/shop")?;
    /// assert_eq!(Holder::new(shop.clone()).project(), &shop);
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn project(&self) -> &ProjectPath {
        &self.project
    }

    /// Returns the service's name, empty for the unnamed one.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath};
    /// let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// assert_eq!(shop.service(), "");
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Returns the file name of this holder's commit: a hash, because a path can be
    /// longer than a file name may be and contains slashes.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

fn key(project: &ProjectPath, service: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(project.as_str());
    // A path contains no NUL, so no two pairs give the same bytes.
    hash.update([0]);
    hash.update(service);
    let mut key = hex(&hash.finalize()[..16]);
    key.push_str(crate::record::SUFFIX);
    key
}

/// Returns `bytes` in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_normal_paths_pass() {
        for path in ["/", "/a", "/a/b c", "/a/.b", "/a/..b", "/\u{e9}"] {
            assert!(ProjectPath::from_normal(path).is_ok(), "{path}");
        }
        for path in [
            "", "a", "a/b", "//", "/a/", "/a//b", "/./a", "/a/.", "/a/..", "/a\0b", "~",
        ] {
            let error = ProjectPath::from_normal(path).expect_err(path);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidPath, "{path:?}");
        }
    }

    #[test]
    fn a_key_tells_projects_and_services_apart_and_never_changes() {
        let key = |path: &str, service: &str| {
            let project = ProjectPath::from_normal(path).expect("path");
            Holder::with_service(project, service.to_owned())
                .key()
                .to_owned()
        };
        // First 16 bytes of sha256("/a\0"), by sha256sum: the names on users' disks.
        assert_eq!(key("/a", ""), "d24a5d125d6c74b235cf8b08600680cc.claim");
        assert_ne!(key("/a", ""), key("/a", "b"));
        assert_ne!(key("/a/b", ""), key("/a", "b"));
        assert_ne!(key("/a", "bc"), key("/ab", "c"));
    }
}
