//! The registry as its users see it: composes the other rooms, decides nothing twice.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use crate::claim::Claim;
use crate::error::{Error, Op, Result};
use crate::fs::Dir;
use crate::fs::mount::Filesystem;
use crate::fs::os::OsDir;
use crate::index::{self, Document, present};
use crate::migrate::{self, Only};
use crate::net::{Availability, probe};
use crate::notice::Notice;
use crate::pick::RangePicker;
use crate::place::Place;
use crate::port::{Port, PortRange};
use crate::project::Holder;
use crate::protocol::{
    Acquired, Durability, Lookup, ROUNDS_MAX, Refreshed, Released, acquire, committed, lookup,
    make_durable, marks, pause, picked, refresh, release, sweep, sweep_port,
};
use crate::record::Record;

/// How the registry file is called where nothing else is said.
pub const DEFAULT_FILE_NAME: &str = "port_registry.json";

/// How often an exhausted range is searched: once more than others are given time to settle.
const EXHAUSTED_ROUNDS_MAX: u32 = ROUNDS_MAX + 1;

/// When the registry file, which is derived from the claims, is brought up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexPolicy {
    /// After each change (the default), unless another process is at it, which then does it.
    #[default]
    Refresh,
    /// Never: changes are only marked. The next refresh by anybody, or
    /// [`Registry::refresh_index`], shows them.
    Mark,
}

/// Options of a registry. The defaults: range 8888-9999, durable, the registry file
/// `port_registry.json`, brought up to date after each change.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open` is called"]
pub struct Options {
    range: PortRange,
    durability: Durability,
    index: IndexPolicy,
    file_name: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            range: PortRange::DEFAULT,
            durability: Durability::default(),
            index: IndexPolicy::default(),
            file_name: DEFAULT_FILE_NAME.to_owned(),
        }
    }
}

impl Options {
    /// New ports come from this range. Ports that are held stay, whatever it is.
    pub fn range(mut self, range: PortRange) -> Options {
        self.range = range;
        self
    }

    /// Whether claims survive a power cut.
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// When the registry file is brought up to date.
    pub fn index(mut self, policy: IndexPolicy) -> Options {
        self.index = policy;
        self
    }

    /// The name of the registry file in the registry's directory: one component.
    pub fn file_name(mut self, name: impl Into<String>) -> Options {
        self.file_name = name.into();
        self
    }

    /// Opens the registry of this registry file: the claims lie beside it. A symbolic link is
    /// followed, once and here: whoever has linked the file elsewhere has the registry there.
    ///
    /// # Errors
    ///
    /// As [`Options::open`], and [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath) where
    /// the path is a directory, a link to nothing, or not UTF-8.
    pub fn open_file(self, path: impl AsRef<Path>) -> Result<Registry> {
        let (root, name) = crate::fs::canonical::registry_file(path.as_ref())?;
        self.file_name(name).open(root)
    }

    /// Opens the registry in the directory `root`. Nothing is created before the first claim.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPath`](crate::ErrorKind::InvalidPath) for a file name that is not
    /// one component, and [`ErrorKind::Io`](crate::ErrorKind::Io) where the directory exists
    /// and cannot be opened.
    pub fn open(self, root: impl Into<Utf8PathBuf>) -> Result<Registry> {
        let name = self.file_name.as_str();
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(Error::invalid_path(
                name.as_bytes(),
                "a registry file's name is one component",
            ));
        }
        if [
            "ports",
            "projects",
            "staging",
            "index",
            "quarantine",
            "backups",
        ]
        .contains(&name)
        {
            return Err(Error::invalid_path(
                name.as_bytes(),
                "this name is that of a directory of the registry",
            ));
        }
        let registry = Registry {
            inner: Arc::new(Inner {
                root: root.into(),
                options: self,
                place: OnceLock::new(),
                notices: Mutex::default(),
            }),
        };
        registry.place()?;
        Ok(registry)
    }
}

/// What is asked for with [`Registry::claim`].
#[derive(Clone, Debug)]
pub struct Request {
    holder: Holder,
    range: Option<PortRange>,
    port: Option<Port>,
}

impl Request {
    /// Asks for a port for `holder`, from the registry's range.
    #[must_use]
    pub fn new(holder: Holder) -> Request {
        Request {
            holder,
            range: None,
            port: None,
        }
    }

