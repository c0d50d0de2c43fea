//! `portclaim.toml`: a project's, in its directory, and the user's, beside the registry file. It
//! names ports and services, and nothing else: no path, no program.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use portclaim::{BLOCK_MAX, Holder, Port, PortRange, ProjectPath};
use rustix::fs::{FileType, Mode, OFlags, fstat, lstat, open};
use rustix::io::{Errno, retry_on_intr};
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::known::known;
use super::report::Failure;

/// How both files are called.
const NAME: &str = "portclaim.toml";

/// Longest file, bytes: it is written by hand.
const LEN_MAX: u64 = 64 * 1024;

const PROJECT_HINT: &str = "a project's portclaim.toml may have services = [\"NAME\", ...], port = P, a table [pins] of NAME = P, \
                            range = \"FIRST-LAST\" and exclude = [P, \"FIRST-LAST\", ...]";
const USER_HINT: &str = "the user's portclaim.toml, beside the registry file, may have range = \"FIRST-LAST\", \
                         exclude = [P, \"FIRST-LAST\", ...], exclude-known = true, pins = \"FIRST-LAST\" and \
                         picks = \"FIRST-LAST\"";

/// What a project says of itself.
#[derive(Default)]
pub(super) struct ProjectConfig {
    pub(super) path: PathBuf,
    /// What has a port where no service is named on the command line.
    pub(super) services: Vec<String>,
    pub(super) range: Option<PortRange>,
    pub(super) exclude: Vec<PortRange>,
    port: Option<Port>,
    pins: BTreeMap<String, Port>,
}

impl ProjectConfig {
    /// Returns the port that a service is to have.
    pub(super) fn pin(&self, service: &str) -> Option<Port> {
        if service.is_empty() {
            return self.port;
        }
        self.pins.get(service).copied()
    }

    /// Returns all ports that are to be somebody's.
    pub(super) fn pins(&self) -> impl Iterator<Item = Port> {
        self.port.into_iter().chain(self.pins.values().copied())
    }
}

/// What a user says of the machine.
#[derive(Default)]
pub(super) struct UserConfig {
    pub(super) path: PathBuf,
    pub(super) range: Option<PortRange>,
    /// What is not given out by itself; the band for pins is in it.
    pub(super) excluded: Vec<PortRange>,
    /// Where pins may be.
    pub(super) pins: Option<PortRange>,
    /// Where all other ports come from. No pin may be there.
    pub(super) picks: Option<PortRange>,
}

/// Reads the file of a project, if it has one. The registry's own directory has the user's.
pub(super) fn of_project(project: &ProjectPath, registry: &Path) -> Result<ProjectConfig, Failure> {
    let directory = project.as_path().as_std_path();
    if registry.parent() == Some(directory) {
        return Ok(ProjectConfig::default());
    }
    let path = directory.join(NAME);
    // The project may lead to it by a link: its directory is the project's own.
    let Some(text) = read(&path, OFlags::empty())? else {
        return Ok(ProjectConfig::default());
    };
    let file: ProjectFile = parse(&path, &text, PROJECT_HINT)?;
    let config = ProjectConfig {
        services: file.services.into_iter().map(|name| name.0).collect(),
        range: file.range.map(|ports| ports.0),
        exclude: file.exclude.into_iter().map(|ports| ports.0).collect(),
        port: file.port,
        pins: (file.pins.into_iter())
            .map(|(name, port)| (name.0, port))
            .collect(),
        path,
    };
    check(&config)?;
    Ok(config)
}

/// Refuses what each line for itself does not show.
fn check(config: &ProjectConfig) -> Result<(), Failure> {
    let refuse = |why: &str| {
        let text = format!("{}: {why}", config.path.display());
        Err(Failure::new(&text).hint("correct the file"))
    };
    if config.services.len() > usize::from(BLOCK_MAX) {
        return refuse(&format!("a project has at most {BLOCK_MAX} services"));
    }
    let mut pins: Vec<Port> = config.pins().collect();
    pins.sort_unstable();
    match pins.windows(2).find(|two| two[0] == two[1]) {
        Some(two) => refuse(&format!("two services are pinned to port {}", two[0])),
        None => Ok(()),
    }
}

