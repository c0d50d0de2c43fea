//! What others do to the registry's files: the Python system, killed processes, a person.

use std::fs;
use std::io;
use std::path::Path;

use portclaim::Port;
use serde_json::{Value, json};

use super::super::ground::{listed, port, record_line};
use super::super::lines::Line;
use super::model::{Held, UNNAMED, holder, project};
use super::{Play, at};

/// Of files that no process of this run made.
const NONCE: &str = "00000000000000000000000000000abc";

impl Play {
    pub(super) fn disturb(&mut self, what: u8, line: &mut Line<'_>) {
        let file = self.ground.file();
        match what {
            b'j' => {
                let at = at(line) % UNNAMED;
                let number = line.digit();
                self.write_mapping(at, number);
            }
            b'k' => {
                self.registry.refresh_index().expect("writes");
                self.kept = Some(fs::read(file).expect("it is there"));
            }
            b'p' => {
                if let Some(kept) = &self.kept {
                    fs::write(file, kept).expect("writes");
                }
            }
            b'd' => remove(&file),
            b'h' => self.put_free(line.digit(), b""),
            b'u' => {
                let (project, service) = project(at(line));
                let number = line.digit();
                let orphan = record_line(port(number), NONCE, project, service);
                self.put_free(number, &orphan);
            }
            b'v' => {
                let mark = format!("index/changed-{}-{NONCE}", port(line.digit()));
                self.put(&mark, b"");
            }
            _ => self.erase(at(line)),
        }
    }

    /// The Python system notes a mapping, in the file as it is: if neither has a claim, it is one.
    fn write_mapping(&mut self, at: usize, number: usize) {
        // The mapping of a leased port waits in the file, and is a claim when the lease has ended.
        if self.is_outdated(number) || self.model.leases.contains(&port(number)) {
            return;
        }
        let mut file = self.read_file();
        file["mappings"][project(at).0] = port(number).get().into();
        self.put("port_registry.json", file.to_string().as_bytes());
        listed(&self.registry);
        let is_claimed = self.model.holder_of(port(number)).is_some();
        if self.model.port_of(at).is_none() && !is_claimed {
            self.model.give(at, port(number), Held::Kept);
        }
    }

    /// A claimer was killed before its commit.
    fn put_free(&self, number: usize, bytes: &[u8]) {
        let is_leased = self.model.leases.contains(&port(number));
        if self.model.holder_of(port(number)).is_none() && !is_leased {
            self.put(&format!("ports/{}.claim", port(number)), bytes);
        }
    }

    /// Returns whether an older copy of the file shows a port that was released since: whoever
    /// writes there takes it for another's.
    fn is_outdated(&self, number: usize) -> bool {
        let file = self.read_file();
        let mut shown = file["mappings"].as_object().into_iter().flatten();
        let is_shown = shown.any(|(_, shown)| *shown == port(number).get());
        is_shown && self.model.holder_of(port(number)).is_none()
    }

    /// Returns the port that the file shows for a holder.
    pub(super) fn shown(&self, at: usize) -> Option<Port> {
        let file = self.read_file();
        let shown = match project(at) {
            (path, "") => &file["mappings"][path],
            _ => &file["portclaim"]["services"][holder(at).to_string()],
        };
        let shown = shown.as_u64()?;
        Port::new(shown.try_into().ok()?)
    }

    fn read_file(&self) -> Value {
        let text = fs::read(self.ground.file()).unwrap_or_default();
        serde_json::from_slice(&text)
            .unwrap_or_else(|_| json!({"version": "1.0", "mappings": {}, "next_available": 8888}))
    }

    /// Somebody removes a project's claim, and the registry file shows that.
    fn erase(&mut self, at: usize) {
        if let Some(port) = self.model.release(at) {
            remove(&self.ground.path().join(format!("ports/{port}.claim")));
            self.registry.refresh_index().expect("writes");
        }
    }

    /// Writes a file, if there are directories yet.
    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.ground.path().join(name);
        if path.parent().is_some_and(Path::is_dir) {
            fs::write(path, bytes).expect("writes");
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
}
