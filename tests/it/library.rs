//! The library as an embedder meets it: one process, many threads.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use portclaim::{
    Availability, Claim, Corruption, DEFAULT_FILE_NAME, Durability, Error, ErrorKind, Finding,
    FindingKind, Holder, IndexPolicy, Notice, Port, PortRange, ProjectPath, Record, Registry,
    Request,
};

use crate::scene::{Scene, Stop, names, port, rounds};

const THREADS: usize = 16;

/// How threads come to the registry.
#[derive(Clone, Copy, Debug)]
enum Handles {
    /// Clones of one value.
    Clones,
    /// Each opens it for itself, as processes do.
    Own,
}

/// Runs `work` on all threads at once.
fn on_threads(scene: &Scene, handles: Handles, work: impl Fn(usize, &Registry) + Sync) {
    let shared = scene.registry();
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (barrier, work) = (&barrier, &work);
            let registry = match handles {
                Handles::Clones => shared.clone(),
                Handles::Own => scene.registry(),
            };
            scope.spawn(move || {
                barrier.wait();
                work(thread, &registry);
            });
        }
    });
}

fn claim(registry: &Registry, holder: &Holder) -> Claim {
    registry
        .claim(&Request::new(holder.clone()))
        .expect("a port")
}

fn records(registry: &Registry) -> Vec<Record> {
    let records = registry.records().expect("the registry can be read");
    records.map(|record| record.expect("a record")).collect()
}

#[test]
fn threads_that_claim_for_one_holder_are_told_one_port() {
    for handles in [Handles::Clones, Handles::Own] {
        let scene = Scene::new(64);
        let holder = scene.holder("shop");
        let (ports, new) = (AtomicUsize::new(0), AtomicUsize::new(0));
        on_threads(&scene, handles, |_, registry| {
            let claim = claim(registry, &holder);
            new.fetch_add(usize::from(claim.is_new()), Ordering::Relaxed);
            let number = usize::from(claim.port().get());
            let before = ports.swap(number, Ordering::Relaxed);
            assert!(before == 0 || before == number, "{before} and {number}");
        });
        assert_eq!(new.into_inner(), 1, "{handles:?}: one of them got it new");
        assert_eq!(records(&scene.registry()).len(), 1, "{handles:?}");
        scene.assert_settled();
    }
}

#[test]
fn threads_that_claim_for_many_holders_are_told_different_ports() {
    for handles in [Handles::Clones, Handles::Own] {
        let scene = Scene::new(100);
        let holders: Vec<Vec<Holder>> = (0..THREADS)
            .map(|thread| {
                (0..5)
                    .map(|n| scene.holder(format!("{thread}-{n}")))
                    .collect()
            })
            .collect();
        on_threads(&scene, handles, |thread, registry| {
            for holder in &holders[thread] {
                let told = claim(registry, holder).port();
                let record = registry.find(holder).expect("readable").expect("held");
                assert_eq!((record.port(), record.holder()), (told, holder));
                let record = registry.lookup(told).expect("readable").expect("held");
                assert_eq!(record.holder(), holder);
            }
        });
        let records = records(&scene.registry());
        let ports: BTreeSet<_> = records.iter().map(Record::port).collect();
        assert_eq!((ports.len(), records.len()), (80, 80), "{handles:?}");
        assert!(records.is_sorted_by_key(Record::port), "ascending");
        scene.assert_settled();
    }
}

#[test]
fn a_claimed_port_is_one_threads_alone_until_it_is_released() {
    for handles in [Handles::Clones, Handles::Own] {
        // Enough that none is refused: a search that runs beside others sees each port at
        // another moment.
        let scene = Scene::new(48);
        let first = usize::from(scene.range().first().get());
        let held: Vec<AtomicBool> = (0..48).map(|_| AtomicBool::new(false)).collect();
        on_threads(&scene, handles, |thread, registry| {
            let holder = scene.holder(thread);
            for _ in 0..25 * rounds() {
                let claim = claim(registry, &holder);
                assert!(claim.is_new(), "it was released before");
                let slot = &held[usize::from(claim.port().get()) - first];
                assert!(
                    !slot.swap(true, Ordering::SeqCst),
                    "{} has two",
                    claim.port()
                );
                std::thread::yield_now();
                assert!(
                    slot.swap(false, Ordering::SeqCst),
                    "{} had two",
                    claim.port()
                );
                claim.release().expect("nobody else releases it");
                assert_eq!(registry.find(&holder).expect("readable"), None);
            }
        });
        assert_eq!(records(&scene.registry()), [], "{handles:?}");
        scene.assert_settled();
    }
}

