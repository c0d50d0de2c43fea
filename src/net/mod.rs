//! The only room with sockets and `/proc`: is a port free, who listens on it, does a process live.

mod ephemeral;
mod listeners;
mod probe;
mod process;

pub(crate) use ephemeral::ephemeral_range;
pub use listeners::Listener;
pub(crate) use listeners::listeners;
pub use probe::Availability;
pub(crate) use probe::{availability, is_free, listen, probe};
