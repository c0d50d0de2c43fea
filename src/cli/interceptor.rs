//! `portclaim interceptor`: becomes `portclaim-interceptor`, which lies beside this program or in the search
//! path.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use super::global::Global;
use super::program;
use super::report::Failure;
use super::settings::own_program;

/// How it is called.
const NAME: &str = "portclaim-interceptor";

/// Returns only if it cannot be started.
pub(super) fn become_it(global: &Global, args: &[OsString]) -> Failure {
    let name = OsStr::new(NAME);
    let beside = own_program().ok().map(|own| own.with_file_name(NAME));
    let program = match beside.filter(|path| path.is_file()) {
        Some(path) => path,
        None => match program::find(name) {
            Ok(path) => path,
            Err(failure) => {
                return failure
                    .hint("cargo install portclaim --features interceptor installs it as well");
            }
        },
    };
    let mut command = Command::new(program);
    command.args(args);
    // The flags that go with any command were read here, wherever they stood.
    if let Some(registry) = &global.registry {
        command.arg("--registry").arg(registry);
    }
    for (flag, port) in [
        ("--port-min", global.port_min),
        ("--port-max", global.port_max),
    ] {
        if let Some(port) = port {
            command.args([flag, &port.to_string()]);
        }
    }
    if global.json {
        command.arg("--json");
    }
    program::become_it(command, name)
}
