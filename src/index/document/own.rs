//! What portclaim adds to the file: its member `portclaim`.

use sha2::{Digest, Sha256};

use super::{Document, Entry, Field, Role, members_of, write_members};
use crate::index::port_set::PortSet;
use crate::index::services::{self, Services};
use crate::port::Port;
use crate::project::hex;

/// The format of the member `portclaim` that is written.
const FORMAT: &str = "1";

/// What else every file has: a new one says the same.
const USUAL: [&str; 2] = ["\"version\"", "\"port_range\""];

/// The member, as far as this version reads it.
#[derive(Default)]
pub(super) struct Own {
    /// `None` where it is not what this version writes.
    pub(super) ports: Option<PortSet>,
    /// None where they are not what this version writes.
    pub(super) services: Services,
    pub(super) checksum: Option<String>,
}

impl Own {
    /// Reads the member's value, which may be anything.
    pub(super) fn read(value: &str) -> Own {
        let members = members_of(value).unwrap_or_default();
        let get = |name: &[u8]| {
            let member = members.iter().find(|member| *member.name == *name)?;
            Some(member.value)
        };
        let ports = || -> Option<PortSet> {
            let text = get(b"ports").filter(|_| get(b"format") == Some(FORMAT))?;
            text.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
        };
        Own {
            ports: ports(),
            services: get(b"services")
                .and_then(services::read)
                .unwrap_or_default(),
            checksum: get(b"check").map(|text| text.trim_matches('"').to_owned()),
        }
    }
}

impl Document {
    /// Returns whether portclaim wrote the file. Otherwise the Python system did, or a
    /// person, or a later version of portclaim in a format that this one cannot read.
    pub(crate) fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// Returns the ports that portclaim itself wrote into `mappings`: `None` where the
    /// file [is not ours](Document::is_ours).
    pub(crate) fn ours(&self) -> Option<&PortSet> {
        self.ours.as_ref()
    }

    /// Returns whether portclaim itself wrote this port into `mappings`.
    pub(crate) fn wrote(&self, port: Port) -> bool {
        self.ours().is_some_and(|ours| ours.contains(port))
    }

    /// Notes which ports portclaim itself writes into `mappings`; with this, the file is
    /// ours. Whatever else stands in the member `portclaim` is kept.
    pub(crate) fn set_ours(&mut self, ports: PortSet) {
        let text = format!("\"{ports}\"");
        self.set_own(&[("format", Some(FORMAT)), ("ports", Some(&text))]);
        self.ours = Some(ports);
    }

    /// Notes what the mappings are, so that a change by others shows.
    pub(crate) fn set_checksum(&mut self) {
        let text = format!("\"{}\"", self.checksum());
        self.set_own(&[("check", Some(&text))]);
        self.edited = false;
    }

    /// Returns the named services that portclaim wrote into the file.
    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// Notes which port each named service has.
    pub(crate) fn set_services(&mut self, services: Services) {
        if services != self.services {
            let text = (!services.is_empty()).then(|| services::write(&services));
            self.set_own(&[("services", text.as_deref())]);
            self.services = services;
        }
    }

    /// Returns whether the mappings were others than portclaim had written, when the file
    /// was read.
    pub(crate) fn is_edited(&self) -> bool {
        self.edited
    }

    /// Returns a hash of the mappings and their order, in hexadecimal digits.
    pub(super) fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for (path, port) in self.mappings() {
            hash.update(path.as_str());
            // No path contains a NUL, so that no two lists give the same bytes.
            hash.update([0]);
            hash.update(port.get().to_be_bytes());
        }
        hex(&hash.finalize()[..8])
    }

    /// Sets members of the member `portclaim`: in their places, else at the end. `None` removes one.
    fn set_own(&mut self, news: &[(&str, Option<&str>)]) {
        let at = self.fields.iter().position(|field| field.role == Role::Own);
        let old = at
            .and_then(|at| members_of(&self.fields[at].value))
            .unwrap_or_default();
        let keys: Vec<String> = news.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let mut members: Vec<(&str, &str)> = old
            .iter()
            .map(|member| (member.key, member.value))
            .collect();
        for ((_, value), key) in news.iter().zip(&keys) {
            let at = members.iter().position(|(there, _)| there == key);
            match (at, value) {
                (Some(at), Some(value)) => members[at] = (key, value),
                (Some(at), None) => drop(members.remove(at)),
                (None, Some(value)) => members.push((key, value)),
                (None, None) => {}
            }
        }
        let mut value = String::new();
        write_members(&mut value, &members);
        let field = Field::new("portclaim", value);
        match at {
            Some(at) => self.fields[at] = field,
            None => self.fields.push(field),
        }
    }

    /// Returns whether the file says anything that the claims do not.
    pub(crate) fn has_more(&self) -> bool {
        let is_more = |entry: &Entry| match entry {
            Entry::Kept { .. } => true,
            Entry::Mapping { port, .. } => !self.wrote(*port),
        };
        let is_unknown =
            |field: &Field| field.role == Role::Other && !USUAL.contains(&field.key.as_str());
        self.mappings.iter().any(is_more) || self.fields.iter().any(is_unknown)
    }

    /// Returns the document without the member `portclaim`: as the Python system would
    /// have written it.
    #[must_use]
    pub(crate) fn without_own_key(mut self) -> Document {
        self.fields.retain(|field| field.role != Role::Own);
        self.ours = None;
        self.services = Services::new();
        self
    }
}
