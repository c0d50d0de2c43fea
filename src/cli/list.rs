//! `portclaim list`: all projects that have a port.

use portclaim::{Port, Record, Registry, Summary, Term};
use serde::Serialize;

use super::claims::{name, seconds, term};
use super::listening::{Listening, Program, describe, in_words};
use super::projects::Projects;
use super::report::{Failure, Outcome, print, print_json, print_styled};
use super::settings::{Settings, stdout_is_terminal};
use super::target::warn_of_unreadable;
use super::text::escape;

#[derive(Serialize)]
struct Listed<'a> {
    registry: &'a str,
    range: Range,
    total: u32,
    allocated: u32,
    /// Ports whose claims cannot be read.
    unreadable: u32,
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
    term: &'static str,
    /// When a `ttl` expires, seconds since 1970. It is not given away before somebody wants it.
    expires: Option<u64>,
    /// The process of an `owner`.
    owner: Option<u32>,
    /// `null` where it cannot be known.
    listening: Option<bool>,
    listeners: Vec<Program<'a>>,
}

pub(super) fn run(settings: &Settings, registry: &Registry) -> Result<Outcome, Failure> {
    let overview = registry.overview()?;
    overview.unreadable.iter().for_each(warn_of_unreadable);
    let summary = overview.summary;
    let mut records = overview.records;
    records.extend(overview.leases);
    records.sort_by_key(Record::port);
    let listening =
        Listening::of(&|port| records.binary_search_by_key(&port, Record::port).is_ok());
    let projects = Projects::of(&records);
    if settings.json {
        print_json(&as_json(
            registry,
            registry.index_path().as_str(),
            summary,
            &records,
            &listening,
            &projects,
        ))?;
    } else if stdout_is_terminal() {
        print_styled(&heading(registry, summary))?;
        print_styled(&table(&records, &listening, &projects))?;
    } else {
        print(&heading(registry, summary))?;
        print(&lines(&records, &listening, &projects))?;
    }
    Ok(Outcome::Yes)
}

fn as_json<'a>(
    registry: &Registry,
    index: &'a str,
    summary: Summary,
    records: &'a [Record],
    listening: &'a Listening,
    projects: &'a Projects,
) -> Listed<'a> {
    let row = |record: &'a Record| Row {
        port: record.port().get(),
        name: record.project().name(),
        path: record.project().as_str(),
        service: record.holder().service(),
        term: term(record),
        expires: registry.expires(record).ok().flatten().map(seconds),
        owner: owner(record),
        listening: listening.on(record.port()),
        listeners: Program::all(listening.programs(record.port()), projects),
    };
    Listed {
        registry: index,
        range: Range {
            min: summary.range.first().get(),
            max: summary.range.last().get(),
        },
        total: summary.range.len(),
        allocated: summary.allocated,
        unreadable: summary.unreadable,
        available: summary.available,
        next_available: summary.next_available.map(Port::get),
        claims: records.iter().map(row).collect(),
    }
}

fn heading(registry: &Registry, summary: Summary) -> String {
    let next = summary
        .next_available
        .map_or_else(|| "none".to_owned(), |port| port.to_string());
    let unreadable = match summary.unreadable {
        0 => String::new(),
        count => format!("Unreadable:       {count}\n"),
    };
    format!(
        "Registry file:    {}\nPort range:       {}\nTotal ports:      {}\nAllocated ports:  {}\n{unreadable}\
         Available ports:  {}\nNext available:   {next}\n\n",
        escape(registry.index_path().as_str()),
        summary.range,
        summary.range.len(),
        summary.allocated,
        summary.available,
    )
}

const COLUMNS: [&str; 5] = ["PORT", "NAME", "PATH", "LISTENING", "BY"];

fn cells(record: &Record, listening: &Listening, projects: &Projects) -> [String; 5] {
    let port = record.port();
    [
        port.to_string(),
        name(record),
        escape(record.project().as_str()).into_owned(),
        in_words(listening.on(port)).to_owned(),
        describe(listening.programs(port), Some(record.project()), projects),
    ]
}

/// The process that a claim lives with.
fn owner(record: &Record) -> Option<u32> {
    match record.term() {
        Term::Owner(owner) => Some(owner.pid),
        _ => None,
    }
}

/// For programs: one line a claim, columns separated by tabs, which names cannot contain
/// because they are escaped.
fn lines(records: &[Record], listening: &Listening, projects: &Projects) -> String {
    let mut text = COLUMNS.join("\t");
    text.push('\n');
    for record in records {
        text.push_str(&cells(record, listening, projects).join("\t"));
        text.push('\n');
    }
    text
}

fn table(records: &[Record], listening: &Listening, projects: &Projects) -> String {
    if records.is_empty() {
        return "No project has a port.\n".to_owned();
    }
    let bold = anstyle::Style::new().bold();
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(COLUMNS);
    for record in records {
        table.add_row(cells(record, listening, projects));
    }
    let text = table.trim_fmt();
    match text.split_once('\n') {
        Some((header, rows)) => format!("{bold}{header}{bold:#}\n{rows}\n"),
        None => format!("{text}\n"),
    }
}
