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
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::json::{self, Member, Object};
use super::services::{self, Services};
use crate::port::{Port, PortRange};
use crate::project::{ProjectPath, hex};

/// Longest registry file that is read, in bytes: a thousand for each of 65535 ports.
/// Callers read no more than this and one byte, by which [`Document::parse`] knows.
pub(crate) const LEN_MAX: usize = 64 * 1024 * 1024;

/// How deep the values of a file may be nested. Python's own limit is just below 1000,
/// counted from wherever its caller stands.
const DEPTH_MAX: usize = 512;

/// The format of the member `portclaim` that is written.
const FORMAT: &str = "1";

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

/// Where the Python system searches for a free port next. Only a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextAvailable {
    /// The file does not say; the Python system fails on such a file.
    Missing,
    /// The file says something else than a port.
    Invalid,
    /// Here.
    Port(Port),
}

/// Why a file is no registry. Some of it may be saved: see [`salvage`](super::salvage::salvage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// There is nothing but white space in it.
    Empty,
    /// It is longer than [`LEN_MAX`].
    TooLong,
    /// It is not UTF-8, from this byte on.
    NotUtf8(usize),
    /// Its end is missing.
    Torn,
    /// It is not JSON; the text says where and why.
    NotJson(String),
    /// It is JSON, but not an object.
    NotAnObject,
    /// Behind the object stands something else: often, the rest of a longer file.
    ExtraData,
    /// It is nested deeper than any registry.
    TooDeep,
    /// It has no mappings.
    NoMappings,
    /// Its mappings are not an object.
    MappingsNotAnObject,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Empty => f.write_str("it is empty"),
            Damage::TooLong => f.write_str("it is longer than any registry"),
            Damage::NotUtf8(at) => write!(f, "it is not UTF-8 from byte {at} on"),
            Damage::Torn => f.write_str("its end is missing"),
            Damage::NotJson(why) => write!(f, "it is not JSON: {why}"),
            Damage::NotAnObject => f.write_str("it is not a JSON object"),
            Damage::ExtraData => f.write_str("there is something else behind its end"),
            Damage::TooDeep => f.write_str("it is nested too deep"),
            Damage::NoMappings => f.write_str("it has no \"mappings\""),
            Damage::MappingsNotAnObject => f.write_str("its \"mappings\" are not an object"),
        }
    }
}