    /// Takes a new port from this range instead.
    #[must_use]
    pub fn within(mut self, range: PortRange) -> Request {
        self.range = Some(range);
        self
    }

    /// Takes this port and no other, whatever the range and whatever uses it.
    #[must_use]
    pub fn port(mut self, port: Port) -> Request {
        self.port = Some(port);
        self
    }
}

/// What a registry says of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortState {
    /// Who holds it.
    pub claim: Option<Record>,
    /// Whether the port has a claim that is not, or not yet, committed to a holder, or that
    /// cannot be read: nobody is told this port before that is settled.
    pub unsettled: bool,
    /// Whether programs could bind it.
    pub availability: Availability,
}

/// Figures about a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The range that new ports come from.
    pub range: PortRange,
    /// Ports that are held, in the range or outside.
    pub allocated: u32,
    /// Ports of the range that have no claim.
    pub available: u32,
    /// The first port without a claim that the next search comes to; programs that use it
    /// are not looked for. `None` where there is none.
    pub next_available: Option<Port>,
}

/// A registry of ports: a directory of claims.
///
/// Clones are the same registry. It may be used from any number of threads and processes
/// at once; every operation opens its own files, so that threads exclude each other just
/// as processes do.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

/// What a refresh of the registry file looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What is marked, if anything is.
    Changes,
    /// The same, and what others wrote into the file, whether or not something is marked.
    File,
    /// All claims.
    All,
}

/// What the registry file said.
struct Known {
    document: Option<Arc<Document>>,
    /// Whether it must be written anew, whatever the marks say.
    rewrite: bool,
}

struct Inner {
    root: Utf8PathBuf,
    options: Options,
    place: OnceLock<Place>,
    notices: Mutex<Vec<Notice>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("root", &self.inner.root)
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens the registry in the directory `root` with the default [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    pub fn open(root: impl Into<Utf8PathBuf>) -> Result<Registry> {
        Options::default().open(root)
    }

    /// Returns the default options, to be changed.
    pub fn options() -> Options {
        Options::default()
    }

    /// Returns the directory of the registry.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.inner.root
    }

    /// Returns the path of the registry file, which may not exist.
    #[must_use]
    pub fn index_path(&self) -> Utf8PathBuf {
        self.inner.root.join(&self.inner.options.file_name)
    }

    /// Returns the range that new ports come from.
    #[must_use]
    pub fn range(&self) -> PortRange {
        self.inner.options.range
    }

    /// Returns the file system that the registry lies on: what it says of locks and names
    /// decides which guarantees hold there. `None` where no registry exists yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the directory cannot be opened.
    pub fn filesystem(&self) -> Result<Option<Filesystem>> {
        if let Some(place) = self.place()? {
            return Ok(Some(place.root.filesystem().clone()));
        }
        match OsDir::open_root(&self.inner.root) {
            Ok(dir) => Ok(Some(dir.filesystem().clone())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(Op::Open, &self.inner.root, error)),
        }
    }

    /// Takes the notices that have gathered: what operations met besides their results.
    #[must_use]
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(
            &mut self
                .inner
                .notices
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Returns the holder's port, and gives it one if it has none. Idempotent: whoever asks,
    /// and how often, is told the same port until it is released.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) where the range has no port left,
    /// [`ErrorKind::Taken`](crate::ErrorKind::Taken) where a certain port was asked for and
    /// is not to be had, [`ErrorKind::Io`](crate::ErrorKind::Io) and
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where the registry cannot be used.
    /// After an error the holder has no port that it had not before, unless the disk failed
    /// to undo what it had failed to keep; then the next claim or repair settles it.
    ///
    /// # Races
    ///
    /// A port is probed after it was claimed, and is free at that moment. Programs that do
    /// not ask the registry can still bind it before the holder does; see [`Claim::bind`].
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Holder, ProjectPath, Registry, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let root = camino::Utf8PathBuf::try_from(dir.path().to_owned()).unwrap();
    /// let registry = Registry::open(root)?;
    /// let request = Request::new(Holder::new(ProjectPath::resolve(".")?));
    /// let port = registry.claim(&request)?.port();
    /// assert_eq!(registry.claim(&request)?.port(), port);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim(&self, request: &Request) -> Result<Claim> {
        let place = self.place_for_writing()?;
        if let Lookup::Held(record, flushed) = lookup(&place.store, &request.holder)? {
            if request.port.is_some_and(|port| port != record.port()) {
                return Err(Error::taken(record.port(), Some(record)));
            }
            make_durable(&place.store, &record, flushed)?;
            return Ok(Claim::new(self.clone(), record, false));
        }
        let known = self.adopt(place)?;
        let rewrite = known.rewrite;
        let acquired = match request.port {
            Some(port) => self.acquire_port(place, &request.holder, port),
            None => self.acquire_from(place, request, known.document.as_deref()),
        };
        // The last copy of the file's content, so that the refresh can work on it.
        drop(known);
        let (record, is_new) = match acquired {
            Ok(Acquired::Existing(record)) => (record, false),
            Ok(Acquired::New(record)) => (record, true),
            Ok(Acquired::Exhausted) => return Err(Error::contended(place.store.ports.path())),
            Err(error) => {
                self.changed(place, rewrite);
                return Err(error);
            }
        };
        self.changed(place, rewrite);
        Ok(Claim::new(self.clone(), record, is_new))
    }

