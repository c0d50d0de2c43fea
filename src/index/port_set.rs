//! Sets of ports, as the registry file notes them.

use std::fmt;
use std::str::FromStr;

use crate::port::{Port, PortRange};

/// A set of ports. As text: `8888-8890,8893`, ascending.
#[derive(Clone)]
pub(crate) struct PortSet {
    /// One bit for each number; `None` as long as nothing was put in, as in most sets.
    words: Option<Box<[u64; PortSet::WORDS]>>,
}

impl PartialEq for PortSet {
    fn eq(&self, other: &PortSet) -> bool {
        self.words().eq(other.words())
    }
}

impl Eq for PortSet {}

impl PortSet {
    const WORDS: usize = 65536 / 64;

    /// Returns the empty set.
    pub(crate) fn new() -> PortSet {
        PortSet { words: None }
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        (0..PortSet::WORDS).map(|at| self.words.as_ref().map_or(0, |words| words[at]))
    }

    fn place(port: Port) -> (usize, u64) {
        (usize::from(port.get() / 64), 1 << (port.get() % 64))
    }

    /// Adds `port`. Returns whether it was not there yet.
    pub(crate) fn insert(&mut self, port: Port) -> bool {
        let (word, bit) = PortSet::place(port);
        let words = self
            .words
            .get_or_insert_with(|| Box::new([0; PortSet::WORDS]));
        let new = words[word] & bit == 0;
        words[word] |= bit;
        new
    }

    /// Takes `port` out. Returns whether it was there.
    pub(crate) fn remove(&mut self, port: Port) -> bool {
        let (word, bit) = PortSet::place(port);
        let Some(words) = &mut self.words else {
            return false;
        };
        let old = words[word] & bit != 0;
        words[word] &= !bit;
        old
    }

    /// Returns whether `port` is in the set.
    pub(crate) fn contains(&self, port: Port) -> bool {
        let (word, bit) = PortSet::place(port);
        let words = self.words.as_ref();
        words.is_some_and(|words| words[word] & bit != 0)
    }

    /// Returns whether the set is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.words().all(|word| word == 0)
    }

    /// Iterates over the ports, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Port> {
        (0..=u16::MAX)
            .step_by(64)
            .zip(self.words())
            .flat_map(|(base, word)| {
                let bits =
                    std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
                bits.take_while(|&word| word != 0).filter_map(move |word| {
                    let bit = u16::try_from(word.trailing_zeros()).ok()?;
                    Port::new(base + bit)
                })
            })
    }
}

impl Default for PortSet {
    fn default() -> PortSet {
        PortSet::new()
    }
}

impl Extend<Port> for PortSet {
    fn extend<T: IntoIterator<Item = Port>>(&mut self, ports: T) {
        for port in ports {
            self.insert(port);
        }
    }
}

impl FromIterator<Port> for PortSet {
    fn from_iter<T: IntoIterator<Item = Port>>(ports: T) -> PortSet {
        let mut set = PortSet::new();
        set.extend(ports);
        set
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ports = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = ports.next() {
            let mut last = first;
            while let Some(next) = ports.next_if(|next| next.get() - 1 == last.get()) {
                last = next;
            }
            write!(f, "{comma}{first}")?;
            if last != first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// A text is no set of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoPortSet;

impl FromStr for PortSet {
    type Err = NoPortSet;

    /// Reads ascending ranges only: so each port is looked at once, however long the text.
    fn from_str(text: &str) -> Result<PortSet, NoPortSet> {
        let mut set = PortSet::new();
        if text.is_empty() {
            return Ok(set);
        }
        let mut last = None;
        for part in text.split(',') {
            let range: PortRange = part.parse().map_err(|_| NoPortSet)?;
            if last.is_some_and(|last| range.first() <= last) {
                return Err(NoPortSet);
            }
            last = Some(range.last());
            set.extend(range.iter());
        }
        Ok(set)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).expect("port")
    }

    fn set(text: &str) -> PortSet {
        text.parse().expect("a set")
    }

    #[test]
    fn sets_are_equal_that_have_the_same_ports() {
        let mut ports = set("1");
        assert_ne!(ports, PortSet::new());
        assert_ne!(ports, set("2"));
        assert_ne!(ports, set("1-2"));
        ports.remove(port(1));
        assert_eq!(ports, PortSet::new());
    }

    #[test]
    fn a_set_of_ports_is_read_only_in_its_own_spelling() {
        for text in [
            "",
            "1",
            "1-2",
            "1,3",
            "65535",
            "63-65,127-128",
            "1-65535",
            "8888-8890,8893",
        ] {
            assert_eq!(set(text).to_string(), text);
        }
        for text in [
            ",", "1,", ",1", "1,,2", "0", "65536", "2-1", "1-", "-1", "a", "1 ", "2,1", "1,1",
            "1-3,2", "1-2-3",
        ] {
            assert_eq!(text.parse::<PortSet>(), Err(NoPortSet), "{text}");
        }
        let mut ports = set("8888-8890");
        assert_eq!(ports.iter().count(), 3);
        assert!(ports.remove(port(8889)) && !ports.remove(port(8889)));
        assert!(ports.insert(port(1)) && !ports.insert(port(1)));
        assert!(ports.contains(port(8890)) && !ports.contains(port(8889)) && !ports.is_empty());
        assert_eq!(format!("{ports:?}"), "{1,8888,8890}");
        assert!(PortSet::default().is_empty());
    }

    proptest! {
        #[test]
        fn a_set_of_ports_reads_back_as_written(numbers in prop::collection::btree_set(1u16.., 0..200), low in prop::collection::btree_set(1u16..80, 0..60)) {
            let all: std::collections::BTreeSet<Port> = numbers.into_iter().chain(low).map(port).collect();
            let ports: PortSet = all.iter().copied().collect();
            prop_assert_eq!(&set(&ports.to_string()), &ports);
            prop_assert!(ports.iter().eq(all.iter().copied()));
            prop_assert_eq!(ports.iter().count(), all.len());
        }
    }
}
