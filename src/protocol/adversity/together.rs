//! Ports for several holders at once: any, or ones that lie in a row.

use super::super::testing::port;
use super::super::{
    Acquired, Lookup, ROUNDS_MAX, Released, acquire_set, held, lookup_seal, release,
};
use super::Process;
use super::holders::{ROW, of};
use super::op::Answer;
use super::run::{Ports, record};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Draft, Nonce, Record};
use crate::term::Term;

/// Acquires ports for all of these holders; `None` where there are not enough.
pub(super) fn acquire_all(
    process: &Process,
    names: &[&str],
    ports: &'static [u16],
    term: &Term,
) -> Result<Option<Vec<Acquired>>> {
    let drafts = drafts(names, term);
    let acquired = acquire_set(
        &process.store,
        &drafts,
        look_all(process, &drafts)?,
        |_| Ok(Ports::new(ports, true)),
        |_, _| Ok(()),
        || Ok(process.quarantine.clone()),
        &mut Vec::new(),
    )?;
    Ok(acquired.ok())
}

/// Acquires ports in a row that begins with one of these; where some of the holders have theirs,
/// the row that those lie in. As `Registry::claim_block` does.
pub(super) fn acquire_row(process: &Process, firsts: &[u16]) -> Result<Answer> {
    let drafts = drafts(ROW, &Term::Kept);
    let made = &mut Vec::new();
    for _ in 0..ROUNDS_MAX {
        let seen = look_all(process, &drafts)?;
        let firsts = match start(&seen) {
            Some(0) => return Ok(Answer::Apart),
            Some(first) => vec![first],
            None => firsts.to_vec(),
        };
        let is_begun = start(&seen).is_some();
        match first_row(process, &drafts, &firsts, made) {
            // Another process chose where it lies.
            Err(error) if error.kind() == ErrorKind::HasAnother && !is_begun => {}
            Err(error) if error.kind() == ErrorKind::HasAnother => return Ok(Answer::Apart),
            answer => return answer,
        }
    }
    Err(Error::contended(ROW[0]))
}

fn first_row(
    process: &Process,
    drafts: &[Draft],
    firsts: &[u16],
    made: &mut Vec<Nonce>,
) -> Result<Answer> {
    for first in firsts {
        let row: Vec<u16> = (0..).zip(drafts).map(|(at, _)| first + at).collect();
        let accept = |at: usize, record: &Record| {
            if record.port().get() == row[at] {
                return Ok(());
            }
            Err(Error::has_another(port(row[at]), record.clone()))
        };
        let acquired = acquire_set(
            &process.store,
            drafts,
            look_all(process, drafts)?,
            |at| Ok(Ports::new(&row[at..=at], false)),
            accept,
            || Ok(process.quarantine.clone()),
            made,
        )?;
        if let Ok(all) = acquired {
            return Ok(Answer::HeldAll(all.into_iter().map(record).collect()));
        }
    }
    Ok(Answer::Exhausted)
}

/// Returns the first port of a row of which some are held; `None` where none is.
fn start(seen: &[Lookup]) -> Option<u16> {
    let held = |(seen, at): (&Lookup, u16)| match seen {
        Lookup::Held(record, _) => Some(record.port().get().saturating_sub(at)),
        _ => None,
    };
    seen.iter().zip(0..).find_map(held)
}

/// Releases a row, the last one first. As `Registry::release_block` does.
pub(super) fn release_row(process: &Process) -> Result<Vec<Record>> {
    let store = &process.store;
    let mut count = 1;
    while count < ROW.len() && held(store, of(ROW[count]))?.is_some() {
        count += 1;
    }
    let mut released = Vec::new();
    for name in ROW[..count].iter().rev() {
        if let Released::Done(record) = release(store, of(name), None, None)? {
            released.push(record);
        }
    }
    Ok(released)
}

fn drafts(names: &[&str], term: &Term) -> Vec<Draft> {
    let draft = |name: &&str| Draft {
        term: term.clone(),
        ..Draft::from(of(name).clone())
    };
    names.iter().map(draft).collect()
}

fn look_all(process: &Process, drafts: &[Draft]) -> Result<Vec<Lookup>> {
    let look = |draft: &Draft| lookup_seal(&process.store, &draft.holder);
    drafts.iter().map(look).collect()
}
