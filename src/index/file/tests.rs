//! The file on a disk where others are at it.

use super::*;
use crate::index::testing::{Disk, FILE, SOUND, locked};

#[test]
fn what_cannot_be_read_is_not_missing() {
    let disk = Disk::new();
    assert!(matches!(disk.file().load().expect("told"), Loaded::Missing));
    disk.put(FILE, SOUND);
    let loaded = disk.file().load().expect("told");
    assert!(matches!(loaded, Loaded::Sound(_, bytes) if bytes == SOUND));
    disk.put(FILE, b"{");
    let loaded = disk.file().load().expect("told");
    assert!(matches!(loaded, Loaded::Damaged(Damage::Torn, bytes) if bytes == b"{"));
    disk.root.remove(FILE).expect("it is there");
    disk.root.create_dir(FILE).expect("a directory");
    assert!(disk.file().load().is_err());
}

#[test]
fn what_somebody_is_writing_is_read_when_it_is_written() {
    let disk = Disk::new();
    // Truncated, and not locked yet.
    disk.put(FILE, b"");
    let loaded = disk.file().load_after(|round| {
        if round == 1 {
            disk.put(FILE, SOUND);
        }
    });
    assert!(matches!(loaded.expect("told"), Loaded::Sound(..)));
    if !disk.root.has_locks() {
        return;
    }
    disk.put(FILE, b"{\"mappings\"");
    let file = locked(&disk.root, FILE);
    let loaded = disk.file().load_after(|round| {
        if round == 20 {
            disk.put(FILE, SOUND);
            disk.root.unlock(&file);
        }
    });
    assert!(matches!(loaded.expect("told"), Loaded::Sound(..)));
}

#[test]
fn what_nobody_comes_to_an_end_with_is_told_as_it_is() {
    let disk = Disk::new();
    let looks = || {
        let mut looks = 0;
        let loaded = disk.file().load_after(|_| looks += 1);
        assert!(matches!(loaded.expect("told"), Loaded::Damaged(..)));
        looks
    };
    disk.put(FILE, b"{");
    assert_eq!(looks(), 0, "nobody writes it");
    disk.put(FILE, b"");
    assert_eq!(looks(), EMPTY_ROUNDS_MAX);
    if disk.root.has_locks() {
        let file = locked(&disk.root, FILE);
        assert_eq!(looks(), WRITER_ROUNDS_MAX);
        disk.put(FILE, b"{");
        assert_eq!(looks(), WRITER_ROUNDS_MAX);
        drop(file);
    }
}

#[test]
fn what_is_sound_is_read_whoever_has_its_lock() {
    let disk = Disk::new();
    if !disk.root.has_locks() {
        return;
    }
    disk.put(FILE, SOUND);
    let file = locked(&disk.root, FILE);
    let loaded = disk.file().load().expect("told");
    assert!(matches!(loaded, Loaded::Sound(..)));
    drop(file);
}

#[test]
fn a_backup_replaces_nothing_and_is_made_once() {
    let disk = Disk::new();
    let back_up = |bytes| disk.back_up(bytes).expect("backs up");
    assert_eq!(back_up(b"one"), "registry.json.backup");
    assert_eq!(back_up(b"one"), "registry.json.backup");
    assert_eq!(back_up(b"two"), "registry.json.backup.1");
    disk.root
        .create_dir("registry.json.backup.2")
        .expect("a directory");
    assert_eq!(back_up(b"three"), "registry.json.backup.3");
    for (name, bytes) in [("", &b"one"[..]), (".1", b"two"), (".3", b"three")] {
        assert_eq!(disk.read(&format!("registry.json.backup{name}")), bytes);
    }
    assert_eq!(back_up(b"two"), "registry.json.backup.1");
    assert_eq!(disk.staged(), [""; 0]);
}

#[test]
fn who_backs_the_same_file_up_at_once_finds_one_backup() {
    let disk = Disk::new();
    for turn in 0..50 {
        let bytes = [turn];
        let back_up = || disk.back_up(&bytes).expect("backs up");
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(back_up);
            (back_up(), other.join().expect("does not panic"))
        });
        assert_eq!(one, other);
        let expected = numbered("registry.json.backup", u32::from(turn));
        assert_eq!(one, expected, "none is made twice");
    }
    assert_eq!(disk.staged(), [""; 0]);
}

#[test]
fn a_backup_that_cannot_be_made_is_told_with_the_cause() {
    let disk = Disk::new();
    let gone = Disk::new();
    let file = gone.file();
    gone.vanish();
    let error = file
        .back_up(&disk.store, &disk.store.staging, b"one")
        .expect_err("there is no directory");
    assert!(error.is_from(&[io::ErrorKind::NotFound]), "{error}");
}

#[test]
fn the_file_is_replaced_if_it_still_says_what_was_read() {
    let disk = Disk::new();
    assert!(
        disk.replace_if(Some(b"{}"), SOUND).is_none(),
        "there is none"
    );
    assert!(disk.replace_if(None, b"one").is_some());
    assert!(disk.replace_if(None, b"two").is_none(), "there is one");
    assert!(disk.replace_if(Some(b"other"), b"two").is_none());
    assert_eq!(disk.read(FILE), b"one");
    let old = disk.root.open(FILE).expect("opens");
    let replaced = disk.replace_if(Some(b"one"), b"two");
    let there = Fingerprint::of(&disk.root, FILE).expect("told");
    assert!(replaced.is_some() && replaced == there);
    assert_eq!(disk.read(FILE), b"two");
    disk.file()
        .replace(&disk.store, &disk.store.staging, b"three")
        .expect("replaces");
    assert_eq!(disk.read(FILE), b"three");
    assert_eq!(disk.staged(), [""; 0]);
    if disk.root.has_locks() {
        assert!(disk.root.try_lock(&old).expect("told"), "it was given up");
        let file = locked(&disk.root, FILE);
        assert!(disk.replace_if(Some(b"three"), b"four").is_none());
        assert_eq!(disk.read(FILE), b"three");
        drop(file);
    }
}
