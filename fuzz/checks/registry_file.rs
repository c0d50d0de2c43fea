//! Any bytes as the registry file.

use portclaim::FindingKind;

use super::ground::{Ground, claim, holder, listed, port};

/// Every operation answers, a valid claim stays, and after a repair the file is sound and says so.
pub(crate) fn registry_file(data: &[u8]) {
    let ground = Ground::new();
    let registry = ground.open();
    // Not in the range, so that no search comes to it.
    let valid = claim(&registry, "/fuzz/valid", port(9)).expect("nobody has it");
    std::fs::write(ground.file(), data).expect("writes");
    for record in registry.records().expect("lists") {
        record.expect("every claim is sound");
    }
    registry.summary().expect("counts");
    let report = registry.repair().expect("repairs");
    for finding in &report.findings {
        let kept = finding.kind == FindingKind::UnusableEntry;
        assert!(finding.fixed || kept, "{finding:?}");
    }
    let found = registry.find(&holder("/fuzz/valid")).expect("reads");
    assert_eq!(found.as_ref(), Some(valid.record()));
    assert_eq!(listed(&registry).get(&port(9)), Some(valid.record()));
    let once = std::fs::read(ground.file()).expect("it is there");
    registry.refresh_index().expect("writes");
    let twice = std::fs::read(ground.file()).expect("it is there");
    assert_eq!(twice, once, "derived twice");
}
