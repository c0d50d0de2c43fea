//! The ports of named services. The Python system knows none, so they stand in portclaim's own
//! member of the registry file: `"services": {"/home/a/shop (web)": 8890}`.

use std::collections::BTreeMap;

use super::json::{self, Object};
use crate::port::Port;
use crate::project::{Holder, ProjectPath};

/// Which named service has which port.
pub(crate) type Services = BTreeMap<Port, Holder>;

/// Reads what [`write`] wrote; `None` where `value` is something else.
pub(super) fn read(value: &str) -> Option<Services> {
    let members = json::members(&mut serde_json::Deserializer::from_str(value)).ok()?;
    members
        .into_iter()
        .map(|member| {
            let holder = holder(std::str::from_utf8(&member.name).ok()?)?;
            Some((json::port(member.value.as_bytes())?, holder))
        })
        .collect()
}

/// A name contains no space and no bracket, whatever the path contains.
fn holder(text: &str) -> Option<Holder> {
    let (path, service) = text.strip_suffix(')')?.rsplit_once(" (")?;
    let project = ProjectPath::from_normal(path).ok()?;
    (!service.is_empty()).then(|| Holder::with_service(project, service.to_owned()))
}

/// Returns the member's value, indented as it stands in the file.
pub(super) fn write(services: &Services) -> String {
    let mut out = String::new();
    let mut object = Object::open(&mut out, 2);
    for (port, holder) in services {
        let out = object.member();
        json::quote(out, &holder.to_string());
        out.push_str(": ");
        out.push_str(&port.to_string());
    }
    object.close();
    out
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn services_read_back_as_written() {
        let mut services = Services::new();
        for (path, service, port) in [
            ("/home/a/shop", "web", 1),
            ("/home/a/shop", "web+1", 2),
            ("/home/a/shop (web)", "web", 3),
            ("/home/a/\u{e9} (x) y\n\"", "a.b-c_d", 4),
            ("/", "+1", 5),
        ] {
            let project = ProjectPath::from_normal(path).expect("normal");
            let holder = Holder::with_service(project, service.to_owned());
            services.insert(Port::new(port).expect("port"), holder);
        }
        let text = write(&services);
        assert!(text.is_ascii(), "{text}");
        assert_eq!(read(&text), Some(services));
    }

    #[test]
    fn what_is_no_service_is_not_read() {
        for text in [
            "[]",
            "{",
            "{\"/a\": 1}",
            "{\"/a ()\": 1}",
            "{\"a (b)\": 1}",
            "{\"/a (b)\": 0}",
            "{\"/a (b)\": {}}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("{}"), Some(Services::new()));
    }
}
