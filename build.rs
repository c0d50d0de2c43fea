//! Links the unwinder into the command line from its archive.
//!
//! Rust's own start-up refers to an unwinder, and takes it from the shared `libgcc_s`: a second
//! library to find, map and relocate, a tenth of the time that the whole program takes. The C
//! compiler that links has the same code as an archive beside it; a static build takes that
//! anyway. An embedder's program (without the feature `cli`) is linked as its owner wants.
#![expect(
    clippy::disallowed_methods,
    reason = "what Cargo tells a build script stands in the environment"
)]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let told = |name| std::env::var(name).unwrap_or_default();
    let dynamic_linux = told("CARGO_CFG_TARGET_OS") == "linux"
        && told("CARGO_CFG_TARGET_ENV") == "gnu"
        && !told("CARGO_CFG_TARGET_FEATURE").contains("crt-static");
    if dynamic_linux && std::env::var_os("CARGO_FEATURE_CLI").is_some() {
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
