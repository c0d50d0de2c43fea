//! Looks for everything that is not as it should be, and mends what can be mended.

use std::collections::BTreeMap;
use std::io;

use camino::Utf8PathBuf;

use crate::error::{Corruption, Error, Op, Result};
use crate::fs::Dir;
use crate::fs::os::{Meta, OsDir};
use crate::index::{self, Document, IndexFile, Loaded, is_staged_name, remove_staged};
use crate::migrate::{ESTABLISHED, Only};
use crate::net::ephemeral_range;
use crate::place::Place;
use crate::port::Port;
use crate::project::{Holder, hex};
use crate::protocol::{
    Aside, Context, Lookup, Swept, acquire, is_damaged, is_staged_commit, lookup, marks,
    read_claim, read_record, set_aside, sweep_port, sweep_staging, withdraw,
};
use crate::record::{LEN_MAX, Record, SUFFIX, claim_name, claim_port};
use crate::registry::Registry;

/// What sort of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A claim that cannot be read: damaged, torn, or no regular file.
    DamagedClaim,
    /// A claim in the format of a later version. It counts, and is left alone.
    LaterFormat,
    /// A claim that nobody committed and nobody will.
    Orphan,
    /// A commit whose claim is gone.
    DanglingCommit,
    /// A commit that cannot be read, or that has another's name.
    DamagedCommit,
    /// A file that is not portclaim's, in a directory that is.
    ForeignFile,
    /// Something that a killed process left in `staging/`.
    Leftover,
    /// Others than the user may read or change it.
    Permissions,
    /// It belongs to another user.
    Owner,
    /// The registry file does not show the claims as they are.
    StaleIndex,
    /// The registry file is damaged.
    DamagedIndex,
    /// An entry of the registry file that can be no claim.
    UnusableEntry,
    /// The registry lies on a file system whose locks cannot be trusted.
    NetworkFilesystem,
    /// Ports of the range are handed out by the kernel to outgoing connections.
    EphemeralRange,
}

impl FindingKind {
    /// Returns the kind's name, as it stands in JSON: lower case, words joined by `-`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::DamagedClaim => "damaged-claim",
            FindingKind::LaterFormat => "later-format",
            FindingKind::Orphan => "orphan",
            FindingKind::DanglingCommit => "dangling-commit",
            FindingKind::DamagedCommit => "damaged-commit",
            FindingKind::ForeignFile => "foreign-file",
            FindingKind::Leftover => "leftover",
            FindingKind::Permissions => "permissions",
            FindingKind::Owner => "owner",
            FindingKind::StaleIndex => "stale-index",
            FindingKind::DamagedIndex => "damaged-index",
            FindingKind::UnusableEntry => "unusable-entry",
            FindingKind::NetworkFilesystem => "network-filesystem",
            FindingKind::EphemeralRange => "ephemeral-range",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What sort of thing it is.
    pub kind: FindingKind,
    /// The file or directory.
    pub path: Utf8PathBuf,
    /// What is wrong, in a sentence without a full stop. It may contain names from disk.
    pub detail: String,
    /// Whether a repair mended it.
    pub fixed: bool,
}

/// What a check or a repair found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The findings: directories first, then claims by port, commits, the registry file.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns whether nothing was found, or all of it mended.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.fixed)
    }

    fn add(&mut self, kind: FindingKind, path: impl Into<Utf8PathBuf>, detail: impl Into<String>) {
        self.findings.push(Finding {
            kind,
            path: path.into(),
            detail: detail.into(),
            fixed: false,
        });
    }
}

impl Registry {
    /// Looks for everything that is not as it should be. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read at all.
    ///
    /// # Races
    ///
    /// What other processes are in the middle of is not taken for damage, except that a claim
    /// or commit which is released during the check may be reported as dangling.
    pub fn check(&self) -> Result<Report> {
        let mut report = Report::default();
        check_range(self, &mut report);
        let Some(place) = self.place()? else {
            check_file_alone(self, &mut report)?;
            return Ok(report);
        };
        check_filesystem(place, &mut report);
        check_dirs(place, &mut report)?;
        check_claims(place, &mut report)?;
        check_commits(place, &mut report)?;
        check_staging(place, &mut report)?;
        check_index(self, place, &mut report)?;
        Ok(report)
    }

