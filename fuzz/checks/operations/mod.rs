//! Programs of operations and disturbances, against a map. (README.md lists the instructions.)

use portclaim::{ErrorKind, FindingKind, Port, PortRange, Record, Registry, Report, Request};

use super::ground::{self, FIRST_PORT, Ground, holder, listed, port};
use super::lines::{Line, lines};
use model::{Model, PROJECTS};

mod disturb;
mod model;

/// After each instruction the registry says what the map says, whatever others did to its files,
/// and after each change its file shows the same; in the end all is well.
pub(crate) fn operations(data: &[u8]) {
    let ground = Ground::new();
    let mut play = Play {
        registry: ground.open(),
        ground,
        model: Model::default(),
        told: Default::default(),
        kept: None,
    };
    for line in lines(data) {
        let before = play.model.held();
        play.follow(line);
        play.expect_held();
        if play.model.held() != before {
            play.expect_shown();
        }
    }
    play.end();
}

struct Play {
    ground: Ground,
    registry: Registry,
    model: Model,
    /// What each project was told last: it may have been released since.
    told: [Option<Record>; PROJECTS.len()],
    /// A copy of the registry file that somebody kept.
    kept: Option<Vec<u8>>,
}

impl Play {
    fn follow(&mut self, mut line: Line<'_>) {
        match line.letter(b"ctwrbflmizojkpdhuve") {
            b'c' => {
                let project = project(&mut line);
                self.claim(project, self.registry.range(), |request| request);
            }
            b'w' => {
                let project = project(&mut line);
                let range = PortRange::new(port(4), port(5)).expect("a range");
                self.claim(project, range, |request| request.within(range));
            }
            b't' => {
                let project = project(&mut line);
                let wanted = port(line.digit());
                self.take(project, wanted);
            }
            b'r' => {
                let project = project(&mut line);
                let released = self.registry.release_holder(&holder(PROJECTS[project]));
                let released = released.expect("releases").map(|record| record.port());
                assert_eq!(released, self.model.release(project), "released");
            }
            b'b' => {
                let project = project(&mut line);
                self.give_back(project);
            }
            b'f' => {
                let project = project(&mut line);
                let found = self.registry.find(&holder(PROJECTS[project]));
                let found = found.expect("reads").map(|record| record.port());
                assert_eq!(found, self.model.port_of(project), "found");
            }
            b'l' => {
                let wanted = port(line.digit());
                let found = self.registry.lookup(wanted).expect("reads");
                let found = found.map(|record| record.project().as_str().to_owned());
                let expected = self
                    .model
                    .holder_of(wanted)
                    .map(|at| PROJECTS[at].to_owned());
                assert_eq!(found, expected, "port {wanted}");
                self.registry.port_state(wanted).expect("reads");
            }
            b'm' => {
                self.repair();
            }
            b'i' => {
                self.registry.refresh_index().expect("writes");
            }
            b'z' => {
                let reset = self.registry.reset().expect("resets");
                assert_eq!(reset.released.len(), self.model.clear(), "{reset:?}");
            }
            b'o' => self.registry = self.ground.open(),
            disturbance => self.disturb(disturbance, &mut line),
        }
    }

    /// Claims any port of a range.
    fn claim(&mut self, project: usize, range: PortRange, with: impl FnOnce(Request) -> Request) {
        let had = self.model.port_of(project);
        let lost = [self.model.last(project), self.shown(project)];
        let request = with(Request::new(holder(PROJECTS[project])));
        match self.registry.claim(&request) {
            Ok(claim) => {
                assert_eq!(claim.is_new(), had.is_none(), "{claim:?}");
                if let Some(had) = had {
                    assert_eq!(claim.port(), had, "it had another one");
                } else {
                    // The one that it lost, or seems to have lost by an older copy of the file,
                    // comes first, and may lie outside.
                    let is_wanted =
                        lost.contains(&Some(claim.port())) || range.contains(claim.port());
                    self.model.give(project, claim.port());
                    assert!(is_wanted, "{claim:?}");
                }
                self.told[project] = Some(claim.keep());
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
                let counts = error.exhaustion().expect("it is exhausted");
                // Other programs of this machine may use ports.
                let is_full = range
                    .cycle_from(range.first())
                    .all(|port| self.model.holder_of(port).is_some());
                let is_used = counts.in_use + counts.denied > 0;
                assert!(had.is_none() && (is_full || is_used), "{error:?}");
            }
        }
    }

    /// Claims this port and no other.
    fn take(&mut self, project: usize, wanted: Port) {
        let had = self.model.port_of(project);
        let by = self.model.holder_of(wanted);
        match ground::claim(&self.registry, PROJECTS[project], wanted) {
            Ok(claim) => {
                assert_eq!(claim.port(), wanted);
                assert!(had.is_none_or(|had| had == wanted), "it had another one");
                if had.is_none() {
                    self.model.give(project, wanted);
                }
                self.told[project] = Some(claim.keep());
            }
            Err(error) if error.kind() == ErrorKind::HasAnother => {
                let held = error.held().map(Record::port);
                assert!(held.is_some() && held == had, "{error:?}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Taken, "{error:?}");
                assert!(by.is_some_and(|by| by != project), "{error:?}");
            }
        }
    }

    /// Releases what the project was told last, and nothing that came after it.
    fn give_back(&mut self, project: usize) {
        let Some(record) = self.told[project].clone() else {
            return;
        };
        let held = listed(&self.registry).get(&record.port()) == Some(&record);
        match self.registry.release(&record) {
            Ok(()) => {
                assert!(held, "it was not there any more");
                self.model.release(project);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Superseded, "{error:?}");
                assert!(!held, "it is still there");
            }
        }
    }

    /// A repair believes the file where a claim is torn, for that is what a power cut leaves. So an
    /// older copy of it goes first.
    fn repair(&self) -> Report {
        self.registry.refresh_index().expect("writes");
        self.registry.repair().expect("repairs")
    }

    fn expect_held(&self) {
        let held = listed(&self.registry);
        let held: Vec<(Port, &str)> = held
            .values()
            .map(|record| (record.port(), record.project().as_str()))
            .collect();
        assert_eq!(held, self.model.held());
    }

    fn end(mut self) {
        self.registry = self.ground.open();
        let report = self.repair();
        let machine = [FindingKind::NetworkFilesystem, FindingKind::EphemeralRange];
        for finding in report.findings {
            assert!(
                finding.fixed || machine.contains(&finding.kind),
                "{finding:?}"
            );
        }
        self.expect_held();
        self.expect_shown();
    }

    /// The registry file follows each change. (Between changes, an older copy may lie there.)
    fn expect_shown(&self) {
        let file = std::fs::read(self.ground.file()).map(|bytes| {
            let file: serde_json::Value = serde_json::from_slice(&bytes).expect("it is JSON");
            let mappings = file["mappings"].as_object().expect("an object").clone();
            let mut shown: Vec<(u64, String)> = mappings
                .into_iter()
                .map(|(path, port)| (port.as_u64().expect("a port"), path))
                .collect();
            shown.sort_unstable();
            shown
        });
        let held: Vec<(u64, String)> = self
            .model
            .held()
            .into_iter()
            .map(|(port, path)| (port.get().into(), path.to_owned()))
            .collect();
        assert_eq!(file.unwrap_or_default(), held, "the registry file");
    }
}

fn project(line: &mut Line<'_>) -> usize {
    usize::from(line.letter(b"abcd") - b'a')
}

const _: () = assert!(FIRST_PORT > 60_999, "the kernel hands out the ports below");
