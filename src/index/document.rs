//! The registry file as data: the Python system's JSON, and what portclaim adds to it.
//!
//! ```text
//! {
//!   "version": "1.0",
//!   "port_range": {
//!     "start": 8888,
//!     "end": 9999
//!   },
//!   "mappings": {
//!     "/abs/resolved/path": 8888
//!   },
//!   "next_available": 8889,
//!   "portclaim": {
//!     "format": 1,
//!     "ports": "8888-8890,8893",
//!     "check": "<16 hex digits>",
//!     "services": {
//!       "/abs/resolved/path (web)": 8891
//!     }
//!   }
//! }
//! ```
//!
//! A file that is read and written back is the same, byte for byte, if Python's
//! `json.dump(indent=2)` wrote it, except for what the caller changed. In any other
//! file the members stay what they were and only the white space between them changes.

use std::collections::HashMap;
use std::fmt;

use super::damage::Damage;
use super::json::{self, Member, Object};
use super::port_set::PortSet;
use super::services::Services;
use crate::port::{Port, PortRange};
use crate::project::ProjectPath;

mod own;

use own::Own;

/// Longest registry file that is read, in bytes: a thousand for each of 65535 ports.
/// Callers read no more than this and one byte, by which [`Document::parse`] knows.
pub(crate) const LEN_MAX: usize = 64 * 1024 * 1024;

/// How deep the values of a file may be nested. Python's own limit is just below 1000,
/// counted from wherever its caller stands.
const DEPTH_MAX: usize = 512;

/// A registry file that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// The top-level members, in the file's order. One of them has [`Role::Mappings`].
    fields: Vec<Field>,
    mappings: Vec<Entry>,
    ours: Option<PortSet>,
    /// The named services, as portclaim wrote them.
    services: Services,
    /// Whether the checksum was missing or wrong when the file was read.
    edited: bool,
}

/// A top-level member: the texts of its key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    role: Role,
    key: String,
    /// Empty for the mappings.
    value: String,
}

/// What portclaim reads of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Mappings,
    NextAvailable,
    Own,
    /// Nothing: the member is written back as it is.
    Other,
}

impl Role {
    fn of(name: &[u8]) -> Role {
        match name {
            b"mappings" => Role::Mappings,
            b"next_available" => Role::NextAvailable,
            b"portclaim" => Role::Own,
            _ => Role::Other,
        }
    }
}

impl Field {
    fn new(name: &str, value: String) -> Field {
        Field {
            role: Role::of(name.as_bytes()),
            key: format!("\"{name}\""),
            value,
        }
    }
}

/// A member of `mappings`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Mapping {
        path: ProjectPath,
        port: Port,
        /// The port's text in the file, where that is not the number: a string of it.
        spelling: Option<String>,
    },
    /// One that can be no claim: the texts of its key and value.
    Kept {
        key: String,
        value: String,
        why: Unfit,
        port: Option<Port>,
        /// The path, where only the value is wrong: a claim takes the entry's place.
        path: Option<ProjectPath>,
    },
}

/// Why an entry of `mappings` is kept as it is and can be no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The path is not UTF-8.
    NotUtf8,
    /// The path is not absolute, or not in normal form.
    NotNormal,
    /// The path could be a project's, but the value is no port.
    NotAPort,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::NotUtf8 => "its path is not UTF-8",
            Unfit::NotNormal => "its path is not absolute and in normal form",
            Unfit::NotAPort => "its value is no port",
        })
    }
}

/// An entry of `mappings` that can be no claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The key as the file spells it, fit to be printed.
    pub(crate) key: String,
    /// Why it is no claim.
    pub(crate) why: Unfit,
    /// The port, if it has one. The Python system gives it to nobody else.
    pub(crate) port: Option<Port>,
}

impl Document {
    /// Returns a new registry without mappings, as the Python system makes it.
    pub(crate) fn new(range: PortRange) -> Document {
        let (start, end) = (range.first(), range.last());
        let mut range = String::new();
        write_members(
            &mut range,
            &[
                ("\"start\"", &start.to_string()),
                ("\"end\"", &end.to_string()),
            ],
        );
        Document {
            fields: vec![
                Field::new("version", "\"1.0\"".to_owned()),
                Field::new("port_range", range),
                Field::new("mappings", String::new()),
                Field::new("next_available", start.to_string()),
            ],
            mappings: Vec::new(),
            ours: None,
            services: Services::new(),
            edited: true,
        }
    }