/// Mends what is left to others on purpose. A release does not wait for a lock: where the claim's
/// is held, by a claimer that is not run at this moment or a child that is not yet another
/// program, the commit goes and the claim is left to be swept. A mark likewise.
fn mend(scene: &Scene) {
    let report = scene.registry().repair().expect("a repair");
    let of_that = |finding: &Finding| {
        matches!(
            finding.kind,
            FindingKind::Orphan | FindingKind::StaleIndex | FindingKind::EphemeralRange
        )
    };
    assert!(report.findings.iter().all(of_that), "{report:?}");
}

#[test]
fn threads_that_claim_and_release_for_one_holder_are_never_refused() {
    for handles in [Handles::Clones, Handles::Own] {
        let scene = Scene::new(24);
        let holder = scene.holder("shop");
        let released = AtomicUsize::new(0);
        let new = AtomicUsize::new(0);
        on_threads(&scene, handles, |_, registry| {
            for _ in 0..15 * rounds() {
                let claim = claim(registry, &holder);
                new.fetch_add(usize::from(claim.is_new()), Ordering::Relaxed);
                match claim.release() {
                    Ok(()) => {
                        released.fetch_add(1, Ordering::Relaxed);
                    }
                    // Another thread was told the same claim, and has released it.
                    Err(error) => assert_eq!(error.error().kind(), ErrorKind::Superseded),
                }
            }
        });
        assert_eq!(records(&scene.registry()), [], "{handles:?}");
        // Two threads that release one claim at once may both be told that it is done: one
        // took the claim away, the other its commit.
        let (new, released) = (new.into_inner(), released.into_inner());
        assert!(
            0 < new && new <= released,
            "{new} claims, {released} releases"
        );
        mend(&scene);
        scene.assert_settled();
    }
}

#[test]
fn a_release_of_an_old_claim_never_touches_a_newer_one() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let holder = scene.holder("shop");
    let old = claim(&registry, &holder).keep();
    registry.release(&old).expect("it stands");
    let request = Request::new(holder.clone()).port(old.port());
    let new = registry.claim(&request).expect("the same port").keep();
    assert_eq!(new.port(), old.port());
    assert_ne!(new.nonce(), old.nonce());

    let error = registry.release(&old).expect_err("an old claim");
    assert_eq!(error.kind(), ErrorKind::Superseded);
    assert_eq!(error.port(), Some(old.port()));
    assert_eq!(registry.find(&holder).expect("readable"), Some(new.clone()));

    // Nor where the port is another's meanwhile.
    registry.release(&new).expect("it stands");
    let other = scene.holder("other");
    let request = Request::new(other.clone()).port(old.port());
    let others = registry.claim(&request).expect("the same port").keep();
    for record in [&old, &new] {
        let error = registry.release(record).expect_err("an old claim");
        assert_eq!(error.kind(), ErrorKind::Superseded);
    }
    assert_eq!(registry.find(&other).expect("readable"), Some(others));
    scene.assert_settled();
}

#[test]
fn old_claims_that_are_released_while_new_ones_are_made_take_none_away() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let holder = scene.holder("shop");
    let request = Request::new(holder.clone()).port(scene.range().first());
    let stop = AtomicBool::new(false);
    let old = registry.claim(&request).expect("a port").keep();
    registry.release(&old).expect("it stands");
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        for _ in 0..3 {
            scope.spawn(|| {
                let registry = scene.registry();
                while !stop.load(Ordering::Relaxed) {
                    let error = registry.release(&old).expect_err("an old claim");
                    assert_eq!(error.kind(), ErrorKind::Superseded);
                }
            });
        }
        for _ in 0..40 * rounds() {
            let new = registry.claim(&request).expect("the port").keep();
            std::thread::yield_now();
            let found = registry.find(&holder).expect("readable");
            assert_eq!(found.as_ref(), Some(&new));
            registry.release(&new).expect("nobody else releases it");
        }
        drop(stopper);
    });
    scene.assert_settled();
}

#[test]
fn a_claim_stands_whether_or_not_its_value_does() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let holder = scene.holder("shop");
    let first = claim(&registry, &holder);
    assert!(first.is_new());
    let told = first.port();
    drop(first);
    let second = claim(&registry, &holder);
    assert!(!second.is_new());
    assert_eq!(second.port(), told);
    let record = second.keep();
    assert_eq!(registry.find(&holder).expect("readable"), Some(record));
}

#[test]
fn a_release_that_fails_gives_the_claim_back() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let holder = scene.holder("shop");
    let (first, second) = (claim(&registry, &holder), claim(&registry, &holder));
    let record = second.record().clone();
    first.release().expect("it stands");
    let failed = second.release().expect_err("it is released already");
    assert_eq!(failed.error().kind(), ErrorKind::Superseded);
    assert_eq!(
        failed.to_string(),
        format!("failed to release port {}", record.port())
    );
    let source = failed.source().expect("why").to_string();
    assert_eq!(source, failed.error().to_string());
    let claim = failed.into_claim();
    assert_eq!(claim.record(), &record);

    // Nothing stands in the way of another try.
    let failed = claim.release().expect_err("it is released already");
    assert_eq!(failed.error().port(), Some(record.port()));
}

