//! The command line of portclaim.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
