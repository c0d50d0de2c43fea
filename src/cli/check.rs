//! `portclaim check`: who has claimed a port, and whether it is in use.

use portclaim::{Availability, Port, Record, Registry};
use serde::Serialize;

use super::claims::{Holding, name};
use super::listening::{Listening, Program, describe};
use super::projects::Projects;
use super::report::{Failure, Outcome, print, print_json};
use super::settings::Settings;
use super::text::escape;

#[derive(Serialize)]
struct Checked<'a> {
    port: u16,
    /// Free and unclaimed.
    free: bool,
    claim: Option<Holding<'a>>,
    /// It has a claim that nobody holds (yet), or that cannot be read.
    unsettled: bool,
    /// `free`, `in-use`, or `denied`: binding it needs privileges that this user does not have.
    availability: &'static str,
    listeners: Vec<Program<'a>>,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    port: Port,
) -> Result<Outcome, Failure> {
    let state = registry.port_state(port)?;
    let listening = Listening::of(&|wanted| wanted == port);
    let programs = listening.programs(port);
    let projects = Projects::of_listeners(programs, state.claim.as_ref(), registry)?;
    // A privileged port that is in use is denied as well: only the list of listeners tells.
    let in_use = state.availability == Availability::InUse || !programs.is_empty();
    let privileged = state.availability == Availability::Denied;
    let free = state.claim.is_none() && !state.unsettled && !in_use;
    if settings.json {
        print_json(&Checked {
            port: port.get(),
            free,
            claim: state.claim.as_ref().map(Holding::from),
            unsettled: state.unsettled,
            availability: match (in_use, privileged) {
                (true, _) => "in-use",
                (false, true) => "denied",
                (false, false) => "free",
            },
            listeners: Program::all(programs, &projects),
        })?;
    } else {
        let mut facts = Vec::new();
        match &state.claim {
            Some(record) => facts.push(format!(
                "claimed by {} ({})",
                name(record),
                escape(record.project().as_str())
            )),
            None if state.unsettled => {
                facts.push("claimed, but not settled (portclaim doctor tells more)".to_owned());
            }
            None => facts.push("not claimed".to_owned()),
        }
        match (in_use, programs.is_empty()) {
            (true, true) => facts.push("in use".to_owned()),
            (true, false) => {
                let claimant = state.claim.as_ref().map(Record::project);
                let programs = describe(programs, claimant, &projects);
                facts.push(format!("in use by {programs}"));
            }
            (false, _) => facts.push("free".to_owned()),
        }
        if privileged {
            facts.push("to bind it needs privileges".to_owned());
        }
        print(&format!("{port}: {}\n", facts.join(", ")))?;
    }
    Ok(if free { Outcome::Yes } else { Outcome::No })
}