#[test]
fn a_claim_binds_its_port() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let claim = claim(&registry, &scene.holder("shop"));
    let listener = claim.bind().expect("the port is free");
    let address = listener.local_addr().expect("an address");
    assert_eq!(address, (Ipv4Addr::LOCALHOST, claim.port().get()).into());
    std::net::TcpStream::connect(address).expect("it listens");
    let state = registry.port_state(claim.port()).expect("its state");
    assert_eq!(state.availability, Availability::InUse);
    assert_eq!(state.claim.as_ref(), Some(claim.record()));
    assert!(!state.unsettled);

    let error = claim.bind().expect_err("it is in use");
    assert_eq!(error.kind(), ErrorKind::Io);
    let source = error.io_error().expect("the system's error");
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    assert_eq!((error.port(), error.path()), (Some(claim.port()), None));
    assert_eq!(
        error.to_string(),
        format!("failed to bind 127.0.0.1 port {}", claim.port())
    );
    drop(listener);
    let anywhere = Ipv4Addr::UNSPECIFIED.into();
    freed(|| claim.bind()).accept_none();
    freed(|| claim.bind_to(anywhere)).accept_none();
}

/// Binds a port that was just given up. Children that other tests start at this moment have
/// copies of the old socket until they execute their program.
fn freed(bind: impl Fn() -> portclaim::Result<TcpListener>) -> TcpListener {
    let begin = Instant::now();
    loop {
        match bind() {
            Ok(listener) => return listener,
            Err(error) if begin.elapsed() > Duration::from_secs(5) => panic!("{error:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Says of a listener that nobody is to call it.
trait AcceptNone {
    fn accept_none(self);
}

impl AcceptNone for TcpListener {
    fn accept_none(self) {
        self.set_nonblocking(true).expect("to change it");
        let error = self.accept().expect_err("nobody called");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_port_that_a_program_uses_is_passed_over() {
    let scene = Scene::new(3);
    let first = scene.range().first();
    let _server = TcpListener::bind((Ipv4Addr::LOCALHOST, first.get())).expect("a free port");
    let registry = scene.registry();
    let told: Vec<u16> = (0..2)
        .map(|n| claim(&registry, &scene.holder(n)).port().get())
        .collect();
    assert_eq!(told, [first.get() + 1, first.get() + 2]);

    let error = registry
        .claim(&Request::new(scene.holder("late")))
        .expect_err("exhausted");
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    let exhaustion = error.exhaustion().expect("an account");
    assert_eq!(exhaustion.range, scene.range());
    assert_eq!(
        (exhaustion.claimed, exhaustion.in_use, exhaustion.denied),
        (2, 1, 0)
    );
    assert_eq!(error.port(), None);
    // The one that is asked for by its number is had all the same: it may be the holder's own.
    let request = Request::new(scene.holder("late")).port(first);
    assert_eq!(
        registry.claim(&request).expect("it is unclaimed").port(),
        first
    );
    scene.assert_settled();
}

#[test]
fn a_port_that_is_another_holders_is_refused_by_name() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let (shop, other) = (scene.holder("shop"), scene.holder("other"));
    let held = claim(&registry, &shop).keep();
    let error = registry
        .claim(&Request::new(other.clone()).port(held.port()))
        .expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::Taken);
    assert_eq!(error.port(), Some(held.port()));
    assert_eq!(error.taken_by(), Some(&held));
    assert_eq!(registry.find(&other).expect("readable"), None);
    let text = error.to_string();
    assert!(text.contains(shop.project().as_str()), "{text}");

    // A holder that has a port is not given a second one.
    let wanted = port(held.port().get() + 3);
    let error = registry
        .claim(&Request::new(shop.clone()).port(wanted))
        .expect_err("it has another");
    assert_eq!(error.kind(), ErrorKind::HasAnother);
    assert_eq!(error.port(), Some(wanted));
    assert_eq!((error.held(), error.taken_by()), (Some(&held), None));
    assert_eq!(
        error.to_string(),
        format!(
            "{} has port {} already, and can be given port {wanted} only when that is released",
            shop.project(),
            held.port()
        )
    );
    assert_eq!(registry.lookup(wanted).expect("readable"), None);
    scene.assert_settled();
}

/// What a process leaves as its claim that was killed before it had committed it.
fn unfinished(scene: &Scene, port: Port) -> Vec<(&'static str, String)> {
    let record = |project: String| {
        format!(
            "{{\"format\":1,\"port\":{port},\"nonce\":\"{}\",\"project\":\"{project}\",\"service\":\"\"}}\n",
            "ab".repeat(16)
        )
    };
    let own = record(scene.project("shop"));
    vec![
        ("empty", String::new()),
        ("torn", own[..30].to_owned()),
        ("its own", own),
        ("another's", record(scene.project("other"))),
    ]
}

#[test]
fn a_certain_port_is_had_that_a_killed_process_was_claiming() {
    let scene = Scene::new(1);
    let wanted = scene.range().first();
    let request = Request::new(scene.holder("shop")).port(wanted);
    let path = scene.root().join(format!("ports/{wanted}.claim"));
    for (what, left) in unfinished(&scene, wanted) {
        let registry = scene.registry();
        registry.refresh_index().expect("to write it");
        std::fs::write(&path, left).expect("to leave it");
        let claim = registry.claim(&request).expect(what);
        assert!(claim.is_new(), "{what}");
        assert_eq!(claim.port(), wanted, "{what}");
        claim.release().expect("it stands");
    }
}

#[test]
fn a_certain_port_is_refused_while_another_process_is_claiming_it() {
    let scene = Scene::new(1);
    let wanted = scene.range().first();
    let registry = scene.registry();
    registry.refresh_index().expect("to write it");
    let path = scene.root().join(format!("ports/{wanted}.claim"));
    let file = std::fs::File::create_new(&path).expect("the first");
    file.lock().expect("nobody else is at it");
    let error = registry
        .claim(&Request::new(scene.holder("shop")).port(wanted))
        .expect_err("it is being claimed");
    assert_eq!(
        (error.kind(), error.port()),
        (ErrorKind::Taken, Some(wanted))
    );
    assert_eq!(error.taken_by(), None);
    assert!(path.exists());
    // Dropped, it might live on in a child that another test starts at this moment.
    file.unlock().expect("it is locked");
}

#[test]
fn threads_that_claim_a_certain_port_for_one_holder_are_all_told_it() {
    for handles in [Handles::Clones, Handles::Own] {
        let scene = Scene::new(1);
        let wanted = scene.range().first();
        let request = Request::new(scene.holder("shop")).port(wanted);
        let new = AtomicUsize::new(0);
        on_threads(&scene, handles, |_, registry| {
            let claim = registry.claim(&request).expect("the port");
            assert_eq!(claim.port(), wanted);
            new.fetch_add(usize::from(claim.is_new()), Ordering::Relaxed);
        });
        assert_eq!(new.into_inner(), 1, "{handles:?}: one of them got it new");
        scene.assert_settled();
    }
}

#[test]
fn a_commit_of_a_later_format_does_not_stop_the_repair_of_all_others() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let commits = scene.root().join("projects");
    let [shop, blog] = ["shop", "blog"].map(|name| claim(&registry, &scene.holder(name)).keep());
    let later = "{\"format\":2}\n";
    let is_shops = |path: &Utf8PathBuf| {
        std::fs::read_to_string(path).is_ok_and(|text| text.contains(shop.project().as_str()))
    };
    let commit = names(&commits)
        .iter()
        .map(|name| commits.join(name))
        .find(is_shops)
        .expect("its commit");
    std::fs::remove_file(&commit).expect("the commit");
    std::fs::write(&commit, later).expect("to write it");
    for record in [&shop, &blog] {
        let claim = scene.root().join(format!("ports/{}.claim", record.port()));
        std::fs::write(claim, "damage\n").expect("to damage it");
    }

    let report = registry.repair().expect("a repair");
    let left = |finding: &&Finding| !finding.fixed && finding.kind != FindingKind::EphemeralRange;
    let left: Vec<_> = report.findings.iter().filter(left).collect();
    assert!(
        matches!(left[..], [Finding { kind: FindingKind::LaterFormat, path, .. }] if *path == commit),
        "{report:?}"
    );
    let again = registry
        .find(blog.holder())
        .expect("readable")
        .expect("a port");
    assert_eq!(again.port(), blog.port());
    assert_eq!(std::fs::read_to_string(&commit).expect("the commit"), later);
}

#[test]
fn errors_become_io_errors_that_keep_them() {
    let scene = Scene::new(1);
    let registry = scene.registry();
    let held = claim(&registry, &scene.holder("shop")).keep();
    let late = Request::new(scene.holder("late"));
    let cases: Vec<(Error, ErrorKind, io::ErrorKind)> = vec![
        (
            registry.claim(&late).expect_err("exhausted"),
            ErrorKind::Exhausted,
            io::ErrorKind::AddrInUse,
        ),
        (
            registry.claim(&late.port(held.port())).expect_err("taken"),
            ErrorKind::Taken,
            io::ErrorKind::AddrInUse,
        ),
        (
            {
                registry.release(&held).expect("it stands");
                registry.release(&held).expect_err("superseded")
            },
            ErrorKind::Superseded,
            io::ErrorKind::NotFound,
        ),
        (
            ProjectPath::from_normal("not/absolute").expect_err("a path"),
            ErrorKind::InvalidPath,
            io::ErrorKind::InvalidInput,
        ),
        (
            "9-8".parse::<PortRange>().expect_err("a range"),
            ErrorKind::InvalidPort,
            io::ErrorKind::InvalidInput,
        ),
        (
            Registry::open("/dev/null").expect_err("no directory"),
            ErrorKind::Io,
            io::ErrorKind::NotADirectory,
        ),
    ];
    for (error, kind, io_kind) in cases {
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(
            !text.ends_with('.') && !text.is_empty(),
            "a fragment: {text}"
        );
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io_kind, "{text}");
        assert_eq!(error.to_string(), text);
        let inner = error.get_ref().expect("the error");
        let inner = inner.downcast_ref::<Error>().expect("still of this crate");
        assert_eq!(inner.kind(), kind);
    }
    let error = Registry::open("/dev/null").expect_err("no directory");
    assert_eq!(error.path(), Some(Utf8Path::new("/dev/null")));
    assert!(error.source().is_some(), "{error}");
}

#[test]
fn a_corrupt_claim_is_an_error_among_the_records_and_hides_none() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let held: Vec<Record> = (0..4)
        .map(|n| claim(&registry, &scene.holder(n)).keep())
        .collect();
    let path = scene.root().join(format!("ports/{}.claim", held[1].port()));
    std::fs::remove_file(&path).expect("the claim");
    std::fs::write(&path, "{\"format\":1,\"port\":").expect("to tear it");
    // A directory under a claim's name, and a claim of a later format.
    let blocked = held[3].port().get() + 1;
    let later = blocked + 1;
    let ports = scene.root().join("ports");
    std::fs::create_dir(ports.join(format!("{blocked}.claim"))).expect("a directory");
    std::fs::write(ports.join(format!("{later}.claim")), "{\"format\":7}\n").expect("a file");

    let all: Vec<_> = registry.records().expect("readable").collect();
    let ports: Vec<Option<u16>> = all
        .iter()
        .map(|record| record.as_ref().ok().map(|record| record.port().get()))
        .collect();
    let told = |n: usize| Some(held[n].port().get());
    assert_eq!(ports, [told(0), None, told(2), told(3), None, None]);
    let errors: Vec<&Error> = all
        .iter()
        .filter_map(|record| record.as_ref().err())
        .collect();
    assert_eq!(errors[0].kind(), ErrorKind::Corrupt);
    assert_eq!(errors[0].path(), Some(path.as_path()));
    assert_eq!(errors[0].corruption(), Some(&Corruption::Torn));
    assert_eq!(errors[1].corruption(), Some(&Corruption::NotAFile));
    assert_eq!(errors[2].corruption(), Some(&Corruption::NewerFormat(7)));

    // Nobody is told those ports, and the project whose claim was torn gets its port again.
    assert_eq!(claim(&registry, held[1].holder()).port(), held[1].port());
    let new = claim(&registry, &scene.holder("new")).port().get();
    assert!(new != blocked && new != later, "{new}");
    let report = registry.repair().expect("a repair");
    let left: Vec<FindingKind> = report
        .findings
        .iter()
        .filter(|finding| !finding.fixed)
        .map(|finding| finding.kind)
        .collect();
    assert!(left.contains(&FindingKind::LaterFormat), "{report:?}");
    assert!(!left.contains(&FindingKind::DamagedClaim), "{report:?}");
    assert_eq!(
        names(&scene.root().join("quarantine")).len(),
        2,
        "{report:?}"
    );
}

#[test]
fn what_others_wrote_into_the_registry_file_is_noticed_once() {
    let scene = Scene::new(16);
    let first = scene.range().first().get();
    let (shop, blog, late) = (
        scene.project("shop"),
        scene.project("blog"),
        scene.project("late"),
    );
    let path = scene.root().join(DEFAULT_FILE_NAME);
    std::fs::create_dir_all(scene.root()).expect("a directory");
    let write = |mappings: &str| {
        let text = format!(
            "{{\"version\": \"1.0\", \"mappings\": {{{mappings}}}, \"next_available\": {first}}}"
        );
        std::fs::write(&path, &text).expect("to write it");
        text
    };
    let original = write(&format!("\"{shop}\": {first}, \"not/absolute\": 5"));

    let registry = scene.registry();
    let holder = scene.holder("blog");
    let told = claim(&registry, &holder).port().get();
    assert_ne!(told, first, "it is the shop's");
    let notices = registry.take_notices();
    let backup = scene.root().join(format!("{DEFAULT_FILE_NAME}.backup"));
    let taken_over = Notice::TakenOver {
        path: path.clone(),
        backup: backup.clone(),
        claims: 1,
    };
    assert!(notices.contains(&taken_over), "{notices:?}");
    let kept = |notice: &Notice| matches!(notice, Notice::Kept { key, .. } if key.contains("not/absolute"));
    assert!(notices.iter().any(kept), "{notices:?}");
    assert_eq!(
        std::fs::read_to_string(&backup).expect("the backup"),
        original
    );
    assert_eq!(registry.take_notices(), [], "they are taken once");
    assert_eq!(records(&registry).len(), 2);

    // A person adds one that is free, one that is another's, and changes one.
    let mut file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("the file")).expect("JSON");
    file["mappings"][&late] = (first + 9).into();
    file["mappings"]["/zzz/else"] = first.into();
    std::fs::write(&path, file.to_string()).expect("to write it");
    let found = registry.find(&scene.holder("late")).expect("readable");
    assert_eq!(found.expect("adopted").port().get(), first + 9);
    let notices = registry.take_notices();
    let path_of = |path: &str| ProjectPath::from_normal(path).expect("a path");
    let adopted = Notice::Adopted {
        project: path_of(&late),
        port: port(first + 9),
    };
    let conflict = Notice::Conflict {
        project: path_of("/zzz/else"),
        port: port(first),
        holder: Holder::new(path_of(&shop)),
    };
    assert!(notices.contains(&adopted), "{notices:?}");
    assert!(notices.contains(&conflict), "{notices:?}");
    assert_eq!(notices.len(), 2, "each once: {notices:?}");

    // And damages it.
    std::fs::write(&path, "{\"mappings\": {\"").expect("to write it");
    assert_eq!(records(&registry).len(), 3);
    let notices = registry.take_notices();
    assert!(
        matches!(&notices[..], [Notice::Damaged { claims: 0, backup, .. }] if backup.exists()),
        "{notices:?}"
    );
    let mappings = scene.mappings();
    assert_eq!(mappings.get(&blog), Some(&told), "derived again");
    assert_eq!(mappings.len(), 3);
}

