//! Who holds a port: a project, known by its path in normal form, and a service in it.

use std::fmt;
use std::sync::Arc;

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
pub struct ProjectPath(Arc<str>);

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

/// Longest name of a service, bytes.
const SERVICE_LEN_MAX: usize = 64;

/// What stands between the service and the number in the name of a further member of a block. In
/// no name that a user can give, so that no service is taken for one.
const MEMBER: char = '+';

/// Who holds a port: a service of a project. Each holder has a port of its own. Most projects
/// have only the unnamed service.
///
/// `Display` gives the path, and the service behind it: `/home/a/shop`, `/home/a/shop (web)`.
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
    key: Arc<str>,
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

    /// Returns the service `name` of `project`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidService`](crate::ErrorKind::InvalidService) where it cannot be a name:
    /// 1 to 64 ASCII letters, digits, dots, hyphens and underscores, a letter or digit first.
    /// So it can stand in a variable's name, a URL or an option without being quoted.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath};
    /// let shop = ProjectPath::from_normal("/home/a/shop")?;
    /// let web = Holder::of_service(shop.clone(), "web")?;
    /// assert_ne!(web, Holder::new(shop.clone()));
    /// assert_eq!(web.to_string(), "/home/a/shop (web)");
    /// assert!(Holder::of_service(shop, "$(rm)").is_err());
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn of_service(project: ProjectPath, name: &str) -> Result<Holder> {
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let starts_well = name
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric);
        if !starts_well || name.len() > SERVICE_LEN_MAX || !name.bytes().all(is_usual) {
            return Err(Error::invalid_service(name));
        }
        Ok(Holder::with_service(project, name.to_owned()))
    }

    /// Returns member `number` of the block that begins with this holder, which is member 0.
    pub(crate) fn member(&self, number: u16) -> Holder {
        if number == 0 {
            return self.clone();
        }
        let service = format!("{}{MEMBER}{number}", self.service);
        Holder::with_service(self.project.clone(), service)
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

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.project.fmt(f)?;
        if self.service.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.service)
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
    let mut text = vec![0; 2 * bytes.len()];
    write_hex(bytes, &mut text);
    String::from_utf8(text).expect("digits are text")
}

/// Writes two digits for each byte.
pub(crate) fn write_hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (two, byte) in text.chunks_exact_mut(2).zip(bytes) {
        two[0] = DIGITS[usize::from(byte >> 4)];
        two[1] = DIGITS[usize::from(byte & 15)];
    }
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
    fn a_path_knows_its_last_component_and_what_is_around_it() {
        let path = |text: &str| ProjectPath::from_normal(text).expect("path");
        for (text, name, parent) in [
            ("/a/b c", "b c", Some("/a")),
            ("/a", "a", Some("/")),
            ("/", "/", None),
        ] {
            assert_eq!(path(text).name(), name);
            assert_eq!(path(text).parent(), parent.map(path));
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

    #[test]
    fn a_service_has_a_name_that_needs_no_quotes() {
        let shop = ProjectPath::from_normal("/shop").expect("path");
        let longest = "a".repeat(SERVICE_LEN_MAX);
        for name in ["a", "Z", "0", "a.b-c_d", "9-", &longest] {
            let holder = Holder::of_service(shop.clone(), name).expect(name);
            assert_eq!(holder.service(), name);
        }
        let too_long = format!("{longest}a");
        for name in [
            "", ".a", "-a", "_a", "+", "a+1", "a b", "a/b", "a\n", "\u{e9}", "a\u{e9}", &too_long,
        ] {
            let error = Holder::of_service(shop.clone(), name).expect_err(name);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidService, "{name:?}");
        }
    }

    #[test]
    fn the_members_of_a_block_are_services_that_nobody_can_name() {
        let shop = ProjectPath::from_normal("/shop").expect("path");
        let web = Holder::of_service(shop.clone(), "web").expect("a name");
        assert_eq!(web.member(0), web);
        for (holder, member) in [(&web, "web+1"), (&Holder::new(shop.clone()), "+1")] {
            assert_eq!(holder.member(1).service(), member);
            assert_eq!(holder.member(1).project(), &shop);
            assert!(Holder::of_service(shop.clone(), member).is_err());
        }
    }
}
