//! What a claim or a commit can be besides a record.

use std::fmt;

use crate::port::Port;

/// What is wrong with the content of a claim or a commit. `Display` begins with "it".
///
/// # Examples
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let registry = portclaim::Registry::open(dir.path().to_str().unwrap())?;
/// # registry.refresh_index()?;
/// std::fs::write(dir.path().join("ports/8888.claim"), r#"{"format":1,"po"#)?;
/// let error = registry.records()?.next().expect("it is not left out").unwrap_err();
/// assert_eq!(error.corruption(), Some(&portclaim::Corruption::Torn));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// The file is empty: its writer was killed, or the power failed.
    Empty,
    /// The end of the record is missing.
    Torn,
    /// The file is longer than any record.
    TooLong,
    /// The file was written by a later version of portclaim, in this format. It is left alone.
    NewerFormat(u32),
    /// The record is of another port than the file's name says.
    WrongPort(Port),
    /// The record is of another project than the file's name says.
    WrongProject,
    /// This user may not read the file. It is left alone.
    Denied,
    /// A directory, a symbolic link, a FIFO: anything but a regular file.
    NotAFile,
    /// This is no record; the text says why.
    Invalid(String),
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corruption::Empty => f.write_str("it is empty"),
            Corruption::Torn => f.write_str("its end is missing"),
            Corruption::TooLong => f.write_str("it is longer than any record"),
            Corruption::NewerFormat(format) => write!(
                f,
                "a later version of portclaim wrote it, in format {format}"
            ),
            Corruption::WrongPort(port) => write!(f, "it is the record of port {port}"),
            Corruption::WrongProject => f.write_str("it is the record of another project"),
            Corruption::Denied => f.write_str("this user may not read it"),
            Corruption::NotAFile => f.write_str("it is not a regular file"),
            Corruption::Invalid(why) => write!(f, "it is no record: {why}"),
        }
    }
}
