//! How the ports of services are called in an environment.

use portclaim::Port;

/// The variable of the project's unnamed service.
pub(super) const PORT: &str = "PORT";

/// The variable that says whose ports these are.
pub(super) const PROJECT: &str = "PORTCLAIM_PROJECT";

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
