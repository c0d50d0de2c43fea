//! `portclaim prune`: gives back the ports of projects whose directories were deleted.

use std::path::Path;
use std::time::{Duration, SystemTime};

use portclaim::{Fate, Prune, Pruned, Registry};
use serde::Serialize;

use super::args::PruneArgs;
use super::claims::{ServicePort, ports, seconds, warn_of_none};
use super::report::{Failure, Outcome, print, print_json};
use super::settings::Settings;
use super::target::{known_project, readable};
use super::text::{escape, lines};

#[derive(Serialize)]
struct Answer<'a> {
    dry_run: bool,
    projects: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    project: &'a str,
    ports: Vec<ServicePort<'a>>,
    /// `removed`, `missing` or `kept`.
    outcome: &'static str,
    /// When it was seen missing first, in seconds since 1970; `null` where that is not the outcome,
    /// or nobody has noted it.
    since: Option<u64>,
    /// Why it is kept.
    reason: Option<&'static str>,
    detail: Option<String>,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    args: &PruneArgs,
) -> Result<Outcome, Failure> {
    let now = now();
    let older_than = args.older_than;
    let mut prune = Prune::new(now).older_than(older_than).dry_run(args.dry_run);
    let forced = match &args.force {
        Some(path) => Some(known_project(Path::new(path), &readable(registry)?)?),
        None => None,
    };
    if let Some(project) = &forced {
        prune = prune.force(project.clone());
    }
    let pruned = registry.prune(&prune)?;
    if settings.json {
        print_json(&Answer {
            dry_run: args.dry_run,
            projects: pruned.iter().map(as_json).collect(),
        })?;
    } else {
        let line = |one: &Pruned| describe(one, args, now, older_than);
        print(&lines(pruned.iter().map(line)))?;
    }
    let Some(project) = forced else {
        return Ok(Outcome::Yes);
    };
    if pruned.is_empty() {
        warn_of_none(project.as_str());
    }
    let is_removed = pruned.iter().any(|one| one.fate == Fate::Removed);
    Ok(if is_removed {
        Outcome::Yes
    } else {
        Outcome::No
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a directory has been missing is a matter of time"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn as_json(one: &Pruned) -> Found<'_> {
    let (outcome, since, why) = match &one.fate {
        Fate::Removed => ("removed", None, None),
        Fate::Missing { since } => ("missing", *since, None),
        Fate::Kept(why) => ("kept", None, Some(why)),
    };
    Found {
        project: one.project.as_str(),
        ports: one.records.iter().map(ServicePort::from).collect(),
        outcome,
        since: since.map(seconds),
        reason: why.map(portclaim::Kept::name),
        detail: why.map(ToString::to_string),
    }
}

fn describe(one: &Pruned, args: &PruneArgs, now: SystemTime, older_than: Duration) -> String {
    let what = format!("{} {}", escape(one.project.as_str()), ports(&one.records));
    match &one.fate {
        Fate::Removed if args.dry_run => format!("would remove {what}"),
        Fate::Removed => format!("removed {what}"),
        Fate::Missing { since: Some(since) } => {
            let ago = now.duration_since(*since).unwrap_or_default();
            format!(
                "missing {what}: first seen so {} ago; a run in {} or later removes it",
                span(ago.as_secs()),
                span(older_than.as_secs().saturating_sub(ago.as_secs()))
            )
        }
        Fate::Missing { since: None } if args.dry_run => {
            format!("missing {what}: not seen so before, and not noted in a dry run")
        }
        Fate::Missing { since: None } => format!(
            "missing {what}: not seen so before; a run in {} or later removes it",
            span(older_than.as_secs())
        ),
        Fate::Kept(why) => format!("kept {what}: {}", escape(&why.to_string())),
    }
}

/// Tells a time in its largest unit that it has at least two of, rounded up.
fn span(seconds: u64) -> String {
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "min")] {
        if seconds > 2 * unit - 1 {
            return format!("{} {name}", seconds.div_ceil(unit));
        }
    }
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_one_unit() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (3599, "60 min"),
            (7200, "2 h"),
            (86_400, "24 h"),
            (86_401, "25 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
