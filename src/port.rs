//! Port numbers and ranges of them.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Most ports of one block (see [`Registry::claim_block`](crate::Registry::claim_block)): as many
/// files are open at once while it is claimed, and a process may have as few as 256.
pub const BLOCK_MAX: u16 = 100;

/// A TCP port, 1 to 65535.
///
/// It reads decimal digits only: no sign, no white space.
///
/// # Examples
///
/// ```
/// use portclaim::Port;
/// let port: Port = "8888".parse()?;
/// assert_eq!(port, Port::try_from(8888)?);
/// assert!("0".parse::<Port>().is_err() && "+1".parse::<Port>().is_err());
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// Returns the port of this number, or `None` for 0.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(portclaim::Port::new(8888).unwrap().get(), 8888);
    /// assert!(portclaim::Port::new(0).is_none());
    /// ```
    #[must_use]
    pub const fn new(number: u16) -> Option<Port> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Port(number)),
            None => None,
        }
    }

    /// Returns the number.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!("65535".parse::<portclaim::Port>()?.get(), 65535);
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u16> for Port {
    type Error = Error;

    fn try_from(number: u16) -> Result<Port> {
        Port::new(number).ok_or_else(|| Error::invalid_port("0"))
    }
}

impl FromStr for Port {
    type Err = Error;

    /// Reads decimal digits only: no sign, no white space.
    fn from_str(text: &str) -> Result<Port> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::invalid_port(text));
        }
        text.parse::<NonZeroU16>()
            .map(Port)
            .map_err(|_| Error::invalid_port(text))
    }
}

/// An inclusive range of ports, at least one.
///
/// It is written and read as `FIRST-LAST`; one port alone is read as a range too.
///
/// # Examples
///
/// ```
/// use portclaim::PortRange;
/// let range: PortRange = "8000-8099".parse()?;
/// assert_eq!(range.len(), 100);
/// assert_eq!(range.to_string(), "8000-8099");
/// assert_eq!("8000".parse::<PortRange>()?.len(), 1);
/// # Ok::<(), portclaim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// The range that is used where none is named: 8888 to 9999.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(portclaim::PortRange::DEFAULT.to_string(), "8888-9999");
    /// ```
    pub const DEFAULT: PortRange = match (Port::new(8888), Port::new(9999)) {
        (Some(first), Some(last)) => PortRange { first, last },
        _ => unreachable!(),
    };

    /// Returns the ports from `first` to `last`, both included.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPort`](crate::ErrorKind::InvalidPort) where `first` is above `last`.
    ///
    /// # Examples
    ///
    /// ```
    /// use portclaim::{Port, PortRange};
    /// let (low, high) = (Port::try_from(8000)?, Port::try_from(8099)?);
    /// assert_eq!(PortRange::new(low, high)?, "8000-8099".parse()?);
    /// assert!(PortRange::new(high, low).is_err());
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn new(first: Port, last: Port) -> Result<PortRange> {
        if first > last {
            return Err(Error::invalid_range(first, last));
        }
        Ok(PortRange { first, last })
    }

    /// Returns the lowest port.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!("8000-8099".parse::<portclaim::PortRange>()?.first().get(), 8000);
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub const fn first(self) -> Port {
        self.first
    }

    /// Returns the highest port.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!("8000-8099".parse::<portclaim::PortRange>()?.last().get(), 8099);
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub const fn last(self) -> Port {
        self.last
    }

    /// Returns how many ports the range has: 1 to 65535.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!("1-65535".parse::<portclaim::PortRange>()?.len(), 65535);
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range has at least one port")]
    pub const fn len(self) -> u32 {
        self.last.get() as u32 - self.first.get() as u32 + 1
    }

    /// Returns whether `port` lies in the range.
    ///
    /// # Examples
    ///
    /// ```
    /// let range: portclaim::PortRange = "8000-8099".parse()?;
    /// assert!(range.contains(range.last()));
    /// assert!(!range.contains("8100".parse()?));
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn contains(self, port: Port) -> bool {
        self.first <= port && port <= self.last
    }

    /// Returns the port that follows `port`; the last one is followed by the first one, and so is
    /// a port outside the range.
    ///
    /// # Examples
    ///
    /// ```
    /// let range: portclaim::PortRange = "8000-8099".parse()?;
    /// assert_eq!(range.after(range.first()).get(), 8001);
    /// assert_eq!(range.after(range.last()), range.first());
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    #[must_use]
    pub fn after(self, port: Port) -> Port {
        if !self.contains(port) || port == self.last {
            return self.first;
        }
        Port::new(port.get() + 1).unwrap_or(self.first)
    }

    /// Returns the port before `port`, the last one before the first.
    pub(crate) fn before(self, port: Port) -> Port {
        match Port::new(port.get() - 1) {
            Some(before) if self.contains(before) => before,
            _ => self.last,
        }
    }

    /// Iterates over the ports, ascending.
    pub(crate) fn iter(self) -> impl Iterator<Item = Port> + use<> {
        self.cycle_from(self.first)
    }

    /// Iterates over every port of the range once, from `start` upward and around;
    /// from the first one where `start` lies outside.
    ///
    /// # Examples
    ///
    /// ```
    /// let range: portclaim::PortRange = "20-22".parse()?;
    /// let numbers: Vec<u16> = range.cycle_from("21".parse()?).map(|port| port.get()).collect();
    /// assert_eq!(numbers, [21, 22, 20]);
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    pub fn cycle_from(self, start: Port) -> impl Iterator<Item = Port> + use<> {
        let start = if self.contains(start) {
            start
        } else {
            self.first
        };
        std::iter::successors(Some(start), move |&port| {
            let next = self.after(port);
            (next != start).then_some(next)
        })
    }
}

