//! A registry file as somebody may have left it, written by instructions, and what can still be
//! read of it. (README.md lists the instructions.)

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use portclaim::{Port, ProjectPath};
use sha2::{Digest, Sha256};

use super::super::ground::{hex, port};
use super::super::lines::{Line, lines};

/// A member of the file or of its mappings.
#[derive(Clone)]
pub(crate) struct Entry {
    /// As JSON, like the value.
    pub(crate) key: String,
    pub(crate) value: String,
    /// The path that the key says, if it can be a project's.
    pub(crate) path: Option<ProjectPath>,
    /// The port that the value says.
    pub(crate) port: Option<Port>,
    /// Where the value's text ends.
    end: usize,
}

enum Member {
    Plain(Entry),
    Mappings(Vec<Entry>),
    /// portclaim's own note, of this sort.
    Own(u8),
}

#[derive(Default)]
pub(crate) struct Document {
    /// In the file's order. There may be more than one of mappings: the last one counts.
    members: Vec<Member>,
    is_indented: bool,
    /// How many bytes the end is short of.
    cut: usize,
    zeros: usize,
    front: &'static [u8],
    behind: Vec<u8>,
    inserted: Vec<(usize, Vec<u8>)>,
    /// Who has which port before the file is there.
    pub(crate) claims: Vec<(ProjectPath, Port)>,
    /// Whether portclaim has written a registry file before.
    pub(crate) is_established: bool,
    pub(crate) text: Vec<u8>,
    /// The ports that the file says portclaim wrote, if it says so in portclaim's way.
    pub(crate) ours: Option<BTreeSet<Port>>,
}

impl Document {
    /// Follows the instructions, and writes the text.
    pub(crate) fn new(data: &[u8]) -> Document {
        let mut document = Document::default();
        for line in lines(data) {
            document.follow(line);
        }
        document.write();
        document
    }

    fn follow(&mut self, mut line: Line<'_>) {
        match line.letter(b"mretvnwoicbzfjhk") {
            b'm' => {
                let entry = entry(&mut line, true);
                self.mappings().push(entry);
            }
            b'r' => {
                let entry = entry(&mut line, false);
                self.mappings().push(entry);
            }
            b'e' => {
                let extra = entry(&mut line, false);
                // These have their own instructions.
                if !["\"mappings\"", "\"next_available\"", "\"portclaim\""]
                    .contains(&extra.key.as_str())
                {
                    self.members.push(Member::Plain(extra));
                }
            }
            b't' => self.members.push(Member::Mappings(Vec::new())),
            name @ (b'v' | b'n' | b'w') => {
                let (value, port) = value(&mut line);
                // No wrong ones, but none.
                if name == b'w' && value == "{}" {
                    self.members.push(Member::Mappings(Vec::new()));
                    return;
                }
                let key = match name {
                    b'v' => "\"version\"",
                    b'n' => "\"next_available\"",
                    _ => "\"mappings\"",
                };
                let key = key.to_owned();
                self.members.push(Member::Plain(Entry {
                    key,
                    value,
                    path: None,
                    port,
                    end: 0,
                }));
            }
            b'o' => self.members.push(Member::Own(line.letter(b"swpfng"))),
            b'i' => self.is_indented = true,
            b'c' => self.cut += line.number(),
            b'z' => self.zeros += line.number(),
            b'f' => self.front = b"\xef\xbb\xbf",
            b'b' => self.behind.extend(line.text()),
            b'j' => self.inserted.push((line.number(), line.text().to_vec())),
            b'h' => {
                let port = port(line.digit());
                let path = format!("/{}", String::from_utf8_lossy(line.text()));
                if let Ok(path) = ProjectPath::from_normal(path) {
                    self.claims.push((path, port));
                }
            }
            _ => self.is_established = true,
        }
    }

    /// Returns the mappings that instructions add to.
    fn mappings(&mut self) -> &mut Vec<Entry> {
        let is_mappings = |member: &Member| matches!(member, Member::Mappings(_));
        if !self.members.iter().any(is_mappings) {
            self.members.push(Member::Mappings(Vec::new()));
        }
        let mut last = self
            .members
            .iter_mut()
            .rev()
            .filter_map(|member| match member {
                Member::Mappings(entries) => Some(entries),
                _ => None,
            });
        last.next().expect("there is one")
    }

