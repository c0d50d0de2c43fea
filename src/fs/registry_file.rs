//! Where a registry is, from the path of its file.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::FileType;

use crate::error::{Error, Result};

/// Splits a registry file's path into its directory and its name. The file need not exist; a
/// symbolic link is followed.
pub(crate) fn registry_file(path: &Path) -> Result<(Utf8PathBuf, String)> {
    let typed = path.as_os_str().as_bytes();
    let refuse = |why| Err(Error::invalid_path(typed, why));
    if typed.contains(&0) {
        return refuse("it contains a NUL byte");
    }
    if typed.is_empty() {
        return refuse("it is empty");
    }
    let kind = |stat: rustix::io::Result<rustix::fs::Stat>| {
        stat.map_or(FileType::Unknown, |stat| {
            FileType::from_raw_mode(stat.st_mode)
        })
    };
    let mut path = path.to_owned();
    let mut found = kind(rustix::fs::lstat(&path));
    if found == FileType::Symlink {
        match path.canonicalize() {
            Ok(target) => path = target,
            Err(_) => return refuse("it is a symbolic link to nothing"),
        }
        found = kind(rustix::fs::lstat(&path));
    }
    if found == FileType::Directory || typed.ends_with(b"/") {
        return refuse("it is a directory, and should be a file");
    }
    let Ok(path) = Utf8PathBuf::from_path_buf(path) else {
        return refuse("it is not UTF-8");
    };
    let Some(name) = path.file_name() else {
        return refuse("it names no file");
    };
    let root = match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        _ => Utf8Path::new("."),
    };
    Ok((root.to_owned(), name.to_owned()))
}
