//! What is printed besides data, and the exit code: the only place that decides it.

use std::io::{self, Write};
use std::process::ExitCode;

use portclaim::{Error, ErrorKind, Notice};
use serde::Serialize;

use super::text::{escape, word};

/// The version of every JSON shape. It rises when a field goes or changes its meaning.
const JSON_VERSION: u32 = 1;

/// The honest answer of a command that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Yes, or done: exit code 0.
    Yes,
    /// No: exit code 1.
    No,
    /// As the command said that was run.
    Code(u8),
}

/// Why a command failed, and what to do next.
pub(super) struct Failure {
    text: String,
    causes: Vec<String>,
    hint: Option<String>,
    code: u8,
    /// The reader of standard output has gone: that is no error.
    is_closed_pipe: bool,
}

impl Failure {
    pub(super) fn new(text: &str) -> Failure {
        Failure {
            text: text.to_owned(),
            causes: Vec::new(),
            hint: None,
            code: 2,
            is_closed_pipe: false,
        }
    }

    /// The answer is no, and that is why.
    pub(super) fn no(text: &str) -> Failure {
        Failure::new(text).code(1)
    }

    /// Sets the exit code.
    pub(super) fn code(mut self, code: u8) -> Failure {
        self.code = code;
        self
    }

    pub(super) fn io(text: &str, error: &io::Error) -> Failure {
        let mut failure = Failure::new(text);
        failure.causes.push(error.to_string());
        failure
    }

    pub(super) fn hint(mut self, hint: &str) -> Failure {
        self.hint = Some(hint.to_owned());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let mut failure = Failure::new(&error.to_string());
        if matches!(
            error.kind(),
            ErrorKind::Exhausted | ErrorKind::Taken | ErrorKind::HasAnother
        ) {
            failure.code = 1;
        }
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            failure.causes.push(cause.to_string());
            source = cause.source();
        }
        failure.hint = hint(&error);
        failure
    }
}

/// What to do next, by the kind of error.
fn hint(error: &Error) -> Option<String> {
    let system = error.io_error().map(io::Error::kind);
    Some(match (error.kind(), system) {
        (ErrorKind::Exhausted, _) => {
            "give back ports that are not needed (portclaim list, portclaim remove PATH; portclaim prune for those of deleted directories), or widen the range \
             with --port-min and --port-max or range in portclaim.toml"
                .to_owned()
        }
        (ErrorKind::Corrupt, _) => "portclaim doctor tells more, and portclaim doctor --fix moves damaged files aside".to_owned(),
        (ErrorKind::Contended, _) => {
            "try again; if it stays so, look for a stopped process (state T in ps) that uses this registry".to_owned()
        }
        (ErrorKind::Io, Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)) => {
            "the registry must be writable for this; --registry or PORT_REGISTRY_PATH can name one elsewhere".to_owned()
        }
        (ErrorKind::NoLocks, _) => {
            "--registry or PORT_REGISTRY_PATH can name a registry on a local disk".to_owned()
        }
        (ErrorKind::Io, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) => {
            "free some space and try again".to_owned()
        }
        (ErrorKind::Io, Some(io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput)) => {
            "something else lies where a file or directory of the registry should be; portclaim doctor tells more".to_owned()
        }
        _ => return None,
    })
}

