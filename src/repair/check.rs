//! What is not as it should be. Changes nothing.

use std::io;

use camino::Utf8PathBuf;

use super::{FindingKind, Report, hints, own, permissions, registry_file, side};
use crate::error::{Corruption, Op, Result};
use crate::fs::Dir;
use crate::fs::os::{Meta, OsDir};
use crate::migrate::ESTABLISHED;
use crate::net::ephemeral_range;
use crate::place::Place;
use crate::port::Port;
use crate::project::Holder;
use crate::protocol::{Context, Lookup, lookup, read_claim, read_record};
use crate::record::{Record, claim_name, claim_port};
use crate::registry::Registry;

/// What is found where a name is not one that portclaim gives.
const NOT_OURS: &str = "it is not portclaim's";

/// Runs all checks, in the order in which findings are listed.
pub(super) fn all(registry: &Registry, report: &mut Report) -> Result<()> {
    check_range(registry, report);
    let Some(place) = registry.place()? else {
        return registry_file::check_alone(registry, report);
    };
    check_filesystem(place, report);
    check_dirs(place, report)?;
    check_claims(place, report)?;
    check_commits(place, report)?;
    check_staging(place, report)?;
    hints::check(place, report)?;
    side::check(place, report)?;
    registry_file::check(registry, place, report)
}

fn check_range(registry: &Registry, report: &mut Report) {
    let range = registry.range();
    if let Some(ephemeral) = ephemeral_range()
        && ephemeral.first() <= range.last()
        && range.first() <= ephemeral.last()
    {
        let detail = format!(
            "the range {range} overlaps {ephemeral}, from which the kernel takes ports for outgoing connections"
        );
        report.add(FindingKind::EphemeralRange, registry.root(), detail);
    }
}

fn check_filesystem(place: &Place, report: &mut Report) {
    let filesystem = place.root.filesystem();
    if !filesystem.locks() {
        let name = filesystem.name().unwrap_or("unknown");
        let detail = format!(
            "it lies on a file system ({name}) whose locks cannot be trusted: nothing is swept there"
        );
        report.add(FindingKind::NetworkFilesystem, place.root.path(), detail);
    }
}

fn check_dirs(place: &Place, report: &mut Report) -> Result<()> {
    for dir in place.own_dirs() {
        let meta = dir.inspect_self().on(Op::Inspect, dir)?;
        permissions::check(dir.path().to_owned(), meta, report);
    }
    Ok(())
}

/// Lists a directory, in order: ports by number.
pub(super) fn names(dir: &OsDir) -> Result<Vec<String>> {
    let mut names = dir.names().on(Op::List, dir)?;
    names.sort_by_cached_key(|name| (claim_port(name), name.clone()));
    Ok(names)
}

/// Returns what a name is; `None` where it is gone meanwhile, or is none: what stands here for a
/// name that is not UTF-8 means nothing, and may be longer than any name.
pub(super) fn inspect(dir: &OsDir, name: &str) -> Result<Option<Meta>> {
    match dir.inspect(name) {
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Ok(None),
        answer => answer.at(Op::Inspect, dir, name),
    }
}

/// Returns what is not portclaim's, or stands in the place of its files, and why; `cannot` is what
/// portclaim then cannot do. What is overwritten in place (`is_slot`) must have one name.
pub(super) fn foreign(
    dir: &OsDir,
    is_own: impl Fn(&str) -> bool,
    is_slot: impl Fn(&str) -> bool,
    cannot: &str,
) -> Result<Vec<(String, String)>> {
    let mut foreign = Vec::new();
    for name in names(dir)? {
        if !is_own(&name) {
            // Not looked at: its name may not be UTF-8, and then it is not this one.
            foreign.push((name, NOT_OURS.to_owned()));
        } else if let Some(meta) = inspect(dir, &name)?
            && (!meta.is_file || meta.names > 1 && is_slot(&name))
        {
            foreign.push((name, format!("{}: portclaim {cannot}", kind_of(meta))));
        }
    }
    Ok(foreign)
}

