//! What tells two claims of one port apart.

use crate::project::write_hex;

/// Tells two claims of one port apart: random, 128 bits.
///
/// `Display` gives 32 lower-case hexadecimal digits, as they stand in the record.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let registry = Registry::open(dir.path().to_str().unwrap())?;
/// # let shop = Holder::new(ProjectPath::from_normal("/home/a/shop")?);
/// let before = registry.claim(&Request::new(shop.clone()))?.keep();
/// registry.release(&before)?;
/// let after = registry.claim(&Request::new(shop).port(before.port()))?.keep();
/// assert_eq!(after.port(), before.port());
/// assert_ne!(after.nonce(), before.nonce());
/// assert_eq!(after.nonce().to_string().len(), 32);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// No claim's: that of a mapping in the registry file that is no claim yet.
    pub(crate) const NONE: Nonce = Nonce([0; 16]);

    #[cfg(test)]
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Nonce {
        Nonce(bytes)
    }

    /// Draws a new one.
    pub(crate) fn random() -> std::io::Result<Nonce> {
        let mut bytes = [0; 16];
        draw(&mut bytes)?;
        Ok(Nonce(bytes))
    }

    /// Returns it as it stands in the record.
    pub(super) fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        write_hex(&self.0, &mut digits);
        digits
    }

    pub(crate) fn from_hex(text: &str) -> Option<Nonce> {
        // `from_str_radix` would take a sign and capitals: one nonce has one spelling.
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(digits) {
            return None;
        }
        u128::from_str_radix(text, 16)
            .ok()
            .map(|number| Nonce(number.to_be_bytes()))
    }
}

/// One system call. (The crate that serves other systems opens devices where the C library is
/// linked statically.)
#[cfg(target_os = "linux")]
fn draw(bytes: &mut [u8]) -> std::io::Result<()> {
    use rustix::rand::{GetRandomFlags, getrandom};
    let wanted = bytes.len();
    // Up to 256 bytes come whole.
    match rustix::io::retry_on_intr(|| getrandom(&mut *bytes, GetRandomFlags::empty()))? {
        count if count == wanted => Ok(()),
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn draw(bytes: &mut [u8]) -> std::io::Result<()> {
    Ok(getrandom::fill(bytes)?)
}

impl std::fmt::Display for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.digits();
        f.write_str(std::str::from_utf8(&digits).expect("digits are text"))
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_nonce_has_one_spelling() {
        let digits = "0123456789abcdef".repeat(2);
        let nonce = Nonce::from_hex(&digits).expect("32 digits");
        assert_eq!(nonce.to_string(), digits);
        assert_eq!(format!("{nonce:?}"), digits);
        for text in [
            &digits[1..],
            &format!("0{digits}"),
            &digits.to_uppercase(),
            &format!("+{}", &digits[1..]),
            "",
        ] {
            assert_eq!(Nonce::from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn no_two_draws_are_equal() {
        let draw = || Nonce::random().expect("draws");
        let (one, other) = (draw(), draw());
        assert!(one != other && one != Nonce::NONE);
    }
}
