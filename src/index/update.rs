//! Derives the registry file from the claims.

use std::collections::BTreeMap;

use super::document::Document;
use super::port_set::PortSet;
use super::services::Services;
use super::turn::next_available;
use crate::error::{Op, Result};
use crate::fs::Dir;
use crate::port::{Port, PortRange};
use crate::project::{Holder, ProjectPath};
use crate::protocol::{Context, Marked, Store, committed, is_unreadable};
use crate::record::claim_port;

#[cfg(all(test, not(loom)))]
mod tests;

/// Returns the port that the file shows for a holder.
pub(crate) fn port_of(document: &Document, holder: &Holder) -> Option<Port> {
    if !holder.service().is_empty() {
        let mut services = document.services().iter();
        return services
            .find(|(_, there)| *there == holder)
            .map(|(port, _)| *port);
    }
    let mut mappings = document.mappings();
    // By text: camino compares paths component by component, which is slow.
    let project = holder.project().as_str();
    let found = mappings.find(|(path, _)| path.as_str() == project);
    found.map(|(_, port)| port)
}

/// Returns the ports of entries that can be no claims, or are none yet: whoever wrote them uses
/// them all the same.
pub(crate) fn spared(document: &Document) -> PortSet {
    let others = document.mappings().map(|(_, port)| port);
    let kept = document.kept().filter_map(|kept| kept.port);
    kept.chain(others.filter(|&port| !document.wrote(port)))
        .collect()
}

/// Returns the ports that have a claim of any kind.
pub(crate) fn present<D: Dir>(ports: &D) -> Result<PortSet> {
    let names = ports.names().on(Op::List, ports)?;
    Ok(names.iter().filter_map(|name| claim_port(name)).collect())
}

/// Brings `document` up to date with the claims. Reads the claims whose ports are marked, and
/// those that the file and the directory disagree about; all of them where portclaim did not
/// write the file. `turn` is the port that was picked last, and the range of new ports.
pub(crate) fn update<D: Dir>(
    document: &mut Document,
    store: &Store<D>,
    marked: &[Marked],
    turn: (Option<Port>, PortRange),
) -> Result<Vec<Dropped>> {
    update_from(document, store, marked, turn, false)
}

/// The same, and reads all claims.
pub(crate) fn update_fully<D: Dir>(
    document: &mut Document,
    store: &Store<D>,
    marked: &[Marked],
    turn: (Option<Port>, PortRange),
) -> Result<Vec<Dropped>> {
    update_from(document, store, marked, turn, true)
}

/// A mapping that portclaim did not write and that leaves the file: the port is another's.
pub(crate) struct Dropped {
    pub(crate) project: ProjectPath,
    pub(crate) port: Port,
    pub(crate) holder: Holder,
}

fn update_from<D: Dir>(
    document: &mut Document,
    store: &Store<D>,
    marked: &[Marked],
    turn: (Option<Port>, PortRange),
    fully: bool,
) -> Result<Vec<Dropped>> {
    let present = present(&store.ports)?;
    let mapped: PortSet = document.mappings().map(|(_, port)| port).collect();
    // What the file shows as portclaim wrote it, and nothing says that it changed.
    let mut known = PortSet::new();
    let mut services = Services::new();
    if !fully
        && !document.is_edited()
        && let Some(ours) = document.ours()
    {
        let shown = |port: &Port| present.contains(*port) && mapped.contains(*port);
        known.extend(ours.iter().filter(shown));
        services.clone_from(document.services());
        services.retain(|&port, _| present.contains(port) && !mapped.contains(port));
    }
    for mark in marked {
        known.remove(mark.port);
        services.remove(&mark.port);
    }

    let ours = document.ours().cloned().unwrap_or_default();
    let mut claims = BTreeMap::new();
    for port in present.iter() {
        if known.contains(port) || services.contains_key(&port) {
            continue;
        }
        if let Some(record) = committed(store, port)? {
            claims.insert(port, record.holder().clone());
        } else if ours.contains(port) && mapped.contains(port) && is_unreadable(store, port)? {
            // Nothing says that it was released.
            known.insert(port);
        } else if let Some(holder) = document.services().get(&port)
            && is_unreadable(store, port)?
        {
            services.insert(port, holder.clone());
        }
    }

    let mut seen = PortSet::new();
    let mut dropped = Vec::new();
    let is_edited = document.is_edited();
    document.retain(|path, port| {
        let first = seen.insert(port);
        if known.contains(port) {
            return first;
        }
        match claims.get(&port).or(services.get(&port)) {
            Some(holder) if holder.service().is_empty() && holder.project() == path => true,
            Some(holder) => {
                // What portclaim wrote itself, its own changes supersede.
                if is_edited {
                    dropped.push(Dropped {
                        project: path.clone(),
                        port,
                        holder: holder.clone(),
                    });
                }
                false
            }
            // Released since, if portclaim wrote it; else not adopted yet, and kept.
            None => !ours.contains(port),
        }
    });
    let (unnamed, named): (Services, Services) = claims
        .into_iter()
        .partition(|(_, holder)| holder.service().is_empty());
    services.extend(named);
    let mut now_ours = known;
    now_ours.extend(unnamed.keys().copied());
    let unnamed = unnamed.into_iter();
    document.assign(unnamed.map(|(port, holder)| (holder.project().clone(), port)));
    let (last, range) = turn;
    let written = document.next_available();
    // What stands there holds until a port is picked: others may have gone on since.
    if written.is_none() || marked.iter().any(|mark| Some(mark.port) == last) {
        document.set_next_available(next_available(last, written, range));
    }
    document.set_ours(now_ours);
    document.set_checksum();
    document.set_services(services);
    Ok(dropped)
}