/// Changes the mappings of a registry file that portclaim wrote; they end in order of paths.
fn edit(scene: &Scene, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let path = scene.root().join(DEFAULT_FILE_NAME);
    let file = std::fs::read(&path).expect("the registry file");
    let mut file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    change(file["mappings"].as_object_mut().expect("an object"));
    std::fs::write(&path, file.to_string()).expect("to write it");
}

#[test]
fn a_second_project_on_a_port_is_reported_wherever_it_stands_in_the_registry_file() {
    for second in ["/!before", "/zzz/behind"] {
        let scene = Scene::new(8);
        let registry = scene.registry();
        let held = claim(&registry, &scene.holder("shop")).keep();
        edit(&scene, |mappings| {
            mappings.insert(second.to_owned(), held.port().get().into());
        });
        assert_eq!(records(&registry), std::slice::from_ref(&held), "{second}");
        registry.refresh_index().expect("to write it");
        let conflict = Notice::Conflict {
            project: ProjectPath::from_normal(second).expect("a path"),
            port: held.port(),
            holder: held.holder().clone(),
        };
        assert_eq!(registry.take_notices(), [conflict], "{second}");
        scene.assert_settled();
    }
}

#[test]
fn a_project_that_was_renamed_in_the_registry_file_only_is_put_right() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let held = claim(&registry, &scene.holder("shop")).keep();
    edit(&scene, |mappings| {
        let port = mappings.remove(held.project().as_str()).expect("its port");
        mappings.insert("/renamed".to_owned(), port);
    });
    registry.refresh_index().expect("to write it");
    assert_eq!(records(&registry), std::slice::from_ref(&held));
    scene.assert_settled();
}