    fn acquire_port(&self, place: &Place, holder: &Holder, port: Port) -> Result<Acquired> {
        let _ = self;
        let acquired = acquire(&place.store, holder, &mut Only::new(port), || {
            place.quarantine()
        })?;
        match acquired {
            Acquired::Existing(record) if record.port() != port => {
                Err(Error::taken(record.port(), Some(record)))
            }
            Acquired::Exhausted => Err(Error::taken(port, committed(&place.store, port)?)),
            acquired => Ok(acquired),
        }
    }

    /// Searches the range; if it is exhausted, sweeps once and searches again.
    fn acquire_from(
        &self,
        place: &Place,
        request: &Request,
        document: Option<&Document>,
    ) -> Result<Acquired> {
        let range = request.range.unwrap_or(self.range());
        let marked = marks(&place.store.index)?;
        let recent: Vec<Port> = picked(&marked).collect();
        let start = index::start(document, &recent, range);
        // The index may know the port of a project whose claim and commit were both lost.
        let known = document.and_then(|document| index::port_of(document, &request.holder));
        let spared = || document.map(index::spared).unwrap_or_default();
        for round in 0..=EXHAUSTED_ROUNDS_MAX {
            if let Some(port) = known {
                // Its own claim may be there, without its commit.
                sweep_port(&place.store, port, || place.quarantine())?;
            }
            let mut picker = RangePicker::new(&place.store.ports, range, start, known, spared());
            let quarantine = || place.quarantine();
            match acquire(&place.store, &request.holder, &mut picker, quarantine)? {
                Acquired::Exhausted => {
                    let swept = sweep(&place.store, quarantine)?;
                    // Claims that are being made may be given up yet, and one may be this
                    // holder's: rivals for one project's port each hold one for a moment.
                    let is_moving = swept.busy > 0 && round < ROUNDS_MAX;
                    if round > 0 && swept.freed.is_empty() && !is_moving {
                        return Err(Error::exhausted(picker.exhaustion()));
                    }
                    if is_moving {
                        pause(round);
                    }
                }
                acquired => return Ok(acquired),
            }
        }
        Err(Error::contended(place.store.ports.path()))
    }

    /// Returns the record of the holder's port, `None` where it has none.
    ///
    /// A mapping that others wrote into the registry file becomes a claim first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) and [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt)
    /// where the registry cannot be read.
    pub fn find(&self, holder: &Holder) -> Result<Option<Record>> {
        let Some(place) = self.place_with_file()? else {
            return Ok(None);
        };
        if let Lookup::Held(record, _) = lookup(&place.store, holder)? {
            return Ok(Some(record));
        }
        self.adopt_and_refresh(place)?;
        Ok(match lookup(&place.store, holder)? {
            Lookup::Held(record, _) => Some(record),
            _ => None,
        })
    }

    /// Returns the record of whoever holds `port`, `None` where nobody does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read.
    pub fn lookup(&self, port: Port) -> Result<Option<Record>> {
        match self.place_with_file()? {
            Some(place) => {
                self.adopt_and_refresh(place)?;
                committed(&place.store, port)
            }
            None => Ok(None),
        }
    }

