//! `portclaim reset`: gives all ports back.

use std::io::{BufRead, Write};

use portclaim::Registry;
use serde::Serialize;

use super::report::{Failure, Outcome, print, print_json, warning};
use super::settings::{Settings, can_ask};
use super::text::escape;

#[derive(Serialize)]
struct Done<'a> {
    /// `null` where there was no registry.
    backup: Option<&'a str>,
    released: Vec<Released<'a>>,
}

#[derive(Serialize)]
struct Released<'a> {
    port: u16,
    project: &'a str,
    service: &'a str,
}

pub(super) fn run(settings: &Settings, registry: &Registry, yes: bool) -> Result<Outcome, Failure> {
    if !yes && !confirmed(registry)? {
        warning("cancelled: nothing was changed", None);
        return Ok(Outcome::No);
    }
    let reset = registry.reset()?;
    if settings.json {
        print_json(&Done {
            backup: reset.backup.as_ref().map(|path| path.as_str()),
            released: reset
                .released
                .iter()
                .map(|record| Released {
                    port: record.port().get(),
                    project: record.project().as_str(),
                    service: record.holder().service(),
                })
                .collect(),
        })?;
        return Ok(Outcome::Yes);
    }
    let text = match &reset.backup {
        Some(backup) => {
            let ports = match reset.released.len() {
                1 => "1 port".to_owned(),
                count => format!("{count} ports"),
            };
            format!(
                "released {ports}; the old state is in {}\n",
                escape(backup.as_str())
            )
        }
        None => "there is no registry\n".to_owned(),
    };
    print(&text)?;
    Ok(Outcome::Yes)
}

/// Asks on the terminal. Only `yes` counts, in any case.
fn confirmed(registry: &Registry) -> Result<bool, Failure> {
    if !can_ask() {
        return Err(Failure::new(
            "a reset gives all ports back, and nobody can be asked: this is no terminal",
        )
        .hint("portclaim reset --yes does not ask"));
    }
    warning(
        &format!(
            "this gives back the ports of all projects in {}",
            escape(registry.root().as_str())
        ),
        None,
    );
    let mut out = anstream::stderr().lock();
    let asked = write!(out, "Are you sure? (yes/no): ").and_then(|()| out.flush());
    drop(out);
    let mut answer = String::new();
    asked
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer).map(drop))
        .map_err(|error| Failure::io("failed to ask", &error))?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}