#[test]
fn a_claim_stands_where_the_registry_file_cannot_follow() {
    let scene = Scene::new(8);
    let registry = scene.registry();
    let first = claim(&registry, &scene.holder("first")).keep();
    let lock = scene.root().join("index/lock");
    std::fs::remove_file(&lock).expect("the lock file");
    std::fs::create_dir(&lock).expect("a directory in its place");
    let holder = scene.holder("shop");
    let record = claim(&registry, &holder).keep();
    let notices = registry.take_notices();
    assert!(
        matches!(&notices[..], [Notice::IndexBehind { path, .. }] if *path == registry.index_path()),
        "{notices:?}"
    );
    let mappings = scene.mappings().into_values();
    assert!(mappings.eq([first.port().get()]), "it is behind");
    let error = registry.refresh_index().expect_err("there is no lock");
    assert_eq!(
        (error.kind(), error.path()),
        (ErrorKind::Io, Some(lock.as_path()))
    );

    std::fs::remove_dir(&lock).expect("the directory");
    let _ = registry.take_notices();
    registry.refresh_index().expect("to write it");
    assert_eq!(registry.find(&holder).expect("readable"), Some(record));
    scene.assert_settled();
}

#[test]
fn options_hold_for_the_registry_that_they_opened() {
    let scene = Scene::new(8);
    let range = PortRange::new(scene.range().first(), port(scene.range().first().get() + 1))
        .expect("a range");
    let registry = scene
        .options()
        .range(range)
        .file_name("ports.json")
        .index(IndexPolicy::Mark)
        .open(scene.root())
        .expect("a registry");
    assert_eq!(registry.range(), range);
    assert_eq!(registry.root(), scene.root());
    assert_eq!(registry.index_path(), scene.root().join("ports.json"));
    assert!(!scene.root().exists(), "opening creates nothing");
    assert_eq!(registry.filesystem().expect("readable"), None);
    let summary = registry.summary().expect("readable");
    assert_eq!((summary.allocated, summary.available), (0, 2));

    let held: Vec<Record> = (0..2)
        .map(|n| claim(&registry, &scene.holder(n)).keep())
        .collect();
    assert!(registry.filesystem().expect("readable").is_some());
    assert!(!registry.index_path().exists(), "changes are only marked");
    assert!(scene.names("index").len() >= 2, "marks");
    let error = registry
        .claim(&Request::new(scene.holder("late")))
        .expect_err("exhausted");
    assert_eq!(
        error.exhaustion().map(|exhaustion| exhaustion.claimed),
        Some(2)
    );
    // Another range for one request; those who hold a port are told it, whatever the range.
    let request = Request::new(scene.holder("late")).within(scene.range());
    assert!(!range.contains(registry.claim(&request).expect("a port").port()));
    let request = Request::new(held[0].holder().clone()).within(scene.range());
    assert_eq!(
        registry.claim(&request).expect("its port").port(),
        held[0].port()
    );

    assert_eq!(
        registry.refresh_index().expect("to write it"),
        registry.index_path()
    );
    assert_eq!(scene.marks(), [""; 0]);
    let file = std::fs::read_to_string(registry.index_path()).expect("the file");
    for record in &held {
        assert!(file.contains(record.project().as_str()), "{file}");
    }
    assert!(!scene.names("").contains(&DEFAULT_FILE_NAME.to_owned()));
    let summary = registry.summary().expect("readable");
    assert_eq!((summary.allocated, summary.available), (3, 0));
    assert_eq!(summary.next_available, None);
}

