//! `portclaim list`: all projects that have a port.

use std::collections::BTreeMap;
use std::fmt::Write;

use portclaim::{Availability, Holder, Listener, Port, Record, Registry, Summary};
use serde::Serialize;

use super::report::{Failure, Outcome, print, print_json, print_styled, warning};
use super::settings::{Settings, stdout_is_terminal};
use super::text::escape;

#[derive(Serialize)]
struct Listed<'a> {
    registry: &'a str,
    range: Range,
    total: u32,
    allocated: u32,
    available: u32,
    next_available: Option<u16>,
    claims: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Range {
    min: u16,
    max: u16,
}

#[derive(Serialize)]
struct Row<'a> {
    port: u16,
    name: &'a str,
    path: &'a str,
    service: &'a str,
    /// `null` where it cannot be known.
    listening: Option<bool>,
    listeners: Vec<Program>,
}

/// A program that listens on a port. What may not be known is `null`.
#[derive(Serialize)]
pub(super) struct Program {
    address: String,
    pid: Option<u32>,
    command: Option<String>,
    user: Option<u32>,
}

impl From<&Listener> for Program {
    fn from(listener: &Listener) -> Program {
        Program {
            address: listener.address.to_string(),
            pid: listener.pid,
            command: listener.command.clone(),
            user: listener.user,
        }
    }
}

/// Who listens, by port; or only whether somebody does, where more cannot be known.
pub(super) enum Listening {
    Known(BTreeMap<Port, Vec<Listener>>),
    Unknown,
}

impl Listening {
    pub(super) fn of(wanted: &dyn Fn(Port) -> bool) -> Listening {
        match portclaim::listeners(wanted) {
            Ok(listeners) => {
                let mut by_port: BTreeMap<Port, Vec<Listener>> = BTreeMap::new();
                for listener in listeners {
                    by_port.entry(listener.port).or_default().push(listener);
                }
                Listening::Known(by_port)
            }
            Err(_) => Listening::Unknown,
        }
    }

    /// Returns whether somebody listens on the port.
    pub(super) fn on(&self, port: Port) -> Option<bool> {
        match self {
            Listening::Known(by_port) => Some(by_port.contains_key(&port)),
            Listening::Unknown => match portclaim::probe(port) {
                Ok(Availability::Free) => Some(false),
                Ok(Availability::InUse) => Some(true),
                Ok(Availability::Denied) | Err(_) => None,
            },
        }
    }

    pub(super) fn programs(&self, port: Port) -> &[Listener] {
        match self {
            Listening::Known(by_port) => by_port.get(&port).map_or(&[], Vec::as_slice),
            Listening::Unknown => &[],
        }
    }
}

/// Names the programs that listen, each once, e.g. `node (pid 4711, user 1000)`.
pub(super) fn describe(listeners: &[Listener]) -> String {
    let mut names: Vec<String> = Vec::new();
    for listener in listeners {
        let mut name = match &listener.command {
            Some(command) => escape(command).into_owned(),
            None => "an unknown program".to_owned(),
        };
        let pid = listener.pid.map(|pid| format!("pid {pid}"));
        let user = listener.user.map(|user| format!("user {user}"));
        let details: Vec<String> = pid.into_iter().chain(user).collect();
        if !details.is_empty() {
            let _ = write!(name, " ({})", details.join(", "));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

pub(super) fn run(settings: &Settings, registry: &Registry) -> Result<Outcome, Failure> {
    let mut records = Vec::new();
    for record in registry.records()? {
        match record {
            Ok(record) => records.push(record),
            Err(error) => warning(
                &escape(&error.to_string()),
                Some("portclaim doctor tells more"),
            ),
        }
    }
    let summary = registry.summary()?;
    let listening =
        Listening::of(&|port| records.binary_search_by_key(&port, Record::port).is_ok());
    if settings.json {
        print_json(&as_json(
            registry.index_path().as_str(),
            summary,
            &records,
            &listening,
        ))?;
    } else if stdout_is_terminal() {
        print_styled(&heading(registry, summary))?;
        print_styled(&table(&records, &listening))?;
    } else {
        print(&heading(registry, summary))?;
        print(&lines(&records, &listening))?;
    }
    Ok(Outcome::Yes)
}

fn as_json<'a>(
    registry: &'a str,
    summary: Summary,
    records: &'a [Record],
    listening: &Listening,
) -> Listed<'a> {
    let row = |record: &'a Record| Row {
        port: record.port().get(),
        name: record.project().name(),
        path: record.project().as_str(),
        service: record.holder().service(),
        listening: listening.on(record.port()),
        listeners: listening
            .programs(record.port())
            .iter()
            .map(Program::from)
            .collect(),
    };
    Listed {
        registry,
        range: Range {
            min: summary.range.first().get(),
            max: summary.range.last().get(),
        },
        total: summary.range.len(),
        allocated: summary.allocated,
        available: summary.available,
        next_available: summary.next_available.map(Port::get),
        claims: records.iter().map(row).collect(),
    }
}

fn heading(registry: &Registry, summary: Summary) -> String {
    let next = summary
        .next_available
        .map_or_else(|| "none".to_owned(), |port| port.to_string());
    format!(
        "Registry file:    {}\nPort range:       {}\nTotal ports:      {}\nAllocated ports:  {}\n\
         Available ports:  {}\nNext available:   {next}\n\n",
        escape(registry.index_path().as_str()),
        summary.range,
        summary.range.len(),
        summary.allocated,
        summary.available,
    )
}

const COLUMNS: [&str; 5] = ["PORT", "NAME", "PATH", "LISTENING", "BY"];

fn cells(record: &Record, listening: &Listening) -> [String; 5] {
    let port = record.port();
    [
        port.to_string(),
        name(record.holder()),
        escape(record.project().as_str()).into_owned(),
        match listening.on(port) {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        }
        .to_owned(),
        describe(listening.programs(port)),
    ]
}

/// Names a holder, e.g. `shop` or `shop (web)`.
pub(super) fn name(holder: &Holder) -> String {
    let name = escape(holder.project().name());
    match holder.service() {
        "" => name.into_owned(),
        service => format!("{name} ({})", escape(service)),
    }
}

/// For programs: one line a claim, columns separated by tabs, which names cannot contain
/// because they are escaped.
fn lines(records: &[Record], listening: &Listening) -> String {
    let mut text = COLUMNS.join("\t");
    text.push('\n');
    for record in records {
        text.push_str(&cells(record, listening).join("\t"));
        text.push('\n');
    }
    text
}

fn table(records: &[Record], listening: &Listening) -> String {
    if records.is_empty() {
        return "No project has a port.\n".to_owned();
    }
    let bold = anstyle::Style::new().bold();
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(COLUMNS);
    for record in records {
        table.add_row(cells(record, listening));
    }
    let text = table.trim_fmt();
    match text.split_once('\n') {
        Some((header, rows)) => format!("{bold}{header}{bold:#}\n{rows}\n"),
        None => format!("{text}\n"),
    }
}
