//! What must hold when everything is quiet: what was told is there, what was left can be
//! mended, and the registry file shows the claims.

use std::collections::BTreeMap;
use std::time::Duration;

use portclaim::{Error, FindingKind, Holder, Record, Registry, Report, Request};

use super::action::Action;
use super::answers::{list, refused, seen_or_none};
use super::checker::{Checker, Kind, Violation};
use super::ground;
use super::history::{Answer, Moment, Operation};
use super::plan::{Plan, is_named, range};
use super::seen::{Seen, Term};

/// Asks the registry for everything, before and after a repair. The answers go to the checker like
/// those of the workers, so a claim that was told and is not there contradicts what is in it.
pub(super) fn inspect(plan: &Plan, checker: &mut Checker) -> Result<(), Violation> {
    let root = plan.root();
    let registry = Registry::options()
        .range(range(&plan.ports()))
        .open(&root)
        .map_err(|error| failed(&error))?;
    ask(checker, Action::List, || list(&registry, plan));
    let mended = registry.repair().map_err(|error| failed(&error))?;
    healthy(&mended, "after a repair")?;
    let listed = ask(checker, Action::List, || list(&registry, plan));
    for number in (0..plan.holders()).filter(|&number| is_named(number)) {
        ask(checker, Action::Find { holder: number }, || {
            Ok(seen_or_none(
                registry.find(&plan.holder(number))?.as_ref(),
                plan,
            ))
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
    shown(plan, &listed)?;
    if plan.locks {
        fill(plan, &registry, &listed)?;
    }
    Ok(())
}

/// The registry file shows these claims.
fn shown(plan: &Plan, listed: &[Seen]) -> Result<(), Violation> {
    let listed: BTreeMap<u32, u16> = listed
        .iter()
        .map(|claim| (claim.holder, claim.port))
        .collect();
    match ground::registry_file(plan) {
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

/// When the times are over that ports were given for, all can be had that are not kept: no lease is left,
/// and nothing of a killed worker's.
fn fill(plan: &Plan, registry: &Registry, listed: &[Seen]) -> Result<(), Violation> {
    let leases = registry.leases().map_err(|error| failed(&error))?;
    let times = listed.iter().map(|claim| match claim.term {
        Term::Ttl(ttl) => Duration::from_secs(ttl + 1),
        Term::Kept | Term::Lease => Duration::ZERO,
    });
    std::thread::sleep(times.max().unwrap_or_default());
    let kept = listed.iter().filter(|claim| claim.term == Term::Kept);
    let mut count = kept.count() + leases.len();
    let ports = plan.ports().len();
    for number in plan.projects().. {
        match registry.claim(&Request::new(Holder::new(plan.path(number)))) {
            Ok(_) => count += 1,
            Err(error) => {
                let exhaustion = error.exhaustion().ok_or_else(|| failed(&error))?;
                count += (exhaustion.in_use + exhaustion.denied) as usize;
                break;
            }
        }
    }
    let lease = leases.first().map(Record::port);
    match lease {
        None if count == ports => Ok(()),
        None => Err(Violation::new(
            Kind::LeakedPort,
            format!("of {ports} ports, {count} are kept or can be had"),
        )),
        Some(port) => Err(Violation::new(
            Kind::LeakedPort,
            format!("port {port} is leased, and all that leased ports have ended"),
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
