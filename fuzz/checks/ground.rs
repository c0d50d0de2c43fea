//! A registry in a directory of its own, and what every check asks of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;
use portclaim::{
    Claim, DEFAULT_FILE_NAME, Durability, Holder, Options, Port, ProjectPath, Record, Registry,
    Request, Result,
};
use sha2::{Digest, Sha256};

/// The first of the ports that inputs speak of. The kernel gives none of them to outgoing
/// connections.
pub(crate) const FIRST_PORT: u16 = 61_200;

/// A temporary directory: in memory, if `TMPDIR` says so.
pub(crate) struct Ground {
    dir: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Ground {
        let dir = tempfile::tempdir().expect("a directory");
        Ground { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.path().join(DEFAULT_FILE_NAME)
    }

    /// Opens the registry, whose range is the first four ports. Nothing is flushed: no power is cut
    /// here.
    pub(crate) fn open(&self) -> Registry {
        self.try_open(|options| options).expect("it opens")
    }

    pub(crate) fn try_open(&self, with: impl FnOnce(Options) -> Options) -> Result<Registry> {
        let root = Utf8PathBuf::from_path_buf(self.path().to_owned());
        let range = format!("{FIRST_PORT}-{}", FIRST_PORT + 3);
        let options = Registry::options()
            .durability(Durability::Volatile)
            .range(range.parse().expect("a range"));
        with(options).open(root.expect("a temporary path is UTF-8"))
    }
}

pub(crate) fn holder(path: &str) -> Holder {
    Holder::new(ProjectPath::from_normal(path).expect("a normal path"))
}

/// One of the ports that inputs speak of.
pub(crate) fn port(number: usize) -> Port {
    let number = u16::try_from(number).expect("a small number");
    Port::new(FIRST_PORT + number).expect("a port")
}

pub(crate) fn claim(registry: &Registry, path: &str, port: Port) -> Result<Claim> {
    registry.claim(&Request::new(holder(path)).port(port))
}

/// Lists what is held: no port twice, no holder twice. Claims that cannot be read are left out.
pub(crate) fn listed(registry: &Registry) -> BTreeMap<Port, Record> {
    let mut ports = BTreeMap::new();
    let mut holders = BTreeMap::new();
    let records = registry.records().expect("lists");
    for record in records.filter_map(Result::ok) {
        let before = holders.insert(record.holder().clone(), record.port());
        assert_eq!(before, None, "one holder, two ports: {record:?}");
        let before = ports.insert(record.port(), record);
        assert_eq!(before, None, "one port, two holders");
    }
    ports
}

/// The line that a claim and its commit hold, spelled as it is on users' disks.
pub(crate) fn record_line(port: Port, nonce: &str, project: &str, service: &str) -> Vec<u8> {
    let [nonce, project, service] =
        [nonce, project, service].map(|text| serde_json::to_string(text).expect("text is JSON"));
    let line = format!(
        r#"{{"format":1,"port":{port},"nonce":{nonce},"project":{project},"service":{service}}}"#
    );
    format!("{line}\n").into_bytes()
}

/// The name of a commit.
pub(crate) fn commit_name(project: &str, service: &str) -> String {
    let hash = Sha256::digest(format!("{project}\0{service}"));
    format!("{}.claim", hex(&hash[..16]))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from_digit(digit.into(), 16);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(digit).collect()
}
