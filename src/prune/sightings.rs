//! Since when directories are known to be missing: a file for each claim in `missing/`, named by
//! port and nonce, so that a later claim is never mistaken for it. It says when a `prune` saw
//! first that the project's directory was missing, in seconds since 1970.
//!
//! Only `prune` writes here. A sighting that is lost or damaged is made again: then it takes
//! longer until the claim is removed, and never shorter.

use std::collections::BTreeSet;
use std::io;

use crate::error::{Op, Result};
use crate::fs::Dir;
use crate::fs::os::OsDir;
use crate::place::{MISSING, Place};
use crate::port::Port;
use crate::protocol::Context;
use crate::record::{Nonce, Record};

/// Longest number, with its line feed.
const LEN_MAX: usize = 21;

/// The sightings of a registry.
pub(super) struct Sightings<'a> {
    place: &'a Place,
    /// `None` where there is no directory yet.
    dir: Option<OsDir>,
    is_dry: bool,
    /// Those that are to stay.
    kept: BTreeSet<String>,
}

impl<'a> Sightings<'a> {
    /// Opens them; where `is_dry`, nothing is changed.
    pub(super) fn open(place: &'a Place, is_dry: bool) -> Result<Sightings<'a>> {
        Ok(Sightings {
            place,
            dir: place.missing()?,
            is_dry,
            kept: BTreeSet::new(),
        })
    }

    /// Returns when the claim's directory was seen missing first, and notes `now` where it was not.
    /// A time that lies ahead is no sighting: the clock was wrong then.
    pub(super) fn see(&mut self, record: &Record, now: u64) -> Result<Option<u64>> {
        let name = name_of(record);
        let seen = match &self.dir {
            Some(dir) => read(dir, &name)?.filter(|&seen| seen <= now),
            None => None,
        };
        if seen.is_none() && !self.is_dry {
            self.note(&name, now)?;
        }
        self.kept.insert(name);
        Ok(seen)
    }

    /// Keeps what is known of a claim of which nothing certain can be said now.
    pub(super) fn keep(&mut self, record: &Record) {
        self.kept.insert(name_of(record));
    }

    /// Keeps nothing of a claim that was released.
    pub(super) fn forget(&mut self, record: &Record) {
        self.kept.remove(&name_of(record));
    }

    fn note(&mut self, name: &str, now: u64) -> Result<()> {
        let dir = match &self.dir {
            Some(dir) => dir,
            None => self.dir.insert(self.place.create_dir(MISSING)?),
        };
        remove(dir, name)?;
        match dir.create(name) {
            Ok(file) => dir
                .write(&file, format!("{now}\n").as_bytes())
                .at(Op::Write, dir, name),
            // Another run notes the same.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error).at(Op::Create, dir, name),
        }
    }

    /// Removes the others: their directories are back, or their claims are gone.
    pub(super) fn remove_others(self) -> Result<()> {
        let Some(dir) = self.dir.filter(|_| !self.is_dry) else {
            return Ok(());
        };
        for name in dir.names().on(Op::List, &dir)? {
            if is_sighting(&name) && !self.kept.contains(&name) {
                remove(&dir, &name)?;
            }
        }
        Ok(())
    }
}

fn name_of(record: &Record) -> String {
    format!("{}-{}", record.port(), record.nonce())
}

/// Returns whether sightings have such names.
pub(crate) fn is_sighting(name: &str) -> bool {
    let is_one = |(port, nonce): (&str, &str)| {
        port.parse::<Port>().is_ok() && Nonce::from_hex(nonce).is_some()
    };
    name.split_once('-').is_some_and(is_one)
}

fn read(dir: &OsDir, name: &str) -> Result<Option<u64>> {
    let bytes = match dir.read(name, LEN_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at(Op::Read, dir, name),
    };
    // With its end: one that was cut short tells another time.
    let text = bytes.strip_suffix(b"\n");
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    Ok(text.and_then(|text| text.parse().ok()))
}

fn remove(dir: &OsDir, name: &str) -> Result<()> {
    match dir.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).at(Op::Remove, dir, name)
        }
        _ => Ok(()),
    }
}
