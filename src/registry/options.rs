//! How a registry is opened, and what is asked of it.

use std::path::Path;

use camino::Utf8PathBuf;

use super::Registry;
use crate::error::{Error, Result};
use crate::fs::registry_file::registry_file;
use crate::port::{Port, PortRange};
use crate::project::Holder;
use crate::protocol::Durability;

/// How the registry file is called where nothing else is said.
pub const DEFAULT_FILE_NAME: &str = "port_registry.json";

/// When the registry file, which is derived from the claims, is brought up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexPolicy {
    /// After each change (the default), unless another process is at it, which then does it.
    #[default]
    Refresh,
    /// Never: changes are only marked. The next refresh by anybody, or
    /// [`Registry::refresh_index`], shows them.
    Mark,
}

/// Options of a registry. The defaults: range 8888-9999, durable, the registry file
/// `port_registry.json`, brought up to date after each change.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open` is called"]
pub struct Options {
    pub(super) range: PortRange,
    pub(super) durability: Durability,
    pub(super) index: IndexPolicy,
    pub(super) file_name: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            range: PortRange::DEFAULT,
            durability: Durability::default(),
            index: IndexPolicy::default(),
            file_name: DEFAULT_FILE_NAME.to_owned(),
        }
    }
}

impl Options {
    /// New ports come from this range. Ports that are held stay, whatever it is.
    pub fn range(mut self, range: PortRange) -> Options {
        self.range = range;
        self
    }

    /// Whether claims survive a power cut.
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// When the registry file is brought up to date.
    pub fn index(mut self, policy: IndexPolicy) -> Options {
        self.index = policy;
        self
    }

    /// The name of the registry file in the registry's directory: one component.
    pub fn file_name(mut self, name: impl Into<String>) -> Options {
        self.file_name = name.into();
        self
    }

    /// Opens the registry of this registry file: the claims lie beside it. A symbolic link is
    /// followed, once and here: whoever has linked the file elsewhere has the registry there.
    ///
    /// # Errors
    ///
    /// As [`Options::open`], and [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath) where
    /// the path is a directory, a link to nothing, or not UTF-8.
    pub fn open_file(self, path: impl AsRef<Path>) -> Result<Registry> {
        let (root, name) = registry_file(path.as_ref())?;
        self.file_name(name).open(root)
    }

    /// Opens the registry in the directory `root`. Nothing is created before the first claim.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath) for a file name that is not
    /// one component, and [`ErrorKind::Io`](crate::ErrorKind::Io) where the directory exists
    /// and cannot be opened.
    pub fn open(self, root: impl Into<Utf8PathBuf>) -> Result<Registry> {
        let name = self.file_name.as_str();
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(Error::invalid_path(
                name.as_bytes(),
                "a registry file's name is one component",
            ));
        }
        if [
            "ports",
            "projects",
            "staging",
            "index",
            "quarantine",
            "backups",
        ]
        .contains(&name)
        {
            return Err(Error::invalid_path(
                name.as_bytes(),
                "this name is that of a directory of the registry",
            ));
        }
        Registry::open_with(root.into(), self)
    }
}

/// What is asked for with [`Registry::claim`].
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) holder: Holder,
    pub(super) range: Option<PortRange>,
    pub(super) port: Option<Port>,
}

impl Request {
    /// Asks for a port for `holder`, from the registry's range.
    #[must_use]
    pub fn new(holder: Holder) -> Request {
        Request {
            holder,
            range: None,
            port: None,
        }
    }

    /// Takes a new port from this range instead.
    #[must_use]
    pub fn within(mut self, range: PortRange) -> Request {
        self.range = Some(range);
        self
    }

    /// Takes this port and no other, whatever the range and whatever program uses it. A claim of
    /// it that a killed process left is swept first; while another process is claiming it, it is
    /// tried again for about a second.
    #[must_use]
    pub fn port(mut self, port: Port) -> Request {
        self.port = Some(port);
        self
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_registry_file_is_one_component() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::try_from(dir.path().to_owned()).expect("UTF-8");
        for name in ["", ".", "..", "a/b", "ports", "x\0y"] {
            let error = Registry::options()
                .file_name(name)
                .open(&root)
                .expect_err(name);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidPath, "{name:?}");
        }
    }
}
