//! Whose port a command is about, and what is asked for it.

use std::path::Path;

use portclaim::{Error, Holder, Port, PortRange, ProjectPath, Record, Registry, Request};

use super::config::{self, ProjectConfig};
use super::global::Target;
use super::report::{Failure, warn_of};
use super::settings::{Settings, project};

/// Returns the records that can be read, and warns of the others.
pub(super) fn readable(registry: &Registry) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    for record in registry.records()? {
        match record {
            Ok(record) => records.push(record),
            Err(error) => warn_of_unreadable(&error),
        }
    }
    Ok(records)
}

/// Warns of a claim that cannot be read.
pub(super) fn warn_of_unreadable(error: &Error) {
    warn_of(error, Some("portclaim doctor tells more"));
}

/// Returns the project that is meant, whose directory may be gone: the one that has a port under
/// this very path, even if it is a link to somewhere else now; else the one that the path leads to.
pub(super) fn known_project(typed: &Path, records: &[Record]) -> Result<ProjectPath, Failure> {
    let is_written = |record: &&Record| record.project().as_path() == typed;
    if let Some(record) = records.iter().find(is_written) {
        return Ok(record.project().clone());
    }
    project(Some(typed))
}

/// A project and its services, each once, in the order in which they were named.
pub(super) struct Holders {
    pub(super) project: ProjectPath,
    pub(super) all: Vec<Holder>,
    pub(super) config: ProjectConfig,
}

impl Holders {
    /// Without a name, the services that the project's file lists; without a list, the unnamed one.
    pub(super) fn of(settings: &Settings, target: &Target) -> Result<Holders, Failure> {
        let project = project(target.path.as_deref())?;
        let config = config::of_project(&project, settings.registry())?;
        let names = if target.services.is_empty() {
            &config.services
        } else {
            &target.services
        };
        let mut all = Vec::new();
        for name in names {
            let holder = Holder::of_service(project.clone(), name)?;
            if !all.contains(&holder) {
                all.push(holder);
            }
        }
        if all.is_empty() {
            all.push(Holder::new(project.clone()));
        }
        Ok(Holders {
            project,
            all,
            config,
        })
    }

    /// The same, where no service can be named.
    pub(super) fn of_project(settings: &Settings, path: Option<&Path>) -> Result<Holders, Failure> {
        let target = Target {
            path: path.map(Path::to_owned),
            services: Vec::new(),
        };
        Holders::of(settings, &target)
    }

    /// Returns what is asked for: this port, or else what the project's file and the user's say.
    pub(super) fn requests(
        &self,
        settings: &Settings,
        registry: &Registry,
        port: Option<Port>,
    ) -> Result<Vec<Request>, Failure> {
        let request = |holder: &Holder| {
            if let Some(port) = port {
                return Ok(request_for(holder).port(port));
            }
            let Some(pin) = self.config.pin(holder.service()) else {
                return self.automatic(settings, holder);
            };
            self.check_pin(settings, registry, holder, pin)?;
            Ok(request_for(holder).port(pin))
        };
        self.all.iter().map(request).collect()
    }

    /// Asks for any port that neither file keeps from being given out.
    pub(super) fn automatic(
        &self,
        settings: &Settings,
        holder: &Holder,
    ) -> Result<Request, Failure> {
        // What one service is pinned to, no other one is given by chance.
        let pins = self.config.pins().map(PortRange::from);
        let left_out = pins.chain(self.config.exclude.iter().copied());
        let range = settings.range_of(self.config.range)?;
        Ok(request_for(holder).within(range).exclude(left_out))
    }

    /// Refuses a pin outside the user's band for them, and one in that for all others, unless it is there
    /// already.
    fn check_pin(
        &self,
        settings: &Settings,
        registry: &Registry,
        holder: &Holder,
        pin: Port,
    ) -> Result<(), Failure> {
        let user = settings.user();
        let outside = user.pins.filter(|band| !band.contains(pin));
        let inside = user.picks.filter(|band| band.contains(pin));
        let rule = match (outside, inside) {
            (Some(band), _) => format!("lets pins be in {band} only"),
            (None, Some(band)) => format!("lets no pin be in {band}"),
            (None, None) => return Ok(()),
        };
        if registry
            .find(holder)?
            .is_some_and(|record| record.port() == pin)
        {
            return Ok(());
        }
        Err(Failure::new(&format!(
            "{}: {holder} is pinned to port {pin}, and {} {rule}",
            self.config.path.display(),
            user.path.display()
        ))
        .hint(
            "change the pin, or the band; portclaim allocate --port gives it the port all the same",
        ))
    }
}

/// Every claim says which repository the project is in: who moves it does not know that before.
fn request_for(holder: &Holder) -> Request {
    Request::new(holder.clone()).note_repository()
}