/// Looks at what lies under a name, whatever it says. `None` where that is no record of portclaim's.
fn look_at(
    dir: &OsDir,
    name: &str,
    is_own: impl Fn(&str) -> bool,
    damaged: FindingKind,
    report: &mut Report,
) -> Result<Option<(Utf8PathBuf, Meta)>> {
    let path = dir.path().join(name);
    if !is_own(name) {
        // Not looked at: its name may not be UTF-8, and then it is not this one.
        report.add(FindingKind::ForeignFile, path, NOT_OURS);
        return Ok(None);
    }
    // That it is there says all.
    if name == ESTABLISHED {
        return Ok(None);
    }
    let Some(meta) = inspect(dir, name)? else {
        return Ok(None);
    };
    if !meta.is_file {
        let detail = format!("{}: {}", kind_of(meta), Corruption::NotAFile);
        report.add(damaged, path, detail);
        return Ok(None);
    }
    permissions::check(path.clone(), meta, report);
    Ok(Some((path, meta)))
}

/// Tells of a file that cannot be read as a record.
fn tell_damage(
    (path, meta): (Utf8PathBuf, Meta),
    damage: &Corruption,
    damaged: FindingKind,
    report: &mut Report,
) {
    match damage {
        Corruption::Denied => permissions::check_denied(path, meta, report),
        Corruption::NewerFormat(_) => {
            report.add(FindingKind::LaterFormat, path, damage.to_string());
        }
        _ => report.add(damaged, path, damage.to_string()),
    }
}

fn check_claims(place: &Place, report: &mut Report) -> Result<()> {
    let dir = &place.store.ports;
    let damaged = FindingKind::DamagedClaim;
    for name in names(dir)? {
        let looked = look_at(dir, &name, own::is_claim, damaged, report)?;
        let (Some(file), Some(port)) = (looked, claim_port(&name)) else {
            continue;
        };
        match read_claim(&place.store, port)? {
            None => {}
            Some(Err(damage)) => {
                let is_told = matches!(damage, Corruption::Denied | Corruption::NewerFormat(_))
                    || !is_busy(dir, &name)?;
                if is_told {
                    tell_damage(file, &damage, damaged, report);
                }
            }
            Some(Ok(record)) => {
                // A lease that has ended waits for whoever wants its port.
                if !record.is_lease()
                    && let Some(why) = uncommitted(place, &record)?
                    && !is_busy(dir, &name)?
                {
                    report.add(
                        FindingKind::Orphan,
                        file.0,
                        format!("the claim of {} is not committed: {why}", record.project()),
                    );
                }
            }
        }
    }
    Ok(())
}

fn kind_of(meta: Meta) -> &'static str {
    if meta.is_dir {
        "a directory"
    } else if meta.is_link {
        "a symbolic link"
    } else if meta.is_file {
        "a file with another name (a hard link)"
    } else {
        "a special file"
    }
}

/// Returns why a claim is not committed; `None` also where its commit is a later version's or
/// another user's, who alone can tell.
fn uncommitted(place: &Place, claim: &Record) -> Result<Option<&'static str>> {
    Ok(
        match read_record(&place.store.projects, claim.holder().key())? {
            Some(Ok(commit)) if commit.nonce() == claim.nonce() => None,
            Some(Err(Corruption::NewerFormat(_) | Corruption::Denied)) => None,
            Some(Ok(_)) => Some("its project holds another port"),
            Some(Err(_)) => Some("its commit cannot be read"),
            None => Some("it has no commit"),
        },
    )
}

/// Returns whether somebody is at work on the file, or has taken it away.
fn is_busy(dir: &OsDir, name: &str) -> Result<bool> {
    if !dir.has_locks() {
        return Ok(false);
    }
    match dir.open(name) {
        Ok(file) => {
            let free = dir.try_lock(&file).at(Op::Lock, dir, name)?;
            let same = dir.means(name, &file).at(Op::Inspect, dir, name)?;
            dir.unlock(&file);
            Ok(!free || !same)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).at(Op::Open, dir, name),
    }
}

