//! Leases: claims that are never committed. Their lock is what holds them: the kernel drops it
//! when the last process that has the file open ends, and then anybody may sweep the file.

use crate::error::{Op, Result};
use crate::fs::Dir;
use crate::port::Port;
use crate::project::Holder;
use crate::record::{Draft, Record, claim_name};
use crate::term::Term;

use super::acquire::{Picker, first_of};
use super::claim::Pending;
use super::{Context, Store};

/// A lease that this process holds.
pub(crate) struct Leased<D: Dir>(Pending<D>);

impl<D: Dir> Leased<D> {
    pub(crate) fn record(&self) -> &Record {
        self.0.record()
    }

    /// Returns the file whose lock is the lease.
    pub(crate) fn file(&self) -> &D::File {
        self.0.file()
    }

    /// Ends the lease. Not where other processes have inherited the file: they hold it still, and
    /// the lock is theirs as well.
    pub(crate) fn end(self, store: &Store<D>) {
        self.0.abandon(store);
    }
}

/// Leases the first of the picker's ports that can be had to `holder`; `None` where it knows
/// none any more. Only where there are locks.
pub(crate) fn lease<D: Dir>(
    store: &Store<D>,
    holder: &Holder,
    picker: &mut impl Picker,
) -> Result<Option<Leased<D>>> {
    let mut draft = Draft::from(holder.clone());
    draft.term = Term::Lease;
    Ok(first_of(store, &draft, picker)?.map(Leased))
}

/// Returns whether somebody holds the lock of the claim of `port`.
pub(super) fn is_locked<D: Dir>(store: &Store<D>, port: Port) -> Result<bool> {
    let (dir, name) = (&store.ports, claim_name(port));
    if !dir.has_locks() {
        return Ok(false);
    }
    match dir.open(&name) {
        Ok(file) => {
            let is_free = dir.try_lock(&file).at(Op::Lock, dir, &name)?;
            if is_free {
                dir.unlock(&file);
            }
            Ok(!is_free)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at(Op::Open, dir, &name),
    }
}
