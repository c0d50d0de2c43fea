//! `portclaim allocate`: prints the project's port, and gives it one if it has none.

use portclaim::{Claim, ErrorKind, Holder, Port, Registry, Request};
use serde::Serialize;

use super::args::Target;
use super::report::{Failure, Outcome, print, print_json, warning};
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

#[derive(Serialize)]
struct AllAllocated<'a> {
    claims: Vec<Allocated<'a>>,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    target: &Target,
    count: Option<u16>,
    port: Option<Port>,
) -> Result<Outcome, Failure> {
    let Holders { project, holders } = Holders::of(target)?;
    // The current directory exists.
    if target.path.is_some() && !project.exists() {
        warning(
            &format!("{} does not exist", escape(project.as_str())),
            None,
        );
    }
    let several = holders.len() > 1 || count.is_some();
    if holders.len() > 1 && (count.is_some() || port.is_some()) {
        return Err(Failure::new(
            "--count and --port are for one service at a time",
        ));
    }
    let claims = claim(registry, holders, count, port)?;
    if settings.json {
        let mut claims: Vec<Allocated<'_>> = claims.iter().map(as_json).collect();
        match claims.pop() {
            Some(one) if !several => print_json(&one)?,
            last => {
                claims.extend(last);
                print_json(&AllAllocated { claims })?;
            }
        }
    } else {
        print(&lines(claims.iter().map(Claim::port)))?;
    }
    Ok(Outcome::Yes)
}

fn claim(
    registry: &Registry,
    holders: Vec<Holder>,
    count: Option<u16>,
    port: Option<Port>,
) -> Result<Vec<Claim>, Failure> {
    let request = |holder| match port {
        Some(port) => Request::new(holder).port(port),
        None => Request::new(holder),
    };
    let mut requests: Vec<Request> = holders.into_iter().map(request).collect();
    let claimed = match (count, requests.pop()) {
        (Some(count), Some(request)) => registry.claim_block(&request, count),
        (_, last) => {
            requests.extend(last);
            registry.claim_all(&requests)
        }
    };
    claimed.map_err(|error| match error.kind() {
        ErrorKind::Taken if count.is_some() => Failure::from(error).hint(
            "a block lies in a row: portclaim remove gives it back, and allocate --count finds a place for a longer one",
        ),
        ErrorKind::Taken => Failure::from(error).hint("portclaim check tells more of a port"),
        _ => Failure::from(error),
    })
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