/// What is wrong with the commit `name`.
pub(super) fn commit_damage(place: &Place, name: &str) -> Result<Option<Corruption>> {
    Ok(match read_record(&place.store.projects, name)? {
        Some(Err(damage)) => Some(damage),
        Some(Ok(record)) if record.holder().key() != name => Some(Corruption::WrongProject),
        Some(Ok(_)) | None => None,
    })
}

fn check_commits(place: &Place, report: &mut Report) -> Result<()> {
    let dir = &place.store.projects;
    let damaged = FindingKind::DamagedCommit;
    for name in names(dir)? {
        let Some(file) = look_at(dir, &name, own::is_commit, damaged, report)? else {
            continue;
        };
        if let Some(damage) = commit_damage(place, &name)? {
            tell_damage(file, &damage, damaged, report);
        } else if let Some(Ok(record)) = read_record(dir, &name)?
            && let Some(record) = dangling(place, record.holder())?
        {
            let detail = format!(
                "port {} of {} has no such claim any more",
                record.port(),
                record.project()
            );
            report.add(FindingKind::DanglingCommit, file.0, detail);
        }
    }
    Ok(())
}

/// Returns the holder's commit if its claim is not there. One that may not be read may be.
fn dangling(place: &Place, holder: &Holder) -> Result<Option<Record>> {
    Ok(match lookup(&place.store, holder)? {
        Lookup::Dangling(record) => Some(record),
        _ => None,
    })
}

/// Is asked of a registry at rest: what is staged this moment may be reported.
fn check_staging(place: &Place, report: &mut Report) -> Result<()> {
    let dir = &place.store.staging;
    for name in names(dir)? {
        let (kind, why) = if !own::is_staged(&name) {
            (FindingKind::ForeignFile, NOT_OURS)
        } else if is_being_staged(place, &name) {
            continue;
        } else {
            (FindingKind::Leftover, "a process that was killed left it")
        };
        // Asked last: what was staged until now has its name by now.
        if inspect(dir, &name)?.is_some() {
            report.add(kind, dir.path().join(&name), why);
        }
    }
    Ok(())
}

/// Returns whether the process that a staged file is of is at work: for a new claim, it has the claim's own lock.
fn is_being_staged(place: &Place, name: &str) -> bool {
    let port: Option<Port> = name.split_once('-').and_then(|(port, _)| port.parse().ok());
    let Some(port) = port else {
        return is_busy(&place.store.staging, name).unwrap_or(false);
    };
    let (ports, claim) = (&place.store.ports, claim_name(port));
    is_busy(ports, &claim).unwrap_or(false) && matches!(inspect(ports, &claim), Ok(Some(_)))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_nothing_and_a_failure_is_told() {
        let temporary = tempfile::tempdir().expect("a directory");
        let path = camino::Utf8Path::from_path(temporary.path()).expect("UTF-8");
        let dir = OsDir::open_root(path).expect("opens");
        drop(dir.create("8888.claim").expect("a file"));
        let look = |name: &str| inspect(&dir, name);
        assert!(look("8888.claim").expect("told").is_some());
        for name in ["8889.claim", &"x".repeat(1000)] {
            assert_eq!(look(name).expect("told"), None);
        }
        look("8888.claim/below a file").expect_err("it is no directory");
    }

    #[test]
    fn busy_is_what_is_locked_or_gone() {
        let temporary = tempfile::tempdir().expect("a directory");
        let path = camino::Utf8Path::from_path(temporary.path()).expect("UTF-8");
        let dir = OsDir::open_root(path).expect("opens");
        if !dir.has_locks() {
            return;
        }
        assert!(is_busy(&dir, "8888.claim").expect("told"), "gone");
        let file = dir.create("8888.claim").expect("a file");
        assert!(!is_busy(&dir, "8888.claim").expect("told"));
        assert!(dir.try_lock(&file).expect("a lock"), "it was given back");
        assert!(is_busy(&dir, "8888.claim").expect("told"));
        dir.unlock(&file);
        dir.create_dir("8889.claim").expect("a directory");
        is_busy(&dir, "8889.claim").expect_err("it is no file");
    }
}
