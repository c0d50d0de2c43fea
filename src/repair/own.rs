//! Which names portclaim gives in each of its directories. What is called otherwise there is
//! foreign, and a copy of one of its files may be.

use crate::index::is_staged_name;
use crate::migrate::ESTABLISHED;
use crate::project::hex;
use crate::protocol::is_staged_record;
use crate::record::{SUFFIX, claim_port};

/// Returns whether portclaim gives files such names in `ports/`.
pub(super) fn is_claim(name: &str) -> bool {
    claim_port(name).is_some() || name == ESTABLISHED
}

/// The same in `projects/`.
pub(super) fn is_commit(name: &str) -> bool {
    is_key(name) || name == ESTABLISHED
}

/// The same in `staging/`.
pub(super) fn is_staged(name: &str) -> bool {
    is_staged_name(name) || is_staged_record(name)
}

/// Returns whether a commit can be called so.
pub(super) fn is_key(name: &str) -> bool {
    let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.strip_suffix(SUFFIX)
        .is_some_and(|key| key.len() == hex(&[0; 16]).len() && key.bytes().all(hexadecimal))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_portclaim_names_is_its_own_where_it_gives_such_names() {
        let staged = format!("8888-{}", crate::record::Nonce::NONE);
        let key = format!("{}.claim", "0a".repeat(16));
        let is_own: [fn(&str) -> bool; 3] = [is_claim, is_commit, is_staged];
        for (name, own) in [
            ("8888.claim", [true, false, false]),
            (&key, [false, true, false]),
            (ESTABLISHED, [true, true, false]),
            ("registry-1", [false, false, true]),
            ("backup-1", [false, false, true]),
            (&staged, [false, false, true]),
            ("", [false; 3]),
            ("notes.txt", [false; 3]),
            ("08888.claim", [false; 3]),
            ("8888-x", [false; 3]),
            ("registry", [false; 3]),
        ] {
            assert_eq!(is_own.map(|is_own| is_own(name)), own, "{name}");
        }
    }
}
