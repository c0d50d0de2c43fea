//! `portclaim index`: writes the registry file anew.

use portclaim::Registry;
use serde::Serialize;

use super::report::{Failure, Outcome, print, print_json};
use super::settings::Settings;

#[derive(Serialize)]
struct Written<'a> {
    registry: &'a str,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    when_quiet: bool,
) -> Result<Outcome, Failure> {
    let path = if when_quiet {
        registry.refresh_when_quiet()?;
        registry.index_path()
    } else {
        registry.refresh_index()?
    };
    if settings.json {
        print_json(&Written {
            registry: path.as_str(),
        })?;
    } else {
        // For programs as well: the path as it is.
        print(&format!("{path}\n"))?;
    }
    Ok(Outcome::Yes)
}
