//! New ports for holders: ones that are named, or the next of a range.

use super::terms::{Reclaimed, reclaim, reclaim_all};
use super::{Registry, Request};
use crate::error::{Error, Result};
use crate::fs::Dir;
use crate::fs::whereabouts::device;
use crate::index::PortSet;
use crate::migrate::{Adopted, Only};
use crate::net::{Availability, is_free};
use crate::pick::RangePicker;
use crate::place::Place;
use crate::port::{Port, PortRange};
use crate::protocol::{
    Acquired, Lookup, Picker, ROUNDS_MAX, Rejection, Standing, Swept, acquire_set, committed,
    lookup_seal, marks, pause, standing, sweep, sweep_port,
};
use crate::record::{Draft, Nonce, Record};
use crate::repository::Repository;

/// How often an exhausted range, or a port that is claimed, is tried: once more than others are
/// given time to settle.
const EXHAUSTED_ROUNDS_MAX: u32 = ROUNDS_MAX + 1;

/// How often a port is tried again whose claim was nobody's, or the holder's, when it was looked at: it was released or
/// claimed this moment, or cannot be read and stays.
const LOOKS_MAX: u32 = 3;

/// Picks a port that is wanted; where it is probed, only if it is free.
pub(super) fn wanted(port: Port, is_probed: bool) -> Only<'static> {
    if is_probed {
        Only::if_still(port, move || is_free(port))
    } else {
        Only::new(port)
    }
}

/// What a search came to.
pub(super) enum Found<'a, T> {
    This(T),
    /// What was tried knew no port any more.
    Exhausted(Pick<'a>),
}

/// What one request tries.
pub(super) enum Pick<'a> {
    Only(Only<'static>),
    Range(RangePicker<'a>),
}

impl Picker for Pick<'_> {
    fn next(&mut self) -> Result<Option<Port>> {
        match self {
            Pick::Only(only) => only.next(),
            Pick::Range(picker) => picker.next(),
        }
    }

    fn rejected(&mut self, port: Port, why: Rejection) {
        if let Pick::Range(picker) = self {
            picker.rejected(port, why);
        }
    }

    fn prefer(&mut self, port: Port) {
        if let Pick::Range(picker) = self {
            picker.prefer(port);
        }
    }

    fn availability(&mut self, port: Port) -> Result<Availability> {
        match self {
            Pick::Only(only) => only.availability(port),
            Pick::Range(picker) => picker.availability(port),
        }
    }
}

impl Registry {
    /// Gives each request's holder its port, or none of them a new one. Where a port is wanted
    /// that has a claim, or a range is exhausted, what killed processes left is swept, and
    /// the search goes on.
    pub(super) fn acquire_all(
        &self,
        place: &Place,
        requests: &[Request],
        seen: Vec<Lookup>,
        file: &Adopted,
        made: &mut Vec<Nonce>,
    ) -> Result<Vec<Acquired>> {
        let drafts = drafts(requests);
        let known = requests
            .iter()
            .map(|request| self.known_port(place, request, file))
            .collect::<Result<Vec<_>>>()?;
        let (written, spared) = (file.next_available(), file.spared());
        let quarantine = || place.quarantine();
        let mut seen = Some(seen);
        let is_ours = |by: &Record| drafts.iter().any(|draft| draft.holder == *by.holder());
        search(place, is_ours, || {
            for &port in known.iter().flatten() {
                // Its own claim may be there, without its commit.
                sweep_port(&place.store, port, quarantine)?;
            }
            let pick = |at: usize| {
                let request: &Request = &requests[at];
                let range = request.range.unwrap_or(self.range());
                if let Some(port) = request.port {
                    return Ok(Pick::Only(wanted(port, request.is_probed)));
                }
                let excluded = self.excluded(request);
                let spared = spared.clone();
                let picker = RangePicker::new(place, range, written, known[at], spared, excluded);
                Ok(Pick::Range(picker))
            };
            let seen = match seen.take() {
                Some(seen) => seen,
                None => look_all(place, requests)?,
            };
            let refuse = |at: usize, record: &Record| requests[at].check_existing(record);
            let acquired =
                acquire_set(&place.store, &drafts, seen, pick, refuse, quarantine, made)?;
            Ok(match acquired {
                Ok(acquired) => Found::This(acquired),
                Err(pick) => Found::Exhausted(pick),
            })
        })
    }

    /// Returns the ports that are not given to a request unless it names them.
    pub(super) fn excluded(&self, request: &Request) -> PortSet {
        ports_of(self.inner.options.excluded.iter().chain(&request.excluded))
    }

    /// The index may know the port of a project whose claim and commit were both lost.
    fn known_port(&self, place: &Place, request: &Request, file: &Adopted) -> Result<Option<Port>> {
        if request.port.is_some() {
            return Ok(None);
        }
        if request.preferred.is_some() {
            return Ok(request.preferred);
        }
        match file.port_of(place, self.file_name(), &request.holder)? {
            // It was released, and the file does not show that yet: a new one, in turn.
            Some(port) if is_marked(place, port)? => Ok(None),
            known => Ok(known),
        }
    }
}