/// Prints clap's own message: help goes to standard output, errors do not.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    if let Err(failed) = error.print()
        && failed.kind() != io::ErrorKind::BrokenPipe
    {
        return failure(&Failure::io("failed to print the answer", &failed));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Prints why a command failed, and returns its exit code.
pub(super) fn failure(failure: &Failure) -> ExitCode {
    if failure.is_closed_pipe {
        return ExitCode::SUCCESS;
    }
    let mut out = anstream::stderr().lock();
    let red = anstyle::AnsiColor::Red.on_default().bold();
    // Standard error may be closed as well; the exit code says it all the same.
    let _ = writeln!(out, "{red}error:{red:#} {}", escape(&failure.text));
    for cause in &failure.causes {
        let _ = writeln!(out, "caused by: {}", escape(cause));
    }
    print_hint(&mut out, failure.hint.as_deref());
    ExitCode::from(failure.code)
}

/// Prints a warning.
pub(super) fn warning(text: &str, hint: Option<&str>) {
    let mut out = anstream::stderr().lock();
    let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
    let _ = writeln!(out, "{yellow}warning:{yellow:#} {text}");
    print_hint(&mut out, hint);
}

/// Warns of what a command can do without.
pub(super) fn warn_of(error: &Error, hint: Option<&str>) {
    let text = match error.io_error() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    warning(&escape(&text), hint);
}

/// Prints a hint alone.
pub(super) fn tell_hint(hint: &str) {
    print_hint(&mut anstream::stderr().lock(), Some(hint));
}

fn print_hint(out: &mut impl Write, hint: Option<&str>) {
    if let Some(hint) = hint {
        let cyan = anstyle::AnsiColor::Cyan.on_default().bold();
        let _ = writeln!(out, "{cyan}hint:{cyan:#} {hint}");
    }
}

/// Prints what the operations met.
pub(super) fn notices(notices: &[Notice]) {
    for notice in notices {
        let (text, hint) = describe(notice);
        warning(&text, hint.as_deref());
    }
}

fn describe(notice: &Notice) -> (String, Option<String>) {
    match notice {
        Notice::TakenOver {
            path,
            backup,
            claims,
        } => (
            format!(
                "took {} over: {claims} of its projects have their ports here now",
                escape(path.as_str())
            ),
            Some(format!(
                "the original is kept as {}",
                escape(backup.as_str())
            )),
        ),
        Notice::NotTakenOver { path, why } => (
            format!(
                "the registry file {} could not be taken over: {}",
                escape(path.as_str()),
                escape(why)
            ),
            Some(
                "its projects are shown with the ports that it gives them; they are theirs for good once \
                 portclaim can write there"
                    .to_owned(),
            ),
        ),
        Notice::Damaged {
            path,
            why,
            backup,
            claims,
        } => (
            format!(
                "the registry file {} is damaged ({why}): it is derived from the claims again, and {claims} more \
                 projects were read from it",
                escape(path.as_str())
            ),
            Some(format!(
                "the damaged file is kept as {}",
                escape(backup.as_str())
            )),
        ),
        Notice::IndexBehind { path, why } => (
            format!(
                "the registry file {} could not be brought up to date: {}",
                escape(path.as_str()),
                escape(why)
            ),
            Some("the claims are not affected; portclaim index tries again".to_owned()),
        ),
        entry => describe_entry(entry),
    }
}

/// Describes what became of one entry of the registry file.
fn describe_entry(notice: &Notice) -> (String, Option<String>) {
    match notice {
        Notice::Adopted { project, port } => (
            format!(
                "{} has port {port} now, as somebody wrote into the registry file",
                escape(project.as_str())
            ),
            None,
        ),
        Notice::Conflict {
            project,
            port,
            holder,
        } => (
            format!(
                "the registry file gives port {port} to {}, but {} has it",
                escape(project.as_str()),
                escape(&holder.to_string())
            ),
            Some(format!(
                "portclaim allocate {} gives it a new one",
                word(project.as_str())
            )),
        ),
        Notice::Differs {
            project,
            written,
            claimed,
        } => (
            format!(
                "the registry file gives port {written} to {}, which has port {claimed}",
                escape(project.as_str())
            ),
            None,
        ),
        Notice::NotAdopted { project, port, why } => (
            format!(
                "port {port} of the registry file could not be given to {}: {}",
                escape(project.as_str()),
                escape(why)
            ),
            Some("portclaim doctor tells more".to_owned()),
        ),
        Notice::Kept { key, why } => (
            format!(
                "the entry {} of the registry file is left as it is: {why}",
                escape(key)
            ),
            None,
        ),
        _ => (
            "something happened that this version cannot describe".to_owned(),
            None,
        ),
    }
}

/// Prints data to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    printed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Prints data with colour, which is left out where it is not wanted.
pub(super) fn print_styled(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    printed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn printed(answer: io::Result<()>) -> Result<(), Failure> {
    answer.map_err(|error| {
        let is_closed_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        let mut failure = Failure::io("failed to print the answer", &error);
        failure.is_closed_pipe = is_closed_pipe;
        failure
    })
}

/// Prints data as one JSON object, whose first member is the version of its shape.
pub(super) fn print_json(data: &impl Serialize) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        version: u32,
        #[serde(flatten)]
        data: &'a T,
    }
    let text = serde_json::to_string_pretty(&Versioned {
        version: JSON_VERSION,
        data,
    })
    .expect("strings, numbers and lists of them are valid JSON");
    print(&format!("{text}\n"))
}