/// Reads the user's file, if there is one beside this registry file.
pub(super) fn of_user(registry: &Path) -> Result<UserConfig, Failure> {
    let path = registry.with_file_name(NAME);
    // To open the registry is refused: that says more than what is wrong with it as a configuration.
    if path == registry {
        return Ok(UserConfig::default());
    }
    let Some(text) = read(&path, OFlags::NOFOLLOW)? else {
        return Ok(UserConfig::default());
    };
    let file: UserFile = parse(&path, &text, USER_HINT)?;
    check_picks(&path, &text, &file)?;
    let pins = file.pins.map(|ports| ports.0);
    let mut excluded: Vec<PortRange> = file.exclude.into_iter().map(|ports| ports.0).collect();
    excluded.extend(pins);
    if file.exclude_known {
        excluded.extend(known());
    }
    Ok(UserConfig {
        range: file.range.map(|ports| ports.0),
        excluded,
        pins,
        picks: file.picks.map(|ports| ports.into_inner().0),
        path,
    })
}

/// Refuses a band for picks from which nothing could be picked.
fn check_picks(path: &Path, text: &str, file: &UserFile) -> Result<(), Failure> {
    let Some(picks) = &file.picks else {
        return Ok(());
    };
    let band = picks.as_ref().0;
    let refuse =
        |why: &str| Err(at_line(path, text, picks.span().start, why).hint("correct the file"));
    let is_apart = |other: &Option<Ports>| {
        let other = other.as_ref().map(|ports| ports.0);
        other.map(|other| common(other, band).is_none())
    };
    if is_apart(&file.pins) == Some(false) {
        return refuse("picks and pins have ports in common, but a port is picked or pinned");
    }
    if is_apart(&file.range) == Some(true) {
        return refuse("picks and range have no port in common");
    }
    Ok(())
}

/// Returns the ports that are in both ranges.
pub(super) fn common(one: PortRange, other: PortRange) -> Option<PortRange> {
    let (first, last) = (one.first().max(other.first()), one.last().min(other.last()));
    PortRange::new(first, last).ok()
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct ProjectFile {
    services: Vec<Name>,
    port: Option<Port>,
    pins: BTreeMap<Name, Port>,
    range: Option<Ports>,
    exclude: Vec<Ports>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[derive(Default)]
struct UserFile {
    range: Option<Ports>,
    exclude: Vec<Ports>,
    exclude_known: bool,
    pins: Option<Ports>,
    picks: Option<toml::Spanned<Ports>>,
}

/// The name of a service.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let name = String::deserialize(deserializer)?;
        // The library knows what a name is; of which project does not matter.
        let check = ProjectPath::from_normal("/").and_then(|root| Holder::of_service(root, &name));
        check.map_err(D::Error::custom)?;
        Ok(Name(name))
    }
}

/// `8888`, `"8888"` or `"8888-9999"`.
struct Ports(PortRange);

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ports, D::Error> {
        struct AnyOfThem;

        impl Visitor<'_> for AnyOfThem {
            type Value = Ports;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port or a range \"FIRST-LAST\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Ports, E> {
                text.parse().map(Ports).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Ports, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(AnyOfThem)
    }
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str, hint: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        at_line(path, text, start, error.message()).hint(hint)
    })
}

/// Says what is wrong with the line of this byte.
fn at_line(path: &Path, text: &str, at: usize, why: &str) -> Failure {
    let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
    Failure::new(&format!("{}:{line}: {why}", path.display()))
}

/// Reads a file; `None` where there is none, or where nobody can look.
fn read(path: &Path, flags: OFlags) -> Result<Option<String>, Failure> {
    let refuse = |why: &str| {
        let text = format!("{} cannot be used: {why}", path.display());
        Err(Failure::new(&text).hint("correct the file, or move it away"))
    };
    // NONBLOCK: opening a FIFO must not wait for a writer.
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| open(path, flags, Mode::empty())) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        // The directory cannot be entered: what is in it, others read.
        Err(_) if lstat(path).is_err() => return Ok(None),
        Err(Errno::LOOP | Errno::MLINK) if flags.contains(OFlags::NOFOLLOW) => {
            return refuse("it is a symbolic link");
        }
        Err(Errno::NXIO) => return refuse("it is no regular file"),
        Err(error) => return Err(failed(path, &error.into())),
    };
    let stat = fstat(&file).map_err(|error| failed(path, &error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return refuse("it is no regular file");
    }
    let mut bytes = Vec::new();
    File::from(file)
        .take(LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(path, &error))?;
    if bytes.len() as u64 > LEN_MAX {
        return refuse("it is longer than 64 KiB");
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => refuse("it is not UTF-8"),
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::io(&format!("failed to read {}", path.display()), error)
        .hint("make the file readable, or move it away")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_file_says_it_is_read_or_refused(text in "([a-z\\[\\]{}=\",.0-9 \n#'\\\\-]|range|pins|picks|exclude|services|port| = |\\PC)*") {
            let path = Path::new("portclaim.toml");
            let _ = parse::<ProjectFile>(path, &text, PROJECT_HINT);
            let _ = parse::<UserFile>(path, &text, USER_HINT);
        }
    }
}
