//! Mends what can be mended. Nothing is deleted that anybody wrote into.

use std::collections::BTreeMap;
use std::io;

use super::check::{commit_damage, inspect, names};
use super::{hints, own, permissions, side};
use crate::error::{Corruption, ErrorKind, Op, Result};
use crate::fs::os::OsDir;
use crate::index::{self, Document};
use crate::migrate::{self, ESTABLISHED, Only};
use crate::place::Place;
use crate::port::Port;
use crate::project::Holder;
use crate::protocol::{
    Aside, Context, Lookup, Swept, acquire_as, is_damaged, lookup, marks, read_claim, read_record,
    set_aside, sweep_port, sweep_staging, withdraw, withdraw_dangling,
};
use crate::record::{Draft, LEN_MAX, Record, claim_port};
use crate::registry::Registry;

/// Mends all but the registry file.
pub(super) fn all(registry: &Registry, place: &Place) -> Result<()> {
    let file = migrate::read(place, registry.file_name())?;
    permissions::mend(place)?;
    mend_commits(place, file.as_ref())?;
    mend_claims(place, registry.file_name(), file.as_ref())?;
    mend_dangling(place)?;
    mend_foreign(place)?;
    sweep_staging(&place.store)
}

/// Returns the names of commits.
fn keys(projects: &OsDir) -> Result<Vec<String>> {
    let mut names = names(projects)?;
    names.retain(|name| own::is_key(name));
    Ok(names)
}

/// Moves damaged commits to the quarantine. Where a claim shows whose commit it was, the
/// project gets that port again.
fn mend_commits(place: &Place, file: Option<&Document>) -> Result<()> {
    let dir = &place.store.projects;
    let mut damaged = Vec::new();
    for name in keys(dir)? {
        match commit_damage(place, &name)? {
            Some(Corruption::NewerFormat(_) | Corruption::Denied) | None => continue,
            Some(Corruption::NotAFile) => {
                dir.move_special(&name, &place.quarantine()?)
                    .at(Op::Publish, dir, &name)?;
            }
            Some(_) => {
                let aside = place.quarantine()?;
                withdraw(dir, &name, LEN_MAX, &Aside::To(&aside), |bytes| {
                    Ok(is_damaged(bytes, |record| record.holder().key() == name))
                })?;
            }
        }
        damaged.push(name);
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let mut claims = Vec::new();
    for port in index::present(&place.store.ports)?.iter() {
        // A lease has no commit: none that is damaged was its own.
        if let Some(Ok(claim)) = read_claim(&place.store, port)?
            && !claim.is_lease()
            && damaged.iter().any(|name| name == claim.holder().key())
        {
            claims.push(claim);
        }
    }
    // Of several of one holder, one was told: the file shows it. The others are of processes that were killed.
    let shown = |claim: &Record| file.and_then(|file| index::port_of(file, claim.holder()));
    claims.sort_by_key(|claim| shown(claim) != Some(claim.port()));
    for claim in claims {
        reclaim(
            place,
            Draft::from(&claim),
            Only::new(claim.port()),
            claim.port(),
        )?;
    }
    Ok(())
}

/// Sweeps the claims. Where the commit or the registry file still knows whose a damaged
/// claim was, the project gets the port again.
fn mend_claims(place: &Place, name_of_file: &str, file: Option<&Document>) -> Result<()> {
    let known = known_holders(place, file)?;
    for name in names(&place.store.ports)? {
        let Some(port) = claim_port(&name) else {
            continue;
        };
        // An orphan that can be read is its own project's, and nobody else's.
        let orphan = match read_claim(&place.store, port)? {
            Some(Ok(record)) => Some(record),
            _ => None,
        };
        let swept = take_away(place, &name, port)?;
        if let Some(draft) = known.get(&port)
            && matches!(swept, Swept::Removed | Swept::Quarantined)
            && (orphan.as_ref()).is_none_or(|orphan| *orphan.holder() == draft.holder)
        {
            give_back(place, name_of_file, draft, port, swept, orphan.as_ref())?;
        }
    }
    Ok(())
}

/// Takes a claim away that is an orphan, damaged, or no file.
fn take_away(place: &Place, name: &str, port: Port) -> Result<Swept> {
    let dir = &place.store.ports;
    if inspect(dir, name)?.is_none_or(|meta| meta.is_file) {
        return sweep_port(&place.store, port, || place.quarantine());
    }
    let is_moved = dir
        .move_special(name, &place.quarantine()?)
        .at(Op::Publish, dir, name)?;
    Ok(if is_moved {
        Swept::Quarantined
    } else {
        Swept::Kept
    })
}

/// Gives a port whose claim was `swept` to its holder again, as `known`. How long it is given for,
/// only records say: where there is no commit, the claim that was taken away.
fn give_back(
    place: &Place,
    name_of_file: &str,
    known: &Draft,
    port: Port,
    swept: Swept,
    orphan: Option<&Record>,
) -> Result<()> {
    let holder = &known.holder;
    let found = look(place, holder)?;
    let has_commit = matches!(&found, Some(Lookup::Dangling(commit)) if commit.port() == port);
    // A release leaves a commit without a claim for a moment, and then another's claim may be
    // there, empty; a damaged one it never leaves.
    let only = if has_commit && swept == Swept::Quarantined {
        Only::new(port)
    } else {
        Only::if_still(port, || still_shown(place, name_of_file, holder, port))
    };
    let draft = match orphan {
        Some(claim) if !has_commit && !claim.is_lease() => Draft::from(claim),
        _ => known.clone(),
    };
    reclaim(place, draft, only, port)
}

/// Asked while the port's claim is this process's: does the registry file say now that the
/// holder has it? It may have been released since the file was read.
fn still_shown(place: &Place, file: &str, holder: &Holder, port: Port) -> Result<bool> {
    // The marks first: one goes only after the file was written.
    let marked = marks(&place.store.index)?;
    let document = migrate::read(place, file)?;
    let shown = document.and_then(|document| index::port_of(&document, holder));
    Ok(marked.iter().all(|mark| mark.port != port) && shown == Some(port))
}

/// Who had which port, as the registry file and the commits say, and what the latter say besides. A
/// port that is marked has changed hands since the file was written.
fn known_holders(place: &Place, file: Option<&Document>) -> Result<BTreeMap<Port, Draft>> {
    let mut known = BTreeMap::new();
    for (path, port) in file.into_iter().flat_map(Document::mappings) {
        known.insert(port, Draft::from(Holder::new(path.clone())));
    }
    for (&port, holder) in file.into_iter().flat_map(Document::services) {
        known.insert(port, Draft::from(holder.clone()));
    }
    for mark in marks(&place.store.index)? {
        known.remove(&mark.port);
    }
    for name in keys(&place.store.projects)? {
        if let Some(Ok(commit)) = read_record(&place.store.projects, &name)? {
            known.insert(commit.port(), Draft::from(&commit));
        }
    }
    Ok(known)
}

/// Looks `holder`'s port up; `None` where that cannot be known.
fn look(place: &Place, holder: &Holder) -> Result<Option<Lookup>> {
    if_known(lookup(&place.store, holder))
}

/// Returns what was found, `None` where that cannot be known, because the commit is a later
/// version's or another user's. It is left alone, and stops nobody else's repair. A disk that fails
/// does: a commit that it hides for a moment might be taken for one that dangles.
fn if_known(found: Result<Lookup>) -> Result<Option<Lookup>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        Err(error) if error.is_from(&[io::ErrorKind::PermissionDenied]) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives the draft's holder the port again, if it has none and the port can be had. A time that it
/// is given for begins anew.
fn reclaim(place: &Place, draft: Draft, mut only: Only<'_>, port: Port) -> Result<()> {
    if matches!(
        look(place, &draft.holder)?,
        None | Some(Lookup::Held(..) | Lookup::Hidden(_))
    ) {
        return Ok(());
    }
    sweep_port(&place.store, port, || place.quarantine())?;
    let acquired = acquire_as(&place.store, draft, &mut only, || place.quarantine());
    unless_changed(acquired.map(drop))
}

/// What changed since it was looked at is another process's, and no failure.
fn unless_changed(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Contended) => Ok(()),
        done => done,
    }
}

