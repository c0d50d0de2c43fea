//! What the registry must say: a map.

use std::collections::BTreeMap;

use portclaim::Port;

/// The projects that take part.
pub(crate) const PROJECTS: [&str; 4] = ["/p/a", "/p/b", "/p/c", "/p/d"];

#[derive(Default)]
pub(crate) struct Model {
    holders: BTreeMap<Port, usize>,
    /// What each project had last. If it was lost, it is to be had again.
    last: [Option<Port>; PROJECTS.len()],
}

impl Model {
    pub(crate) fn give(&mut self, project: usize, port: Port) {
        assert_eq!(self.port_of(project), None, "it has a port");
        let before = self.holders.insert(port, project);
        assert_eq!(before, None, "port {port} is another's");
        self.last[project] = Some(port);
    }

    pub(crate) fn last(&self, project: usize) -> Option<Port> {
        self.last[project]
    }

    pub(crate) fn release(&mut self, project: usize) -> Option<Port> {
        let port = self.port_of(project)?;
        self.holders.remove(&port);
        Some(port)
    }

    /// Releases all, and returns how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.holders).len()
    }

    pub(crate) fn port_of(&self, project: usize) -> Option<Port> {
        let mut holders = self.holders.iter();
        let (port, _) = holders.find(|(_, holder)| **holder == project)?;
        Some(*port)
    }

    pub(crate) fn holder_of(&self, port: Port) -> Option<usize> {
        self.holders.get(&port).copied()
    }

    pub(crate) fn held(&self) -> Vec<(Port, &'static str)> {
        let holders = self.holders.iter();
        holders
            .map(|(port, holder)| (*port, PROJECTS[*holder]))
            .collect()
    }
}