/// Calls `once` until it finds what it searches. Where a port is wanted that has a claim, or a
/// range is exhausted, what killed processes left is swept in between.
pub(super) fn search<'a, T>(
    place: &'a Place,
    is_ours: impl Fn(&Record) -> bool,
    mut once: impl FnMut() -> Result<Found<'a, T>>,
) -> Result<T> {
    let (mut looks, mut only) = (0, None);
    for round in 0..=EXHAUSTED_ROUNDS_MAX {
        match once()? {
            Found::This(found) => return Ok(found),
            Found::Exhausted(Pick::Only(picker)) => {
                let port = picker.port();
                only = Some(port);
                if !clear(place, port, &is_ours, round, &mut looks)? {
                    break;
                }
            }
            Found::Exhausted(Pick::Range(picker)) => {
                // What the holders themselves have, they keep: each is asked for.
                let is_spared = |by: &Record| is_ours(by) || !picker.tries(by.port());
                let cleared = clear_all(place, |port| picker.tries(port), is_spared)?;
                let is_freed = cleared == Cleared::Freed;
                let is_moving = cleared == Cleared::Moving && round < ROUNDS_MAX;
                if round > 0 && !is_freed && !is_moving {
                    return Err(Error::exhausted(picker.exhaustion()));
                }
                if is_moving {
                    pause(round);
                }
            }
        }
    }
    Err(match only {
        Some(port) => Error::taken(port, committed(&place.store, port)?),
        None => Error::contended(place.store.ports.path()),
    })
}

/// What became of the claims of ports that are wanted and that nobody may hold any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cleared {
    /// They are held.
    None,
    /// Some are being made, and may be given up yet, and one may be the holder's own: rivals for one project's
    /// port each hold one for a moment. Or they are being taken away, and are free in a moment.
    Moving,
    /// One at least is gone.
    Freed,
}

/// Sweeps what killed processes left; where that frees nothing, takes away what has ended and is not spared.
pub(super) fn clear_all(
    place: &Place,
    is_wanted: impl Fn(Port) -> bool,
    is_spared: impl Fn(&Record) -> bool,
) -> Result<Cleared> {
    let swept = sweep(&place.store, || place.quarantine())?;
    if swept.freed.iter().any(|&port| is_wanted(port)) {
        return Ok(Cleared::Freed);
    }
    let is_busy = swept.busy.iter().any(|&port| is_wanted(port));
    Ok(match reclaim_all(place, is_spared)? {
        Reclaimed::Gone => Cleared::Freed,
        Reclaimed::Busy => Cleared::Moving,
        Reclaimed::Kept if is_busy => Cleared::Moving,
        Reclaimed::Kept => Cleared::None,
    })
}

/// Returns what the requests' records are to say. It is looked where each project lies: not
/// earlier, for most who ask have a port, and no use for that.
pub(super) fn drafts(requests: &[Request]) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::with_capacity(requests.len());
    for (at, request) in requests.iter().enumerate() {
        let project = request.holder.project();
        // Most often all of them are one project's.
        let is_like = |before: &Request| {
            before.holder.project() == project
                && before.notes_repository == request.notes_repository
        };
        let known = drafts.last().filter(|_| is_like(&requests[at - 1]));
        let (device, repository) = match known {
            Some(last) => (last.device, last.repository.clone()),
            // Where it cannot be told, it is not noted.
            None if request.notes_repository => {
                let repository = Repository::of(project).ok().flatten();
                (device(project.as_path()), repository)
            }
            None => (device(project.as_path()), None),
        };
        drafts.push(Draft {
            holder: request.holder.clone(),
            term: request.term.clone(),
            device,
            repository,
        });
    }
    drafts
}

/// Returns the ports of all ranges.
pub(super) fn ports_of<'a>(ranges: impl IntoIterator<Item = &'a PortRange>) -> PortSet {
    let ranges = ranges.into_iter();
    ranges.flat_map(|range| range.iter()).collect()
}

pub(super) fn look_all(place: &Place, requests: &[Request]) -> Result<Vec<Lookup>> {
    let look = |request: &Request| lookup_seal(&place.store, &request.holder);
    requests.iter().map(look).collect()
}

/// Sweeps the claim of a port that is wanted; `false` where nothing comes of waiting any more.
fn clear(
    place: &Place,
    port: Port,
    is_ours: impl Fn(&Record) -> bool,
    round: u32,
    looks: &mut u32,
) -> Result<bool> {
    match sweep_port(&place.store, port, || place.quarantine())? {
        Swept::Removed | Swept::Quarantined => {}
        // It may be given up yet, or be this holder's.
        Swept::Busy => pause(round),
        Swept::Leased => {
            if let Standing::Leased(by) = standing(&place.store, port)? {
                return Err(Error::taken(port, Some(by)));
            }
        }
        Swept::Kept => match committed(&place.store, port)? {
            // Another process of the holder was first, or it is another one's that is asked for at the same time.
            Some(by) if is_ours(&by) => {
                *looks += 1;
                return Ok(*looks <= LOOKS_MAX);
            }
            Some(by) => match reclaim(place, &by)? {
                Reclaimed::Kept => return Err(Error::taken(port, Some(by))),
                Reclaimed::Busy => pause(round),
                Reclaimed::Gone => {}
            },
            None => {
                *looks += 1;
                return Ok(*looks <= LOOKS_MAX);
            }
        },
    }
    Ok(true)
}

/// Returns whether the registry file need not show the port as it is.
fn is_marked(place: &Place, port: Port) -> Result<bool> {
    Ok(marks(&place.store.index)?
        .iter()
        .any(|mark| mark.port == port))
}
