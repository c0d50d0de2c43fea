//! What others do to the registry's files: the Python system, killed processes, a person.

use std::fs;
use std::io;
use std::path::Path;

use portclaim::Port;
use serde_json::{Value, json};

use super::super::ground::{listed, port, record_line};
use super::super::lines::Line;
use super::model::PROJECTS;
use super::{Play, project};

/// Of files that no process of this run made.
const NONCE: &str = "00000000000000000000000000000abc";

impl Play {
    pub(super) fn disturb(&mut self, what: u8, line: &mut Line<'_>) {
        let file = self.ground.file();
        match what {
            b'j' => {
                let project = project(line);
                let number = line.digit();
                self.write_mapping(project, number);
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
                let project = PROJECTS[project(line)];
                let number = line.digit();
                let orphan = record_line(port(number), NONCE, project, "");
                self.put_free(number, &orphan);
            }
            b'v' => {
                let mark = format!("index/changed-{}-{NONCE}", port(line.digit()));
                self.put(&mark, b"");
            }
            _ => self.erase(project(line)),
        }
    }

    /// The Python system notes a mapping, in the file as it is: if neither has a claim, it is one.
    fn write_mapping(&mut self, project: usize, number: usize) {
        if self.is_outdated(number) {
            return;
        }
        let mut file = self.read_file();
        file["mappings"][PROJECTS[project]] = port(number).get().into();
        self.put("port_registry.json", file.to_string().as_bytes());
        listed(&self.registry);
        if self.model.port_of(project).is_none() && self.model.holder_of(port(number)).is_none() {
            self.model.give(project, port(number));
        }
    }

    /// A claimer was killed before its commit.
    fn put_free(&self, number: usize, bytes: &[u8]) {
        if self.model.holder_of(port(number)).is_none() {
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

    /// Returns the port that the file shows for a project.
    pub(super) fn shown(&self, project: usize) -> Option<Port> {
        let file = self.read_file();
        let shown = file["mappings"][PROJECTS[project]].as_u64()?;
        Port::new(shown.try_into().ok()?)
    }

    fn read_file(&self) -> Value {
        let text = fs::read(self.ground.file()).unwrap_or_default();
        serde_json::from_slice(&text)
            .unwrap_or_else(|_| json!({"version": "1.0", "mappings": {}, "next_available": 8888}))
    }

    /// Somebody removes a project's claim, and the registry file shows that.
    fn erase(&mut self, project: usize) {
        if let Some(port) = self.model.release(project) {
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
