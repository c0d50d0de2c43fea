//! `{port}` and `{port:web}` in the arguments of the command that is run.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::super::report::Failure;
use super::super::variables::Given;

const OPEN: &[u8] = b"{port";

/// Returns the argument with the ports in it. Other braces are nothing special.
pub(super) fn substitute(argument: &OsStr, given: &[Given]) -> Result<OsString, Failure> {
    let mut out = Vec::with_capacity(argument.len());
    let mut rest = argument.as_bytes();
    while let Some(at) = find(rest, OPEN) {
        let (before, from) = rest.split_at(at);
        out.extend(before);
        let after = &from[OPEN.len()..];
        let service = match (after.first(), find(after, b"}")) {
            (Some(b'}'), _) => Some((&after[..0], 1)),
            (Some(b':'), Some(end)) => Some((&after[1..end], end + 1)),
            _ => None,
        };
        let Some((service, len)) = service else {
            out.extend(OPEN);
            rest = after;
            continue;
        };
        out.extend(port(service, given)?.as_bytes());
        rest = &after[len..];
    }
    out.extend(rest);
    Ok(OsString::from_vec(out))
}

/// Without a name, it is the unnamed service, or the first one where that is not run.
fn port(service: &[u8], given: &[Given]) -> Result<String, Failure> {
    let named = given
        .iter()
        .find(|one| one.service.as_bytes() == service)
        .or(given.first().filter(|_| service.is_empty()));
    named.map(|one| one.port.to_string()).ok_or_else(|| {
        let service = service.escape_ascii();
        Failure::new(&format!("{{port:{service}}} is no service of this run"))
            .hint(&format!("add --service {service}"))
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Vec<Given> {
        [("web", 3000), ("", 3001)]
            .map(|(service, port)| Given {
                service: service.to_owned(),
                port: portclaim::Port::new(port).expect("a port"),
            })
            .into()
    }

    #[test]
    fn ports_stand_where_they_are_named() {
        for (argument, expected) in [
            ("{port}", "3001"),
            ("{port:}", "3001"),
            (
                "--bind=127.0.0.1:{port:web}/{port}",
                "--bind=127.0.0.1:3000/3001",
            ),
            ("{port:web}{port:web}", "30003000"),
            ("{ports} {port {port", "{ports} {port {port"),
            ("{PORT} ${port} {}", "{PORT} $3001 {}"),
            ("", ""),
        ] {
            let Ok(text) = substitute(OsStr::new(argument), &given()) else {
                panic!("{argument} is refused");
            };
            assert_eq!(text, OsStr::new(expected));
        }
        let bytes = substitute(OsStr::from_bytes(b"\xff{port}\xfe"), &given());
        assert_eq!(
            bytes.ok().expect("no service is named"),
            OsStr::from_bytes(b"\xff3001\xfe")
        );
    }

    #[test]
    fn a_service_that_is_not_run_is_refused() {
        assert!(substitute(OsStr::new("{port:db}"), &given()).is_err());
    }
}
