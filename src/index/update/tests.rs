//! What the file shows of the claims, and which of them are read.

use super::*;
use crate::index::testing::{Disk, port};

fn project(path: &str) -> Holder {
    Holder::new(ProjectPath::from_normal(path).expect("normal"))
}

fn service(path: &str, name: &str) -> Holder {
    let path = ProjectPath::from_normal(path).expect("normal");
    Holder::with_service(path, name.to_owned())
}

/// No port was picked in turn.
const NO_TURN: (Option<Port>, PortRange) = (None, PortRange::DEFAULT);

fn mappings(document: &Document) -> Vec<(&str, u16)> {
    let mappings = document.mappings();
    mappings
        .map(|(path, port)| (path.as_str(), port.get()))
        .collect()
}

fn service_ports(document: &Document) -> Vec<u16> {
    document.services().keys().map(|port| port.get()).collect()
}

/// A new file that shows the claims.
fn derived(disk: &Disk) -> Document {
    let mut document = Document::new(PortRange::DEFAULT);
    rederive(&mut document, disk);
    document
}

/// Lets the file follow, where nothing is marked.
fn rederive(document: &mut Document, disk: &Disk) {
    update(document, &disk.store, &[], NO_TURN).expect("derives");
}

fn ours(document: &Document) -> String {
    document.ours().expect("it is ours").to_string()
}

/// The same file, with this text in the place of that one.
fn edited(document: &Document, from: &str, to: &str) -> Document {
    let text = String::from_utf8(document.to_bytes()).expect("text");
    assert!(text.contains(from), "{text}");
    Document::parse(text.replace(from, to).as_bytes()).expect("sound")
}

#[test]
fn the_file_shows_what_is_committed_and_nothing_else() {
    let disk = Disk::new();
    disk.hold(&project("/a"), 1);
    disk.hold(&service("/a", "web"), 2);
    disk.hold(&project("/b"), 3);
    disk.store
        .projects
        .remove(project("/b").key())
        .expect("it is there");
    disk.put("ports/4.claim", b"");
    disk.put("ports/notes.txt", b"mine");
    assert_eq!(present(&disk.store.ports).expect("told").to_string(), "1-4");
    let mut document = Document::new(PortRange::DEFAULT);
    let dropped = update_fully(&mut document, &disk.store, &[], NO_TURN).expect("derives");
    assert!(dropped.is_empty());
    assert_eq!(mappings(&document), [("/a", 1)]);
    assert_eq!(ours(&document), "1");
    assert_eq!(
        document.services(),
        &Services::from([(port(2), service("/a", "web"))])
    );
    assert!(!document.is_edited());
    let shown = |holder| port_of(&document, &holder).map(Port::get);
    assert_eq!(shown(project("/a")), Some(1));
    assert_eq!(shown(service("/a", "web")), Some(2));
    assert_eq!(shown(service("/a", "db")), None);
    assert_eq!(shown(project("/b")), None);
}

#[test]
fn only_claims_that_changed_are_read() {
    let disk = Disk::new();
    disk.hold(&project("/a"), 1);
    disk.hold(&service("/a", "web"), 2);
    let mut document = derived(&disk);
    let before = document.clone();
    // Nothing tells of it: a mark would, and no change is made without one.
    disk.hold(&project("/b"), 1);
    disk.hold(&service("/b", "web"), 2);
    rederive(&mut document, &disk);
    assert_eq!(document, before);
    let after = (
        vec![("/b", 1)],
        Services::from([(port(2), service("/b", "web"))]),
    );
    let told = |document: Document, marked: &[Marked], fully: bool| {
        let mut document = document;
        let update = if fully { update_fully } else { update };
        let dropped = update(&mut document, &disk.store, marked, NO_TURN).expect("derives");
        let mappings = mappings(&document);
        let mappings = mappings
            .into_iter()
            .map(|(path, port)| (path.to_owned(), port));
        (
            mappings.collect::<Vec<_>>(),
            document.services().clone(),
            dropped.len(),
        )
    };
    let expected = |dropped: usize| {
        let mappings = after.0.iter().map(|&(path, port)| (path.to_owned(), port));
        (mappings.collect::<Vec<_>>(), after.1.clone(), dropped)
    };
    assert_eq!(told(before.clone(), &[], true), expected(0));
    disk.mark(1);
    let marked = disk.mark(2);
    assert_eq!(told(before.clone(), &marked, false), expected(0));
    // Where somebody edited the file, it says nothing of the claims; and that is told.
    let other = edited(&before, "\"check\": \"", "\"check\": \"0");
    assert_eq!(told(other, &[], false), expected(1));
    // Nor where portclaim did not write it.
    let other = edited(&before, "\"format\": 1", "\"format\": 0");
    assert_eq!(told(other, &[], false).0, expected(1).0);
}

