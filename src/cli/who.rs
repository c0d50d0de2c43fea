//! `portclaim who`: whose a port is, who listens on it, and whether the two agree.

use portclaim::{Availability, Listener, Port, PortState, Registry, Term};
use serde::Serialize;

use super::claims::{Holding, term};
use super::listening::{Listening, Program, directory, in_words};
use super::projects::Projects;
use super::report::{Failure, Outcome, print, print_json};
use super::settings::Settings;
use super::text::escape;

#[derive(Serialize)]
struct Answer<'a> {
    port: u16,
    claim: Option<Holding<'a>>,
    listeners: Vec<Program<'a>>,
    /// `null` where it cannot be known.
    agree: Option<bool>,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    port: Port,
) -> Result<Outcome, Failure> {
    let state = registry.port_state(port)?;
    let listening = Listening::of(&|wanted| wanted == port);
    let programs = listening.programs(port);
    let is_in_use = match state.availability {
        _ if !programs.is_empty() => Some(true),
        Availability::InUse => Some(true),
        Availability::Free => Some(false),
        // Whoever listens on a privileged port, only the list of listeners tells.
        Availability::Denied => listening.on(port),
    };
    let projects = Projects::of_listeners(programs, state.claim.as_ref(), registry)?;
    let agree = agree(&state, is_in_use, programs, &projects);
    if settings.json {
        print_json(&Answer {
            port: port.get(),
            claim: state.claim.as_ref().map(Holding::from),
            listeners: Program::all(programs, &projects),
            agree,
        })?;
    } else {
        let mut facts = vec![("port", port.to_string())];
        facts.extend(claim(&state));
        match is_in_use {
            Some(false) => facts.push(("listener", "none".to_owned())),
            _ if programs.is_empty() => facts.push(("listener", "unknown".to_owned())),
            _ => {
                let listeners = programs.iter().map(|program| listener(program, &projects));
                facts.extend(listeners.flatten());
            }
        }
        facts.push(("agree", in_words(agree).to_owned()));
        print(&lines(&facts))?;
    }
    Ok(match agree {
        Some(true) => Outcome::Yes,
        Some(false) | None => Outcome::No,
    })
}

/// Returns whether all that listen work in the project that claimed the port; so it is where
/// nobody listens. `None` where it cannot be known.
fn agree(
    state: &PortState,
    is_in_use: Option<bool>,
    programs: &[Listener],
    projects: &Projects,
) -> Option<bool> {
    if !is_in_use? {
        return Some(true);
    }
    let Some(record) = &state.claim else {
        return if state.unsettled { None } else { Some(false) };
    };
    let mut each = programs
        .iter()
        .map(|program| projects.is_in(record.project(), program));
    if each.clone().any(|is_in| is_in == Some(false)) {
        return Some(false);
    }
    (!programs.is_empty() && each.all(|is_in| is_in == Some(true))).then_some(true)
}

type Fact = (&'static str, String);

/// Returns what is known of the claim.
fn claim(state: &PortState) -> Vec<Fact> {
    let Some(record) = &state.claim else {
        let claim = if state.unsettled {
            "not settled (portclaim doctor tells more)"
        } else {
            "none"
        };
        return vec![("claim", claim.to_owned())];
    };
    let project = escape(record.project().as_str()).into_owned();
    let service = record.holder().service();
    let service = (!service.is_empty()).then(|| ("service", escape(service).into_owned()));
    let is_kept = *record.term() == Term::Kept;
    let lease = (!is_kept).then(|| ("term", term(record).to_owned()));
    let facts = [("claim", project)].into_iter().chain(service);
    facts.chain(lease).collect()
}

/// Returns what is known of a listener.
fn listener(listener: &Listener, projects: &Projects) -> Vec<Fact> {
    let known = |fact: Option<String>| fact.unwrap_or_else(|| "unknown".to_owned());
    let escaped = |text: &str| escape(text).into_owned();
    let directory = directory(listener).map(|path| {
        let deleted = if listener.directory_deleted {
            " (deleted)"
        } else {
            ""
        };
        escaped(&path) + deleted
    });
    let project = match projects.around(listener) {
        Some(project) => Some(escaped(project)),
        None => directory.is_some().then(|| "none".to_owned()),
    };
    vec![
        ("listener", listener.address.to_string()),
        ("  pid", known(listener.pid.map(|pid| pid.to_string()))),
        ("  command", known(listener.command.as_deref().map(escaped))),
        ("  user", known(listener.user.map(|user| user.to_string()))),
        ("  directory", known(directory)),
        ("  project", known(project)),
    ]
}

/// One fact a line.
fn lines(facts: &[Fact]) -> String {
    let line = |(label, fact): &Fact| format!("{:<12} {fact}\n", format!("{label}:"));
    facts.iter().map(line).collect()
}
