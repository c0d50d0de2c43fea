//! `portclaim env`: the project's ports as variables, for other programs.

use std::collections::BTreeMap;

use portclaim::{Claim, Holder, ProjectPath, Record, Registry};

use super::allocate::{Wanted, claim};
use super::args::{EnvArgs, Format};
use super::claims::warn_of_none;
use super::marked::replace_block;
use super::quote::statements;
use super::report::{Failure, Outcome, print, print_json, tell_hint};
use super::settings::{Settings, stdout_is_terminal};
use super::show::advice;
use super::target::{Holders, readable};
use super::text::escape;
use super::variables::{Variable, variables};

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    args: &EnvArgs,
) -> Result<Outcome, Failure> {
    let format = format(settings, args)?;
    let holders = Holders::of_project(settings, args.path.as_deref())?;
    let project = &holders.project;
    // Services that are listed all get one; otherwise any port will do.
    let has_list = !holders.config.services.is_empty();
    let mut records = records_of(registry, project)?;
    if args.allocate && (has_list || records.is_empty()) {
        let claims = claim(settings, registry, &holders, &Wanted::default())?;
        if claims.iter().any(Claim::is_new) {
            records = records_of(registry, project)?;
        }
    }
    if records.is_empty() {
        if format == Format::Json {
            print_all(format, &variables(project, &records)?)?;
        }
        warn_of_none(project.as_str());
        tell_hint(&advice(registry, project, &Holder::new(project.clone()))?);
        return Ok(Outcome::No);
    }
    let variables = variables(project, &records)?;
    match &args.write {
        Some(file) => replace_block(file, &statements(format, &variables))?,
        None => print_all(format, &variables)?,
    }
    Ok(Outcome::Yes)
}

fn format(settings: &Settings, args: &EnvArgs) -> Result<Format, Failure> {
    let named = args.format.or(settings.json.then_some(Format::Json));
    let by_default = if args.write.is_some() {
        Format::Dotenv
    } else {
        Format::Shell
    };
    let format = named.unwrap_or(by_default);
    if settings.json && format != Format::Json {
        return Err(Failure::new("--json and --format name two formats"));
    }
    // In no other one a value is on one line, whatever it is: lines of a path could be marks.
    if args.write.is_some() && format != Format::Dotenv {
        return Err(
            Failure::new("--write writes the format dotenv, and no other").hint(
                "leave --format and --json out, or redirect the output: portclaim env > FILE",
            ),
        );
    }
    Ok(format)
}

/// Returns the records of all services of a project.
fn records_of(registry: &Registry, project: &ProjectPath) -> Result<Vec<Record>, Failure> {
    let mut records = readable(registry)?;
    records.retain(|record| record.project() == project);
    Ok(records)
}

fn print_all(format: Format, variables: &[Variable]) -> Result<(), Failure> {
    if format == Format::Json {
        let members = variables.iter().map(|one| (&*one.name, &*one.value));
        return print_json(&members.collect::<BTreeMap<&str, &str>>());
    }
    if !stdout_is_terminal() {
        return print(&statements(format, variables));
    }
    let escaped = |one: &Variable| Variable {
        name: one.name.clone(),
        value: escape(&one.value).into_owned(),
    };
    let escaped: Vec<Variable> = variables.iter().map(escaped).collect();
    print(&statements(format, &escaped))
}