#[test]
fn what_the_file_and_the_directory_disagree_about_is_read() {
    let disk = Disk::new();
    for (path, number) in [("/a", 1), ("/b", 2), ("/c", 3)] {
        disk.hold(&project(path), number);
    }
    disk.hold(&service("/a", "web"), 4);
    disk.hold(&service("/a", "db"), 5);
    let mut document = derived(&disk);
    assert_eq!(ours(&document), "1-3");
    disk.release(&project("/b"), 2);
    disk.release(&service("/a", "db"), 5);
    disk.hold(&project("/d"), 6);
    rederive(&mut document, &disk);
    assert_eq!(mappings(&document), [("/a", 1), ("/c", 3), ("/d", 6)]);
    assert_eq!(ours(&document), "1,3,6");
    assert_eq!(service_ports(&document), [4]);
}

#[test]
fn what_others_wrote_stays_until_its_port_is_somebodys() {
    let disk = Disk::new();
    disk.hold(&project("/a"), 1);
    disk.hold(&service("/a", "web"), 2);
    let document = derived(&disk);
    let more = "\"/a\": 1, \"/x\": 1, \"/y\": 2, \"/z\": 3, \"relative\": 4, \"/n\": null";
    let mut document = edited(&document, "\"/a\": 1", more);
    assert_eq!(spared(&document).to_string(), "2-4");
    let dropped = update(&mut document, &disk.store, &[], NO_TURN).expect("derives");
    let dropped: Vec<_> = dropped
        .iter()
        .map(|it| (it.project.as_str(), it.port.get(), it.holder.to_string()))
        .collect();
    let expected = [
        ("/x", 1, project("/a").to_string()),
        ("/y", 2, service("/a", "web").to_string()),
    ];
    assert_eq!(dropped, expected);
    assert_eq!(mappings(&document), [("/a", 1), ("/z", 3)]);
    assert_eq!(
        (ours(&document), document.kept().count()),
        ("1".to_owned(), 2)
    );
    // The same again: what was not adopted yet is kept.
    rederive(&mut document, &disk);
    assert_eq!(mappings(&document), [("/a", 1), ("/z", 3)]);
}

#[test]
fn a_claim_that_cannot_be_read_stays_in_the_file() {
    let disk = Disk::new();
    for (path, number) in [("/a", 1), ("/b", 2)] {
        disk.hold(&project(path), number);
    }
    for (name, number) in [("web", 3), ("db", 4)] {
        disk.hold(&service("/a", name), number);
    }
    let mut document = derived(&disk);
    // A later version's: it may be committed. Damage is not.
    for (number, line) in [
        (1, &b"{\"format\":2}\n"[..]),
        (2, b"junk\n"),
        (3, b"{\"format\":2}\n"),
        (4, b"junk\n"),
        (5, b"{\"format\":2}\n"),
    ] {
        disk.put(&format!("ports/{number}.claim"), line);
    }
    update_fully(&mut document, &disk.store, &[], NO_TURN).expect("derives");
    assert_eq!(mappings(&document), [("/a", 1)]);
    assert_eq!(ours(&document), "1");
    assert_eq!(service_ports(&document), [3]);
}

#[test]
fn where_the_search_goes_on_follows_the_port_that_was_picked() {
    let disk = Disk::new();
    disk.hold(&project("/a"), 9000);
    let derive = |document: &Document, last: Option<u16>, marked: &[Marked]| {
        let mut document = document.clone();
        let turn = (last.map(port), PortRange::DEFAULT);
        update(&mut document, &disk.store, marked, turn).expect("derives");
        document.next_available()
    };
    let document = Document::new(PortRange::DEFAULT);
    let next = |number| Some(port(number));
    // Others may have gone on since the port was picked.
    assert_eq!(derive(&document, Some(9000), &[]), next(8888));
    let marked = disk.mark(9001);
    assert_eq!(derive(&document, Some(9000), &marked), next(8888));
    let marked = disk.mark(9000);
    assert_eq!(derive(&document, Some(9000), &marked), next(9001));
    assert_eq!(derive(&document, None, &marked), next(8888));
    let without = edited(&document, "\"next_available\": 8888", "\"x\": 1");
    assert_eq!(derive(&without, Some(9000), &[]), next(9001));
    assert_eq!(derive(&without, None, &[]), next(8888));
}