    /// Mends what can be mended: sweeps orphans, moves damaged files to `quarantine/` (nothing
    /// is deleted that anybody wrote into), gives projects whose claims were damaged the same
    /// ports again, sets permissions, and writes the registry file anew. Returns what was
    /// found before, with what is mended marked so.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where something cannot be read or moved. What was
    /// mended until then stays so.
    pub fn repair(&self) -> Result<Report> {
        let mut report = self.check()?;
        let Some(place) = self.place_with_file()? else {
            return Ok(report);
        };
        let file = migrate_file(self, place)?;
        mend_permissions(place)?;
        mend_commits(place, file.as_ref())?;
        mend_claims(place, file.as_ref())?;
        mend_dangling(place)?;
        mend_foreign(place)?;
        sweep_staging(&place.store)?;
        self.refresh_now(place)?;
        remove_staged(&place.store.staging)?;
        let after = self.check()?;
        for finding in &mut report.findings {
            finding.fixed = !after
                .findings
                .iter()
                .any(|left| left.kind == finding.kind && left.path == finding.path);
        }
        // What the repair itself met: a port that somebody took meanwhile.
        for left in after.findings {
            if !report
                .findings
                .iter()
                .any(|finding| finding.kind == left.kind && finding.path == left.path)
            {
                report.findings.push(left);
            }
        }
        Ok(report)
    }
}

/// Where there is a registry file and not all of the directories.
fn check_file_alone(registry: &Registry, report: &mut Report) -> Result<()> {
    let root = match OsDir::open_root(registry.root()) {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(Op::Open, registry.root(), error)),
    };
    let file = IndexFile {
        root: &root,
        name: registry.file_name(),
    };
    let path = registry.index_path();
    match file.load()? {
        Loaded::Missing => {}
        Loaded::Damaged(damage, _) => {
            report.add(FindingKind::DamagedIndex, path, damage.to_string());
        }
        Loaded::Sound(document, _) => {
            report.add(FindingKind::StaleIndex, path, not_taken_over(&document));
        }
    }
    Ok(())
}

fn migrate_file(registry: &Registry, place: &Place) -> Result<Option<Document>> {
    crate::migrate::read(place, registry.file_name())
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

fn check_meta(path: Utf8PathBuf, meta: Meta, allowed: u32, report: &mut Report) {
    let user = rustix::process::geteuid().as_raw();
    if meta.user != user {
        report.add(
            FindingKind::Owner,
            path,
            format!("it belongs to user {}, not to user {user}", meta.user),
        );
    } else if meta.mode & !allowed != 0 {
        report.add(
            FindingKind::Permissions,
            path,
            format!("its mode is {:04o}, not {allowed:04o}", meta.mode),
        );
    }
}

fn check_dirs(place: &Place, report: &mut Report) -> Result<()> {
    for dir in place.own_dirs() {
        let meta = dir.inspect_self().at(Op::Inspect, dir, "")?;
        check_meta(dir.path().to_owned(), meta, 0o700, report);
    }
    Ok(())
}

/// Lists a directory, in order: ports by number.
fn names(dir: &OsDir) -> Result<Vec<String>> {
    let mut names = dir
        .names()
        .map_err(|error| Error::io(Op::List, dir.path(), error))?;
    names.sort_by_cached_key(|name| (claim_port(name), name.clone()));
    Ok(names)
}

/// Returns what a name is; `None` where it is gone meanwhile.
fn inspect(dir: &OsDir, name: &str) -> Result<Option<Meta>> {
    match dir.inspect(name) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at(Op::Inspect, dir, name),
    }
}

