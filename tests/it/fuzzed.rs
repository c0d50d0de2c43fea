//! The seeds of the fuzz targets, and what they once crashed on, on stable.

use std::path::Path;

#[path = "../../fuzz/checks.rs"]
mod checks;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is there") {
        let path = entry.expect("a seed").path();
        let seed = std::fs::read(&path).expect("reads");
        let passed = std::panic::catch_unwind(|| check(&seed));
        assert!(passed.is_ok(), "see above: {}", path.display());
        count += 1;
    }
    assert!(count >= 5, "{count} seeds in {}", corpus.display());
}

#[test]
fn any_bytes_as_the_registry_file() {
    replay("registry_file", checks::registry_file);
}

#[test]
fn any_bytes_as_claims_and_commits() {
    replay("claim_files", checks::claim_files);
}

#[test]
fn any_bytes_as_a_path() {
    replay("path", checks::path);
}
