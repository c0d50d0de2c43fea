//! Power cuts: every state of the disk that one may leave.
//!
//! A flush keeps what it says it keeps, and nothing else is certain. Each name that changed
//! since the last flush of its directory may mean what it meant before or after any of its
//! changes, whatever became of other names; so of a rename from one directory to another, both
//! halves may be kept, one, or none. (A file system that keeps a rename whole leaves fewer
//! states, all of them among these.) A file whose content was not flushed may be as it was,
//! empty, cut short, zeros, or whole. A seal that was not flushed may be on or off, and a date
//! what it was before or after.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::state::{Flushed, Folder, Inode, State};
use super::{Fault, SimDir};

/// A disk that no process uses. Its clock goes on where it stopped.
#[derive(Clone)]
pub(crate) struct Disk(State);

/// Tells two states of a disk apart.
pub(crate) type Fingerprint = [u64; 2];

/// Answers how to go on where there are so many ways, from 0.
pub(crate) type Choose<'a> = &'a mut dyn FnMut(usize) -> usize;

impl SimDir {
    /// Returns a copy of the whole disk as it is now, after `kill -9` of all processes: nothing
    /// is lost, and no lock is held.
    pub(crate) fn killed(&self) -> Disk {
        let mut state = super::with(&self.state, |state| state.clone());
        if !state.has(Fault::LocksOutlive) {
            for inode in &mut state.inodes {
                inode.lock = None;
            }
        }
        Disk(state)
    }

    /// Returns a number that rises with every change on the disk that locks are no part of.
    pub(crate) fn version(&self) -> usize {
        super::with(&self.state, |state| state.version)
    }
}

impl Disk {
    /// Returns the directories of these names, on a copy of the disk.
    pub(crate) fn mount<const N: usize>(&self, names: [&str; N]) -> [SimDir; N] {
        assert_eq!(self.0.folders.len(), N, "a disk has its directories");
        SimDir::of(self.0.clone(), names)
    }

    /// Flushes everything.
    pub(crate) fn settle(&mut self) {
        for dir in 0..self.0.folders.len() {
            self.0.sync(dir);
        }
        for inode in 0..self.0.inodes.len() {
            self.0.sync_file(inode);
        }
    }

    /// Returns the disk after a power cut that leaves what is chosen.
    pub(crate) fn power_cut(&self, choose: Choose<'_>) -> Disk {
        let mut left = State {
            folders: Vec::new(),
            ..self.0.clone()
        };
        for folder in &self.0.folders {
            left.folders.push(kept_names(folder, choose));
        }
        let named: BTreeSet<usize> = left
            .folders
            .iter()
            .flat_map(|folder| folder.names.values().copied())
            .collect();
        for (number, inode) in left.inodes.iter_mut().enumerate() {
            *inode = if named.contains(&number) {
                kept_file(inode, choose)
            } else {
                Inode::default()
            };
        }
        Disk(left)
    }

    /// Calls `see` with every state that a power cut may leave.
    pub(crate) fn power_cuts(&self, mut see: impl FnMut(Disk)) {
        every(|choose| see(self.power_cut(choose)));
    }

    /// Returns what tells this disk from others: its names, contents, seals, and what is flushed.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut named = BTreeSet::new();
        for folder in &self.0.folders {
            named.extend(folder.names.values().copied());
            named.extend(folder.changed.values().flatten().flatten().copied());
        }
        // Numbers of files that have no name any more do not count.
        let numbers: Vec<usize> = named.into_iter().collect();
        let number = |inode: &usize| numbers.binary_search(inode).ok();
        let mut all = Hashed(Vec::new());
        all.write_u64(self.0.now);
        for folder in &self.0.folders {
            for (name, inode) in &folder.names {
                (name, number(inode)).hash(&mut all);
            }
            for (name, earlier) in &folder.changed {
                name.hash(&mut all);
                for inode in earlier {
                    inode.as_ref().and_then(number).hash(&mut all);
                }
            }
            all.write_u8(u8::MAX);
        }
        for &inode in &numbers {
            self.0.inodes[inode].hash(&mut all);
        }
        [0, 1].map(|seed| {
            let mut hasher = DefaultHasher::new();
            hasher.write_usize(seed);
            hasher.write(&all.0);
            hasher.finish()
        })
    }
}

/// What is hashed, in one piece.
struct Hashed(Vec<u8>);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("it is hashed as a whole")
    }
}

