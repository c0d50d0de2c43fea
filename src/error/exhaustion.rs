//! How a range came to have no port left.

use crate::port::PortRange;

/// How the ports of an exhausted range are accounted for.
///
/// # Examples
///
/// ```
/// # use portclaim::{Holder, PortRange, ProjectPath, Registry, Request};
/// # let dir = tempfile::tempdir()?;
/// # let root = dir.path().to_str().unwrap();
/// # let [shop, blog] = ["/home/a/shop", "/home/a/blog"].map(ProjectPath::from_normal);
/// let range: PortRange = "20000".parse()?;
/// let registry = Registry::options().range(range).open(root)?;
/// let _ = registry.claim(&Request::new(Holder::new(shop?)).port(range.first()))?;
/// let error = registry.claim(&Request::new(Holder::new(blog?))).unwrap_err();
/// let exhaustion = error.exhaustion().expect("the only port is claimed");
/// assert_eq!((exhaustion.range, exhaustion.claimed, exhaustion.in_use), (range, 1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhaustion {
    /// The range that was tried.
    pub range: PortRange,
    /// Ports that are claimed, or that an entry of the registry file keeps which can be no claim
    /// (see [`Notice::Kept`](crate::Notice::Kept)).
    pub claimed: u32,
    /// Ports that a program uses without a claim.
    pub in_use: u32,
    /// Ports that this user may not bind (on most systems, those below 1024).
    pub denied: u32,
    /// Ports that were to be left out (see [`Options::exclude`](crate::Options::exclude)).
    pub excluded: u32,
}
