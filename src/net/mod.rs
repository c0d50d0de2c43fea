//! The only room with sockets and `/proc`: is a port free, and who listens on it.

mod ephemeral;
mod listeners;
mod probe;

pub(crate) use ephemeral::ephemeral_range;
pub use listeners::Listener;
pub(crate) use listeners::listeners;
pub use probe::Availability;
pub(crate) use probe::{listen, probe};
