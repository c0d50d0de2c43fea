//! The registry file that readers of the Python system's format see: derived from the
//! claims, never authoritative. What others wrote into it becomes claims (`migrate`).

mod damage;
pub(crate) mod document;
mod file;
mod json;
mod port_set;
mod salvage;
mod services;
mod staged;
#[cfg(all(test, not(loom)))]
mod testing;
pub(crate) mod turn;
mod update;
pub(crate) mod written;

pub(crate) use document::Document;
pub(crate) use file::{IndexFile, Loaded};
pub(crate) use port_set::PortSet;
pub(crate) use salvage::salvage;
pub(crate) use staged::{is_staged_name, remove_staged};
pub(crate) use turn::{Turn, next_available};
pub(crate) use update::{Dropped, port_of, present, spared, update, update_fully};
pub(crate) use written::{Settled, is_written_last, note_written, recall};
