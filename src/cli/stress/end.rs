//! What must hold when everything is quiet: what was told is there, what was left can be
//! mended, and the registry file shows the claims.

use std::collections::BTreeMap;

use camino::Utf8Path;
use portclaim::{Error, FindingKind, Registry, Report};

use super::checker::{Checker, Kind, Violation};
use super::ground;
use super::history::{Action, Answer, Moment, Operation};
use super::plan::{Plan, holder, range};
use super::worker::{list, refused, seen_or_none};

/// Asks the registry for everything, before and after a repair. The answers go to the checker like
/// those of the workers, so a claim that was told and is not there contradicts what is in it.
pub(super) fn inspect(plan: &Plan, checker: &mut Checker) -> Result<(), Violation> {
    let root = Utf8Path::new(&plan.root);
    let registry = Registry::options()
        .range(range(&plan.ports()))
        .open(root)
        .map_err(|error| failed(&error))?;
    ask(checker, Action::List, || list(&registry));
    let mended = registry.repair().map_err(|error| failed(&error))?;
    healthy(&mended, "after a repair")?;
    let listed = ask(checker, Action::List, || list(&registry));
    for project in 0..plan.projects() {
        ask(checker, Action::Find { project }, || {
            let found = registry.find(&holder(project))?;
            Ok(seen_or_none(found.as_ref(), Answer::Found))
        });
    }
    checker.advance(Moment::NEVER)?;
    healthy(
        &registry.check().map_err(|error| failed(&error))?,
        "at rest",
    )?;
    let Answer::Listed(listed) = listed else {
        return Ok(());
    };
    let listed: BTreeMap<u32, u16> = listed
        .iter()
        .map(|claim| (claim.project, claim.port))
        .collect();
    match ground::registry_file(root) {
        Ok(shown) if shown == listed => Ok(()),
        Ok(shown) => Err(Violation::new(
            Kind::IndexDiffers,
            format!("the registry file shows {shown:?}, and the claims are {listed:?}"),
        )),
        Err(why) => Err(Violation::new(
            Kind::IndexDiffers,
            format!("the registry file cannot be read: {why}"),
        )),
    }
}

fn ask(
    checker: &mut Checker,
    action: Action,
    question: impl FnOnce() -> Result<Answer, Error>,
) -> Answer {
    let start = Moment::now();
    let answer = question().unwrap_or_else(|error| refused(&error));
    checker.add(Operation {
        worker: None,
        action,
        start,
        end: Moment::now(),
        answer: Some(answer.clone()),
        stopped: false,
        notices: Vec::new(),
    });
    answer
}

fn failed(error: &Error) -> Violation {
    Violation::new(Kind::Failed, format!("at the end: {error}"))
}

/// What belongs to the machine and not to the registry is left out.
fn healthy(report: &Report, when: &str) -> Result<(), Violation> {
    let mut findings = report.findings.iter().filter(|finding| {
        let of_the_machine = matches!(
            finding.kind,
            FindingKind::EphemeralRange | FindingKind::NetworkFilesystem
        );
        !finding.fixed && !of_the_machine
    });
    match findings.next() {
        None => Ok(()),
        Some(finding) => Err(Violation::new(
            Kind::Unhealthy,
            format!(
                "{when}: {}: {}: {}",
                finding.kind.name(),
                finding.path,
                finding.detail
            ),
        )),
    }
}
