//! Instructions about ports that are not kept for good, about several at once, and moves.

use std::fs::{self, File};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use portclaim::{ErrorKind, Owner, Record, Request, Term};
use serde_json::json;

use super::super::ground::holder as holder_of_path;
use super::super::lines::Line;
use super::model::{HOLDERS, Held, holder, in_project_of, project};
use super::{Play, at};

const HOUR: Duration = Duration::from_hours(1);

/// This process, if it had been started earlier: it is known to be gone.
static GONE: LazyLock<Owner> = LazyLock::new(|| {
    let mut owner = json!(Owner::of(std::process::id()).expect("it lives"));
    owner["start"] = json!(1);
    serde_json::from_value(owner).expect("it is an owner")
});

impl Play {
    pub(super) fn lasting(&mut self, what: u8, line: &mut Line<'_>) {
        match what {
            b'y' => {
                let at = at(line);
                self.claim_for_an_hour(at);
            }
            b'g' => {
                let at = at(line);
                let range = self.registry.range();
                self.claim(at, range, Held::Ended, |request| {
                    request.owned_by(GONE.clone())
                });
            }
            b'a' => self.age(at(line)),
            b'n' => self.renew(at(line)),
            b's' => self.claim_both([at(line), at(line)]),
            b'L' => self.lease(at(line)),
            b'E' => {
                if !self.leases.is_empty() {
                    self.model.leases.remove(0);
                    drop(self.leases.remove(0));
                }
            }
            // Its holder was killed: its file stays.
            b'K' => {
                if !self.leases.is_empty() {
                    self.model.leases.remove(0);
                    let mut lease = self.leases.remove(0);
                    lease.share().expect("it can be inherited");
                }
            }
            _ => self.move_project(at(line), at(line)),
        }
    }

    /// Claims a port for an hour: one that is given for a time has the hour again.
    fn claim_for_an_hour(&mut self, at: usize) {
        let range = self.registry.range();
        if !self.claim(at, range, Held::Timed, |request| request.for_time(HOUR)) {
            return;
        }
        let told = self.told[at].as_ref().map(Record::term);
        if let Some(Term::Ttl(_)) = told
            && let Some(held) = self.model.held_by(at)
        {
            *held = Held::Timed;
        }
    }

    /// The time of a project's port is over.
    fn age(&mut self, at: usize) {
        let Some(port) = self.model.port_of(at) else {
            return;
        };
        if let Some(held) = self.model.held_by(at)
            && *held == Held::Timed
        {
            *held = Held::Ended;
        }
        let path = self.ground.path().join(format!("ports/{port}.claim"));
        let file = File::options()
            .write(true)
            .open(path)
            .expect("it has a claim");
        let before = SystemTime::now() - 2 * HOUR;
        file.set_modified(before).expect("it can be dated");
    }

    fn renew(&mut self, at: usize) {
        let found = self.registry.find(&holder(at)).expect("reads");
        let Some(record) = found else { return };
        let renewed = self.registry.renew(&record, HOUR).expect("renews");
        let is_timed = matches!(record.term(), Term::Ttl(_));
        assert_eq!(renewed, is_timed, "{record:?}");
        if let Some(held) = self.model.held_by(at).filter(|_| is_timed) {
            *held = Held::Timed;
        }
    }

