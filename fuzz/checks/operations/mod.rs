//! Programs of operations and disturbances, against a map. (README.md lists the instructions.)

use portclaim::{
    ErrorKind, FindingKind, Holder, Lease, Port, PortRange, Record, Registry, Report, Request,
};

use super::ground::{FIRST_PORT, Ground, listed, port};
use super::lines::{Line, lines};
use model::{HOLDERS, Held, Model, holder};

mod disturb;
mod lasting;
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
        leases: Vec::new(),
        kept: None,
    };
    for line in lines(data) {
        let before = play.model.held();
        play.follow(line);
        play.expect_held();
        play.expect_leased();
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
    /// What each holder was told last: it may have been released since.
    told: [Option<Record>; HOLDERS],
    /// The leases that are held, in the model's order.
    leases: Vec<Lease>,
    /// A copy of the registry file that somebody kept.
    kept: Option<Vec<u8>>,
}

impl Play {
    fn follow(&mut self, mut line: Line<'_>) {
        match line.letter(b"ctwrbflmizojkpdhuveygansLEKM") {
            b'c' => {
                let at = at(&mut line);
                self.claim(at, self.registry.range(), Held::Kept, |request| request);
            }
            b'w' => {
                let at = at(&mut line);
                let range = PortRange::new(port(4), port(5)).expect("a range");
                self.claim(at, range, Held::Kept, |request| request.within(range));
            }
            b't' => {
                let at = at(&mut line);
                let wanted = port(line.digit());
                self.take(at, wanted);
            }
            b'r' => {
                let at = at(&mut line);
                let released = self.registry.release_holder(&holder(at));
                let released = released.expect("releases").map(|record| record.port());
                assert_eq!(released, self.model.release(at), "released");
            }
            b'b' => {
                let at = at(&mut line);
                self.give_back(at);
            }
            b'f' => {
                let at = at(&mut line);
                let found = self.registry.find(&holder(at));
                let found = found.expect("reads").map(|record| record.port());
                assert_eq!(found, self.model.port_of(at), "found");
            }
            b'l' => {
                let wanted = port(line.digit());
                let found = self.registry.lookup(wanted).expect("reads");
                let found = found.map(|record| record.holder().clone());
                let expected = self.model.holder_of(wanted).map(holder);
                assert_eq!(found, expected, "port {wanted}");
                let state = self.registry.port_state(wanted).expect("reads");
                let is_leased = self.model.leases.contains(&wanted);
                assert_eq!(
                    state.claim.is_some(),
                    expected.is_some() || is_leased,
                    "{state:?}"
                );
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
            lasting @ (b'y' | b'g' | b'a' | b'n' | b's' | b'L' | b'E' | b'K' | b'M') => {
                self.lasting(lasting, &mut line);
            }
            b'o' => self.registry = self.ground.open(),
            disturbance => self.disturb(disturbance, &mut line),
        }
    }

    /// Claims any port of a range to hold it so, and returns whether it was to be had.
    fn claim(
        &mut self,
        at: usize,
        range: PortRange,
        held: Held,
        with: impl FnOnce(Request) -> Request,
    ) -> bool {
        let had = self.model.port_of(at);
        let is_over = self.model.is_over(at);
        let lost = [self.model.last(at), self.shown(at)];
        let request = with(Request::new(holder(at)));
        let answer = self.registry.claim(&request);
        self.reclaim();
        match answer {
            Ok(claim) => {
                // What is over is claimed anew, or renewed where it was given for a time before.
                let is_renewed = is_over && held == Held::Timed && !claim.is_new();
                let is_new = had.is_none() || (is_over && !is_renewed);
                assert_eq!(claim.is_new(), is_new, "{claim:?}");
                if let Some(had) = had {
                    assert_eq!(claim.port(), had, "it had another one");
                    if let Some(before) = self.model.held_by(at).filter(|_| is_over) {
                        *before = held;
                    }
                } else {
                    // The one that it lost, or seems to have lost by an older copy of the file,
                    // comes first, and may lie outside.
                    let is_wanted =
                        lost.contains(&Some(claim.port())) || range.contains(claim.port());
                    self.model.give(at, claim.port(), held);
                    assert!(is_wanted, "{claim:?}");
                }
                self.told[at] = Some(claim.keep());
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
                let counts = error.exhaustion().expect("it is exhausted");
                // Other programs of this machine may use ports.
                let is_full = range
                    .cycle_from(range.first())
                    .all(|port| self.model.is_taken(port));
                let is_used = counts.in_use + counts.denied > 0;
                assert!(had.is_none() && (is_full || is_used), "{error:?}");
                false
            }
        }
    }

    /// Claims this port and no other.
    fn take(&mut self, at: usize, wanted: Port) {
        let had = self.model.port_of(at);
        let is_taken = self.model.is_taken(wanted);
        let answer = self.registry.claim(&Request::new(holder(at)).port(wanted));
        if had.is_none() {
            self.reclaim();
        }
        match answer {
            Ok(claim) => {
                assert_eq!(claim.port(), wanted);
                assert!(had.is_none_or(|had| had == wanted), "it had another one");
                match self.model.held_by(at) {
                    None => self.model.give(at, wanted, Held::Kept),
                    Some(held) if *held == Held::Ended => *held = Held::Kept,
                    Some(_) => {}
                }
                self.told[at] = Some(claim.keep());
            }
            Err(error) if error.kind() == ErrorKind::HasAnother => {
                let held = error.held().map(Record::port);
                assert!(held.is_some() && held == had, "{error:?}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Taken, "{error:?}");
                assert!(had.is_none() && is_taken, "{error:?}");
            }
        }
    }

    /// Releases what the project was told last, and nothing that came after it.
    fn give_back(&mut self, at: usize) {
        let Some(record) = self.told[at].clone() else {
            return;
        };
        let held = listed(&self.registry).get(&record.port()) == Some(&record);
        match self.registry.release(&record) {
            Ok(()) => {
                assert!(held, "it was not there any more");
                self.model.release(at);
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

    /// Somebody needed a port, and may have been given one that nobody needs any more.
    fn reclaim(&mut self) {
        let held = listed(&self.registry);
        let is_there = |at: Option<usize>, port: Port| {
            let record = held.get(&port);
            record.is_some_and(|record| at.is_some_and(|at| *record.holder() == holder(at)))
        };
        let before: Vec<(Port, Option<usize>)> = self
            .model
            .held()
            .iter()
            .map(|(port, _)| (*port, self.model.holder_of(*port)))
            .collect();
        self.model.reclaim(|port| {
            before
                .iter()
                .any(|(there, at)| *there == port && is_there(*at, port))
        });
    }

    fn expect_held(&self) {
        let held = listed(&self.registry);
        let held: Vec<(Port, Holder)> = held
            .values()
            .map(|record| (record.port(), record.holder().clone()))
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
            let members =
                |value: &serde_json::Value| value.as_object().cloned().unwrap_or_default();
            assert!(file["mappings"].is_object(), "{file}");
            let all = [
                members(&file["mappings"]),
                members(&file["portclaim"]["services"]),
            ];
            let mut shown: Vec<(u64, String)> = all
                .into_iter()
                .flatten()
                .map(|(path, port)| (port.as_u64().expect("a port"), path))
                .collect();
            shown.sort_unstable();
            shown
        });
        let held: Vec<(u64, String)> = self
            .model
            .held()
            .into_iter()
            .map(|(port, holder)| (port.get().into(), holder.to_string()))
            .collect();
        assert_eq!(file.unwrap_or_default(), held, "the registry file");
    }
}

/// Takes a word that is a holder.
fn at(line: &mut Line<'_>) -> usize {
    usize::from(line.letter(b"abcdef") - b'a')
}

const _: () = assert!(FIRST_PORT > 60_999, "the kernel hands out the ports below");
