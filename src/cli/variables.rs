//! How the ports of services are called in an environment.

use portclaim::{BLOCK_MAX, Port, ProjectPath, Record};

use super::report::Failure;

/// The variable of the project's unnamed service.
pub(super) const PORT: &str = "PORT";

/// The variable that says whose ports these are.
pub(super) const PROJECT: &str = "PORTCLAIM_PROJECT";

/// What stands between a service and the number of a further member of its block.
const MEMBER: char = '+';

/// Returns the variable of a service: `WEB_PORT` for `web`, `PORT` for the unnamed one.
pub(super) fn variable_name(service: &str) -> String {
    if service.is_empty() {
        return PORT.to_owned();
    }
    let letter = |byte: u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' => char::from(byte),
        b'a'..=b'z' => char::from(byte.to_ascii_uppercase()),
        _ => '_',
    };
    let mut name: String = service.bytes().map(letter).collect();
    // No shell takes a variable that begins with a digit.
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name.push('_');
    name.push_str(PORT);
    name
}

/// A service and its port.
pub(super) struct Given {
    pub(super) service: String,
    pub(super) port: Port,
}

/// A variable of the environment: its name is a word of `A-Z0-9_` that no digit begins, its value
/// may contain anything but NUL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

/// Returns the variables of a project that has these ports: each service's, for a block that
/// of its first port and its length, and the project's path.
pub(super) fn variables(
    project: &ProjectPath,
    records: &[Record],
) -> Result<Vec<Variable>, Failure> {
    let service = |record: &Record| record.holder().service().to_owned();
    let mut named: Vec<(String, String)> = Vec::new();
    let mut variables = Vec::new();
    for record in records {
        let own = service(record);
        if own.contains(MEMBER) {
            continue;
        }
        let name = variable_name(&own);
        if let Some((_, other)) = named.iter().find(|(known, _)| *known == name) {
            return Err(Failure::new(&format!(
                "the services {other} and {own} of {project} would both be the variable {name}"
            ))
            .hint(
                "give one of them another name: portclaim remove --service, and allocate --service",
            ));
        }
        // Those that lie behind it without a gap: what is behind one may be another project's.
        let is_member = |number: u16| {
            let port = record.port().get().checked_add(number);
            let service = format!("{own}{MEMBER}{number}");
            let is_it = |other: &Record| {
                Some(other.port().get()) == port && other.holder().service() == service
            };
            records.iter().any(is_it)
        };
        let further = (1..BLOCK_MAX)
            .take_while(|&number| is_member(number))
            .count();
        if further > 0 {
            variables.push(Variable {
                name: format!("{name}_COUNT"),
                value: (further + 1).to_string(),
            });
        }
        variables.push(Variable {
            name: name.clone(),
            value: record.port().to_string(),
        });
        named.push((name, own));
    }
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    variables.push(Variable {
        name: PROJECT.to_owned(),
        value: project.as_str().to_owned(),
    });
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_variable_that_shells_take() {
        for (service, name) in [
            ("", "PORT"),
            ("web", "WEB_PORT"),
            ("my-db.2", "MY_DB_2_PORT"),
            ("3d", "_3D_PORT"),
        ] {
            assert_eq!(variable_name(service), name);
        }
    }
}
