//! What holds for this call: flags, then environment, then configuration, then defaults. The only
//! reader of the environment as far as portclaim itself goes by it, and of what standard output is.

#![expect(clippy::disallowed_methods, reason = "this file owns the environment")]

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use portclaim::{Claim, ErrorKind, IndexPolicy, Port, PortRange, ProjectPath, Registry};

use super::config::{self, UserConfig};
use super::global::Global;
use super::report::{Failure, warning};
use super::text::escape;

/// Where the registry file is by default, in the home directory.
const DEFAULT_REGISTRY: &str = ".config/litellm/port_registry.json";

/// The settings of one call.
pub(super) struct Settings {
    pub(super) json: bool,
    registry: PathBuf,
    /// The bounds of the range that flags or environment name.
    first: Option<Port>,
    last: Option<Port>,
    range: PortRange,
    user: UserConfig,
}

impl Settings {
    pub(super) fn resolve(global: &Global) -> Result<Settings, Failure> {
        let registry = match &global.registry {
            Some(path) => path.clone(),
            None => registry_from_environment()?,
        };
        let first = port(global.port_min, "INTERCEPTOR_PORT_MIN")?;
        let last = port(global.port_max, "INTERCEPTOR_PORT_MAX")?;
        let user = config::of_user(&registry)?;
        let default = user.range.or(user.picks).unwrap_or_default();
        let range = picked(&user, bounded(first, last, default)?)?;
        Ok(Settings {
            json: global.json,
            registry,
            first,
            last,
            range,
            user,
        })
    }

    /// Returns what the user's file says.
    pub(super) fn user(&self) -> &UserConfig {
        &self.user
    }

    /// Returns the range of a project whose file names this one.
    pub(super) fn range_of(&self, project: Option<PortRange>) -> Result<PortRange, Failure> {
        project.map_or(Ok(self.range), |range| {
            picked(&self.user, bounded(self.first, self.last, range)?)
        })
    }

    /// Warns of a range that somebody chose and that the kernel takes ports from as well, where it
    /// matters: when a port of it is given for good.
    pub(super) fn warn_of_ephemeral(&self, project: Option<PortRange>, claims: &[Claim]) {
        let Ok(range) = self.range_of(project) else {
            return;
        };
        let is_chosen = range != PortRange::default();
        if !is_chosen || !claims.iter().any(Claim::is_new) {
            return;
        }
        if let Some(ephemeral) = portclaim::ephemeral_range()
            && config::common(ephemeral, range).is_some()
        {
            warning(
                &format!(
                    "the range {range} overlaps {ephemeral}, from which the kernel takes ports for outgoing \
                     connections: a port may be in use when its server starts"
                ),
                Some("choose a range outside of it"),
            );
        }
    }

    pub(super) fn registry(&self) -> &Path {
        &self.registry
    }

    pub(super) fn range(&self) -> PortRange {
        self.range
    }

    pub(super) fn open(&self) -> Result<Registry, Failure> {
        let options = Registry::options()
            .range(self.range)
            .exclude(self.user.excluded.iter().copied())
            .index(IndexPolicy::Defer);
        options
            .open_file(&self.registry)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidPath => Failure::from(error)
                    .hint("name the registry file: --registry FILE, or PORT_REGISTRY_PATH"),
                _ => Failure::from(error),
            })
    }
}

/// Warns of a registry on a file system whose locks cannot be trusted. Returns whether its
/// directory is there.
pub(super) fn warn_of_filesystem(registry: &Registry) -> Result<bool, Failure> {
    let Some(filesystem) = registry.filesystem()? else {
        return Ok(false);
    };
    if !filesystem.locks() && variable("PORTCLAIM_NO_NFS_WARNING").is_none_or(|value| value != "1")
    {
        warning(
            &format!(
                "the registry {} lies on {filesystem}: claims are safe, but file locks are not used there, \
                 so nothing is swept, the registry file may lag behind, and a release is safe only while \
                 nobody else releases and claims the same port",
                escape(registry.root().as_str())
            ),
            Some("use --registry with a file on a local disk, or set PORTCLAIM_NO_NFS_WARNING=1"),
        );
    }
    Ok(true)
}

/// Returns whether standard output is a terminal: tables and colour only there.
pub(super) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Returns where this program lies.
pub(super) fn own_program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// Returns whether a person can answer a question.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Returns the project of a command: the path that was typed, else the current directory.
pub(super) fn project(path: Option<&Path>) -> Result<ProjectPath, Failure> {
    let typed = path.unwrap_or(Path::new(""));
    ProjectPath::resolve(typed).map_err(|error| match error.kind() {
        ErrorKind::Io => {
            Failure::from(error).hint("name the project's directory, or change to one that exists")
        }
        _ => Failure::from(error).hint("a project is known by its path, which must be UTF-8"),
    })
}

/// An empty variable counts as unset.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn registry_from_environment() -> Result<PathBuf, Failure> {
    if let Some(path) = variable("PORT_REGISTRY_PATH") {
        return Ok(path.into());
    }
    match variable("HOME") {
        Some(home) => Ok(Path::new(&home).join(DEFAULT_REGISTRY)),
        None => Err(
            Failure::new("it is not known where the registry is: HOME is not set")
                .hint("set HOME or PORT_REGISTRY_PATH, or use --registry"),
        ),
    }
}

/// Returns a range with these bounds, if any, in the place of its own.
fn bounded(
    first: Option<Port>,
    last: Option<Port>,
    range: PortRange,
) -> Result<PortRange, Failure> {
    let (first, last) = (first.unwrap_or(range.first()), last.unwrap_or(range.last()));
    PortRange::new(first, last).map_err(|error| {
        Failure::from(error).hint(
            "the range is set by --port-min and --port-max, INTERCEPTOR_PORT_MIN and INTERCEPTOR_PORT_MAX, \
             or range in portclaim.toml",
        )
    })
}

/// Returns the part of a range that lies in the user's band for picks.
fn picked(user: &UserConfig, range: PortRange) -> Result<PortRange, Failure> {
    let Some(band) = user.picks else {
        return Ok(range);
    };
    config::common(range, band).ok_or_else(|| {
        let path = user.path.display();
        Failure::new(&format!(
            "no port can be picked from {range}: {path} lets picks be in {band} only"
        ))
        .hint("change the range, or the band; portclaim allocate --port gives any port")
    })
}

/// Returns the port that a flag names, or else a variable.
pub(super) fn port(flag: Option<Port>, name: &str) -> Result<Option<Port>, Failure> {
    if flag.is_some() {
        return Ok(flag);
    }
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    match value.to_string_lossy().trim().parse() {
        Ok(port) => Ok(Some(port)),
        Err(error) => {
            Err(Failure::from(error).hint(&format!("correct or unset the variable {name}")))
        }
    }
}
