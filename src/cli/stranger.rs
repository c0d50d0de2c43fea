//! Who is on a port that somebody else has claimed.

use portclaim::{Claim, ErrorKind, Port, Record, Registry};

use super::listening::{Listening, describe};
use super::projects::Projects;
use super::report::Failure;

/// Returns whether a port could not be bound because a program has it.
pub(super) fn is_in_use(error: &portclaim::Error) -> bool {
    let is_in_use = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    error.kind() == ErrorKind::Io && error.io_error().is_some_and(is_in_use)
}

/// Says who has the port that `who` claimed.
pub(super) fn stranger(registry: &Registry, claim: &Claim, who: &str) -> Result<String, Failure> {
    let port = claim.port();
    let by = programs_on(registry, port, Some(claim.record()))?;
    let by = by.unwrap_or_else(|| "a program that cannot be seen".to_owned());
    Ok(format!("port {port} of {who} is in use by {by}"))
}

/// Names the programs that listen on a port; `None` where none can be seen.
pub(super) fn programs_on(
    registry: &Registry,
    port: Port,
    claim: Option<&Record>,
) -> Result<Option<String>, Failure> {
    let listening = Listening::of(&|wanted| wanted == port);
    let programs = listening.programs(port);
    let projects = Projects::of_listeners(programs, claim, registry)?;
    let by = describe(programs, claim.map(Record::project), &projects);
    Ok(Some(by).filter(|by| !by.is_empty()))
}
