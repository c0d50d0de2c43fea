//! A whole registry directory in which anything may lie beside valid claims.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use portclaim::{FindingKind, Holder, Port, Registry, Report};

use super::ground::{Ground, holder, listed, port};
use super::lines::lines;
use things::{VALID, claim_path, commit_path, line, project};

mod things;

/// How many projects instructions can speak of.
const PROJECTS: usize = 10;

/// Nobody is panicked or kept waiting; every valid claim is listed and found before and after a
/// repair, and its files are untouched, also where its time is over or its owner gone; so is every lease
/// whose lock is held; what a repair says it mended, a second one does not find.
///
/// Where something lies in the place of a directory or of the registry file, operations may fail;
/// once it is gone, all is as before.
pub(crate) fn registry_directory(data: &[u8]) {
    let ground = Ground::new();
    let root = ground.path();
    prepare(&ground);
    // What holds the leases, until all is over.
    let held: Vec<(usize, File)> = lines(data)
        .filter_map(|line| things::follow(root, line))
        .collect();
    if is_blocked(&ground) {
        let valid = valid(root);
        if let Ok(registry) = ground.try_open(|options| options) {
            let _ = registry.records().map(Iterator::count);
            let _ = registry.check();
            let _ = registry.repair();
        }
        expect_untouched(root, &valid);
        unblock(&ground);
    }
    let valid = valid(root);
    let leases = leases(root, &held);
    let registry = ground.open();
    expect_held(&registry, &valid);
    expect_leased(&registry, &leases);
    registry.check().expect("checks");
    let first = registry.repair().expect("repairs");
    expect_held(&registry, &valid);
    expect_leased(&registry, &leases);
    expect_untouched(root, &valid);

    let registry = ground.open();
    let second = registry.repair().expect("repairs again");
    for (kind, path) in seen(&second, |_| true) {
        assert!(
            !seen(&first, |fixed| fixed).contains(&(kind, path.clone())),
            "{path} was mended: {kind:?} again"
        );
    }
    expect_held(&registry, &valid);
    expect_leased(&registry, &leases);
    expect_untouched(root, &valid);
}

/// A registry with valid claims, and its file.
fn prepare(ground: &Ground) {
    ground.open().refresh_index().expect("writes");
    for number in 0..VALID {
        fs::write(claim_path(ground.path(), number), line(number)).expect("writes");
        fs::write(commit_path(ground.path(), number), line(number)).expect("writes");
    }
    ground.open().refresh_index().expect("writes");
}

/// Returns the projects whose claims are valid by what lies there.
fn valid(root: &Path) -> Vec<usize> {
    let is_record = |path: &Path, number| {
        let is_file = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
        is_file && fs::read(path).is_ok_and(|bytes| bytes == line(number))
    };
    let found: Vec<usize> = (0..PROJECTS)
        .filter(|&number| {
            is_record(&claim_path(root, number), number)
                && is_record(&commit_path(root, number), number)
        })
        .collect();
    assert!(
        (0..VALID).all(|number| found.contains(&number)),
        "{found:?}"
    );
    found
}

fn expect_untouched(root: &Path, before: &[usize]) {
    let after = valid(root);
    assert!(
        before.iter().all(|number| after.contains(number)),
        "{after:?}"
    );
}

/// Returns the ports of the leases whose files are still what is held.
fn leases(root: &Path, held: &[(usize, File)]) -> Vec<Port> {
    let is_there = |number: usize, file: &File| {
        let path = claim_path(root, number);
        let same = |meta: fs::Metadata| {
            let file = file.metadata().expect("it is open");
            meta.is_file() && (meta.dev(), meta.ino()) == (file.dev(), file.ino())
        };
        let is_lease = |path: &Path| {
            // A FIFO is not read: nobody writes to it.
            fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
                && fs::read(path).is_ok_and(|bytes| bytes == things::lease(number))
        };
        // One with a commit is a claim as well, and nobody makes it.
        fs::symlink_metadata(&path).is_ok_and(same)
            && is_lease(&path)
            && !is_lease(&commit_path(root, number))
    };
    let held = held.iter().filter(|(number, file)| is_there(*number, file));
    held.map(|(number, _)| port(*number)).collect()
}

/// All leases whose locks are held are told, and no port of theirs is another's.
fn expect_leased(registry: &Registry, leases: &[Port]) {
    let told = registry.leases().expect("looks");
    for lease in leases {
        assert!(
            told.iter().any(|record| record.port() == *lease),
            "{lease} of {told:?}"
        );
        assert!(!listed(registry).contains_key(lease), "{lease}");
    }
}

fn expect_held(registry: &Registry, valid: &[usize]) {
    let listed = listed(registry);
    for &number in valid {
        let holder = match things::service(number) {
            "" => holder(&project(number)),
            service => Holder::of_service(holder(&project(number)).project().clone(), service)
                .expect("it can be named"),
        };
        let record = listed.get(&port(number)).expect("it is listed");
        assert_eq!(record.holder(), &holder);
        let found = registry.find(&holder).expect("reads");
        assert_eq!(found.as_ref(), Some(record));
    }
}

fn seen(
    report: &Report,
    which: impl Fn(bool) -> bool,
) -> BTreeSet<(FindingKind, camino::Utf8PathBuf)> {
    let findings = report
        .findings
        .iter()
        .filter(|finding| which(finding.fixed));
    findings
        .map(|finding| (finding.kind, finding.path.clone()))
        .collect()
}

/// The names of the root that must be directories, if they are there.
const DIRS: [&str; 4] = ["staging", "index", "quarantine", "backups"];

/// Returns whether something lies in the place of a directory or the registry file.
fn is_blocked(ground: &Ground) -> bool {
    let meta = |path: &Path| fs::symlink_metadata(path).ok();
    DIRS.iter()
        .filter_map(|name| meta(&ground.path().join(name)))
        .any(|meta| !meta.is_dir())
        || meta(&ground.file()).is_some_and(|meta| !meta.is_file())
}

fn unblock(ground: &Ground) {
    for name in DIRS {
        let path = ground.path().join(name);
        if fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_dir()) {
            fs::remove_file(path).expect("removes");
        }
    }
    if fs::symlink_metadata(ground.file()).is_ok_and(|meta| !meta.is_file()) {
        things::remove(&ground.file()).expect("removes");
    }
}
