//! `portclaim env`: the project's ports as variables, for other programs.

use std::collections::BTreeMap;

use portclaim::{Holder, ProjectPath, Record, Registry, Request};

use super::args::{EnvArgs, Format};
use super::marked::replace_block;
use super::quote::statements;
use super::report::{Failure, Outcome, print, print_json, tell_hint, warning};
use super::settings::{Settings, project, stdout_is_terminal};
use super::show::advice;
use super::text::escape;
use super::variables::{Variable, variables};

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    args: &EnvArgs,
) -> Result<Outcome, Failure> {
    let format = format(settings, args)?;
    let project = project(args.path.as_deref())?;
    let mut records = records_of(registry, &project)?;
    if records.is_empty() && args.allocate {
        let claim = registry.claim(&Request::new(Holder::new(project.clone())))?;
        records.push(claim.keep());
    }
    if records.is_empty() {
        if format == Format::Json {
            print_all(format, &variables(&project, &records)?)?;
        }
        warning(&format!("{} has no port", escape(project.as_str())), None);
        tell_hint(&advice(registry, &project, &Holder::new(project.clone()))?);
        return Ok(Outcome::No);
    }
    let variables = variables(&project, &records)?;
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
    let mut records = Vec::new();
    for record in registry.records()? {
        match record {
            Ok(record) if record.project() == project => records.push(record),
            Ok(_) => {}
            Err(error) => warning(
                &escape(&error.to_string()),
                Some("portclaim doctor tells more"),
            ),
        }
    }
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
