//! The seeds of the fuzz target, and what it once crashed on, on stable.

use std::path::Path;

#[path = "../../fuzz/checks/interceptor.rs"]
mod check;

#[test]
fn any_bytes_as_a_host_and_as_a_project() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/interceptor");
    let seeds = std::fs::read_dir(&corpus).expect("the corpus is there");
    let mut count = 0;
    for seed in seeds {
        let path = seed.expect("a seed").path();
        check::interceptor(&std::fs::read(&path).expect("reads"));
        count += 1;
    }
    assert!(count >= 5, "{count} seeds in {}", corpus.display());
}
