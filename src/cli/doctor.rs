//! `portclaim doctor`: everything that is not as it should be.

use std::fmt::Write;

use portclaim::{Finding, FindingKind, Registry};
use serde::Serialize;

use super::report::{Failure, Outcome, print_json, print_styled, tell_hint};
use super::settings::Settings;
use super::text::escape;

#[derive(Serialize)]
struct Examined<'a> {
    healthy: bool,
    findings: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    kind: &'static str,
    path: &'a str,
    detail: &'a str,
    fixed: bool,
}

pub(super) fn run(settings: &Settings, registry: &Registry, fix: bool) -> Result<Outcome, Failure> {
    let report = if fix {
        registry.repair()?
    } else {
        registry.check()?
    };
    if settings.json {
        print_json(&Examined {
            healthy: report.is_healthy(),
            findings: report
                .findings
                .iter()
                .map(|finding| Found {
                    kind: finding.kind.name(),
                    path: finding.path.as_str(),
                    detail: &finding.detail,
                    fixed: finding.fixed,
                })
                .collect(),
        })?;
    } else {
        print_styled(&text(registry, &report.findings))?;
    }
    if report.is_healthy() {
        return Ok(Outcome::Yes);
    }
    if !fix
        && report
            .findings
            .iter()
            .any(|finding| remedy(finding.kind).is_none())
    {
        tell_hint("portclaim doctor --fix mends what can be mended");
    }
    Ok(Outcome::No)
}

fn text(registry: &Registry, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return format!("{} is healthy\n", escape(registry.root().as_str()));
    }
    let mut text = String::new();
    for finding in findings {
        let (style, word) = if finding.fixed {
            (anstyle::AnsiColor::Green.on_default(), "fixed")
        } else {
            (anstyle::AnsiColor::Yellow.on_default(), "found")
        };
        let _ = writeln!(
            text,
            "{style}{word}{style:#} {}: {}: {}",
            finding.kind.name(),
            escape(finding.path.as_str()),
            escape(&finding.detail)
        );
        if let Some(remedy) = remedy(finding.kind).filter(|_| !finding.fixed) {
            let _ = writeln!(text, "      {remedy}");
        }
    }
    text
}

/// What a person can do about what no repair can mend.
fn remedy(kind: FindingKind) -> Option<&'static str> {
    Some(match kind {
        FindingKind::LaterFormat => "use a later version of portclaim for this registry",
        FindingKind::Owner => "only that user, or root, can change it",
        FindingKind::UnusableEntry => "it stays in the file; only an editor can remove it",
        FindingKind::NetworkFilesystem => "use --registry with a file on a local disk",
        FindingKind::EphemeralRange => "choose another range with --port-min and --port-max",
        _ => return None,
    })
}
