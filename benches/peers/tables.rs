//! Markdown tables.

use std::fmt::Write;

use crate::common::millis;
use crate::measure::{Column, Tally};
use crate::tools::Tool;

/// Stands where there is nothing to measure.
const NONE: &str = "-";

fn table(titles: &[String], rows: impl Iterator<Item = (String, Vec<String>)>) -> String {
    let mut text = format!(
        "| | {} |\n|---{}|\n",
        titles.join(" | "),
        "|---".repeat(titles.len())
    );
    for (name, cells) in rows {
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text
}

/// Medians, and their ratios to a program that does nothing.
pub(crate) fn times(tools: &[Box<dyn Tool>], columns: &[Column]) -> String {
    let titles: Vec<String> = columns.iter().map(|column| column.title.clone()).collect();
    let floor = columns
        .iter()
        .map(|column| format!("{:.2} ms", millis(column.floor)));
    let floor = ("`true`".to_owned(), floor.collect());
    let rows = tools.iter().enumerate().map(|(number, tool)| {
        let cell = |column: &Column| match column.cells[number] {
            Some(time) => format!(
                "{:.2} ms, {:.2} ×",
                millis(time),
                time.as_secs_f64() / column.floor.as_secs_f64()
            ),
            None => NONE.to_owned(),
        };
        (tool.name().to_owned(), columns.iter().map(cell).collect())
    });
    table(&titles, std::iter::once(floor).chain(rows))
}

/// Peaks, KiB: of `true`, then of each tool and its server.
pub(crate) fn memory(tools: &[Box<dyn Tool>], peaks: &[(Option<u64>, Option<u64>)]) -> String {
    let names = std::iter::once("`true`").chain(tools.iter().map(|tool| tool.name()));
    let cell = |(peak, server): &(Option<u64>, Option<u64>)| match (peak, server) {
        (Some(peak), Some(server)) => format!("{} and {}", mebibytes(*peak), mebibytes(*server)),
        (Some(peak), None) => mebibytes(*peak),
        (None, _) => NONE.to_owned(),
    };
    let rows = names
        .zip(peaks)
        .map(|(name, peaks)| (name.to_owned(), vec![cell(peaks)]));
    table(&["peak memory, MiB".to_owned()], rows)
}

fn mebibytes(kibibytes: u64) -> String {
    let tenths = kibibytes * 10 / 1024;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// What is wrong with the answers: a column for each title.
pub(crate) fn answers(tools: &[Box<dyn Tool>], titles: &[&str], tallies: &[Vec<Tally>]) -> String {
    let titles: Vec<String> = titles.iter().map(|&title| title.to_owned()).collect();
    let rows = tools.iter().enumerate().map(|(number, tool)| {
        let cell = |tallies: &Vec<Tally>| {
            let Tally {
                asked,
                failed,
                duplicates,
                changed,
            } = tallies[number];
            if asked == 0 {
                return NONE.to_owned();
            }
            let changed = if tool.remembers() {
                changed.to_string()
            } else {
                NONE.to_owned()
            };
            format!("{failed} / {duplicates} / {changed} of {asked}")
        };
        (tool.name().to_owned(), tallies.iter().map(cell).collect())
    });
    table(&titles, rows)
}