fn check_claims(place: &Place, report: &mut Report) -> Result<()> {
    let dir = &place.store.ports;
    for name in names(dir)? {
        let path = dir.path().join(&name);
        let Some(port) = claim_port(&name) else {
            // Not looked at: its name may not be UTF-8, and then it is not this one.
            if name != ESTABLISHED {
                report.add(FindingKind::ForeignFile, path, "it is not portclaim's");
            }
            continue;
        };
        let Some(meta) = inspect(dir, &name)? else {
            continue;
        };
        if !meta.is_file {
            report.add(
                FindingKind::DamagedClaim,
                path,
                format!("{}: {}", kind_of(meta), Corruption::NotAFile),
            );
            continue;
        }
        check_meta(path.clone(), meta, 0o600, report);
        match read_claim(&place.store, port)? {
            // Found already: it is another user's.
            Some(Err(Corruption::Denied)) => {}
            Some(Err(Corruption::NewerFormat(format))) => {
                let detail = Corruption::NewerFormat(format).to_string();
                report.add(FindingKind::LaterFormat, path, detail);
            }
            Some(Err(damage)) if !is_busy(dir, &name)? => {
                report.add(FindingKind::DamagedClaim, path, damage.to_string());
            }
            Some(Err(_)) | None => {}
            Some(Ok(record)) => {
                if let Some(why) = uncommitted(place, &record)?
                    && !is_busy(dir, &name)?
                {
                    report.add(
                        FindingKind::Orphan,
                        path,
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
    } else {
        "a special file"
    }
}

/// Returns why a claim is not committed.
fn uncommitted(place: &Place, claim: &Record) -> Result<Option<&'static str>> {
    Ok(
        match read_record(&place.store.projects, claim.holder().key())? {
            Some(Ok(commit)) if commit.nonce() == claim.nonce() => None,
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
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error).at(Op::Open, dir, name),
    }
}

fn is_key(name: &str) -> bool {
    let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.strip_suffix(SUFFIX)
        .is_some_and(|key| key.len() == hex(&[0; 16]).len() && key.bytes().all(hexadecimal))
}

/// What is wrong with the commit `name`.
fn commit_damage(place: &Place, name: &str) -> Result<Option<Corruption>> {
    Ok(match read_record(&place.store.projects, name)? {
        Some(Err(damage)) => Some(damage),
        Some(Ok(record)) if record.holder().key() != name => Some(Corruption::WrongProject),
        Some(Ok(_)) | None => None,
    })
}

fn check_commits(place: &Place, report: &mut Report) -> Result<()> {
    let dir = &place.store.projects;
    for name in names(dir)? {
        let path = dir.path().join(&name);
        if !is_key(&name) {
            if name != ESTABLISHED {
                report.add(FindingKind::ForeignFile, path, "it is not portclaim's");
            }
            continue;
        }
        let Some(meta) = inspect(dir, &name)? else {
            continue;
        };
        if !meta.is_file {
            report.add(
                FindingKind::DamagedCommit,
                path,
                format!("{}: {}", kind_of(meta), Corruption::NotAFile),
            );
            continue;
        }
        check_meta(path.clone(), meta, 0o600, report);
        match commit_damage(place, &name)? {
            Some(Corruption::Denied) => {}
            Some(Corruption::NewerFormat(format)) => {
                let detail = Corruption::NewerFormat(format).to_string();
                report.add(FindingKind::LaterFormat, path, detail);
            }
            Some(damage) => report.add(FindingKind::DamagedCommit, path, damage.to_string()),
            None => {
                if let Some(Ok(record)) = read_record(dir, &name)?
                    && let Lookup::Dangling(record) = lookup(&place.store, record.holder())?
                {
                    let detail = format!(
                        "port {} of {} has no such claim any more",
                        record.port(),
                        record.project()
                    );
                    report.add(FindingKind::DanglingCommit, path, detail);
                }
            }
        }
    }
    Ok(())
}

/// Is asked of a registry at rest: what is staged this moment may be reported.
fn check_staging(place: &Place, report: &mut Report) -> Result<()> {
    let dir = &place.store.staging;
    for name in names(dir)? {
        let live = name
            .split_once('-')
            .and_then(|(port, _)| port.parse().ok())
            .is_some_and(|port: Port| {
                is_busy(&place.store.ports, &claim_name(port)).unwrap_or(false)
                    && matches!(inspect(&place.store.ports, &claim_name(port)), Ok(Some(_)))
            });
        if !live && inspect(dir, &name)?.is_some() {
            report.add(
                FindingKind::Leftover,
                dir.path().join(&name),
                "a process that was killed left it",
            );
        }
    }
    Ok(())
}

fn check_index(registry: &Registry, place: &Place, report: &mut Report) -> Result<()> {
    let path = registry.index_path();
    let file = IndexFile {
        root: &place.root,
        name: registry.file_name(),
    };
    let document = match file.load()? {
        Loaded::Missing => {
            if !index::present(&place.store.ports)?.is_empty() {
                report.add(FindingKind::StaleIndex, path, "it does not exist");
            }
            return Ok(());
        }
        Loaded::Damaged(damage, _) => {
            report.add(FindingKind::DamagedIndex, path, damage.to_string());
            return Ok(());
        }
        Loaded::Sound(document, _) => document,
    };
    for kept in document.kept() {
        report.add(
            FindingKind::UnusableEntry,
            path.clone(),
            format!("the entry {} is no claim: {}", kept.key, kept.why),
        );
    }
    let marked = marks(&place.store.index)?;
    let mut expected = document.clone();
    index::update_fully(&mut expected, &place.store, &marked, registry.range())?;
    if !document.is_ours() {
        report.add(FindingKind::StaleIndex, path, not_taken_over(&document));
    } else if expected != document {
        report.add(
            FindingKind::StaleIndex,
            path,
            "it does not show the claims as they are",
        );
    } else if !marked.is_empty() {
        let detail = format!("{} changes were not followed by a refresh", marked.len());
        report.add(FindingKind::StaleIndex, path, detail);
    }
    Ok(())
}

fn not_taken_over(document: &Document) -> String {
    let count = document.mappings().count();
    format!("portclaim has not taken over its {count} mappings")
}

fn mend_permissions(place: &Place) -> Result<()> {
    for dir in place.own_dirs() {
        if dir.inspect_self().at(Op::Inspect, dir, "")?.mode & 0o077 != 0 {
            dir.make_self_private().at(Op::Permit, dir, "")?;
        }
    }
    let user = rustix::process::geteuid().as_raw();
    for dir in [&place.store.ports, &place.store.projects] {
        for name in names(dir)? {
            if let Some(meta) = inspect(dir, &name)?
                && meta.is_file
                && meta.user == user
                && meta.mode & !0o600 != 0
            {
                dir.make_private(&name).at(Op::Permit, dir, &name)?;
            }
        }
    }
    Ok(())
}

/// Moves damaged commits to the quarantine. Where a claim shows whose commit it was, the
/// project gets that port again.
fn mend_commits(place: &Place, file: Option<&Document>) -> Result<()> {
    let dir = &place.store.projects;
    let mut damaged = Vec::new();
    for name in names(dir)?.into_iter().filter(|name| is_key(name)) {
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
    for port in index::present(&place.store.ports)?.iter() {
        if let Some(Ok(claim)) = read_claim(&place.store, port)?
            && damaged.iter().any(|name| name == claim.holder().key())
        {
            reclaim(place, claim.holder(), port)?;
        }
    }
    let _ = file;
    Ok(())
}

/// Sweeps the claims. Where the commit or the registry file still knows whose a damaged
/// claim was, the project gets the port again.
fn mend_claims(place: &Place, file: Option<&Document>) -> Result<()> {
    let known = known_holders(place, file)?;
    let dir = &place.store.ports;
    for name in names(dir)? {
        let Some(port) = claim_port(&name) else {
            continue;
        };
        // An orphan that can be read is its own project's, and nobody else's.
        let orphan = match read_claim(&place.store, port)? {
            Some(Ok(record)) => Some(record.holder().clone()),
            _ => None,
        };
        let is_special = inspect(dir, &name)?.is_some_and(|meta| !meta.is_file);
        let is_gone = if is_special {
            dir.move_special(&name, &place.quarantine()?)
                .at(Op::Publish, dir, &name)?
        } else {
            let swept = sweep_port(&place.store, port, || place.quarantine())?;
            matches!(swept, Swept::Removed | Swept::Quarantined)
        };
        if let Some(holder) = known.get(&port)
            && is_gone
            && orphan.is_none_or(|orphan| orphan == *holder)
        {
            reclaim(place, holder, port)?;
        }
    }
    Ok(())
}

/// Who had which port, as the registry file and the commits say. A port that is marked has
/// changed hands since the file was written.
fn known_holders(place: &Place, file: Option<&Document>) -> Result<BTreeMap<Port, Holder>> {
    let mut known = BTreeMap::new();
    for (path, port) in file.into_iter().flat_map(Document::mappings) {
        known.insert(port, Holder::new(path.clone()));
    }
    for mark in marks(&place.store.index)? {
        known.remove(&mark.port);
    }
    for name in names(&place.store.projects)? {
        if let Some(Ok(commit)) = read_record(&place.store.projects, &name)? {
            known.insert(commit.port(), commit.holder().clone());
        }
    }
    Ok(known)
}

/// Gives `holder` the port again, if it has none and the port can be had.
fn reclaim(place: &Place, holder: &Holder, port: Port) -> Result<()> {
    if matches!(lookup(&place.store, holder)?, Lookup::Held(..)) {
        return Ok(());
    }
    sweep_port(&place.store, port, || place.quarantine())?;
    acquire(&place.store, holder, &mut Only::new(port), || {
        place.quarantine()
    })?;
    Ok(())
}

fn mend_dangling(place: &Place) -> Result<()> {
    let dir = &place.store.projects;
    for name in names(dir)? {
        if let Some(Ok(commit)) = read_record(dir, &name)?
            && let Lookup::Dangling(dangling) = lookup(&place.store, commit.holder())?
        {
            withdraw(dir, &name, LEN_MAX, &Aside::Nowhere, |bytes| {
                Ok(Record::decode(bytes).is_ok_and(|there| there.nonce() == dangling.nonce()))
            })?;
        }
    }
    Ok(())
}

/// Moves files that are not portclaim's out of its directories. A name that is not UTF-8
/// cannot be told from others here, and stays.
fn mend_foreign(place: &Place) -> Result<()> {
    let dirs = [
        &place.store.ports,
        &place.store.projects,
        &place.store.staging,
    ];
    for dir in dirs {
        for name in names(dir)? {
            let is_own = is_own_name(&name) || is_key(&name);
            let Some(meta) = inspect(dir, &name)?.filter(|_| !is_own) else {
                continue;
            };
            let aside = place.quarantine()?;
            if meta.is_file {
                set_aside(dir, &name, &aside)?;
            } else {
                dir.move_special(&name, &aside)
                    .at(Op::Publish, dir, &name)?;
            }
        }
    }
    Ok(())
}

/// Returns whether portclaim gives files such names.
fn is_own_name(name: &str) -> bool {
    claim_port(name).is_some()
        || name == ESTABLISHED
        || is_staged_name(name)
        || is_staged_commit(name)
}
