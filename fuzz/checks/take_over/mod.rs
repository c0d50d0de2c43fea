//! A registry file as the Python system, an older portclaim or a person may have left it.

use std::collections::{BTreeMap, BTreeSet};

use portclaim::{IndexPolicy, Port, ProjectPath, Record, Registry};

use super::ground::{Ground, claim, listed};
use document::Document;

mod document;

/// Nobody is panicked or kept waiting; no port has two holders; who had a port has it still; every
/// mapping that can be read becomes a claim, unless its port is another's; the file is kept as it
/// was; and what can be no claim stays in the new one.
pub(crate) fn take_over(data: &[u8]) {
    let document = Document::new(data);
    let ground = Ground::new();
    let before = prepare(&ground, &document);
    std::fs::write(ground.file(), &document.text).expect("writes");

    let registry = ground.open();
    let after = listed(&registry);
    for (port, record) in &before {
        assert_eq!(after.get(port), Some(record), "it was held");
    }
    // A file that portclaim wrote for these claims says nothing new, except what others added.
    let is_current = document.is_established && document.is_sound() && document.ours.is_some();
    if document.is_known() {
        let mut mappings = document.readable();
        if let Some(ours) = document.ours.as_ref().filter(|_| is_current) {
            mappings.retain(|(_, port)| !ours.contains(port));
        }
        expect_adopted(&mappings, &before, &after);
    }
    if !is_current && document.is_known() {
        assert!(is_backed_up(&ground, &document.text), "there is no backup");
    }
    expect_found(&registry, &after);

    registry.refresh_index().expect("writes");
    assert_eq!(listed(&ground.open()), after, "the new file says otherwise");
    if document.is_sound() {
        expect_kept(&ground, &document, &after);
    }
    let file = std::fs::read(ground.file()).expect("it is there");
    ground.open().refresh_index().expect("writes");
    assert_eq!(std::fs::read(ground.file()).expect("it is there"), file);
}

/// Makes the claims that were there before the file, and returns them.
fn prepare(ground: &Ground, document: &Document) -> BTreeMap<Port, Record> {
    let registry = ground
        .try_open(|options| options.index(IndexPolicy::Mark))
        .expect("it opens");
    for (path, port) in &document.claims {
        // A port or a path may come twice; then the first one has it.
        let _ = claim(&registry, path.as_str(), *port);
    }
    if document.is_established {
        registry.refresh_index().expect("writes");
    }
    listed(&registry)
}

fn expect_adopted(
    mappings: &[(ProjectPath, Port)],
    before: &BTreeMap<Port, Record>,
    after: &BTreeMap<Port, Record>,
) {
    let settled: BTreeSet<&str> = before
        .values()
        .map(|record| record.project().as_str())
        .collect();
    let mut claimants: BTreeMap<Port, Vec<&str>> = BTreeMap::new();
    for (path, port) in mappings {
        if !settled.contains(path.as_str()) && !before.contains_key(port) {
            claimants.entry(*port).or_default().push(path.as_str());
        }
    }
    for (port, claimants) in &claimants {
        let holder = after.get(port).map(|record| record.project().as_str());
        assert!(
            holder.is_some_and(|holder| claimants.contains(&holder)),
            "port {port} of {claimants:?}: {holder:?} has it"
        );
    }
    assert_eq!(after.len(), before.len() + claimants.len(), "{after:?}");
}

fn expect_found(registry: &Registry, listed: &BTreeMap<Port, Record>) {
    for record in listed.values() {
        let found = registry.find(record.holder()).expect("reads");
        assert_eq!(found.as_ref(), Some(record));
    }
}

fn is_backed_up(ground: &Ground, text: &[u8]) -> bool {
    let mut files = std::fs::read_dir(ground.path()).expect("lists");
    files.any(|entry| {
        let entry = entry.expect("an entry");
        let is_backup = entry
            .file_name()
            .to_string_lossy()
            .starts_with("port_registry.json.backup");
        is_backup && std::fs::read(entry.path()).is_ok_and(|bytes| bytes == text)
    })
}

/// The entry of a project that holds a port gives way to its claim.
fn expect_kept(ground: &Ground, document: &Document, after: &BTreeMap<Port, Record>) {
    let file = std::fs::read_to_string(ground.file()).expect("it is UTF-8");
    for entry in document.kept() {
        let is_held = after
            .values()
            .any(|record| Some(record.project()) == entry.path.as_ref());
        let text = format!("{}: {}", entry.key, entry.value);
        assert!(is_held || file.contains(&text), "{text} is lost: {file}");
    }
}
