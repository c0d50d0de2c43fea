//! A registry as it lies on the disk, read by the format alone and without the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use portclaim::DEFAULT_FILE_NAME;
use serde_json::Value;

/// Projects and their ports.
pub(crate) type Held = BTreeMap<String, u16>;

/// The registry's directory in a scenario's.
pub(crate) fn root(dir: &Path) -> PathBuf {
    dir.join("registry")
}

/// The registry file in a scenario's directory.
pub(crate) fn file(dir: &Path) -> PathBuf {
    root(dir).join(DEFAULT_FILE_NAME)
}

/// Copies a directory of directories and regular files, with their modes.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("it is new");
    for path in entries(from) {
        let new = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &new);
        } else {
            fs::copy(&path, &new).expect("a file can be copied");
        }
    }
    let mode = fs::metadata(from).expect("it exists").permissions();
    fs::set_permissions(to, mode).expect("it is ours");
}

/// Returns what lies in a directory, sorted; nothing where there is none.
pub(crate) fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a directory can be read").path())
        .collect();
    paths.sort();
    paths
}

/// Returns the names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let name = |path: PathBuf| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    entries(dir).into_iter().filter_map(name).collect()
}

/// Returns the complete records in a directory.
fn records(dir: &Path) -> Vec<Value> {
    let record = |path: &PathBuf| {
        let bytes = fs::read(path).ok()?;
        serde_json::from_slice(bytes.strip_suffix(b"\n")?).ok()
    };
    entries(dir).iter().filter_map(record).collect()
}

/// Returns who holds which port: whose claim and commit carry the same nonce.
pub(crate) fn held(dir: &Path) -> Held {
    let commits = records(&root(dir).join("projects"));
    let is_committed = |claim: &Value| commits.contains(claim);
    records(&root(dir).join("ports"))
        .iter()
        .filter(|claim| is_committed(claim))
        .map(mapping)
        .collect()
}

/// Returns what resets have put aside, as a claim or at least as a commit.
pub(crate) fn archived(dir: &Path) -> Held {
    let backups = entries(&root(dir).join("backups"));
    let dirs = backups
        .iter()
        .flat_map(|backup| ["ports", "projects"].map(|name| backup.join(name)));
    let records = dirs.flat_map(|dir| records(&dir));
    records.map(|record| mapping(&record)).collect()
}

fn mapping(record: &Value) -> (String, u16) {
    (text(&record["project"]), number(&record["port"]))
}

/// Returns what the registry file tells others: `None` where there is none.
pub(crate) fn mappings(dir: &Path) -> Result<Option<Held>, String> {
    let Ok(bytes) = fs::read(file(dir)) else {
        return Ok(None);
    };
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| {
        format!(
            "the registry file is no JSON: {error}: {}",
            String::from_utf8_lossy(&bytes)
        )
    })?;
    let mappings = json["mappings"]
        .as_object()
        .ok_or("the registry file has no mappings")?;
    Ok(Some(
        mappings
            .iter()
            .map(|(path, port)| (path.clone(), number(port)))
            .collect(),
    ))
}

/// Returns whether two files have the same content.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) fn number(value: &Value) -> u16 {
    let number = value.as_u64().unwrap_or_default();
    u16::try_from(number).unwrap_or_default()
}