    /// Iterates over the held ports, ascending. A claim that cannot be read is an `Err`
    /// among them and hides no other; one that is not committed is not listed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read at all.
    ///
    /// # Races
    ///
    /// Claims that are held from the call until the iterator is at its end are all listed.
    pub fn records(&self) -> Result<Records<'_>> {
        let Some(place) = self.place_with_file()? else {
            return Ok(Records {
                place: None,
                ports: Vec::new().into_iter(),
            });
        };
        self.adopt_and_refresh(place)?;
        let ports: Vec<Port> = present(&place.store.ports)?.iter().collect();
        Ok(Records {
            place: Some(place),
            ports: ports.into_iter(),
        })
    }

    /// Returns figures about the registry.
    ///
    /// # Errors
    ///
    /// As [`Registry::records`].
    pub fn summary(&self) -> Result<Summary> {
        let range = self.range();
        let Some(place) = self.place_with_file()? else {
            return Ok(Summary {
                range,
                allocated: 0,
                available: range.len(),
                next_available: Some(range.first()),
            });
        };
        let allocated = self.records()?.flatten().count();
        let present = present(&place.store.ports)?;
        let document = migrate::read(place, self.file_name())?;
        let spared = document.as_ref().map(index::spared).unwrap_or_default();
        let marked = marks(&place.store.index)?;
        let recent: Vec<Port> = picked(&marked).collect();
        let start = index::start(document.as_ref(), &recent, range);
        let is_free = |&port: &Port| !present.contains(port) && !spared.contains(port);
        Ok(Summary {
            range,
            allocated: u32::try_from(allocated).unwrap_or(u32::MAX),
            available: u32::try_from(range.cycle_from(start).filter(is_free).count()).unwrap_or(0),
            next_available: range.cycle_from(start).find(is_free),
        })
    }

    /// Returns what is known of a port: its claim, and whether a program could bind it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read or no socket
    /// can be had.
    pub fn port_state(&self, port: Port) -> Result<PortState> {
        let claim = self.lookup(port)?;
        let unsettled = match self.place()? {
            Some(place) if claim.is_none() => present(&place.store.ports)?.contains(port),
            _ => false,
        };
        let availability =
            probe(port).map_err(|error| Error::io(Op::Bind, format!("port {port}"), error))?;
        Ok(PortState {
            claim,
            unsettled,
            availability,
        })
    }

    /// Releases exactly this claim, never a later one of the same port or holder.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Superseded`](crate::ErrorKind::Superseded) where it is not there any more.
    pub fn release(&self, record: &Record) -> Result<()> {
        let Some(place) = self.place()? else {
            return Err(Error::superseded(record.port()));
        };
        self.adopt_before_release(place, record.holder())?;
        match release(&place.store, record.holder(), Some(record.nonce()), None)? {
            Released::Done(_) => {
                self.changed(place, false);
                Ok(())
            }
            Released::Absent | Released::Superseded(_) => Err(Error::superseded(record.port())),
        }
    }

    /// Releases the holder's port, and returns the record of it; `None` where it had none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) and [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt)
    /// where the registry cannot be read or changed.
    pub fn release_holder(&self, holder: &Holder) -> Result<Option<Record>> {
        let Some(place) = self.place_with_file()? else {
            return Ok(None);
        };
        self.adopt_before_release(place, holder)?;
        let released = release(&place.store, holder, None, None)?;
        self.changed(place, false);
        Ok(match released {
            Released::Done(record) => Some(record),
            Released::Absent | Released::Superseded(_) => None,
        })
    }

    /// Before a release, what others wrote into the file must have become claims and the file
    /// must show that: else it would go on saying that the holder has the port.
    fn adopt_before_release(&self, place: &Place, holder: &Holder) -> Result<()> {
        let known = self.adopt(place)?;
        let is_shown = known
            .document
            .as_deref()
            .is_some_and(|document| index::port_of(document, holder).is_some());
        if known.rewrite && is_shown {
            drop(known);
            self.refresh_now(place)?;
        }
        Ok(())
    }

    /// Writes the registry file anew from the claims, and returns its path.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where the registry cannot be read or the file not be
    /// written; [`ErrorKind::Contended`](crate::ErrorKind::Contended) where another process
    /// is writing it, and did not come to an end within about a second.
    pub fn refresh_index(&self) -> Result<Utf8PathBuf> {
        let place = self.place_for_writing()?;
        self.refresh_now(place)?;
        Ok(self.index_path())
    }

    /// Refreshes the index by force, and waits a little for another process that is at it.
    pub(crate) fn refresh_now(&self, place: &Place) -> Result<()> {
        for round in 0..ROUNDS_MAX {
            if self.refresh(place, Extent::All)? == Refreshed::Done {
                return Ok(());
            }
            pause(round);
        }
        Err(Error::contended(place.store.index.path().join("lock")))
    }

    fn refresh(&self, place: &Place, extent: Extent) -> Result<Refreshed> {
        refresh(&place.store.index, extent != Extent::Changes, |marked| {
            let fully = extent == Extent::All;
            let notices =
                migrate::write_index(place, self.file_name(), self.range(), marked, fully)?;
            self.notice(notices);
            Ok(())
        })
    }

    /// After a change: the index follows, if that is wanted. A claim that stands is not taken
    /// back because of it.
    pub(crate) fn changed(&self, place: &Place, rewrite: bool) {
        if self.inner.options.index == IndexPolicy::Mark {
            return;
        }
        let extent = if rewrite {
            Extent::File
        } else {
            Extent::Changes
        };
        if let Err(error) = self.refresh(place, extent) {
            let mut why = error.to_string();
            if let Some(source) = error.io_error() {
                why = format!("{why}: {source}");
            }
            self.notice(vec![Notice::IndexBehind {
                path: self.index_path(),
                why,
            }]);
        }
    }

    /// Makes claims of what others wrote into the registry file. The file is read only if it
    /// is not as it was the last time.
    fn adopt(&self, place: &Place) -> Result<Known> {
        let adopted = migrate::adopt(place, self.file_name())?;
        self.notice(adopted.notices);
        Ok(Known {
            document: adopted.document,
            rewrite: adopted.rewrite,
        })
    }

    /// The same before reading, and the index follows; also where a process was killed
    /// before it could bring it up to date.
    fn adopt_and_refresh(&self, place: &Place) -> Result<()> {
        let rewrite = self.adopt(place)?.rewrite;
        if rewrite || !marks(&place.store.index)?.is_empty() {
            self.changed(place, rewrite);
        }
        Ok(())
    }

    fn notice(&self, notices: Vec<Notice>) {
        if !notices.is_empty() {
            let mut all = self
                .inner
                .notices
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // The index is read more than once; each thing is told once.
            for notice in notices {
                if !all.iter().any(|told| told.is_same_event(&notice)) {
                    all.push(notice);
                }
            }
        }
    }

    /// Returns the open directories, `None` where there is no registry.
    pub(crate) fn place(&self) -> Result<Option<&Place>> {
        if let Some(place) = self.inner.place.get() {
            return Ok(Some(place));
        }
        Ok(
            match Place::open(&self.inner.root, self.inner.options.durability)? {
                Some(place) => Some(self.inner.place.get_or_init(|| place)),
                None => None,
            },
        )
    }

    /// The same, and creates it where there is none.
    pub(crate) fn place_for_writing(&self) -> Result<&Place> {
        if let Some(place) = self.place()? {
            return Ok(place);
        }
        let place = Place::create(&self.inner.root, self.inner.options.durability)?;
        Ok(self.inner.place.get_or_init(|| place))
    }

    /// The same, and creates it where there is a registry file that is to be taken over.
    pub(crate) fn place_with_file(&self) -> Result<Option<&Place>> {
        if let Some(place) = self.place()? {
            return Ok(Some(place));
        }
        let root = match OsDir::open_root(&self.inner.root) {
            Ok(root) => root,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(Op::Open, &self.inner.root, error)),
        };
        match root.inspect(&self.inner.options.file_name) {
            Ok(_) => self.place_for_writing().map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(Op::Inspect, self.index_path(), error)),
        }
    }

    pub(crate) fn file_name(&self) -> &str {
        &self.inner.options.file_name
    }
}

/// The held ports of a registry; see [`Registry::records`].
pub struct Records<'a> {
    place: Option<&'a Place>,
    ports: std::vec::IntoIter<Port>,
}

impl Iterator for Records<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        let place = self.place?;
        loop {
            match crate::protocol::read_held(&place.store, self.ports.next()?) {
                Ok(None) => {}
                Ok(Some(record)) => return Some(Ok(record)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync + 'static>() {}
    shared_between_threads::<Registry>();
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_registry_file_is_one_component() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::try_from(dir.path().to_owned()).expect("UTF-8");
        for name in ["", ".", "..", "a/b", "ports", "x\0y"] {
            let error = Registry::options()
                .file_name(name)
                .open(&root)
                .expect_err(name);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidPath, "{name:?}");
        }
    }
}
