//! What must hold when everything is quiet: what was told is there, what was left can be
//! mended, and the registry file shows the claims.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use portclaim::{Error, FindingKind, Holder, Record, Registry, Report, Request, Start};

use super::action::Action;
use super::answers::{list, prune, refused, seen_or_none};
use super::checker::{Checker, Kind, Violation};
use super::ground;
use super::history::{Answer, Moment, Operation};
use super::plan::{Plan, is_named, range};
use super::seen::{Seen, Term};

/// How long a process that has ended may wait to be waited for.
const REAPED: Duration = Duration::from_secs(10);

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
    if plan.locks {
        prune_all(plan, &registry, checker)?;
    }
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
        idle(plan, &registry, &listed)?;
        fill(plan, &registry, &listed)?;
    }
    Ok(())
}

/// When all directories are gone, two prunes give back what was claimed while they were there, and nothing else.
fn prune_all(plan: &Plan, registry: &Registry, checker: &mut Checker) -> Result<(), Violation> {
    for project in plan.placed_projects() {
        let moved = false;
        ask(checker, Action::RemoveDirectory { project, moved }, || {
            Ok(ground::remove_place(plan, project, moved))
        });
    }
    let records = registry.records().map_err(|error| failed(&error))?;
    let records: Vec<Record> = records
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&error))?;
    let mut expected = Vec::new();
    for project in plan.placed_projects().map(|project| plan.path(project)) {
        let is_its = |record: &&Record| *record.project() == project;
        let claims = || records.iter().filter(is_its);
        // A claim that was made while there was no directory keeps the others, too.
        if claims().all(|record| record.device().is_some()) {
            expected.extend(claims().filter_map(|record| Seen::of(record, plan).ok()));
        }
    }
    let mut pruned = Vec::new();
    for _ in 0..2 {
        let answer = ask(checker, Action::Prune, || prune(registry, plan));
        pruned.extend(answer.claims());
    }
    let key = |claim: &Seen| claim.port;
    expected.sort_unstable_by_key(key);
    pruned.sort_unstable_by_key(key);
    if pruned == expected {
        return Ok(());
    }
    Err(Violation::new(
        Kind::NotPruned,
        format!("{expected:?} should have been pruned, and {pruned:?} were"),
    ))
}

/// No command runs any more, and none is said to.
fn idle(plan: &Plan, registry: &Registry, listed: &[Seen]) -> Result<(), Violation> {
    let kept = listed.iter().filter(|claim| claim.term == Term::Kept);
    for claim in kept.filter(|claim| is_named(claim.holder)) {
        let holder = plan.holder(claim.holder);
        let claimed = registry.claim(&Request::new(holder));
        let start = claimed.and_then(|claim| claim.start());
        if let Start::Second { pid } = start.map_err(|error| failed(&error))? {
            let port = claim.port;
            return Err(Violation::new(
                Kind::StaleRun,
                format!(
                    "a command is said to run on port {port} (process {pid:?}), and all have ended"
                ),
            ));
        }
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
/// nothing that a process owned, and nothing of a killed worker's.
fn fill(plan: &Plan, registry: &Registry, listed: &[Seen]) -> Result<(), Violation> {
    let leases = registry.leases().map_err(|error| failed(&error))?;
    let times = listed.iter().map(|claim| match claim.term {
        Term::Ttl(ttl) => Duration::from_secs(ttl + 1),
        Term::Kept | Term::Lease | Term::Owner(_) => Duration::ZERO,
    });
    std::thread::sleep(times.max().unwrap_or_default());
    let begin = Instant::now();
    while listed.iter().any(is_owned) && begin.elapsed() < REAPED {
        std::thread::sleep(Duration::from_millis(10));
    }
    let kept = listed
        .iter()
        .filter(|claim| claim.term == Term::Kept || is_owned(claim));
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

/// Returns whether a process owns the claim. No worker is there any more, and nothing that it has started: but where nobody
/// waits for a killed one's child, that counts as alive.
fn is_owned(claim: &Seen) -> bool {
    matches!(claim.term, Term::Owner(process) if process.exists())
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