impl Default for PortRange {
    fn default() -> PortRange {
        PortRange::DEFAULT
    }
}

impl From<Port> for PortRange {
    /// The range of one port.
    ///
    /// # Examples
    ///
    /// ```
    /// let port = portclaim::Port::try_from(8888)?;
    /// assert_eq!(portclaim::PortRange::from(port).to_string(), "8888-8888");
    /// # Ok::<(), portclaim::Error>(())
    /// ```
    fn from(port: Port) -> PortRange {
        PortRange {
            first: port,
            last: port,
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = Error;

    /// Reads `FIRST-LAST`, or one port alone.
    fn from_str(text: &str) -> Result<PortRange> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        PortRange::new(first.parse()?, last.parse()?)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn range(text: &str) -> PortRange {
        text.parse().expect("a range")
    }

    #[test]
    fn reads_ports_and_refuses_what_is_none() {
        assert_eq!("1".parse::<Port>().expect("1").get(), 1);
        assert_eq!("65535".parse::<Port>().expect("65535").get(), 65535);
        for text in [
            "",
            "0",
            "00",
            "65536",
            "abc",
            "-1",
            "+1",
            " 1",
            "1 ",
            "0x10",
            "1e3",
            "99999999999999999999",
        ] {
            let error = text.parse::<Port>().expect_err(text);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidPort, "{text:?}");
        }
    }

    #[test]
    fn a_cycle_visits_every_port_once_and_starts_where_told() {
        let numbers = |start: u16| -> Vec<u16> {
            range("20-23")
                .cycle_from(Port::new(start).expect("port"))
                .map(Port::get)
                .collect()
        };
        assert_eq!(numbers(20), [20, 21, 22, 23]);
        assert_eq!(numbers(22), [22, 23, 20, 21]);
        assert_eq!(numbers(23), [23, 20, 21, 22]);
        assert_eq!(numbers(19), [20, 21, 22, 23], "below the range");
        assert_eq!(numbers(24), [20, 21, 22, 23], "above the range");
        assert_eq!(range("7").cycle_from(range("7").first()).count(), 1);
        assert_eq!(
            range("1-65535").cycle_from(range("65535").first()).count(),
            65535
        );
    }

    #[test]
    fn a_range_upside_down_is_refused() {
        assert!("9-8".parse::<PortRange>().is_err());
        assert_eq!(range("8888-9999").len(), 1112);
        assert_eq!(range("8888-9999"), PortRange::DEFAULT);
    }
}
