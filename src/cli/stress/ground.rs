//! Where a run takes place: a directory of its own, and ports that nobody uses.

#![expect(
    clippy::disallowed_methods,
    reason = "a run owns its directory: it makes it, reads the registry file as others do, and removes it"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};
use fastrand::Rng;
use portclaim::{Availability, DEFAULT_FILE_NAME, Port, PortRange};

use super::super::report::Failure;
use super::history::Answer;
use super::names::{PLACES, REGISTRY};
use super::plan::Plan;

/// Where ports are looked for unless something else is said: above the privileged ones, below
/// those that kernels give to outgoing connections.
const PORTS: (u16, u16) = (10_000, 32_000);

/// How many places are tried for a directory, and for ports.
const TRIES: u32 = 1000;

/// Makes a new directory in `parent`, by default the current directory, with one for the registry and one for
/// projects.
pub(super) fn create(parent: Option<&Path>, seed: u64) -> Result<Utf8PathBuf, Failure> {
    let parent = parent.unwrap_or(Path::new("."));
    let failed = |error: io::Error| {
        let text = format!("failed to make a directory in {}", parent.display());
        Failure::io(&text, &error).hint("name a directory on the file system to try: --dir DIR")
    };
    let parent = parent.canonicalize().map_err(failed)?;
    let parent = Utf8PathBuf::try_from(parent)
        .map_err(|_| Failure::new("the directory's path is not UTF-8"))?;
    for number in 0..TRIES {
        let name = match number {
            0 => format!("portclaim-stress-{seed}"),
            _ => format!("portclaim-stress-{seed}-{number}"),
        };
        let path = parent.join(name);
        match fs::create_dir(&path) {
            Ok(()) => {
                for name in [REGISTRY, PLACES] {
                    fs::create_dir(path.join(name)).map_err(failed)?;
                }
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(io::ErrorKind::AlreadyExists.into()))
}

/// Removes a run's directory.
pub(super) fn remove(directory: &Utf8Path) -> Result<(), Failure> {
    fs::remove_dir_all(directory)
        .map_err(|error| Failure::io(&format!("failed to remove {directory}"), &error))
}

/// Makes a project's directory, unless it is there.
pub(super) fn make_place(plan: &Plan, project: u32) -> Answer {
    match fs::create_dir(plan.path(project).as_str()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Answer::Failed(format!("a directory cannot be made: {error}"))
        }
        _ => Answer::Done,
    }
}

/// Removes a project's directory, or moves it away before, unless it is not there.
pub(super) fn remove_place(plan: &Plan, project: u32, is_moved: bool) -> Answer {
    let path = plan.path(project);
    let mut place = Utf8PathBuf::from(path.as_str());
    let removed = (|| {
        if is_moved {
            // Each worker has one operation at a time.
            place = Utf8PathBuf::from(format!("{path}-moved-{}", std::process::id()));
            fs::rename(path.as_str(), &place)?;
        }
        fs::remove_dir(&place)
    })();
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Answer::Failed(format!("a directory cannot be removed: {error}"))
        }
        _ => Answer::Done,
    }
}

/// Writes the last operations beside the registry of a run that found a violation.
pub(super) fn keep(directory: &Utf8Path, history: &str) -> Result<(), Failure> {
    let path = directory.join("history.txt");
    fs::write(&path, history)
        .map_err(|error| Failure::io(&format!("failed to write {path}"), &error))
}

/// Returns the first of `count` ports in a row that nobody uses at the moment.
pub(super) fn free_ports(
    lowest: Option<Port>,
    highest: Option<Port>,
    count: u16,
    random: &mut Rng,
) -> Result<u16, Failure> {
    let default = |number| Port::new(number).expect("it is not 0");
    let within = PortRange::new(
        lowest.unwrap_or(default(PORTS.0)),
        highest.unwrap_or(default(PORTS.1)),
    )?;
    let (first, last) = (within.first().get(), within.last().get());
    let too_few = || {
        Failure::new(&format!("{within} has no {count} free ports in a row"))
            .hint("set --port-min and --port-max, or use fewer workers")
    };
    let room = last.checked_sub(count - 1).filter(|&room| room >= first);
    let room = room.ok_or_else(too_few)?;
    for _ in 0..TRIES {
        let start = random.u16(first..=room);
        if all_free(start, count)? {
            return Ok(start);
        }
    }
    Err(too_few())
}

fn all_free(start: u16, count: u16) -> Result<bool, Failure> {
    for number in start..=start + (count - 1) {
        let port = Port::new(number).expect("a range of ports has no 0");
        let answer = portclaim::probe(port)
            .map_err(|error| Failure::io(&format!("failed to try port {number}"), &error))?;
        if answer != Availability::Free {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns what the registry file shows, by holder, as another program reads it.
pub(super) fn registry_file(plan: &Plan) -> Result<BTreeMap<u32, u16>, String> {
    #[derive(serde::Deserialize)]
    struct File {
        mappings: BTreeMap<String, u16>,
        #[serde(default)]
        portclaim: Own,
    }
    #[derive(Default, serde::Deserialize)]
    struct Own {
        #[serde(default)]
        services: BTreeMap<String, u16>,
    }
    let path = plan.root().join(DEFAULT_FILE_NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        // Nothing was ever claimed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    let file: File = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let numbered = |(name, port): (String, u16)| {
        let number = plan.holder_named(&name).map(|number| (number, port));
        number.ok_or_else(|| format!("it has {name}, which nobody claimed"))
    };
    let all = file.mappings.into_iter().chain(file.portclaim.services);
    all.map(numbered).collect()
}

/// Returns the name of the file system that a directory is on ("ext4"), where it is known.
pub(super) fn filesystem(directory: &Utf8Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = table.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let point = unescape(mount.split(' ').nth(4)?);
        let name = source.split(' ').next()?;
        Path::new(directory)
            .starts_with(&point)
            .then(|| (point.as_os_str().len(), name.to_owned()))
    });
    // Of several at one place, the last one covers the others.
    mounts.max_by_key(|mount| mount.0).map(|mount| mount.1)
}

/// Reads `\040` and its like.
fn unescape(text: &str) -> PathBuf {
    let mut path = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        path.push_str(before);
        let code = after
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        if let Some(code) = code {
            path.push(char::from(code));
            rest = &after[3..];
        } else {
            path.push('\\');
            rest = after;
        }
    }
    path.push_str(rest);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_table_of_mounts_are_read() {
        assert_eq!(unescape("/a\\040b/c"), Path::new("/a b/c"));
        assert_eq!(unescape("/plain\\"), Path::new("/plain\\"));
    }

    #[test]
    fn the_directory_is_new_each_time_and_goes_as_a_whole() {
        let parent = tempfile::tempdir().expect("a directory");
        let made = || create(Some(parent.path()), 7).unwrap_or_else(|_| panic!("a directory"));
        let (one, other) = (made(), made());
        assert_ne!(one, other);
        fs::write(one.join("file"), "x").expect("to write");
        assert!(remove(&one).is_ok());
        assert!(!one.exists() && other.exists());
    }
}