#[test]
fn a_summary_counts_what_cannot_be_read_apart() {
    let scene = Scene::new(4);
    let registry = scene.registry();
    let held: Vec<Record> = (0..3)
        .map(|n| claim(&registry, &scene.holder(n)).keep())
        .collect();
    let lease = registry
        .lease(&Request::new(scene.holder(0)))
        .expect("a port");
    let figures = || {
        let summary = registry.summary().expect("readable");
        (summary.allocated, summary.unreadable, summary.available)
    };
    assert_eq!(figures(), (3, 0, 0));
    drop(lease);
    assert_eq!(figures(), (3, 0, 1));
    let path = scene.root().join(format!("ports/{}.claim", held[1].port()));
    let bytes = std::fs::read(&path).expect("a claim");
    // One that is being written is nobody's yet; any other is somebody's.
    for (damage, unreadable) in [("", 0), ("{\"format\":1,", 1), ("damage\n", 1)] {
        std::fs::write(&path, damage).expect("it is ours");
        assert_eq!(figures(), (2, unreadable, 1), "{damage:?}");
    }
    std::fs::write(&path, bytes).expect("it is ours");
    assert_eq!(figures(), (3, 0, 1));
}

#[test]
fn volatile_and_durable_users_of_one_registry_agree() {
    let scene = Scene::new(32);
    let volatile = scene
        .options()
        .durability(Durability::Volatile)
        .open(scene.root())
        .expect("a registry");
    let durable = scene.registry();
    for n in 0..10 {
        let holder = scene.holder(n);
        let (first, second) = if n % 2 == 0 {
            (&volatile, &durable)
        } else {
            (&durable, &volatile)
        };
        let told = claim(first, &holder);
        let again = claim(second, &holder);
        assert!(told.is_new() && !again.is_new());
        assert_eq!(told.record(), again.record());
        if n % 4 < 2 {
            again.release().expect("it stands");
            assert_eq!(first.find(&holder).expect("readable"), None);
        }
    }
    let left = records(&volatile);
    assert_eq!(left.len(), 4);
    assert_eq!(left, records(&durable));
    scene.assert_settled();
}

