//! What a search has come to, one possibility of several.

use super::super::seen::{Nonce, Seen};

/// Who holds a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    Free,
    Held(Seen),
    /// By a claim whose worker was killed before it was told.
    Untold,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Configuration {
    pub(super) state: State,
    /// The open operations that have had their instant, ascending.
    pub(super) done: Vec<usize>,
    /// Claims of killed workers that were found and released, ascending: no other is them.
    pub(super) spent: Vec<Nonce>,
}

impl Configuration {
    /// Remembers a claim that nobody was told to have made, and that is gone.
    pub(super) fn spend(&mut self, nonce: Nonce) {
        if let Err(at) = self.spent.binary_search(&nonce) {
            self.spent.insert(at, nonce);
        }
    }
}
