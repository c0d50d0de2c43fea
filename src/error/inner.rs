//! What an error knows, and how it is told.

use std::fmt;
use std::io;
use std::net::IpAddr;

use camino::Utf8PathBuf;

use super::{Corruption, Exhaustion, Op};
use crate::port::Port;
use crate::record::Record;

#[derive(Debug)]
pub(super) enum Inner {
    Exhausted(Exhaustion),
    Taken {
        port: Port,
        by: Option<Record>,
    },
    HasAnother {
        wanted: Port,
        held: Record,
    },
    Superseded {
        port: Port,
    },
    Corrupt {
        path: Utf8PathBuf,
        why: Corruption,
    },
    InvalidPath {
        shown: String,
        why: &'static str,
    },
    InvalidPort {
        shown: String,
    },
    InvalidService {
        shown: String,
    },
    InvalidCount {
        count: u16,
    },
    NoRow {
        count: usize,
        first: Port,
    },
    InvalidRange {
        first: Port,
        last: Port,
    },
    Contended {
        what: Utf8PathBuf,
    },
    NoLocks {
        root: Utf8PathBuf,
        filesystem: String,
        /// Why that matters: behind "cannot be trusted".
        why: &'static str,
    },
    Io {
        op: Op,
        path: Utf8PathBuf,
        source: io::Error,
    },
    Bind {
        /// `None`: every address.
        address: Option<IpAddr>,
        port: Port,
        source: io::Error,
    },
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inner::Exhausted(Exhaustion {
                range,
                claimed,
                in_use,
                denied,
                excluded,
            }) => {
                write!(
                    f,
                    "no port is left in the range {range}: of {} ports, {claimed} are claimed and {in_use} in use by programs without a claim",
                    range.len()
                )?;
                if *denied > 0 {
                    write!(f, ", and {denied} need privileges to bind")?;
                }
                if *excluded > 0 {
                    write!(f, ", and {excluded} are excluded")?;
                }
                Ok(())
            }
            Inner::Taken { port, by: Some(by) } => {
                write!(
                    f,
                    "port {port} is taken by {}",
                    by.holder().to_string().escape_debug()
                )
            }
            Inner::Taken { port, by: None } => write!(f, "port {port} is taken"),
            Inner::HasAnother { wanted, held } => write!(
                f,
                "{} has port {} already, and can be given port {wanted} only when that is released",
                held.holder().to_string().escape_debug(),
                held.port()
            ),
            Inner::Superseded { port } => {
                write!(
                    f,
                    "the claim of port {port} has been released by somebody else"
                )
            }
            Inner::Corrupt { path, why } => {
                write!(f, "{} cannot be used: {why}", path.as_str().escape_debug())
            }
            Inner::InvalidPath { shown, why } => {
                write!(f, "the path \"{shown}\" cannot be used: {why}")
            }
            Inner::InvalidPort { shown } => write!(
                f,
                "\"{shown}\" is no port: ports are the numbers 1 to 65535"
            ),
            Inner::InvalidService { shown } => write!(
                f,
                "\"{shown}\" cannot be a service: its name is a letter or digit, and up to 63 more of them, \
                 with dots, hyphens and underscores between"
            ),
            Inner::InvalidCount { count } => write!(
                f,
                "{count} ports are no block: it has 1 to {} of them",
                crate::port::BLOCK_MAX
            ),
            Inner::NoRow { count, first } => {
                write!(
                    f,
                    "there are no {count} free ports in a row from {first} on"
                )
            }
            Inner::InvalidRange { first, last } => {
                write!(
                    f,
                    "{first}-{last} is no range of ports: {first} is above {last}"
                )
            }
            Inner::Contended { what } => write!(
                f,
                "other processes changed {} each time it was looked at",
                what.as_str().escape_debug()
            ),
            Inner::NoLocks {
                root,
                filesystem,
                why,
            } => write!(
                f,
                "{} lies on {}, whose file locks cannot be trusted{why}",
                root.as_str().escape_debug(),
                filesystem.escape_debug()
            ),
            Inner::Io { op, path, .. } => {
                write!(f, "failed to {op} {}", path.as_str().escape_debug())
            }
            Inner::Bind {
                address: Some(address),
                port,
                ..
            } => write!(f, "failed to bind {address} port {port}"),
            Inner::Bind { port, .. } => write!(f, "failed to bind port {port}"),
        }
    }
}
