//! What the registry must say: a map.

use std::collections::BTreeMap;

use portclaim::{Holder, Port};

use super::super::ground;

/// The projects that take part, by path and service.
const PROJECTS: [(&str, &str); 6] = [
    ("/p/a", ""),
    ("/p/b", ""),
    ("/p/c", ""),
    ("/p/d", ""),
    ("/p/a", "web"),
    ("/p/b", "web"),
];

/// How many holders there are.
pub(crate) const HOLDERS: usize = PROJECTS.len();

/// How many of them the Python system can name: the first ones.
pub(crate) const UNNAMED: usize = 4;

pub(crate) fn holder(at: usize) -> Holder {
    let (path, service) = PROJECTS[at];
    let unnamed = ground::holder(path);
    match service {
        "" => unnamed,
        service => Holder::of_service(unnamed.project().clone(), service).expect("it can be named"),
    }
}

/// Returns the path and the service of a holder.
pub(crate) fn project(at: usize) -> (&'static str, &'static str) {
    PROJECTS[at]
}

/// Returns the holder of the same service in the project of another one, if there is one.
pub(crate) fn in_project_of(at: usize, other: usize) -> Option<usize> {
    let wanted = (PROJECTS[other].0, PROJECTS[at].1);
    PROJECTS.iter().position(|it| *it == wanted)
}

/// How a port is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Until it is released.
    Kept,
    /// For a time that is not over.
    Timed,
    /// For a time that is over, or by a process that is gone: until somebody needs the port.
    Ended,
}

#[derive(Default)]
pub(crate) struct Model {
    holders: BTreeMap<Port, (usize, Held)>,
    /// What each holder had last. If it was lost, it is to be had again.
    last: [Option<Port>; HOLDERS],
    /// The ports that are leased, in the order in which they were given.
    pub(crate) leases: Vec<Port>,
}

impl Model {
    pub(crate) fn give(&mut self, at: usize, port: Port, held: Held) {
        assert_eq!(self.port_of(at), None, "it has a port");
        assert!(!self.leases.contains(&port), "port {port} is leased");
        let before = self.holders.insert(port, (at, held));
        assert_eq!(before, None, "port {port} is another's");
        self.last[at] = Some(port);
    }

    pub(crate) fn lease(&mut self, port: Port) {
        let taken = self.holder_of(port).is_some() || self.leases.contains(&port);
        assert!(!taken, "port {port} is another's");
        self.leases.push(port);
    }

    pub(crate) fn last(&self, at: usize) -> Option<Port> {
        self.last[at]
    }

    pub(crate) fn release(&mut self, at: usize) -> Option<Port> {
        let port = self.port_of(at)?;
        self.holders.remove(&port);
        Some(port)
    }

    /// Releases all, and returns how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.holders).len()
    }

    pub(crate) fn port_of(&self, at: usize) -> Option<Port> {
        let mut holders = self.holders.iter();
        let (port, _) = holders.find(|(_, (holder, _))| *holder == at)?;
        Some(*port)
    }

    pub(crate) fn holder_of(&self, port: Port) -> Option<usize> {
        self.holders.get(&port).map(|held| held.0)
    }

    /// Returns how a holder has its port.
    pub(crate) fn held_by(&mut self, at: usize) -> Option<&mut Held> {
        let mut holders = self.holders.values_mut();
        holders.find(|held| held.0 == at).map(|held| &mut held.1)
    }

    /// Returns whether a holder has a port until somebody needs it.
    pub(crate) fn is_over(&mut self, at: usize) -> bool {
        self.held_by(at).is_some_and(|held| *held == Held::Ended)
    }

    /// Returns whether somebody has the port for longer than until it is needed.
    pub(crate) fn is_taken(&self, port: Port) -> bool {
        let held = self.holders.get(&port);
        self.leases.contains(&port) || held.is_some_and(|held| held.1 != Held::Ended)
    }

    /// Somebody needed a port: what has ended may have been taken away, and is where `is_there` does not say
    /// otherwise.
    pub(crate) fn reclaim(&mut self, is_there: impl Fn(Port) -> bool) {
        self.holders
            .retain(|port, held| held.1 != Held::Ended || is_there(*port));
    }

    pub(crate) fn held(&self) -> Vec<(Port, Holder)> {
        let holders = self.holders.iter();
        holders
            .map(|(port, held)| (*port, holder(held.0)))
            .collect()
    }
}