impl std::error::Error for Damage {}

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
        let mut ours = None;
        let mut services = Services::new();
        for member in members {
            let role = Role::of(&member.name);
            let mut value = String::new();
            if role == Role::Mappings {
                mappings = Some(entries(member.value)?);
            } else {
                value.push_str(shallow(member.value)?);
            }
            if role == Role::Own {
                ours = own_ports(member.value);
                services = own_services(member.value);
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
            ours,
            services,
            edited: true,
        };
        document.edited = document.written_checksum() != Some(document.checksum().as_str());
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

    /// Returns where the Python system searches next.
    pub(crate) fn next_available(&self) -> NextAvailable {
        match self
            .fields
            .iter()
            .find(|field| field.role == Role::NextAvailable)
        {
            None => NextAvailable::Missing,
            // Not `json::port`: with a string here, the Python system fails.
            Some(field) => field
                .value
                .parse()
                .map_or(NextAvailable::Invalid, NextAvailable::Port),
        }
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

    fn written_checksum(&self) -> Option<&str> {
        let own = self.fields.iter().find(|field| field.role == Role::Own)?;
        let members = members_of(&own.value)?;
        let check = members.iter().find(|member| *member.name == *b"check")?;
        Some(check.value.trim_matches('"'))
    }

    /// Returns a hash of the mappings and their order, in hexadecimal digits.
    fn checksum(&self) -> String {
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
        let ours = |port| self.ours.as_ref().is_some_and(|ours| ours.contains(port));
        let is_more = |entry: &Entry| match entry {
            Entry::Kept { .. } => true,
            Entry::Mapping { port, .. } => !ours(*port),
        };
        // The five members that every file has.
        self.mappings.iter().any(is_more) || self.fields.len() > 5
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

/// Reads the value of the member `portclaim`: `None` where it is not what this version writes.
fn own_ports(value: &str) -> Option<PortSet> {
    let members = members_of(value)?;
    let get = |name: &str| {
        let member = members
            .iter()
            .find(|member| *member.name == *name.as_bytes())?;
        Some(member.value)
    };
    if get("format")? != FORMAT {
        return None;
    }
    let ports = get("ports")?;
    ports.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// Reads the services of the member `portclaim`: none where they are not what this version writes.
fn own_services(value: &str) -> Services {
    let members = members_of(value).unwrap_or_default();
    let services = members.iter().find(|member| *member.name == *b"services");
    services
        .and_then(|member| services::read(member.value))
        .unwrap_or_default()
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

/// A set of ports. As text: `8888-8890,8893`, ascending.
#[derive(Clone)]
pub(crate) struct PortSet {
    /// One bit for each number; `None` as long as nothing was put in, as in most sets.
    words: Option<Box<[u64; PortSet::WORDS]>>,
}

impl PartialEq for PortSet {
    fn eq(&self, other: &PortSet) -> bool {
        self.words().eq(other.words())
    }
}

impl Eq for PortSet {}

impl PortSet {
    const WORDS: usize = 65536 / 64;

    /// Returns the empty set.
    pub(crate) fn new() -> PortSet {
        PortSet { words: None }
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        (0..PortSet::WORDS).map(|at| self.words.as_ref().map_or(0, |words| words[at]))
    }

    fn place(port: Port) -> (usize, u64) {
        (usize::from(port.get() / 64), 1 << (port.get() % 64))
    }

    /// Adds `port`. Returns whether it was not there yet.
    pub(crate) fn insert(&mut self, port: Port) -> bool {
        let (word, bit) = PortSet::place(port);
        let words = self
            .words
            .get_or_insert_with(|| Box::new([0; PortSet::WORDS]));
        let new = words[word] & bit == 0;
        words[word] |= bit;
        new
    }

    /// Takes `port` out. Returns whether it was there.
    pub(crate) fn remove(&mut self, port: Port) -> bool {
        let (word, bit) = PortSet::place(port);
        let Some(words) = &mut self.words else {
            return false;
        };
        let old = words[word] & bit != 0;
        words[word] &= !bit;
        old
    }

    /// Returns whether `port` is in the set.
    pub(crate) fn contains(&self, port: Port) -> bool {
        let (word, bit) = PortSet::place(port);
        let words = self.words.as_ref();
        words.is_some_and(|words| words[word] & bit != 0)
    }

    /// Returns whether the set is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.words().all(|word| word == 0)
    }

    /// Iterates over the ports, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Port> {
        (0..=u16::MAX)
            .step_by(64)
            .zip(self.words())
            .flat_map(|(base, word)| {
                let bits =
                    std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
                bits.take_while(|&word| word != 0).filter_map(move |word| {
                    let bit = u16::try_from(word.trailing_zeros()).ok()?;
                    Port::new(base + bit)
                })
            })
    }
}

impl Default for PortSet {
    fn default() -> PortSet {
        PortSet::new()
    }
}

impl Extend<Port> for PortSet {
    fn extend<T: IntoIterator<Item = Port>>(&mut self, ports: T) {
        for port in ports {
            self.insert(port);
        }
    }
}

impl FromIterator<Port> for PortSet {
    fn from_iter<T: IntoIterator<Item = Port>>(ports: T) -> PortSet {
        let mut set = PortSet::new();
        set.extend(ports);
        set
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ports = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = ports.next() {
            let mut last = first;
            while let Some(next) = ports.next_if(|next| next.get() - 1 == last.get()) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if last != first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// A text is no set of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoPortSet;

impl FromStr for PortSet {
    type Err = NoPortSet;

    /// Reads ascending ranges only: so each port is looked at once, however long the text.
    fn from_str(text: &str) -> Result<PortSet, NoPortSet> {
        let mut set = PortSet::new();
        if text.is_empty() {
            return Ok(set);
        }
        let mut last = None;
        for part in text.split(',') {
            let range: PortRange = part.parse().map_err(|_| NoPortSet)?;
            if last.is_some_and(|last| range.first() <= last) {
                return Err(NoPortSet);
            }
            last = Some(range.last());
            set.extend(range.cycle_from(range.first()));
        }
        Ok(set)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> ProjectPath {
        ProjectPath::from_normal(text).expect("normal")
    }

    fn port(number: u16) -> Port {
        Port::new(number).expect("port")
    }

    fn set(text: &str) -> PortSet {
        text.parse().expect("a set")
    }

    fn parse(text: &str) -> Document {
        Document::parse(text.as_bytes()).expect(text)
    }

    fn damage(bytes: impl AsRef<[u8]>) -> Damage {
        Document::parse(bytes.as_ref()).expect_err("damage")
    }

    fn text(document: &Document) -> String {
        String::from_utf8(document.to_bytes()).expect("UTF-8")
    }

    fn mappings(document: &Document) -> Vec<(String, u16)> {
        let owned = |(path, port): (&ProjectPath, Port)| (path.as_str().to_owned(), port.get());
        document.mappings().map(owned).collect()
    }

    fn list(pairs: &[(&str, u16)]) -> Vec<(String, u16)> {
        pairs
            .iter()
            .map(|&(path, port)| (path.to_owned(), port))
            .collect()
    }

    /// By python3: `json.dumps({"version": "1.0", ..., "next_available": 8888}, indent=2)`.
    const NEW: &str = r#"{
  "version": "1.0",
  "port_range": {
    "start": 8888,
    "end": 9999
  },
  "mappings": {},
  "next_available": 8888
}"#;

    /// By python3, too: all that a path can contain, and unknown members.
    const ODD: &str = r#"{
  "version": "2.0-beta",
  "port_range": {
    "start": "x",
    "end": null,
    "more": [
      1,
      2
    ]
  },
  "lone\udc80": [
    "\ud800",
    {
      "k\udfff": []
    }
  ],
  "mappings": {
    "/home/a/shop": 8888,
    "/caf\u00e9": 8889,
    "/\ud83d\ude00": 8890,
    "/del\u007f": 8891,
    "/a\"b\\c/d": 8892,
    "/n\nr\rt\tb\bf\f": 8893,
    "/\u0001\u001f\u0000": 8894,
    "/p/bad\udcff": 8895,
    "rel": 8896,
    "/str": "20000",
    "/null": null,
    "/f": 1.5,
    "/nested": {
      "a": [
        1,
        [],
        {}
      ]
    },
    "/\ud55c\u2028 ~": 8897
  },
  "next_available": 8898,
  "note": "\u00e9"
}"#;

    #[test]
    fn a_new_file_is_that_of_the_python_system() {
        let mut document = Document::new(PortRange::DEFAULT);
        assert_eq!(text(&document), NEW);
        assert_eq!(document, parse(NEW));
        assert!(!document.is_ours());

        document.assign([
            (path("/abs/resolved/path"), port(8888)),
            (path("/caf\u{e9}/\u{1f600}"), port(8890)),
        ]);
        document.set_next_available(port(8889));
        document.set_ours(set("8888-8890,8893"));
        let expected = r#"{
  "version": "1.0",
  "port_range": {
    "start": 8888,
    "end": 9999
  },
  "mappings": {
    "/abs/resolved/path": 8888,
    "/caf\u00e9/\ud83d\ude00": 8890
  },
  "next_available": 8889,
  "portclaim": {
    "format": 1,
    "ports": "8888-8890,8893"
  }
}"#;
        assert_eq!(text(&document), expected);
        assert_eq!(document, parse(expected));
        assert_eq!(document.ours(), Some(&set("8888-8890,8893")));
        assert!(!text(&document.without_own_key()).contains("portclaim"));
    }

    #[test]
    fn what_python_wrote_is_written_back_byte_for_byte() {
        let document = parse(ODD);
        assert_eq!(text(&document), ODD);
        let expected = [
            ("/home/a/shop", 8888),
            ("/caf\u{e9}", 8889),
            ("/\u{1f600}", 8890),
            ("/del\u{7f}", 8891),
            ("/a\"b\\c/d", 8892),
            ("/n\nr\rt\tb\u{8}f\u{c}", 8893),
            ("/str", 20000),
            ("/\u{d55c}\u{2028} ~", 8897),
        ];
        assert_eq!(mappings(&document), list(&expected));
        let kept: Vec<_> = document
            .kept()
            .map(|kept| (kept.key, kept.why, kept.port.map(Port::get)))
            .collect();
        let expected = [
            (r"/\u0001\u001f\u0000", Unfit::NotNormal, Some(8894)),
            (r"/p/bad\udcff", Unfit::NotUtf8, Some(8895)),
            ("rel", Unfit::NotNormal, Some(8896)),
            ("/null", Unfit::NotAPort, None),
            ("/f", Unfit::NotAPort, None),
            ("/nested", Unfit::NotAPort, None),
        ];
        assert_eq!(
            kept,
            expected.map(|(key, why, port)| (key.to_owned(), why, port))
        );
    }

    #[test]
    fn a_file_of_another_form_keeps_all_but_its_white_space() {
        let document = parse(
            "\n{\"x\":{\"b\":[1,  2.50,1E5]},\t\"mappings\":{\"/caf\u{e9}\":1,\"r\u{e9}l\":[ ]},\"y\":\"\\/\"} ",
        );
        let expected = "{\n  \"x\": {\"b\":[1,  2.50,1E5]},\n  \"mappings\": {\n    \"/caf\\u00e9\": 1,\n    \"r\u{e9}l\": [ ]\n  },\n  \"y\": \"\\/\"\n}";
        assert_eq!(text(&document), expected);
        assert_eq!(parse(expected), document);
    }

    #[test]
    fn each_damage_is_told() {
        for (bytes, expected) in [
            ("", Damage::Empty),
            (" \n", Damage::Empty),
            ("[]", Damage::NotAnObject),
            ("[1, 2", Damage::NotAnObject),
            ("null", Damage::NotAnObject),
            ("8888", Damage::NotAnObject),
            ("\"mappings\"", Damage::NotAnObject),
            ("{}", Damage::NoMappings),
            ("{\"version\": \"1.0\"}", Damage::NoMappings),
            ("{\"mappings\": []}", Damage::MappingsNotAnObject),
            ("{\"mappings\": null}", Damage::MappingsNotAnObject),
            ("{\"mappings\": \"{}\"}", Damage::MappingsNotAnObject),
            ("{\"mappings\": {}}}", Damage::ExtraData),
            ("{\"mappings\": {}}\n  }\n}", Damage::ExtraData),
            ("{\"mappings\": {}}\0", Damage::ExtraData),
        ] {
            assert_eq!(damage(bytes), expected, "{bytes:?}");
        }
        assert_eq!(
            damage(b"{\"mappings\": {\"/\xff\": 1}}"),
            Damage::NotUtf8(16)
        );
        assert_eq!(damage(b"\x7fELF\x02\x80"), Damage::NotUtf8(5));
        for bytes in [
            "\0\0\0\0",
            "\u{feff}{\"mappings\": {}}",
            "{\"mappings\": {},}",
            "{\"mappings\": {\"/a\": 08}}",
            "{\"mappings\": {\"/a\nb\": 8}}",
            "{\"mappings\": {\"/a\": NaN}}",
            "{\"mappings\": {}, \"x\": \"\\x\"}",
            "{1: 2}",
        ] {
            assert!(matches!(damage(bytes), Damage::NotJson(_)), "{bytes:?}");
        }
        for len in 1..ODD.len() {
            // serde_json does not say of "1." that its end is missing.
            if !ODD[..len].ends_with("1.") {
                assert_eq!(damage(&ODD[..len]), Damage::Torn, "{len}");
            }
        }
        assert_eq!(damage(vec![b' '; LEN_MAX + 1]), Damage::TooLong);
        assert_eq!(damage("[]").to_string(), "it is not a JSON object");
    }

    #[test]
    fn deep_nesting_is_an_error_and_overflows_nothing() {
        let nested = |deep: usize, member: fn(&str) -> String| {
            member(&("[".repeat(deep) + &"]".repeat(deep)))
        };
        let members: [fn(&str) -> String; 3] = [
            |value| format!("{{\"mappings\": {{}}, \"x\": {value}}}"),
            |value| format!("{{\"mappings\": {{\"/a\": {value}}}}}"),
            |value| format!("{{\"mappings\": {{}}, \"portclaim\": {value}}}"),
        ];
        for member in members {
            assert!(Document::parse(nested(DEPTH_MAX, member).as_bytes()).is_ok());
            assert_eq!(damage(nested(DEPTH_MAX + 1, member)), Damage::TooDeep);
            assert_eq!(damage(nested(1_000_000, member)), Damage::TooDeep);
        }
        assert_eq!(
            damage(nested(1_000_000, str::to_owned)),
            Damage::NotAnObject
        );
        assert_eq!(damage("{\"a\":".repeat(1_000_000)), Damage::Torn);
        let deep_mappings = "{\"mappings\": ".repeat(1_000_000) + "{}" + &"}".repeat(1_000_000);
        assert_eq!(damage(deep_mappings), Damage::TooDeep);
    }

    #[test]
    fn a_key_that_comes_twice_has_its_first_place_and_its_last_value() {
        // By python3: json.dumps(json.loads(...), indent=2).
        let document = parse(
            r#"{"a": 1, "mappings": [], "b": 2, "mappings": {"/a": 1, "/b": 2, "/\u0061": 3, "/c": null, "/c": 4, "/b": null, "x\udcff": 1, "x\uDCFF": 2}, "a": 3, "portclaim": 1}"#,
        );
        let expected = r#"{
  "a": 3,
  "mappings": {
    "/a": 3,
    "/b": null,
    "/c": 4,
    "x\udcff": 2
  },
  "b": 2,
  "portclaim": 1
}"#;
        assert_eq!(text(&document), expected);
        assert_eq!(mappings(&document), list(&[("/a", 3), ("/c", 4)]));
    }

    #[test]
    fn a_claim_takes_the_place_of_what_the_file_says_of_its_path() {
        let mut document =
            parse(r#"{"mappings": {"/a": 1, "rel": 7, "/b": null, "/c": "3", "/d": "4"}}"#);
        document.assign(
            [
                ("/new", 9),
                ("/c", 3),
                ("/b", 2),
                ("/newer", 10),
                ("/new", 11),
            ]
            .map(|(text, number)| (path(text), port(number))),
        );
        let expected = r#"{
  "mappings": {
    "/a": 1,
    "rel": 7,
    "/b": 2,
    "/c": 3,
    "/d": "4",
    "/newer": 10,
    "/new": 11
  }
}"#;
        assert_eq!(text(&document), expected);
        document.retain(|path, port| path.as_str() == "/d" || port.get() > 10);
        assert_eq!(
            text(&document),
            "{\n  \"mappings\": {\n    \"rel\": 7,\n    \"/d\": \"4\",\n    \"/new\": 11\n  }\n}"
        );
    }

    #[test]
    fn what_the_file_lacks_is_added_where_python_has_it() {
        let mut document = parse(r#"{"version": 3, "mappings": {}, "x": 1}"#);
        assert_eq!(document.next_available(), NextAvailable::Missing);
        document.set_ours(PortSet::new());
        document.set_next_available(port(7));
        let expected = r#"{
  "version": 3,
  "mappings": {},
  "next_available": 7,
  "x": 1,
  "portclaim": {
    "format": 1,
    "ports": ""
  }
}"#;
        assert_eq!(text(&document), expected);
        assert!(parse(expected).is_ours());
    }

    #[test]
    fn next_available_is_a_port_or_ignored() {
        for (value, expected) in [
            ("1", NextAvailable::Port(port(1))),
            ("65535", NextAvailable::Port(port(65535))),
        ] {
            assert_eq!(
                parse(&format!(
                    "{{\"mappings\": {{}}, \"next_available\": {value}}}"
                ))
                .next_available(),
                expected
            );
        }
        for value in [
            "0", "65536", "-1", "8888.0", "\"8888\"", "null", "[8888]", "{}", "1e999",
        ] {
            let file = format!("{{\n  \"mappings\": {{}},\n  \"next_available\": {value}\n}}");
            let mut document = parse(&file);
            assert_eq!(document.next_available(), NextAvailable::Invalid, "{value}");
            assert_eq!(text(&document), file);
            document.set_next_available(port(5));
            assert_eq!(document.next_available(), NextAvailable::Port(port(5)));
        }
    }

    #[test]
    fn a_member_portclaim_of_somebody_else_is_replaced_and_its_rest_kept() {
        for value in [
            "null",
            "\"8888\"",
            "[]",
            "{}",
            r#"{"format": 1}"#,
            r#"{"ports": "8888"}"#,
            r#"{"format": 2, "ports": "8888"}"#,
            r#"{"format": "1", "ports": "8888"}"#,
            r#"{"format": 1, "ports": [8888]}"#,
            r#"{"format": 1, "ports": 8888}"#,
            r#"{"format": 1, "ports": "8888-"}"#,
            r#"{"format": 1, "ports": "8888\udcff"}"#,
        ] {
            let file = format!("{{\n  \"portclaim\": {value},\n  \"mappings\": {{}}\n}}");
            let mut document = parse(&file);
            assert!(!document.is_ours(), "{value}");
            assert_eq!(text(&document), file);
            document.set_ours(set("1-2"));
            assert_eq!(parse(&text(&document)), document);
            assert!(
                text(&document).starts_with("{\n  \"portclaim\": {\n"),
                "its place"
            );
        }
        let mut document = parse(
            r#"{"portclaim": {"x\ud800": [1], "ports": "7", "y": null, "format": 1}, "mappings": {}}"#,
        );
        assert_eq!(document.ours(), Some(&set("7")));
        document.set_ours(set("7-8"));
        let expected = r#"{
  "portclaim": {
    "x\ud800": [1],
    "ports": "7-8",
    "y": null,
    "format": 1
  },
  "mappings": {}
}"#;
        assert_eq!(text(&document), expected);
        assert_eq!(
            text(&document.without_own_key()),
            "{\n  \"mappings\": {}\n}"
        );
    }

    #[test]
    fn a_set_of_ports_is_read_only_in_its_own_spelling() {
        for text in [
            "",
            "1",
            "1-2",
            "1,3",
            "65535",
            "63-65,127-128",
            "1-65535",
            "8888-8890,8893",
        ] {
            assert_eq!(set(text).to_string(), text);
        }
        for text in [
            ",", "1,", ",1", "1,,2", "0", "65536", "2-1", "1-", "-1", "a", "1 ", "2,1", "1,1",
            "1-3,2", "1-2-3",
        ] {
            assert_eq!(text.parse::<PortSet>(), Err(NoPortSet), "{text}");
        }
        let mut ports = set("8888-8890");
        assert_eq!(ports.iter().count(), 3);
        assert!(ports.remove(port(8889)) && !ports.remove(port(8889)));
        assert!(ports.insert(port(1)) && !ports.insert(port(1)));
        assert!(ports.contains(port(8890)) && !ports.contains(port(8889)) && !ports.is_empty());
        assert_eq!(format!("{ports:?}"), "{1,8888,8890}");
        assert!(PortSet::default().is_empty());
    }

    /// A JSON value as Python has it: strings are code units, so surrogates may be alone.
    #[derive(Clone, Debug)]
    enum Json {
        Plain(&'static str),
        Int(i64),
        Text(Vec<u16>),
        List(Vec<Json>),
        Object(Vec<(Vec<u16>, Json)>),
    }

    /// `json.dumps(indent=2)`, written down a second time and as plainly as possible.
    fn dumps(value: &Json, level: usize) -> String {
        let string = |units: &[u16]| -> String {
            let unit = |&unit: &u16| match unit {
                0x22 => "\\\"".to_owned(),
                0x5c => "\\\\".to_owned(),
                0x0a => "\\n".to_owned(),
                0x0d => "\\r".to_owned(),
                0x09 => "\\t".to_owned(),
                0x08 => "\\b".to_owned(),
                0x0c => "\\f".to_owned(),
                0x20..=0x7e => String::from_utf16_lossy(&[unit]),
                _ => format!("\\u{unit:04x}"),
            };
            format!("\"{}\"", units.iter().map(unit).collect::<String>())
        };
        let lines = |lines: Vec<String>, open: char, close: char| {
            if lines.is_empty() {
                return format!("{open}{close}");
            }
            let (outer, inner) = ("  ".repeat(level), "  ".repeat(level + 1));
            format!(
                "{open}\n{inner}{}\n{outer}{close}",
                lines.join(&format!(",\n{inner}"))
            )
        };
        match value {
            Json::Plain(text) => (*text).to_owned(),
            Json::Int(number) => number.to_string(),
            Json::Text(units) => string(units),
            Json::List(values) => lines(
                values.iter().map(|value| dumps(value, level + 1)).collect(),
                '[',
                ']',
            ),
            Json::Object(members) => {
                let member = |(key, value): &(Vec<u16>, Json)| {
                    format!("{}: {}", string(key), dumps(value, level + 1))
                };
                lines(members.iter().map(member).collect(), '{', '}')
            }
        }
    }

    fn units() -> impl Strategy<Value = Vec<u16>> {
        prop_oneof![
            "(/[a-z.\u{e9}\u{1f600}\0-\u{7f}]{0,6}){0,3}"
                .prop_map(|text| text.encode_utf16().collect()),
            prop::collection::vec(
                prop_oneof![0u16..0x100, 0xd7f0u16..0xe010, any::<u16>()],
                0..6
            ),
        ]
    }

    fn unique(members: Vec<(Vec<u16>, Json)>) -> Vec<(Vec<u16>, Json)> {
        let mut seen = std::collections::HashSet::new();
        members
            .into_iter()
            .filter(|(key, _)| seen.insert(key.clone()))
            .collect()
    }

    fn value() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            prop::sample::select(vec!["null", "true", "false", "1.5", "1e+16", "-0.0"])
                .prop_map(Json::Plain),
            (-2i64..70_000).prop_map(Json::Int),
            any::<i64>().prop_map(Json::Int),
            units().prop_map(Json::Text),
            (0u32..70_000)
                .prop_map(|number| Json::Text(number.to_string().encode_utf16().collect())),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::List),
                prop::collection::vec((units(), inner), 0..4)
                    .prop_map(|members| Json::Object(unique(members))),
            ]
        })
    }

    /// Any file that Python could have written, known members anywhere among others.
    fn file() -> impl Strategy<Value = String> {
        let known = |name: &'static str| {
            prop::option::of(value().prop_map(move |value| (name.encode_utf16().collect(), value)))
        };
        let mappings = prop::collection::vec(
            (
                units(),
                prop_oneof![3 => (1i64..65536).prop_map(Json::Int), 1 => value()],
            ),
            0..8,
        );
        let mappings = mappings.prop_map(|members| {
            Some((
                "mappings".encode_utf16().collect(),
                Json::Object(unique(members)),
            ))
        });
        let members = (
            mappings,
            known("next_available"),
            known("portclaim"),
            known("version"),
            prop::collection::vec((units(), value()), 0..3),
        );
        members
            .prop_map(|(mappings, next, own, version, others)| {
                unique(
                    [mappings, next, own, version]
                        .into_iter()
                        .flatten()
                        .chain(others)
                        .collect(),
                )
            })
            .prop_shuffle()
            .prop_map(|members| dumps(&Json::Object(members), 0))
    }

    proptest! {
        #[test]
        fn any_file_of_python_is_written_back_byte_for_byte(file in file()) {
            let document = Document::parse(file.as_bytes()).expect("sound");
            prop_assert_eq!(text(&document), file);
        }

        #[test]
        fn a_changed_document_reads_back_as_written(
            file in file(),
            claims in prop::collection::vec(("(/[^/\0.][^/\0]{0,4}){1,2}|/", 1u16..), 0..8),
            numbers: Vec<u16>,
            bound: u16,
        ) {
            let mut document = parse(&file);
            let kept: Vec<_> = document.kept().filter(|kept| kept.why != Unfit::NotAPort).collect();
            let claims: HashMap<String, u16> = claims.into_iter().collect();
            document.retain(|_, port| port.get() < bound);
            prop_assert!(document.mappings().all(|(_, port)| port.get() < bound));
            document.assign(claims.iter().map(|(text, number)| (path(text), port(*number))));
            document.set_next_available(port(bound.max(1)));
            let ports: PortSet = numbers.iter().copied().filter_map(Port::new).collect();
            document.set_ours(ports.clone());

            let again = Document::parse(&document.to_bytes()).expect("sound");
            prop_assert_eq!(&again, &document);
            let found: HashMap<_, _> = mappings(&again).into_iter().collect();
            prop_assert_eq!(found.len(), mappings(&again).len(), "no path twice");
            prop_assert!(claims.iter().all(|(path, port)| found.get(path) == Some(port)));
            prop_assert!(kept.iter().all(|one| again.kept().any(|other| other == *one)));
            prop_assert_eq!(again.ours(), Some(&ports));
            prop_assert_eq!(again.next_available(), NextAvailable::Port(port(bound.max(1))));
        }

        #[test]
        fn a_set_of_ports_reads_back_as_written(numbers in prop::collection::btree_set(1u16.., 0..200), low in prop::collection::btree_set(1u16..80, 0..60)) {
            let all: std::collections::BTreeSet<Port> = numbers.into_iter().chain(low).map(port).collect();
            let ports: PortSet = all.iter().copied().collect();
            prop_assert_eq!(&set(&ports.to_string()), &ports);
            prop_assert!(ports.iter().eq(all.iter().copied()));
            prop_assert_eq!(ports.iter().count(), all.len());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Document::parse(&bytes);
        }

        #[test]
        fn nor_does_a_sound_file_with_wrong_bytes(file in file(), at: prop::sample::Index, bytes: [u8; 2]) {
            let mut wrong = file.into_bytes();
            let at = at.index(wrong.len());
            wrong.splice(at..at, bytes);
            if let Ok(document) = Document::parse(&wrong) {
                let again = Document::parse(&document.to_bytes()).expect("sound");
                prop_assert_eq!(again.to_bytes(), document.to_bytes());
            }
        }
    }
}