fn kept_names(folder: &Folder, choose: Choose<'_>) -> Folder {
    let mut names = folder.names.clone();
    for (name, earlier) in &folder.changed {
        let mut meant = earlier.clone();
        meant.push(folder.names.get(name).copied());
        meant.sort_unstable();
        meant.dedup();
        match meant[choose(meant.len())] {
            Some(inode) => names.insert(name.clone(), inode),
            None => names.remove(name),
        };
    }
    Folder {
        names,
        ..Folder::default()
    }
}

fn kept_file(inode: &Inode, choose: Choose<'_>) -> Inode {
    let flushed = &inode.flushed;
    let mut contents = vec![flushed.content.clone()];
    let whole = &inode.content;
    if flushed.content != *whole {
        // A record that is cut short anywhere is torn; without its line feed it looks best.
        for len in [
            0,
            whole.len() / 2,
            whole.len().saturating_sub(1),
            whole.len(),
        ] {
            contents.push(whole[..len].to_vec());
        }
        contents.push(vec![0; whole.len()]);
        contents.sort_unstable();
        contents.dedup();
    }
    let content = contents.swap_remove(choose(contents.len()));
    let sealed = if flushed.sealed == inode.sealed {
        inode.sealed
    } else {
        choose(2) == 1
    };
    let mut dates = vec![flushed.date, inode.date];
    dates.dedup();
    let date = dates[choose(dates.len())];
    Inode {
        flushed: Flushed {
            content: content.clone(),
            sealed,
            date,
        },
        content,
        sealed,
        date,
        ..Inode::default()
    }
}

/// Calls `run` once for every sequence of choices that it may be given.
pub(crate) fn every(mut run: impl FnMut(Choose<'_>)) {
    // The choices of this run, and among how many each was.
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut at = 0;
        run(&mut |count| {
            if at == chosen.len() {
                chosen.push((0, count));
            }
            at += 1;
            chosen[at - 1].0
        });
        while let Some((choice, count)) = chosen.pop() {
            if choice + 1 < count {
                chosen.push((choice + 1, count));
                break;
            }
        }
        if chosen.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Dir;

    /// Returns what a power cut may leave of two directories: each name with its content.
    fn left(dir: &SimDir) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        dir.killed().power_cuts(|disk| {
            let mut shown = Vec::new();
            for dir in disk.mount(["a", "b"]) {
                for name in dir.names().expect("names") {
                    let (content, sealed) = dir.read_sealed(&name, 100).expect("read");
                    let content = String::from_utf8(content).expect("text");
                    let seal = if sealed { "!" } else { "" };
                    shown.push(format!("{}/{name}={content}{seal}", dir.path()));
                }
            }
            left.insert(shown.join(" "));
        });
        left
    }

    #[test]
    fn a_power_cut_keeps_what_was_flushed_and_perhaps_more() {
        let [a, b] = SimDir::disk(["a", "b"], &[]);
        let file = a.create("x").expect("create");
        a.write(&file, b"1234").expect("write");
        let zeros = "a/x=\0\0\0\0";
        let expected = ["", "a/x=", zeros, "a/x=12", "a/x=123", "a/x=1234"];
        assert_eq!(left(&a), expected.map(String::from).into());
        a.sync_file(&file).expect("sync");
        assert_eq!(left(&a), ["", "a/x=1234"].map(String::from).into());
        a.sync().expect("sync");
        a.seal(&file).expect("seal");
        assert_eq!(left(&a), ["a/x=1234", "a/x=1234!"].map(String::from).into());
        a.sync_file(&file).expect("sync");
        a.publish("x", &b, "y").expect("publish");
        let halves = ["", "a/x=1234!", "b/y=1234!", "a/x=1234! b/y=1234!"];
        assert_eq!(left(&a), halves.map(String::from).into());
        b.sync().expect("sync");
        let halves = ["b/y=1234!", "a/x=1234! b/y=1234!"];
        assert_eq!(left(&a), halves.map(String::from).into());
        a.sync().expect("sync");
        b.remove("y").expect("remove");
        b.create("y").expect("create");
        let values = ["", "b/y=", "b/y=1234!"];
        assert_eq!(left(&a), values.map(String::from).into());
    }

    #[test]
    fn every_sequence_of_choices_is_tried_once() {
        let mut seen = Vec::new();
        every(|choose| {
            let first = choose(2);
            let second = if first == 0 { choose(3) } else { choose(1) };
            seen.push((first, second));
        });
        assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 0)]);
    }
}
