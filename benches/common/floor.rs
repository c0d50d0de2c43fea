//! The floor of the library's operations: the same files by bare system calls.

use std::os::fd::{AsFd, OwnedFd};

use camino::Utf8Path;
use rustix::fs::{AtFlags, Mode, OFlags};

/// What a record is as long as, bytes.
const RECORD: [u8; 130] = [b'x'; 130];

/// Directories like those of a registry.
pub(crate) struct Raw {
    ports: OwnedFd,
    projects: OwnedFd,
    staging: OwnedFd,
}

const CREATE: OFlags = OFlags::CREATE
    .union(OFlags::EXCL)
    .union(OFlags::RDWR)
    .union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

/// A file's name, as long as portclaim's.
pub(crate) fn name(number: usize) -> String {
    format!("{number:032x}.claim")
}

impl Raw {
    /// Makes the directories under `root`, with so many claims in them. Their names are those
    /// of the numbers from 100,000 on.
    pub(crate) fn filled(root: &Utf8Path, claims: usize) -> Raw {
        let open = |name: &str| {
            let path = root.join("raw").join(name);
            std::fs::create_dir_all(&path).expect("a directory");
            rustix::fs::open(
                path.as_str(),
                OFlags::RDONLY | OFlags::DIRECTORY,
                Mode::empty(),
            )
            .expect("opens")
        };
        let raw = Raw {
            ports: open("ports"),
            projects: open("projects"),
            staging: open("staging"),
        };
        for number in 0..claims {
            raw.claim(number, &name(100_000 + number));
        }
        raw
    }

    /// Probe, create and write the claim, stage the commit and publish it.
    pub(crate) fn claim(&self, number: usize, name: &str) {
        probe(number, Probe::Bare);
        create(&self.ports, name);
        create(&self.staging, name);
        rustix::fs::renameat_with(
            &self.staging,
            name,
            &self.projects,
            name,
            rustix::fs::RenameFlags::NOREPLACE,
        )
        .expect("publishes");
    }

    /// Probe, create, lock and write the claim, which stays open.
    pub(crate) fn lease(&self, number: usize, name: &str, how: Probe) -> OwnedFd {
        probe(number, how);
        let flock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        let file = open_new(&self.ports, name);
        rustix::fs::flock(&file, flock).expect("locks");
        write(&file);
        file
    }

    pub(crate) fn remove_lease(&self, name: &str) {
        rustix::fs::unlinkat(&self.ports, name, AtFlags::empty()).expect("removes");
    }

    pub(crate) fn look_up(&self, name: &str) {
        for dir in [&self.projects, &self.ports] {
            let file = rustix::fs::openat(dir, name, READ, Mode::empty()).expect("opens");
            let mut bytes = [0; 1024];
            assert_eq!(
                rustix::io::read(&file, &mut bytes).expect("reads"),
                RECORD.len()
            );
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        for dir in [&self.projects, &self.ports] {
            rustix::fs::unlinkat(dir, name, AtFlags::empty()).expect("removes");
        }
    }
}

/// How a port is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Made and bound.
    Bare,
    /// With the two options without which it tells no free port from one that is used.
    Telling,
}

fn probe(number: usize, how: Probe) {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET6,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .expect("a socket");
    if how == Probe::Telling {
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true).expect("is set");
        rustix::net::sockopt::set_ipv6_v6only(&socket, false).expect("is set");
    }
    let port = 10_000 + u16::try_from(number % 20_000).expect("a port");
    let address = std::net::SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, port, 0, 0);
    let _ = rustix::net::bind(&socket, &address);
}

fn create(dir: impl AsFd, name: &str) {
    write(&open_new(dir, name));
}

fn open_new(dir: impl AsFd, name: &str) -> OwnedFd {
    rustix::fs::openat(dir, name, CREATE, Mode::from_raw_mode(0o600)).expect("creates")
}

fn write(file: &OwnedFd) {
    assert_eq!(
        rustix::io::write(file, &RECORD).expect("writes"),
        RECORD.len()
    );
}
