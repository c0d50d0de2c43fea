//! What every benchmark needs: a place for its files, a clock and a median.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A directory that goes with its value: in `PORTCLAIM_BENCH_DIR`, by default in Cargo's directory
/// for such files, which no commit can meet even if a benchmark is killed.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads its own settings"
)]
pub(crate) fn temporary() -> TempDir {
    let parent = std::env::var_os("PORTCLAIM_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let parent = std::path::absolute(parent).expect("a path");
    tempfile::tempdir_in(parent).expect("a directory")
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// The median of what is not empty; sorts it.
pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
