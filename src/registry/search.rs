//! A new port for a holder: one that is named, or the next of a range.

use super::{Registry, Request};
use crate::error::{Error, Result};
use crate::fs::Dir;
use crate::migrate::{Adopted, Only};
use crate::pick::RangePicker;
use crate::place::Place;
use crate::port::Port;
use crate::project::Holder;
use crate::protocol::{
    Acquired, Lookup, ROUNDS_MAX, Swept, acquire, acquire_after, committed, lookup_seal, marks,
    pause, sweep, sweep_port,
};

/// How often an exhausted range, or a port that is claimed, is tried: once more than others are
/// given time to settle.
const EXHAUSTED_ROUNDS_MAX: u32 = ROUNDS_MAX + 1;

/// How often a port is tried again whose claim was nobody's when it was looked at: it was released
/// this moment, or cannot be read and stays.
const LOOKS_MAX: u32 = 3;

impl Registry {
    /// Takes this port and no other. Where it has a claim that is not another holder's, that is
    /// swept, and the port tried again.
    pub(super) fn acquire_port(
        &self,
        place: &Place,
        holder: &Holder,
        port: Port,
    ) -> Result<Acquired> {
        let _ = self;
        let quarantine = || place.quarantine();
        let mut looks = 0;
        for round in 0..=EXHAUSTED_ROUNDS_MAX {
            match acquire(&place.store, holder, &mut Only::new(port), quarantine)? {
                Acquired::Existing(record) if record.port() != port => {
                    return Err(Error::has_another(port, record));
                }
                Acquired::Exhausted => {}
                acquired => return Ok(acquired),
            }
            match sweep_port(&place.store, port, quarantine)? {
                Swept::Removed | Swept::Quarantined => {}
                // It may be given up yet, or be this holder's.
                Swept::Busy => pause(round),
                Swept::Kept => match committed(&place.store, port)? {
                    Some(by) if by.holder() != holder => return Err(Error::taken(port, Some(by))),
                    // Another process of the holder was first.
                    Some(_) => {}
                    None if looks == LOOKS_MAX => break,
                    None => looks += 1,
                },
            }
        }
        Err(Error::taken(port, None))
    }

    /// Searches the range; if it is exhausted, sweeps once and searches again.
    pub(super) fn acquire_from(
        &self,
        place: &Place,
        request: &Request,
        seen: Lookup,
        file: &Adopted,
    ) -> Result<Acquired> {
        let range = request.range.unwrap_or(self.range());
        let written = file.next_available();
        // The index may know the port of a project whose claim and commit were both lost.
        let known = match file.port_of(place, self.file_name(), &request.holder)? {
            // It was released, and the file does not show that yet: a new one, in turn.
            Some(port) if is_marked(place, port)? => None,
            known => known,
        };
        let spared = file.spared();
        let mut seen = Some(seen);
        for round in 0..=EXHAUSTED_ROUNDS_MAX {
            if let Some(port) = known {
                // Its own claim may be there, without its commit.
                sweep_port(&place.store, port, || place.quarantine())?;
            }
            let mut picker = RangePicker::new(place, range, written, known, spared.clone());
            let quarantine = || place.quarantine();
            let seen = match seen.take() {
                Some(seen) => seen,
                None => lookup_seal(&place.store, &request.holder)?,
            };
            let (store, holder) = (&place.store, &request.holder);
            match acquire_after(store, holder, seen, &mut picker, quarantine)? {
                Acquired::Exhausted => {
                    let swept = sweep(&place.store, quarantine)?;
                    // Claims that are being made may be given up yet, and one may be this
                    // holder's: rivals for one project's port each hold one for a moment.
                    let is_moving =
                        swept.busy.iter().any(|&port| range.contains(port)) && round < ROUNDS_MAX;
                    if round > 0 && swept.freed.is_empty() && !is_moving {
                        return Err(Error::exhausted(picker.exhaustion()));
                    }
                    if is_moving {
                        pause(round);
                    }
                }
                acquired => return Ok(acquired),
            }
        }
        Err(Error::contended(place.store.ports.path()))
    }
}

/// Returns whether the registry file need not show the port as it is.
fn is_marked(place: &Place, port: Port) -> Result<bool> {
    Ok(marks(&place.store.index)?
        .iter()
        .any(|mark| mark.port == port))
}
