//! The seeds of the fuzz targets, and what they once crashed on, on stable.

use std::path::Path;

#[path = "../../fuzz/checks/mod.rs"]
mod checks;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut count = 0;
    let mut failed = Vec::new();
    for entry in std::fs::read_dir(&corpus).expect("the corpus is there") {
        let path = entry.expect("a seed").path();
        let seed = std::fs::read(&path).expect("reads");
        if std::panic::catch_unwind(|| check(&seed)).is_err() {
            failed.push(path);
        }
        count += 1;
    }
    assert!(failed.is_empty(), "see above: {failed:#?}");
    assert!(count >= 5, "{count} seeds in {}", corpus.display());
}

#[test]
fn any_bytes_as_a_path() {
    replay("path", checks::path);
}

#[test]
fn any_bytes_as_a_claim_and_its_commit() {
    replay("record", checks::record);
}

#[test]
fn any_bytes_as_the_registry_file() {
    replay("registry_file", checks::registry_file);
}

#[test]
fn a_registry_file_that_somebody_left() {
    replay("take_over", checks::take_over);
}

#[test]
fn a_directory_in_which_anything_lies() {
    replay("registry_directory", checks::registry_directory);
}

#[test]
fn programs_of_operations() {
    replay("operations", checks::operations);
}
