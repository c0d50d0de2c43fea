//! Where the search for a free port goes on: `index/turn`, the port that was picked in turn
//! last. Only a hint. It is written before the port is committed, so that no port is missed; a writer
//! that is slower than others, or was stopped, may set it back to where it began.

use crate::fs::os::OsDir;
use crate::fs::slot::Slot;
use crate::port::{Port, PortRange};

pub(crate) const NAME: &str = "turn";

/// Digits of the highest port.
const LEN: usize = 5;

/// The turn of a registry. Where its file cannot be had, nothing is remembered.
pub(crate) struct Turn(Option<Slot>);

impl Turn {
    /// Opens the turn in the directory `index/`.
    pub(crate) fn open(index: &OsDir) -> Turn {
        Turn(Slot::open(index, NAME).ok())
    }

    /// Returns the port that was picked last.
    pub(crate) fn last(&self) -> Option<Port> {
        self.0.as_ref()?.read().and_then(Port::new)
    }

    /// Notes that `port` of `range` was picked by a search that began behind `seen`, unless
    /// others have come further meanwhile.
    pub(crate) fn advance(&self, seen: Option<Port>, port: Port, range: PortRange) {
        let last = self.last();
        if last == seen || last.is_none_or(|last| !is_ahead(last, port, range)) {
            self.set(port);
        }
    }

    /// The same without looking, for a search whose first port it was: nobody else can have come far meanwhile.
    pub(crate) fn set(&self, port: Port) {
        self.write(&port.get().to_string());
    }

    /// Goes where others went on who wrote `next` as `next_available` into the registry file,
    /// unless ports were picked behind it since.
    pub(crate) fn follow(&self, next: Port, range: PortRange) {
        let last = self.last();
        let is_ahead = |last| last == next || is_ahead(last, next, range);
        if range.contains(next) && !last.is_some_and(is_ahead) {
            self.set(range.before(next));
        }
    }

    fn write(&self, text: &str) {
        if let Some(slot) = &self.0 {
            let _ = slot.write(text, LEN);
        }
    }

    /// Forgets it: the search begins where the registry file says.
    pub(crate) fn clear(&self) {
        self.write("");
    }
}

/// Returns where the search begins: behind the port that was picked last, else at the file's
/// `next_available`, else at the range's first port.
pub(crate) fn next_available(last: Option<Port>, written: Option<Port>, range: PortRange) -> Port {
    let within = |port: Option<Port>| port.filter(|&port| range.contains(port));
    match (within(last), within(written)) {
        (Some(last), _) => range.after(last),
        (None, Some(written)) => written,
        (None, None) => range.first(),
    }
}

/// Returns whether `port` lies ahead of `other` in the range, around its end. Half the range
/// ahead, or more, is behind: a slow process that picked long ago.
fn is_ahead(port: Port, other: Port, range: PortRange) -> bool {
    if !range.contains(port) || !range.contains(other) {
        return false;
    }
    let len = range.len();
    let distance = (u32::from(port.get()) + len - u32::from(other.get())) % len;
    distance != 0 && 2 * distance < len
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).expect("port")
    }

    #[test]
    fn the_search_goes_on_behind_the_port_that_was_picked_last() {
        let range: PortRange = "20-29".parse().expect("range");
        let next = |last: u16, written: u16| {
            let [last, written] = [last, written].map(|number| Some(port(number)));
            next_available(last, written, range).get()
        };
        assert_eq!(next(22, 28), 23);
        assert_eq!(next(29, 28), 20, "around the end");
        assert_eq!(next(99, 28), 28, "picked in another range");
        assert_eq!(next(99, 98), 20, "written for another range");
        assert_eq!(next_available(None, None, range), port(20));
    }

    #[test]
    fn the_turn_goes_on_and_not_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = camino::Utf8Path::from_path(dir.path()).expect("UTF-8");
        let root = OsDir::open_root(path).expect("opens");
        let range: PortRange = "8-10007".parse().expect("range");
        let turn = Turn::open(&root);
        assert_eq!(turn.last(), None);
        for (seen, picked, last) in [
            (None, 9999, 9999),
            (Some(9990), 9998, 9999),
            (Some(9990), 8, 8),
            (Some(8), 9, 9),
            (Some(9990), 10_006, 9),
            (Some(9), 9000, 9000),
            (Some(9), 3000, 3000),
        ] {
            turn.advance(seen.map(port), port(picked), range);
            assert_eq!(Turn::open(&root).last(), Some(port(last)), "{picked}");
        }
        for (next, last) in [
            (3000, 3000),
            (2900, 3000),
            (7, 3000),
            (7000, 6999),
            (8, 10_007),
        ] {
            turn.follow(port(next), range);
            assert_eq!(turn.last(), Some(port(last)), "{next}");
        }
        turn.clear();
        assert_eq!(turn.last(), None);
    }

    #[test]
    fn what_is_far_ahead_or_of_another_range_is_behind() {
        let range: PortRange = "20-29".parse().expect("range");
        assert!(is_ahead(port(21), port(28), range), "around the end");
        assert!(is_ahead(port(24), port(20), range));
        assert!(
            !is_ahead(port(25), port(20), range),
            "half the range is behind"
        );
        // Either would be ahead, if it were counted around as well.
        assert!(!is_ahead(port(31), port(28), range));
        assert!(!is_ahead(port(28), port(15), range));
    }
}