    /// Reads a registry file. `bytes` are foreign: anything may stand there.
    ///
    /// Only `mappings` must be there. A `next_available` that is none and a `portclaim`
    /// that portclaim did not write are kept, and count as missing.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Document, Damage> {
        if bytes.len() > LEN_MAX {
            return Err(Damage::TooLong);
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| Damage::NotUtf8(error.valid_up_to()))?;
        if text.trim_ascii().is_empty() {
            return Err(Damage::Empty);
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let members = json::members(&mut json).map_err(|error| {
            if error.is_eof() {
                Damage::Torn
            } else if error.is_data() {
                Damage::NotAnObject
            } else {
                Damage::NotJson(error.to_string())
            }
        })?;
        json.end().map_err(|_| Damage::ExtraData)?;

        let mut fields = Vec::with_capacity(members.len() + 1);
        let mut mappings = None;
        let mut own = Own::default();
        for member in members {
            let role = Role::of(&member.name);
            let mut value = String::new();
            if role == Role::Mappings {
                mappings = Some(entries(member.value)?);
            } else {
                value.push_str(shallow(member.value)?);
            }
            if role == Role::Own {
                own = Own::read(member.value);
            }
            fields.push(Field {
                role,
                key: member.key.to_owned(),
                value,
            });
        }
        let mappings = mappings.ok_or(Damage::NoMappings)?;
        let mut document = Document {
            fields,
            mappings,
            ours: own.ports,
            services: own.services,
            edited: true,
        };
        document.edited = own.checksum != Some(document.checksum());
        Ok(document)
    }

    /// Returns the file, as Python's `json.dump(indent=2)` writes it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::with_capacity(512 + 64 * self.mappings.len());
        let mut object = Object::open(&mut out, 0);
        for field in &self.fields {
            let out = object.member();
            out.push_str(&field.key);
            out.push_str(": ");
            if field.role == Role::Mappings {
                self.write_mappings(out);
            } else {
                out.push_str(&field.value);
            }
        }
        object.close();
        out.into_bytes()
    }

    fn write_mappings(&self, out: &mut String) {
        let mut object = Object::open(out, 1);
        for entry in &self.mappings {
            let out = object.member();
            match entry {
                Entry::Mapping {
                    path,
                    port,
                    spelling,
                } => {
                    json::quote(out, path.as_str());
                    out.push_str(": ");
                    match spelling {
                        Some(spelling) => out.push_str(spelling),
                        None => out.push_str(&port.to_string()),
                    }
                }
                Entry::Kept { key, value, .. } => {
                    out.push_str(key);
                    out.push_str(": ");
                    out.push_str(value);
                }
            }
        }
        object.close();
    }

    /// Iterates over the mappings that can be claims, in the file's order. No path comes
    /// twice; a port may, since the Python system could give one port to two projects.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = (&ProjectPath, Port)> {
        self.mappings.iter().filter_map(|entry| match entry {
            Entry::Mapping { path, port, .. } => Some((path, *port)),
            Entry::Kept { .. } => None,
        })
    }

    /// Iterates over the other entries of `mappings`. They stay in the file.
    pub(crate) fn kept(&self) -> impl Iterator<Item = Kept> {
        self.mappings.iter().filter_map(|entry| match entry {
            Entry::Kept { key, why, port, .. } => Some(Kept {
                key: printable(key),
                why: *why,
                port: *port,
            }),
            Entry::Mapping { .. } => None,
        })
    }

    /// Removes the mappings for which `keep` returns `false`. The entries that can be no
    /// claims stay.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&ProjectPath, Port) -> bool) {
        self.mappings.retain(|entry| match entry {
            Entry::Mapping { path, port, .. } => keep(path, *port),
            Entry::Kept { .. } => true,
        });
    }

    /// Maps each of the paths to its port: in its place where the file has the path, else
    /// at the end. The time is linear in the lengths of both.
    pub(crate) fn assign(&mut self, claims: impl IntoIterator<Item = (ProjectPath, Port)>) {
        let claims: Vec<(ProjectPath, Port)> = claims.into_iter().collect();
        // By text: camino compares and hashes paths component by component, which is slow.
        let mut left: HashMap<&str, usize> = HashMap::with_capacity(claims.len());
        left.extend(
            claims
                .iter()
                .enumerate()
                .map(|(at, (path, _))| (path.as_str(), at)),
        );
        let mapping = |at: usize| {
            let (path, port) = claims[at].clone();
            Entry::Mapping {
                path,
                port,
                spelling: None,
            }
        };
        for entry in &mut self.mappings {
            let claim = match entry {
                Entry::Mapping { path, .. }
                | Entry::Kept {
                    path: Some(path), ..
                } => left.remove(path.as_str()),
                Entry::Kept { path: None, .. } => None,
            };
            if let Some(at) = claim {
                *entry = mapping(at);
            }
        }
        let mut new: Vec<usize> = left.into_values().collect();
        new.sort_unstable();
        self.mappings.extend(new.into_iter().map(mapping));
    }

    /// Returns where the Python system searches for a free port next, which is only a hint. `None`
    /// where the file does not say, or says something else than a port.
    pub(crate) fn next_available(&self) -> Option<Port> {
        let mut fields = self.fields.iter();
        let field = fields.find(|field| field.role == Role::NextAvailable)?;
        // Not `json::port`: with a string here, the Python system fails.
        field.value.parse().ok()
    }

    /// Sets where the Python system searches next.
    pub(crate) fn set_next_available(&mut self, port: Port) {
        let field = Field::new("next_available", port.to_string());
        let place = |role| self.fields.iter().position(|field| field.role == role);
        if let Some(at) = place(Role::NextAvailable) {
            self.fields[at] = field;
        } else {
            // Where it stands in the Python system's own files.
            let at = place(Role::Mappings).map_or(self.fields.len(), |at| at + 1);
            self.fields.insert(at, field);
        }
    }
}

