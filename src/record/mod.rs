//! What a claim and its commit say: one JSON line, the same in both files.

use serde::{Deserialize, Serialize};

use crate::error::Corruption;
use crate::port::Port;
use crate::project::{Holder, ProjectPath};
use crate::repository::Repository;
use crate::term::Term;

mod nonce;

pub use nonce::Nonce;

/// How claim and commit files end.
pub(crate) const SUFFIX: &str = ".claim";

/// Longest record that is read, in bytes: a path of Linux's `PATH_MAX` (4096 bytes) in
/// which JSON escapes every byte as six, and room for the rest.
pub(crate) const LEN_MAX: usize = 32 * 1024;

/// How long most records are, bytes, without their paths.
const ROOM: usize = 256;

/// The format that is written. A reader refuses a higher one and leaves such a file alone.
const FORMAT: u32 = 1;

/// What is written about a held port: which, by whom, and the nonce of the claim.
/// A record is immutable: it is written once and removed as a whole.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let registry = Registry::open(dir.path().to_str().unwrap())?;
/// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// let record = registry.claim(&Request::new(shop.clone()))?.keep();
/// assert_eq!(record.holder(), &shop);
/// // Whoever asks reads the same.
/// assert_eq!(registry.lookup(record.port())?, Some(record));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    port: Port,
    nonce: Nonce,
    holder: Holder,
    term: Term,
    device: Option<u64>,
    repository: Option<Repository>,
}

/// What a new record is to say, whatever its port and nonce.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) holder: Holder,
    /// How long the claim holds.
    pub(crate) term: Term,
    /// The device of the project's directory.
    pub(crate) device: Option<u64>,
    /// The git repository that the project is in.
    pub(crate) repository: Option<Repository>,
}

impl From<Holder> for Draft {
    fn from(holder: Holder) -> Draft {
        Draft {
            holder,
            term: Term::Kept,
            device: None,
            repository: None,
        }
    }
}

impl From<&Record> for Draft {
    fn from(record: &Record) -> Draft {
        Draft {
            holder: record.holder.clone(),
            term: record.term.clone(),
            device: record.device,
            repository: record.repository.clone(),
        }
    }
}

impl Draft {
    pub(crate) fn record(&self, port: Port, nonce: Nonce) -> Record {
        Record {
            port,
            nonce,
            holder: self.holder.clone(),
            term: self.term.clone(),
            device: self.device,
            repository: self.repository.clone(),
        }
    }
}

/// Puts a member of the line behind the others. To write the names by hand takes a third of the time that
/// a derived writer takes, which counts where nothing is flushed.
fn put(line: &mut Vec<u8>, name: &str, value: &(impl Serialize + ?Sized)) {
    line.extend_from_slice(name.as_bytes());
    serde_json::to_writer(line, value).expect("strings and numbers are valid JSON");
}

/// The same of text. Most has nothing to escape, which many bytes are asked at once.
fn put_text(line: &mut Vec<u8>, name: &str, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // No `all`, which stops at the first: so the compiler takes sixteen at a time.
    if text
        .bytes()
        .fold(true, |plain, byte| plain & is_plain(byte))
    {
        put_plain(line, name, text.as_bytes());
    } else {
        put(line, name, text);
    }
}

/// The same of text without anything that JSON escapes.
fn put_plain(line: &mut Vec<u8>, name: &str, text: &[u8]) {
    line.extend_from_slice(name.as_bytes());
    line.push(b'"');
    line.extend_from_slice(text);
    line.push(b'"');
}

/// The record's JSON, field by field: what stands on users' disks. The last three are left out where there
/// is nothing to say.
#[derive(Deserialize)]
struct Line<'a> {
    format: u32,
    port: Port,
    #[serde(borrow)]
    nonce: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    project: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    service: std::borrow::Cow<'a, str>,
    #[serde(default)]
    term: Term,
    #[serde(default)]
    device: Option<u64>,
    #[serde(default, rename = "git")]
    repository: Option<Repository>,
}

impl Record {
    pub(crate) fn new(port: Port, nonce: Nonce, holder: Holder) -> Record {
        Draft::from(holder).record(port, nonce)
    }

    /// Returns how long the claim holds; [`Term`] has an example.
    #[must_use]
    pub fn term(&self) -> &Term {
        &self.term
    }

    pub(crate) fn is_lease(&self) -> bool {
        self.term == Term::Lease
    }

    /// Returns the record of the same port for another holder.
    pub(crate) fn moved(&self, nonce: Nonce, to: Draft) -> Record {
        Record {
            nonce,
            holder: to.holder,
            device: to.device,
            repository: to.repository,
            ..self.clone()
        }
    }