    fn write(&mut self) {
        let mut own = None;
        let [outer, inner, colon] = if self.is_indented {
            ["\n  ", "\n    ", ": "]
        } else {
            ["", "", ":"]
        };
        let mappings = dictionary(&self.last_mappings());
        let mut text = String::from("{");
        let mut comma = "";
        for member in &mut self.members {
            text.extend([comma, outer]);
            comma = ",";
            match member {
                Member::Plain(entry) => entry.write(&mut text, colon),
                Member::Mappings(entries) => {
                    text.extend(["\"mappings\"", colon, "{"]);
                    let mut comma = "";
                    for entry in entries {
                        text.extend([comma, inner]);
                        entry.write(&mut text, colon);
                        comma = ",";
                    }
                    text.extend([outer, "}"]);
                }
                Member::Own(sort) => {
                    let (value, ports) = own_note(*sort, &mappings);
                    text.extend(["\"portclaim\"", colon, &value]);
                    own = Some(ports);
                }
            }
        }
        text.push_str(if self.is_indented { "\n}" } else { "}" });
        let mut text = [self.front, text.as_bytes()].concat();
        text.truncate(text.len().saturating_sub(self.cut));
        text.extend(std::iter::repeat_n(0, self.zeros));
        text.extend(&self.behind);
        for (at, bytes) in &self.inserted {
            let at = at % (text.len() + 1);
            text.splice(at..at, bytes.iter().copied());
        }
        self.text = text;
        self.ours = own.flatten();
    }

    fn last_mappings(&self) -> Vec<Entry> {
        let mut last = self.members.iter().rev().filter_map(|member| match member {
            Member::Mappings(entries) => Some(entries.clone()),
            _ => None,
        });
        last.next().unwrap_or_default()
    }

    /// Returns whether the file is a registry. (Of a file with bytes in the middle of it that no
    /// instruction knows, nobody can tell.)
    pub(crate) fn is_sound(&self) -> bool {
        let last = self.members.iter().rfind(|member| match member {
            Member::Plain(entry) => entry.key == "\"mappings\"",
            Member::Mappings(_) => true,
            Member::Own(_) => false,
        });
        matches!(last, Some(Member::Mappings(_)))
            && self.front.is_empty()
            && self.cut + self.zeros + self.inserted.len() == 0
            // JSON's white space, to which a form feed does not belong.
            && (self.behind.iter()).all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
    }

    /// Returns whether it can be told what is still readable.
    pub(crate) fn is_known(&self) -> bool {
        let is_quiet = self.behind.is_empty() || self.cut == 0 && !self.behind.contains(&b'"');
        self.inserted.is_empty() && is_quiet
    }

    /// Returns the mappings that can be read, each path once.
    pub(crate) fn readable(&self) -> Vec<(ProjectPath, Port)> {
        if self.is_sound() {
            let fit = |entry: Entry| Some((entry.path?, entry.port?));
            let mappings = dictionary(&self.last_mappings());
            return mappings.into_iter().filter_map(fit).collect();
        }
        let mut found = BTreeMap::new();
        for entry in self.members.iter().flat_map(Member::entries) {
            if let (Some(path), Some(port)) = (&entry.path, entry.port)
                && self.is_whole(entry)
            {
                found.insert(path.clone(), port);
            }
        }
        found.into_iter().collect()
    }

    /// Returns whether the entry's text is there to its end. Of a number, only what follows tells.
    fn is_whole(&self, entry: &Entry) -> bool {
        let uncut = self.text.len() - self.zeros - self.behind.len();
        let end = self.front.len() + entry.end + usize::from(!entry.value.starts_with('"'));
        end <= uncut
    }

    /// Returns the members, in `mappings` and beside them, that can be no claims and stay as they
    /// are: in a sound file.
    pub(crate) fn kept(&self) -> Vec<Entry> {
        let is_plain = |member: &Member| match member {
            Member::Plain(entry) => Some(entry.clone()),
            _ => None,
        };
        let beside: Vec<Entry> = self.members.iter().filter_map(is_plain).collect();
        let beside = dictionary(&beside).into_iter().filter(|entry| {
            // It is the file's, but not everybody's: `next_available` goes on.
            !["\"mappings\"", "\"next_available\""].contains(&entry.key.as_str())
        });
        let mappings = dictionary(&self.last_mappings());
        let inside = mappings
            .into_iter()
            .filter(|entry| entry.path.is_none() || entry.port.is_none());
        inside.chain(beside).collect()
    }
}

