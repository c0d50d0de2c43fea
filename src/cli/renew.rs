//! `portclaim renew`: a port that was given for a time is given for so long from now on.

use std::time::Duration;

use portclaim::Registry;
use serde::Serialize;

use super::claims::seconds;
use super::global::Target;
use super::report::{Failure, Outcome, print, print_json, warning};
use super::settings::Settings;
use super::target::Holders;
use super::text::{escape, lines};

#[derive(Serialize)]
struct Renewed<'a> {
    project: &'a str,
    claims: Vec<Claim>,
}

#[derive(Serialize)]
struct Claim {
    port: u16,
    service: String,
    /// Seconds since 1970.
    expires: Option<u64>,
}

pub(super) fn run(
    settings: &Settings,
    registry: &Registry,
    target: &Target,
    ttl: Duration,
) -> Result<Outcome, Failure> {
    let Holders {
        project,
        all: holders,
        ..
    } = Holders::of(settings, target)?;
    let mut claims = Vec::new();
    let mut answer = Outcome::Yes;
    for holder in &holders {
        let record = registry.find(holder)?;
        let renewed = match &record {
            Some(record) => registry.renew(record, ttl)?,
            None => false,
        };
        match record {
            Some(record) if renewed => claims.push(Claim {
                port: record.port().get(),
                service: holder.service().to_owned(),
                expires: registry.expires(&record)?.map(seconds),
            }),
            record => {
                answer = Outcome::No;
                let holder = holder.to_string();
                let why = match record {
                    Some(_) => "has a port that was not given for a time",
                    None => "has no port",
                };
                warning(&format!("{} {why}", escape(&holder)), None);
            }
        }
    }
    if settings.json {
        print_json(&Renewed {
            project: project.as_str(),
            claims,
        })?;
    } else {
        print(&lines(claims.iter().map(|claim| claim.port)))?;
    }
    Ok(answer)
}
