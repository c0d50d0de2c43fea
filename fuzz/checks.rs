//! What must hold whatever the bytes are. The fuzz targets call these with their inputs,
//! `cargo test` with the seeds in `corpus/`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use camino::Utf8PathBuf;
use portclaim::{Durability, Holder, Port, ProjectPath, Registry, Request};

fn registry(dir: &tempfile::TempDir) -> Registry {
    let root =
        Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("a temporary path is UTF-8");
    Registry::options()
        .durability(Durability::Volatile)
        .open(root)
        .expect("an empty directory opens")
}

fn holder() -> Holder {
    Holder::new(ProjectPath::from_normal("/fuzz/valid").expect("a normal path"))
}

/// Claims a port that the search of the range would hardly come to.
fn claim_valid(registry: &Registry) -> Port {
    let port = Port::new(61_234).expect("a port");
    let claim = registry
        .claim(&Request::new(holder()).port(port))
        .expect("nobody has it");
    claim.port()
}

/// Any bytes as the registry file: every operation answers, a valid claim stays, and after a
/// repair the file is sound and says so.
pub(crate) fn registry_file(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    let registry = registry(&dir);
    let port = claim_valid(&registry);
    let file = dir.path().join("port_registry.json");
    std::fs::write(&file, data).expect("writes");
    for record in registry.records().expect("lists") {
        record.expect("every claim is sound");
    }
    registry.summary().expect("counts");
    let report = registry.repair().expect("repairs");
    for finding in &report.findings {
        let kept = finding.kind == portclaim::FindingKind::UnusableEntry;
        assert!(finding.fixed || kept, "{finding:?}");
    }
    assert_eq!(
        registry
            .find(&holder())
            .expect("reads")
            .expect("it stays")
            .port(),
        port
    );
    let once = std::fs::read(&file).expect("it is there");
    registry.refresh_index().expect("writes");
    assert_eq!(
        std::fs::read(&file).expect("it is there"),
        once,
        "derived twice"
    );
}

/// Any bytes as claims and commits, split at the first NUL: no panic, no hang, and a valid
/// claim beside them stays, also through a repair.
pub(crate) fn claim_files(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    let registry = registry(&dir);
    let port = claim_valid(&registry);
    let mut parts = data.splitn(2, |&byte| byte == 0);
    let claim = parts.next().unwrap_or_default();
    let commit = parts.next().unwrap_or_default();
    std::fs::write(dir.path().join("ports/8888.claim"), claim).expect("writes");
    // The name of the commit of "/a".
    let key = "projects/d24a5d125d6c74b235cf8b08600680cc.claim";
    std::fs::write(dir.path().join(key), commit).expect("writes");
    let project = Holder::new(ProjectPath::from_normal("/a").expect("a normal path"));
    for record in registry.records().expect("lists") {
        let _ = record;
    }
    let _ = registry.find(&project);
    registry.check().expect("checks");
    registry.repair().expect("repairs");
    let _ = registry.claim(&Request::new(project));
    assert_eq!(
        registry
            .find(&holder())
            .expect("reads")
            .expect("it stays")
            .port(),
        port
    );
}

/// Any bytes as a path: what comes out is a normal form that stays as it is.
pub(crate) fn path(data: &[u8]) {
    if let Ok(project) = ProjectPath::resolve(OsStr::from_bytes(data)) {
        assert!(
            ProjectPath::from_normal(project.as_str()).is_ok(),
            "{project}"
        );
        let again = ProjectPath::resolve(project.as_str()).expect("a normal form is a path");
        assert_eq!(again, project);
    }
}
