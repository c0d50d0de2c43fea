//! How projects and holders are called, and where projects lie: all in the run's directory.

use camino::Utf8PathBuf;
use portclaim::{Holder, ProjectPath};

use super::plan::{Plan, SERVICES_COUNT, holder_at, project_of};

/// Where the projects lie of which nobody makes directories. This one does not exist either, so
/// that no `prune` may touch them.
const NOWHERE: &str = "nowhere";

/// Where those lie whose directories are made and removed.
pub(super) const PLACES: &str = "places";

/// Where the registry is.
pub(super) const REGISTRY: &str = "registry";

/// What can have a port in a project. The last one is the second port of a row, which nobody can
/// name in a request.
const SERVICES: [&str; SERVICES_COUNT as usize] = ["", "web", "db", "db+1"];

impl Plan {
    /// Returns the registry's directory.
    pub(super) fn root(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(&self.directory).join(REGISTRY)
    }

    /// Returns the path of this project.
    pub(super) fn path(&self, project: u32) -> ProjectPath {
        let parent = if self.is_placed(project) {
            PLACES
        } else {
            NOWHERE
        };
        ProjectPath::from_normal(format!("{}/{parent}/{project}", self.directory))
            .expect("the run's directory is in normal form")
    }

    /// Returns the holder of this number, one that requests can name.
    pub(super) fn holder(&self, number: u32) -> Holder {
        let project = self.path(project_of(number));
        match SERVICES[(number % SERVICES_COUNT) as usize] {
            "" => Holder::new(project),
            service => Holder::of_service(project, service).expect("it can be named"),
        }
    }

    /// Returns how a holder of this number is called.
    pub(super) fn name(&self, number: u32) -> String {
        let project = self.path(project_of(number));
        match SERVICES[(number % SERVICES_COUNT) as usize] {
            "" => project.to_string(),
            service => format!("{project} ({service})"),
        }
    }

    /// Returns the number of a holder, `None` where it is none of the run.
    pub(super) fn holder_of(&self, holder: &Holder) -> Option<u32> {
        self.numbered(holder.project().as_str(), holder.service())
    }

    /// Returns the number of the holder that is called so.
    pub(super) fn holder_named(&self, name: &str) -> Option<u32> {
        match name.strip_suffix(')') {
            Some(name) => {
                let (path, service) = name.rsplit_once(" (")?;
                self.numbered(path, service)
            }
            None => self.numbered(name, ""),
        }
    }

    fn numbered(&self, path: &str, service: &str) -> Option<u32> {
        let project: u32 = path.rsplit_once('/')?.1.parse().ok()?;
        let is_one = project < self.projects() && self.path(project).as_str() == path;
        let mut services = SERVICES.iter().zip(0..);
        let service = services.find(|(name, _)| **name == service)?.1;
        is_one.then(|| holder_at(project, service))
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{is_named, tests::plan};
    use super::*;

    #[test]
    fn a_holder_is_known_by_its_path_and_service() {
        let plan = plan(3);
        for number in 0..plan.holders() {
            assert_eq!(plan.holder_named(&plan.name(number)), Some(number));
            if is_named(number) {
                let holder = plan.holder(number);
                assert_eq!(plan.holder_of(&holder), Some(number));
                assert_eq!(holder.to_string(), plan.name(number));
            }
        }
        let other = ProjectPath::from_normal("/elsewhere/7").expect("normal");
        assert_eq!(plan.holder_of(&Holder::new(other)), None);
        for name in [
            "/tmp/nowhere/7 (mail)",
            "/tmp/places/7",
            "/tmp/nowhere/9999",
        ] {
            assert_eq!(plan.holder_named(name), None, "{name}");
        }
    }
}
