//! What an operation did to a holder's register, by its answer.

use super::super::history::Moment;
use super::super::seen::{Nonce, Process, Seen};

/// What an operation did to a holder's register, by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It was free, and is held by this claim.
    Create(Seen),
    /// It was held by this claim, and is free.
    Remove(Seen),
    /// If it was held by this claim, it is free.
    Withdraw(Seen),
    /// It was held by a claim of this port, which may have been made by it.
    HasPort(u16),
    /// It was held by a claim of this port, which is another holder's now.
    GiveAway(u16),
    /// It was held by this claim.
    Read(Seen),
    /// It was free.
    Absent,
    /// It was free, or on the move.
    Unlisted,
    /// It was not held by this claim.
    Not(Nonce),
    /// Claims of this process may lapse from now on.
    OwnerEnds(Process),
    /// If it was free, it may be held by a claim that nobody was told.
    MayCreate,
    /// If it was held, it may be free.
    MayRemove,
    /// If it was held by this claim, it may be free.
    MayRemoveExactly(Nonce),
}

impl Effect {
    /// Returns whether it is not known if it took place.
    pub(super) fn is_open(self) -> bool {
        matches!(
            self,
            Effect::MayCreate | Effect::MayRemove | Effect::MayRemoveExactly(_)
        )
    }
}

/// What an operation says of one holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) effect: Effect,
    /// Before this moment, the claim that it made or found does not lapse.
    pub(super) until: Moment,
    /// Whether it moves ports.
    pub(super) moves: bool,
}