#[test]
fn claims_and_releases_succeed_while_another_thread_starts_children() {
    // A child has copies of all descriptors, and of their locks, until it executes `true`.
    let scene = Scene::new(48);
    let stop = AtomicBool::new(false);
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // The second forks and executes later: the first may be a `vfork`.
                    let plain = Command::new("true").status().expect("true");
                    let moved = Command::new("true")
                        .current_dir("/")
                        .status()
                        .expect("true");
                    assert!(plain.success() && moved.success());
                    started.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        on_threads(&scene, Handles::Clones, |thread, registry| {
            let holder = scene.holder(thread % 8);
            for _ in 0..15 * rounds() {
                let claim = claim(registry, &holder);
                match claim.release() {
                    Ok(()) => {}
                    // The holder has two threads.
                    Err(error) => assert_eq!(error.error().kind(), ErrorKind::Superseded),
                }
            }
            assert_eq!(registry.take_notices(), []);
        });
        drop(stopper);
    });
    assert!(started.into_inner() > 0, "no child was started");
    assert_eq!(records(&scene.registry()), []);
    mend(&scene);
    scene.assert_settled();
}

/// Where the test below finds its registry when it is started again as another user.
const READ_ONLY_ROOT: &str = "PORTCLAIM_TEST_READ_ONLY_ROOT";