impl Member {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        match self {
            Member::Plain(entry) => std::slice::from_ref(entry),
            Member::Mappings(entries) => entries.as_slice(),
            Member::Own(_) => &[],
        }
        .iter()
    }
}

impl Entry {
    fn write(&mut self, text: &mut String, colon: &str) {
        text.extend([self.key.as_str(), colon, &self.value]);
        self.end = text.len();
    }
}

/// What Python makes of members of one name: the first place, the last value.
fn dictionary(entries: &[Entry]) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    for entry in entries {
        match found.iter_mut().find(|there| there.key == entry.key) {
            Some(there) => there.clone_from(entry),
            None => found.push(entry.clone()),
        }
    }
    found
}

fn entry(line: &mut Line<'_>, is_absolute: bool) -> Entry {
    let (value, port) = value(line);
    let slash: &[u8] = if is_absolute { b"/" } else { b"" };
    let name = [slash, line.text()].concat();
    let path = std::str::from_utf8(&name).ok();
    Entry {
        key: quoted(&name),
        value,
        path: path.and_then(|path| ProjectPath::from_normal(path).ok()),
        port,
        end: 0,
    }
}

/// A value: a port, a string of one, or something else.
fn value(line: &mut Line<'_>) -> (String, Option<Port>) {
    let letter = line.letter(b"0123456789abcdefghij-.ENOLTZHUSWP");
    let own = |first: u8| port(usize::from(letter - first));
    match letter {
        b'0'..=b'9' => (own(b'0').to_string(), Some(own(b'0'))),
        b'a'..=b'j' => (format!("\"{}\"", own(b'a')), Some(own(b'a'))),
        b'H' => ("65536".to_owned(), None),
        other => {
            let text = match other {
                b'-' => "-1",
                b'.' => "61200.5",
                b'E' => "6e4",
                b'N' => "null",
                b'O' => "{}",
                b'L' => "[[61200]]",
                b'T' => "true",
                b'Z' => "0",
                b'U' => "99999999999999999999",
                b'S' => "\"no port\"",
                b'W' => "\" 61200\"",
                _ => "\"061200\"",
            };
            (text.to_owned(), None)
        }
    }
}

/// What portclaim notes about the mappings, or something like it, and the ports in it.
fn own_note(sort: u8, mappings: &[Entry]) -> (String, Option<BTreeSet<Port>>) {
    let fit = |entry: &Entry| Some((entry.path.clone()?, entry.port?));
    let mappings: Vec<(ProjectPath, Port)> = mappings.iter().filter_map(fit).collect();
    let mut ports: BTreeSet<Port> = mappings.iter().map(|&(_, port)| port).collect();
    let mut hash = Sha256::new();
    for (path, port) in &mappings {
        hash.update(path.as_str());
        hash.update([0]);
        hash.update(port.get().to_be_bytes());
    }
    let mut check = hex(&hash.finalize()[..8]);
    match sort {
        b's' => {}
        b'w' => check.replace_range(.., "0123456789abcdef"),
        b'p' => ports = ports.into_iter().step_by(2).collect(),
        b'f' => return (r#"{"format":2,"ports":"61200"}"#.to_owned(), None),
        b'n' => return (r#"{"format":1,"ports":61200}"#.to_owned(), None),
        _ => return ("[null]".to_owned(), None),
    }
    let list: Vec<String> = ports.iter().map(Port::to_string).collect();
    let list = list.join(",");
    let text = format!(r#"{{"format":1,"ports":"{list}","check":"{check}"}}"#);
    (text, Some(ports))
}

/// The string that Python's `json` makes of a path's bytes: in ASCII, and what is not UTF-8 as lone
/// surrogates.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                ' '..='~' => out.push(c),
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\udc{byte:02x}");
        }
    }
    out.push('"');
    out
}
