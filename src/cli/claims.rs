//! Claims, as commands print them.

use std::time::SystemTime;

use portclaim::{Record, Term};
use serde::Serialize;

use super::report::{Failure, print_json, warning};
use super::text::escape;

/// Whose a port is.
#[derive(Serialize)]
pub(super) struct Holding<'a> {
    project: &'a str,
    name: &'a str,
    service: &'a str,
    term: &'static str,
}

impl<'a> From<&'a Record> for Holding<'a> {
    fn from(record: &'a Record) -> Holding<'a> {
        Holding {
            project: record.project().as_str(),
            name: record.project().name(),
            service: record.holder().service(),
            term: term(record),
        }
    }
}

/// A port and its service, where the project is told besides.
#[derive(Serialize)]
pub(super) struct ServicePort<'a> {
    port: u16,
    service: &'a str,
}

impl<'a> From<&'a Record> for ServicePort<'a> {
    fn from(record: &'a Record) -> ServicePort<'a> {
        ServicePort {
            port: record.port().get(),
            service: record.holder().service(),
        }
    }
}

/// Names ports and their services, e.g. `8888, 8889 (web)`.
pub(super) fn ports<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let port = |record: &Record| match record.holder().service() {
        "" => record.port().to_string(),
        service => format!("{} ({})", record.port(), escape(service)),
    };
    let ports: Vec<String> = records.into_iter().map(port).collect();
    ports.join(", ")
}

/// Names a holder, e.g. `shop`, `shop (web)` or `shop (web, leased)`.
pub(super) fn name(record: &Record) -> String {
    let name = escape(record.project().name());
    let service = Some(record.holder().service()).filter(|service| !service.is_empty());
    let term = match record.term() {
        Term::Lease => Some("leased"),
        Term::Ttl(_) => Some("for a time"),
        Term::Owner(_) => Some("for a process"),
        _ => None,
    };
    let details: Vec<&str> = service.into_iter().chain(term).collect();
    if details.is_empty() {
        return name.into_owned();
    }
    format!("{name} ({})", escape(&details.join(", ")))
}

/// The word for how long a claim holds.
pub(super) fn term(record: &Record) -> &'static str {
    match record.term() {
        Term::Lease => "lease",
        Term::Ttl(_) => "ttl",
        Term::Owner(_) => "owner",
        _ => "kept",
    }
}

/// Returns seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Prints the one claim that was asked for as an object, several as a list of them.
pub(super) fn print_claims<T: Serialize>(mut claims: Vec<T>, several: bool) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Several<T> {
        claims: Vec<T>,
    }
    match claims.pop() {
        Some(one) if !several => print_json(&one),
        last => {
            claims.extend(last);
            print_json(&Several { claims })
        }
    }
}

/// Warns that a project or a service has no port.
pub(super) fn warn_of_none(holder: &str) {
    warning(&format!("{} has no port", escape(holder)), None);
}
