//! A search for one port and no other.

use crate::error::Result;
use crate::net::Availability;
use crate::port::Port;
use crate::protocol::{Picker, Rejection};

/// Picks one port, whatever uses it: a project's own server, most likely.
pub(crate) struct Only<'a> {
    port: Port,
    is_tried: bool,
    still: Box<dyn FnMut() -> Result<bool> + 'a>,
    outdated: bool,
}

impl<'a> Only<'a> {
    pub(crate) fn new(port: Port) -> Only<'a> {
        Only::if_still(port, || Ok(true))
    }

    /// `still` is asked when the port is claimed and not yet committed.
    pub(crate) fn if_still(port: Port, still: impl FnMut() -> Result<bool> + 'a) -> Only<'a> {
        Only {
            port,
            is_tried: false,
            still: Box::new(still),
            outdated: false,
        }
    }

    pub(crate) fn port(&self) -> Port {
        self.port
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.outdated
    }
}

impl Picker for Only<'_> {
    fn next(&mut self) -> Result<Option<Port>> {
        let is_tried = std::mem::replace(&mut self.is_tried, true);
        Ok((!is_tried).then_some(self.port))
    }

    fn rejected(&mut self, _: Port, _: Rejection) {}

    fn prefer(&mut self, _: Port) {}

    fn availability(&mut self, _: Port) -> Result<Availability> {
        self.outdated = !(self.still)()?;
        Ok(if self.outdated {
            Availability::InUse
        } else {
            Availability::Free
        })
    }
}