    /// Both, or neither.
    fn claim_both(&mut self, both: [usize; 2]) {
        if both[0] == both[1] {
            return;
        }
        let had = both.map(|at| self.model.port_of(at));
        let is_over = both.map(|at| self.model.is_over(at));
        let requests = both.map(|at| Request::new(holder(at)));
        let answer = self.registry.claim_all(&requests);
        self.reclaim();
        match answer {
            Ok(claims) => {
                for (number, (claim, at)) in claims.into_iter().zip(both).enumerate() {
                    let is_new = had[number].is_none() || is_over[number];
                    assert_eq!(claim.is_new(), is_new, "{claim:?}");
                    match self.model.held_by(at) {
                        None => self.model.give(at, claim.port(), Held::Kept),
                        Some(held) if is_over[number] => *held = Held::Kept,
                        Some(_) => {}
                    }
                    assert_eq!(self.model.port_of(at), Some(claim.port()), "{claim:?}");
                    self.told[at] = Some(claim.keep());
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
                let counts = error.exhaustion().expect("it is exhausted");
                let wanted = had.iter().filter(|had| had.is_none()).count();
                let is_used = counts.in_use + counts.denied > 0;
                // What has ended is theirs as long as they ask for it.
                let theirs = had.iter().flatten();
                let theirs = theirs.filter(|&&port| !self.model.is_taken(port)).count();
                assert!(self.free() - theirs < wanted || is_used, "{error:?}");
                for (at, had) in both.into_iter().zip(had) {
                    assert_eq!(self.model.port_of(at), had, "{error:?}");
                }
            }
        }
    }

    fn lease(&mut self, at: usize) {
        let answer = self.registry.lease(&Request::new(holder(at)));
        self.reclaim();
        match answer {
            Ok(lease) => {
                assert!(self.registry.range().contains(lease.port()), "{lease:?}");
                self.model.lease(lease.port());
                self.leases.push(lease);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
                let counts = error.exhaustion().expect("it is exhausted");
                let is_used = counts.in_use + counts.denied > 0;
                assert!(self.free() == 0 || is_used, "{error:?}");
            }
        }
    }

    /// How many ports of the range can be had.
    fn free(&self) -> usize {
        let range = self.registry.range();
        let ports = range.cycle_from(range.first());
        ports.filter(|&port| !self.model.is_taken(port)).count()
    }

    fn move_project(&mut self, from: usize, to: usize) {
        let [old, new] = [from, to].map(|at| holder_of_path(project(at).0).project().clone());
        if old == new {
            return;
        }
        let held = |play: &Play| -> Vec<(usize, Option<usize>)> {
            let is_old = |at: &usize| project(*at).0 == project(from).0;
            let all = (0..HOLDERS).filter(is_old);
            let all = all.filter(|at| play.model.port_of(*at).is_some());
            all.map(|at| (at, in_project_of(at, to))).collect()
        };
        let all = held(self);
        // The new project has no such service here.
        if all.iter().any(|(_, there)| there.is_none()) {
            return;
        }
        let all: Vec<(usize, usize)> = all
            .into_iter()
            .filter_map(|(at, there)| Some((at, there?)))
            .collect();
        let is_occupied = all
            .iter()
            .any(|(_, there)| self.model.port_of(*there).is_some());
        match self.registry.move_project(&old, &new) {
            Ok(records) => {
                assert!(!is_occupied, "{records:?}");
                let mut moved = Vec::new();
                for (at, there) in all {
                    let held = *self.model.held_by(at).expect("it has a port");
                    let port = self.model.release(at).expect("it has a port");
                    let is_owned = matches!(
                        records
                            .iter()
                            .find(|it| it.port() == port)
                            .map(Record::term),
                        Some(Term::Owner(_))
                    );
                    // The time begins anew.
                    let held = match held {
                        Held::Ended if !is_owned => Held::Timed,
                        held => held,
                    };
                    self.model.give(there, port, held);
                    moved.push(port);
                }
                moved.sort_unstable();
                let told: Vec<_> = records.iter().map(Record::port).collect();
                assert_eq!(told, moved, "{records:?}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::HasAnother, "{error:?}");
                assert!(is_occupied, "{error:?}");
            }
        }
    }

    /// What a killed holder of a lease left is nobody's.
    pub(super) fn expect_leased(&self) {
        let told = self.registry.leases().expect("looks");
        let told: Vec<_> = told.iter().map(Record::port).collect();
        let mut held = self.model.leases.clone();
        held.sort_unstable();
        assert_eq!(told, held, "leases");
        let files = held.iter().map(|port| format!("ports/{port}.claim"));
        for file in files {
            assert!(
                fs::exists(self.ground.path().join(&file)).is_ok_and(|it| it),
                "{file}"
            );
        }
    }
}
