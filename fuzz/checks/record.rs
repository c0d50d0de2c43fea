//! Any bytes as a claim and its commit; any path in a record.

use std::time::Duration;

use portclaim::{Owner, Port, ProjectPath, Record, Request, Term};
use serde_json::{Value, json};

use super::ground::{Ground, claim, commit_name, holder, listed, port, record_line};

/// Where the claim lies that does not say of which port it is, and its commit.
const PORT: u16 = 8888;
const PROJECT: &str = "/a";

/// The input is a claim and a commit, split at the first NUL, and the whole of it a path.
pub(crate) fn record(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0);
    let claim = parts.next().unwrap_or_default();
    let commit = parts.next().unwrap_or_default();
    as_files(claim, commit);
    round_trip(&String::from_utf8_lossy(data));
}

/// What a record says, read by other means than portclaim's.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    port: u16,
    nonce: String,
    project: String,
    service: String,
    /// As portclaim spells it.
    term: Value,
    device: Option<u64>,
}

/// How long a claim holds that does not say so.
fn kept() -> Value {
    "kept".into()
}

impl Said {
    fn read(bytes: &[u8]) -> Option<Said> {
        // What does not end is torn, whatever it says.
        let bytes = bytes.strip_suffix(b"\n")?;
        // Spelled as an array it is no record of portclaim's, but says the same.
        let names = [
            "format", "port", "nonce", "project", "service", "term", "device",
        ];
        // Members that nobody knows may say anything.
        let text = String::from_utf8_lossy(bytes);
        let values = values(serde_json::from_str(&text).ok()?, names)?;
        let [format, port, nonce, project, service, term, device] = values;
        let text = |value: Option<Value>| Some(value?.as_str()?.to_owned());
        (format? == 1).then_some(())?;
        Some(Said {
            port: port?.as_u64()?.try_into().ok()?,
            nonce: text(nonce)?,
            project: text(project)?,
            service: text(service)?,
            term: term.map_or_else(|| Some(kept()), self::term)?,
            device: device.and_then(|device| device.as_u64()),
        })
    }

    fn of(record: &Record) -> Said {
        Said {
            port: record.port().get(),
            nonce: record.nonce().to_string(),
            project: record.project().as_str().to_owned(),
            service: record.holder().service().to_owned(),
            term: serde_json::to_value(record.term()).expect("it is JSON"),
            device: record.device(),
        }
    }

    /// The line of portclaim's that says so.
    fn written(&self, port: Port) -> Vec<u8> {
        let mut line = record_line(port, &self.nonce, &self.project, &self.service);
        line.truncate(line.len() - "}\n".len());
        if self.term != kept() {
            line.extend(format!(",\"term\":{}", spelled(&self.term)).bytes());
        }
        if let Some(device) = self.device {
            line.extend(format!(",\"device\":{device}").bytes());
        }
        line.extend(b"}\n");
        line
    }

    /// Returns whether these bytes say it exactly as portclaim does, and it may be said.
    fn is_written_as(&self, bytes: &[u8]) -> bool {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        Port::new(self.port).is_some_and(|port| {
            self.nonce.len() == 32
                && self.nonce.bytes().all(is_digit)
                && ProjectPath::from_normal(self.project.as_str()).is_ok()
                && self.written(port) == bytes
        })
    }
}

/// Returns the members of an object, or the elements of a list of the same meaning.
fn values<const N: usize>(value: Value, names: [&str; N]) -> Option<[Option<Value>; N]> {
    match value {
        Value::Array(values) if values.len() <= N => {
            let mut values = values.into_iter();
            Some(names.map(|_| values.next()))
        }
        Value::Object(mut members) => Some(names.map(|name| members.remove(name))),
        _ => None,
    }
}

/// Returns a term as portclaim spells it, `None` where it is none.
fn term(value: Value) -> Option<Value> {
    let (name, value) = match value {
        Value::String(name) => (name, Value::Null),
        Value::Object(members) if members.len() == 1 => members.into_iter().next()?,
        _ => return None,
    };
    match (name.as_str(), value) {
        ("kept" | "lease", Value::Null) => Some(name.into()),
        ("ttl", value) => value.is_u64().then(|| json!({ "ttl": value })),
        ("owner", value) => {
            let [pid, start, boot, space] = values(value, OWNER)?;
            let is_number = |value: &Value| value.is_u64();
            let (pid, start, space) = (pid?, start?, space?);
            let boot = boot.filter(Value::is_string)?;
            let is_owner =
                u32::try_from(pid.as_u64()?).is_ok() && is_number(&start) && is_number(&space);
            let owner = json!({ "pid": pid, "start": start, "boot": boot, "space": space });
            is_owner.then(|| json!({ "owner": owner }))
        }
        _ => None,
    }
}