    /// Returns the port.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let claim = registry.claim(&Request::new(shop))?;
    /// assert_eq!(claim.record().port(), claim.port());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn port(&self) -> Port {
        self.port
    }

    /// Returns what tells this claim from every other one of the same port.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// # let request = Request::new(Holder::new(ProjectPath::from_normal("/home/a/shop")?));
    /// let first = registry.claim(&request)?.keep();
    /// let again = registry.claim(&request)?.keep();
    /// assert_eq!(again.nonce(), first.nonce(), "it is the same claim");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Returns who holds the port.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let record = registry.claim(&Request::new(shop.clone()))?.keep();
    /// assert_eq!(record.holder(), &shop);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Returns the project that holds the port.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
    /// let record = registry.claim(&Request::new(shop))?.keep();
    /// assert_eq!(record.project().as_str(), "/home/a/shop");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn project(&self) -> &ProjectPath {
        self.holder.project()
    }

    /// Returns the device on which the project's directory lay when it was given the port (`st_dev`);
    /// `None` where there was no directory, or nobody looked. [`Registry::prune`](crate::Registry::prune)
    /// asks for it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// use std::os::unix::fs::MetadataExt;
    /// let here = Holder::new(ProjectPath::resolve(dir.path())?);
    /// let record = registry.claim(&Request::new(here))?.keep();
    /// assert_eq!(record.device(), Some(std::fs::metadata(dir.path())?.dev()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn device(&self) -> Option<u64> {
        self.device
    }

    /// Returns the git repository that the project was in when it was given the port; `None` where that was
    /// not [noted](crate::Request::note_repository). [`Registry::follow_git`](crate::Registry::follow_git) asks for it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portclaim::{Holder, ProjectPath, Registry, Repository, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let registry = Registry::open(dir.path().to_str().unwrap())?;
    /// let here = ProjectPath::resolve(".")?;
    /// let request = Request::new(Holder::new(here.clone())).note_repository();
    /// let record = registry.claim(&request)?.keep();
    /// assert_eq!(record.repository(), Repository::of(&here)?.as_ref());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        self.repository.as_ref()
    }

    /// Returns the record as one JSON line with its line feed, which is how a reader
    /// knows that the record is whole. What [`Line`] names, in its order.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let project = self.holder.project().as_str();
        let mut line = Vec::with_capacity(ROOM + project.len());
        put(&mut line, "{\"format\":", &FORMAT);
        put(&mut line, ",\"port\":", &self.port);
        put_plain(&mut line, ",\"nonce\":", &self.nonce.digits());
        put_text(&mut line, ",\"project\":", project);
        put_text(&mut line, ",\"service\":", self.holder.service());
        if !self.term.is_kept() {
            put(&mut line, ",\"term\":", &self.term);
        }
        if let Some(device) = &self.device {
            put(&mut line, ",\"device\":", device);
        }
        if let Some(repository) = &self.repository {
            put(&mut line, ",\"git\":", repository);
        }
        line.extend_from_slice(b"}\n");
        line
    }

    /// Reads what [`Record::encode`] wrote. `bytes` are foreign: anything may stand there.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Record, Corruption> {
        if bytes.is_empty() {
            return Err(Corruption::Empty);
        }
        if bytes.len() > LEN_MAX {
            return Err(Corruption::TooLong);
        }
        let Some(text) = bytes.strip_suffix(b"\n") else {
            return Err(Corruption::Torn);
        };
        let line: Line<'_> =
            serde_json::from_slice(text).map_err(|error| newer_or_invalid(text, &error))?;
        if line.format > FORMAT {
            return Err(Corruption::NewerFormat(line.format));
        }
        if line.format != FORMAT {
            return Err(Corruption::Invalid(format!(
                "format {} was never written",
                line.format
            )));
        }
        let nonce = Nonce::from_hex(&line.nonce)
            .ok_or_else(|| Corruption::Invalid("the nonce is not 32 hexadecimal digits".into()))?;
        let project = ProjectPath::from_normal(line.project.as_ref())
            .map_err(|_| Corruption::Invalid("the project's path is not in normal form".into()))?;
        Ok(Record {
            port: line.port,
            nonce,
            holder: Holder::with_service(project, line.service.into_owned()),
            term: line.term,
            device: line.device,
            repository: line.repository,
        })
    }
}

/// A later format may have any fields: the number alone tells it from damage.
fn newer_or_invalid(text: &[u8], error: &serde_json::Error) -> Corruption {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    match serde_json::from_slice::<Versioned>(text) {
        Ok(Versioned { format }) if format > FORMAT => Corruption::NewerFormat(format),
        _ => Corruption::Invalid(error.to_string()),
    }
}

/// Returns the name of a port's claim, e.g. `8888.claim`.
pub(crate) fn claim_name(port: Port) -> String {
    let mut name = String::with_capacity(5 + SUFFIX.len());
    // A u16 is written faster than what displays one.
    name.push_str(&port.get().to_string());
    name.push_str(SUFFIX);
    name
}

/// Returns the port of which `name` is the claim. `08888.claim` is none's: one port has one name.
pub(crate) fn claim_port(name: &str) -> Option<Port> {
    let port: Port = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (claim_name(port) == name).then_some(port)
}

#[cfg(all(test, not(loom)))]
mod tests;