fn mend_dangling(place: &Place) -> Result<()> {
    let dir = &place.store.projects;
    for name in keys(dir)? {
        if let Some(Ok(commit)) = read_record(dir, &name)?
            && let Some(Lookup::Dangling(dangling)) = look(place, commit.holder())?
        {
            withdraw_dangling(&place.store, &dangling)?;
        }
    }
    Ok(())
}

/// Moves what is not portclaim's out of its directories: files by their names, and whatever is no
/// regular file. A name that is not UTF-8 cannot be told from others here, and stays.
fn mend_foreign(place: &Place) -> Result<()> {
    let [ports, projects, staging, _] = place.own_dirs();
    clear(place, ports, own::is_claim)?;
    clear(place, projects, own::is_commit)?;
    clear(place, staging, own::is_staged)?;
    for (name, _) in hints::foreign(&place.store.index)? {
        move_away(place, &place.store.index, &name)?;
    }
    side::mend(place, |dir, name| move_away(place, dir, name))
}

fn clear(place: &Place, dir: &OsDir, is_own: impl Fn(&str) -> bool) -> Result<()> {
    for name in names(dir)? {
        let is_special = inspect(dir, &name)?.is_some_and(|meta| !meta.is_file);
        if !is_own(&name) || is_special && name != ESTABLISHED {
            move_away(place, dir, &name)?;
        }
    }
    Ok(())
}

fn move_away(place: &Place, dir: &OsDir, name: &str) -> Result<()> {
    let Some(meta) = inspect(dir, name)? else {
        return Ok(());
    };
    let aside = place.quarantine()?;
    if meta.is_file {
        set_aside(dir, name, &aside)?;
    } else {
        dir.move_special(name, &aside).at(Op::Publish, dir, name)?;
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn what_is_others_stops_no_repair_and_a_disk_that_fails_does() {
        let failed = |kind: io::ErrorKind| Error::io(Op::Read, "projects", kind.into());
        let corrupt = || Error::corrupt("projects", Corruption::NewerFormat(2));
        assert_eq!(if_known(Err(corrupt())).expect("told"), None);
        let denied = failed(io::ErrorKind::PermissionDenied);
        assert_eq!(if_known(Err(denied)).expect("told"), None);
        if_known(Err(failed(io::ErrorKind::Other))).expect_err("fails");
        let there = if_known(Ok(Lookup::Absent)).expect("told");
        assert_eq!(there, Some(Lookup::Absent));

        unless_changed(Err(corrupt())).expect("theirs");
        unless_changed(Err(Error::contended("projects"))).expect("theirs");
        unless_changed(Err(failed(io::ErrorKind::PermissionDenied))).expect_err("fails");
    }
}