/// The members of an owner, in their order.
const OWNER: [&str; 4] = ["pid", "start", "boot", "space"];

/// Returns the text of a term, its members in the order in which portclaim writes them.
fn spelled(term: &Value) -> String {
    let Some(owner) = term.get("owner") else {
        return term.to_string();
    };
    let members = OWNER.map(|name| format!("\"{name}\":{}", owner[name]));
    format!("{{\"owner\":{{{}}}}}", members.join(","))
}

/// No panic, no hang; what is listed is what both files say; a record of portclaim's is listed; and
/// a valid claim beside them stays, also through a repair.
fn as_files(claim_bytes: &[u8], commit_bytes: &[u8]) {
    let ground = Ground::new();
    let registry = ground.open();
    let valid = claim(&registry, "/fuzz/valid", port(0)).expect("nobody has it");
    let said = Said::read(claim_bytes);
    let number = said.as_ref().map_or(PORT, |said| said.port.max(1));
    if number == valid.port().get() {
        return;
    }
    let (project, service) = said.as_ref().map_or((PROJECT, ""), |said| {
        (said.project.as_str(), said.service.as_str())
    });
    let claim_path = ground.path().join(format!("ports/{number}.claim"));
    let commit_path = ground
        .path()
        .join("projects")
        .join(commit_name(project, service));
    std::fs::write(&claim_path, claim_bytes).expect("writes");
    std::fs::write(&commit_path, commit_bytes).expect("writes");

    let is_held = said.as_ref().is_some_and(|said| {
        said.is_written_as(claim_bytes)
            && Said::read(commit_bytes).as_ref() == Some(said)
            && said.is_written_as(commit_bytes)
    });
    let number = Port::new(number).expect("not zero");
    let expect_listed = || {
        let listed = listed(&registry);
        assert_eq!(listed.get(&valid.port()), Some(valid.record()));
        if let Some(record) = listed.get(&number) {
            let read = Said::of(record);
            assert_eq!(said.as_ref(), Some(&read), "it says something else");
            let commit = Said::read(commit_bytes).map(|said| said.nonce);
            assert_eq!(commit, Some(read.nonce), "it is not committed");
            let expires = registry.expires(record).expect("looks");
            let is_timed = matches!(record.term(), Term::Ttl(_));
            assert!(expires.is_none() || is_timed, "{record:?}");
            // Its time is over: that alone takes nothing away.
            let renewed = registry.renew(record, Duration::ZERO).expect("renews");
            assert_eq!(renewed, is_timed, "{record:?}");
        } else {
            assert!(!is_held, "a record of portclaim's is not listed");
        }
    };
    expect_listed();
    let _ = registry.find(&holder(PROJECT));
    registry.check().expect("checks");
    registry.repair().expect("repairs");
    if is_held {
        expect_listed();
        assert_eq!(std::fs::read(claim_path).expect("it stays"), claim_bytes);
        assert_eq!(std::fs::read(commit_path).expect("it stays"), commit_bytes);
    }
    let _ = registry.claim(&Request::new(holder(PROJECT)).port(port(1)));
    let _ = listed(&registry);
    let found = registry.find(&holder("/fuzz/valid")).expect("reads");
    assert_eq!(found.as_ref(), Some(valid.record()));
}

/// What portclaim writes of a project is what stands in its design, and is read back as it was:
/// here, and in another directory that the two files are brought to.
fn round_trip(text: &str) {
    let Ok(project) = ProjectPath::from_normal(format!("/{text}")) else {
        return;
    };
    let ground = Ground::new();
    let request = Request::new(holder(project.as_str()));
    // The text says how long as well.
    let request = match text.len() % 3 {
        0 => request,
        1 => request.for_time(Duration::from_secs(1 << text.len().min(63))),
        _ => request.owned_by(Owner::of(std::process::id()).expect("it lives")),
    };
    let record = match ground.open().claim(&request.port(port(0))) {
        Ok(claim) => claim.keep(),
        Err(error) => panic!("nobody has the port: {error}"),
    };
    let line = Said::of(&record).written(port(0));
    let names = [
        format!("ports/{}.claim", port(0)),
        format!("projects/{}", commit_name(project.as_str(), "")),
    ];
    let other = Ground::new();
    let there = other.open();
    there.refresh_index().expect("writes");
    for name in names {
        assert_eq!(
            std::fs::read(ground.path().join(&name)).expect("reads"),
            line
        );
        std::fs::write(other.path().join(&name), &line).expect("writes");
    }
    for registry in [ground.open(), there] {
        let found = registry.find(record.holder()).expect("reads");
        assert_eq!(found.as_ref(), Some(&record));
    }
}