#[test]
fn a_read_only_registry_answers_and_refuses_to_change() {
    if let Ok(root) = std::env::var(READ_ONLY_ROOT) {
        return read_only(Utf8Path::new(&root));
    }
    let scene = Scene::new(8);
    let registry = scene.registry();
    assert!(claim(&registry, &scene.holder("shop")).is_new());
    let root = scene.root();
    let user = rustix::process::geteuid();
    let directories = ["ports", "projects", "staging", "index", ""];
    if !user.is_root() {
        for name in directories {
            set_mode(&root.join(name), 0o500);
        }
        read_only(&root);
        for name in directories {
            set_mode(&root.join(name), 0o700);
        }
        return;
    }
    // Root may write everywhere: the test goes on as nobody, to whom all of it belongs.
    let nobody = 65_534;
    let own = |path: &Utf8Path| chown(path, Some(nobody), Some(nobody)).expect("to give it away");
    for name in directories {
        let directory = root.join(name);
        for name in names(&directory) {
            own(&directory.join(name));
        }
        own(&directory);
        set_mode(&directory, 0o500);
    }
    set_mode(scene.home(), 0o755);
    let program = scene.home().join("it");
    std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
    set_mode(&program, 0o755);
    let this = "library::a_read_only_registry_answers_and_refuses_to_change";
    let output = Command::new(program)
        .args(["--exact", this, "--nocapture"])
        .env(READ_ONLY_ROOT, &root)
        .current_dir("/")
        .uid(nobody)
        .gid(nobody)
        .output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{output:?}");
            assert!(text.contains("1 passed"), "it was not run: {text}");
        }
        Err(error) => skipped(&format!("this root cannot become another user: {error}")),
    }
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

fn set_mode(path: &Utf8Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("to change it");
}

fn read_only(root: &Utf8Path) {
    let registry = Registry::open(root).expect("a registry");
    let all = records(&registry);
    let [held] = &all[..] else { panic!("{all:?}") };
    let found = registry.find(held.holder()).expect("readable");
    assert_eq!(found.as_ref(), Some(held));
    let found = registry.lookup(held.port()).expect("readable");
    assert_eq!(found.as_ref(), Some(held));
    assert_eq!(registry.summary().expect("readable").allocated, 1);
    let state = registry.port_state(held.port()).expect("readable");
    assert_eq!(state.claim.as_ref(), Some(held));
    let absent = Holder::new(ProjectPath::from_normal("/nowhere").expect("a path"));
    assert_eq!(registry.find(&absent).expect("readable"), None);
    registry.check().expect("readable");
    // Who has a port is told it: nothing needs to be written for that.
    assert_eq!(claim(&registry, held.holder()).record(), held);

    let error = registry
        .claim(&Request::new(absent.clone()))
        .expect_err("it cannot be written");
    refused(&error, root);
    refused(
        &registry.release(held).expect_err("it cannot be written"),
        root,
    );
    refused(&registry.reset().expect_err("it cannot be written"), root);
    let found = registry.find(held.holder()).expect("readable");
    assert_eq!(found.as_ref(), Some(held), "it stands");
}

fn refused(error: &Error, root: &Utf8Path) {
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let source = error.io_error().expect("the system's error");
    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied, "{error}");
    let path = error.path().expect("a path");
    assert!(path.starts_with(root), "{path}");
}