/// Reads the members of an object; `None` where `value` is none.
fn members_of(value: &str) -> Option<Vec<Member<'_>>> {
    json::members(&mut serde_json::Deserializer::from_str(value)).ok()
}

/// Writes a small object, one level deep.
fn write_members(out: &mut String, members: &[(&str, &str)]) {
    let mut object = Object::open(out, 1);
    for (key, value) in members {
        object.member().extend([key, ": ", value]);
    }
    object.close();
}

/// Returns `value` if it is not nested too deep. Nothing here would overflow the stack;
/// but the Python system could not read the file, so neither is it written back.
fn shallow(value: &str) -> Result<&str, Damage> {
    if json::depth(value) > DEPTH_MAX {
        Err(Damage::TooDeep)
    } else {
        Ok(value)
    }
}

/// Reads the value of the member `mappings`.
fn entries(value: &str) -> Result<Vec<Entry>, Damage> {
    let members = members_of(value).ok_or(Damage::MappingsNotAnObject)?;
    members.into_iter().map(entry).collect()
}

fn entry(member: Member<'_>) -> Result<Entry, Damage> {
    let Member { name, key, value } = member;
    shallow(value)?;
    let port = json::port(value.as_bytes());
    let path = String::from_utf8(name.into_owned())
        .map_err(|_| Unfit::NotUtf8)
        .and_then(|path| ProjectPath::from_normal(path).map_err(|_| Unfit::NotNormal));
    Ok(match (path, port) {
        (Ok(path), Some(port)) => {
            let spelling = value.starts_with('"').then(|| value.to_owned());
            Entry::Mapping {
                path,
                port,
                spelling,
            }
        }
        (path, port) => Entry::Kept {
            key: key.to_owned(),
            value: value.to_owned(),
            why: path.as_ref().err().copied().unwrap_or(Unfit::NotAPort),
            port,
            path: path.ok(),
        },
    })
}

/// Returns the text between the quotes of a JSON key: as it stands in the file, so that it
/// can be found there, except for what a terminal must not get.
fn printable(key: &str) -> String {
    let mut shown = String::with_capacity(key.len());
    let inner = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    for c in inner.unwrap_or(key).chars() {
        if c.is_ascii_graphic() {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    shown
}

#[cfg(all(test, not(loom)))]
mod tests;
