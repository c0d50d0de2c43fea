//! The ports that the kernel gives to outgoing connections and to `bind` with port 0.

use crate::port::PortRange;

/// Returns the kernel's ephemeral range, `None` where it is not known. A stable port in it
/// can be in use by anybody's outgoing connection when its server starts.
#[cfg(target_os = "linux")]
pub(crate) fn ephemeral_range() -> Option<PortRange> {
    // One line, two numbers; longer than that it is not.
    let file = rustix::fs::open(
        "/proc/sys/net/ipv4/ip_local_port_range",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let mut text = [0; 64];
    let count = rustix::io::read(file.ok()?, &mut text).ok()?;
    parse(std::str::from_utf8(&text[..count]).ok()?)
}

/// The same: IANA's dynamic ports, which macOS and the BSDs use unless told otherwise.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ephemeral_range() -> Option<PortRange> {
    parse("49152 65535")
}

fn parse(text: &str) -> Option<PortRange> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    PortRange::new(first, last).ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_are_a_range_and_nothing_else_is() {
        assert_eq!(parse("32768\t60999\n"), "32768-60999".parse().ok());
        for text in ["", "1", "a b", "9 8", "0 10"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
