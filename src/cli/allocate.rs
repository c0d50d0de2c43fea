//! `portclaim allocate`: prints the project's port, and gives it one if it has none.

use std::time::Duration;

use portclaim::{Claim, ErrorKind, Owner, Port, Registry, Request, Term};
use serde::Serialize;

use super::claims::print_claims;
use super::follow;
use super::global::Target;
use super::report::{Failure, Outcome, print, warning};
use super::settings::Settings;
use super::target::Holders;
use super::text::{escape, lines};

#[derive(Serialize)]
struct Allocated<'a> {
    port: u16,
    project: &'a str,
    name: &'a str,
    service: &'a str,
    /// Whether the project got the port now.
    new: bool,
}

/// What is asked for.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) count: Option<u16>,
    pub(super) port: Option<Port>,
    pub(super) ttl: Option<Duration>,
    pub(super) owner_pid: Option<u32>,
    pub(super) follow_git: bool,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    target: &Target,
    wanted: &Wanted,
) -> Result<Outcome, Failure> {
    let Wanted { count, port, .. } = *wanted;
    let holders = Holders::of(settings, target)?;
    let project = &holders.project;
    // The current directory exists.
    if target.path.is_some() && !project.exists() {
        warning(
            &format!("{} does not exist", escape(project.as_str())),
            None,
        );
    }
    let several = holders.all.len() > 1 || count.is_some();
    if holders.all.len() > 1 && (count.is_some() || port.is_some()) {
        return Err(
            Failure::new("--count and --port are for one service at a time")
                .hint("name it: --service NAME"),
        );
    }
    if wanted.follow_git {
        follow::before(registry, &holders)?;
    }
    let claims = claim(settings, registry, &holders, wanted)?;
    if wanted.follow_git {
        follow::after(&holders.project, &claims);
    }
    warn_of_terms(&claims, wanted);
    if settings.json {
        print_claims(claims.iter().map(as_json).collect(), several)?;
    } else {
        print(&lines(claims.iter().map(Claim::port)))?;
    }
    Ok(Outcome::Yes)
}

/// Gives the holders their ports.
pub(super) fn claim(
    settings: &Settings,
    registry: &Registry,
    holders: &Holders,
    wanted: &Wanted,
) -> Result<Vec<Claim>, Failure> {
    let count = wanted.count;
    let owner = wanted.owner_pid.map(owner).transpose()?;
    let term = |request: Request| match (wanted.ttl, &owner) {
        (Some(time), _) => request.for_time(time),
        (None, Some(owner)) => request.owned_by(owner.clone()),
        (None, None) => request,
    };
    let requests = holders.requests(settings, registry, wanted.port)?;
    let mut requests: Vec<Request> = requests.into_iter().map(term).collect();
    let claimed = match (count, requests.pop()) {
        (Some(count), Some(request)) => registry.claim_block(&request, count),
        (_, last) => {
            requests.extend(last);
            registry.claim_all(&requests)
        }
    };
    let claims = claimed.map_err(|error| match error.kind() {
        ErrorKind::Taken if count.is_some() => Failure::from(error).hint(
            "a block lies in a row: portclaim remove gives it back, and allocate --count finds a place for a longer one",
        ),
        ErrorKind::Taken => Failure::from(error).hint("portclaim check tells more of a port"),
        ErrorKind::HasAnother => Failure::from(error).hint(
            "portclaim remove (with --service, if it is a named one) gives the other port back",
        ),
        _ => Failure::from(error),
    })?;
    settings.warn_of_ephemeral(holders.config.range, &claims);
    Ok(claims)
}

fn owner(pid: u32) -> Result<Owner, Failure> {
    let failed = |error| Failure::io(&format!("process {pid} cannot own a port"), &error);
    let failed =
        |error| failed(error).hint("name one that lives: --owner-pid $$ is the shell itself");
    Owner::of(pid).map_err(failed)
}

/// What was given for a time before stays so.
fn warn_of_terms(claims: &[Claim], wanted: &Wanted) {
    if wanted.ttl.is_some() || wanted.owner_pid.is_some() {
        return;
    }
    for record in claims.iter().map(Claim::record) {
        if matches!(record.term(), Term::Ttl(_) | Term::Owner(_)) {
            let (port, holder) = (record.port(), record.holder().to_string());
            warning(
                &format!("port {port} was given to {} for a time", escape(&holder)),
                Some("to keep it for good, remove it and allocate it again"),
            );
        }
    }
}

fn as_json(claim: &Claim) -> Allocated<'_> {
    let holder = claim.record().holder();
    Allocated {
        port: claim.port().get(),
        project: holder.project().as_str(),
        name: holder.project().name(),
        service: holder.service(),
        new: claim.is_new(),
    }
}
