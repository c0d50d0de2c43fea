//! The registry file of the simulation: one line for each port that is held.

use super::super::{Context, Lookup, lookup};
use super::Process;
use super::holders::{HOLDERS, of};
use crate::error::{Error, Op, Result};
use crate::fs::Dir;

/// Its name, in the directory of the marks.
pub(super) const REGISTRY: &str = "registry";

/// What it should say.
pub(super) fn registry(process: &Process) -> Result<Vec<u8>> {
    let dir = &process.store.projects;
    let commits = dir.names().on(Op::List, dir)?;
    let mut lines = Vec::new();
    for name in HOLDERS {
        let holder = of(name);
        if !commits.iter().any(|commit| commit == holder.key()) {
            continue;
        }
        match lookup(&process.store, holder)? {
            Lookup::Held(record, _) => lines.push(format!("{name} {}\n", record.port())),
            Lookup::Hidden(_) => return Err(Error::contended(name)),
            _ => {}
        }
    }
    Ok(lines.concat().into_bytes())
}

/// Writes it as the index does: aside, then over the old one.
pub(super) fn write_registry(process: &Process) -> Result<()> {
    let (dir, to) = (&process.store.staging, &process.store.index);
    let text = registry(process)?;
    let nonce = (process.store.draw)().map_err(|error| Error::io(Op::Draw, "", error))?;
    let name = format!("registry-{nonce}");
    let file = dir.create(&name).at(Op::Create, dir, &name)?;
    dir.write(&file, &text).at(Op::Write, dir, &name)?;
    dir.replace(&name, to, REGISTRY)
        .at(Op::Replace, to, REGISTRY)
}
