//! What the library's results are as answers.

use std::time::{Duration, SystemTime};

use portclaim::{Error, ErrorKind, Fate, Notice, Prune, Record, Registry};

use super::history::Answer;
use super::plan::Plan;
use super::seen::Seen;

/// Returns what a registry lists.
pub(super) fn list(registry: &Registry, plan: &Plan) -> Result<Answer, Error> {
    let all = registry.records()?.collect::<Result<Vec<_>, _>>()?;
    Ok(seen_all(&all, plan, Answer::Listed))
}

/// Prunes what has been missing for no time, and returns what was removed. It takes two calls all the same.
pub(super) fn prune(registry: &Registry, plan: &Plan) -> Result<Answer, Error> {
    let prune = Prune::new(now()).older_than(Duration::ZERO);
    let mut removed = Vec::new();
    for one in registry.prune(&prune)? {
        if one.fate != Fate::Removed {
            continue;
        }
        if one.records.iter().any(|record| record.device().is_none()) {
            let project = one.project;
            return Ok(Answer::Failed(format!(
                "{project} was pruned, and it was not known where it lay"
            )));
        }
        removed.extend(one.records);
    }
    Ok(seen_all(&removed, plan, Answer::Pruned))
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a prune has seen is dated; here it is removed at any age"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns the answer about a record that was found, or about none.
pub(super) fn seen_or_none(record: Option<&Record>, plan: &Plan) -> Answer {
    let seen = record.map(|record| Seen::of(record, plan)).transpose();
    seen.map_or_else(Answer::Failed, Answer::Found)
}

/// Returns the answer about these records.
pub(super) fn seen_all(
    records: &[Record],
    plan: &Plan,
    answer: impl FnOnce(Vec<Seen>) -> Answer,
) -> Answer {
    let seen: Result<Vec<Seen>, String> = records
        .iter()
        .map(|record| Seen::of(record, plan))
        .collect();
    seen.map_or_else(Answer::Failed, answer)
}

/// Returns the answer that an error is.
pub(super) fn refused(error: &Error) -> Answer {
    match (error.kind(), error.exhaustion()) {
        (ErrorKind::Exhausted, Some(exhaustion)) => Answer::Exhausted {
            unbindable: exhaustion.in_use + exhaustion.denied,
        },
        // There is no row of ports, or a holder has a port that does not go with what was asked for.
        (ErrorKind::Exhausted | ErrorKind::Taken | ErrorKind::HasAnother, _) => Answer::Refused,
        (ErrorKind::Superseded, _) => Answer::Superseded,
        (ErrorKind::Contended, _) => Answer::Contended,
        _ => Answer::Failed(match error.io_error() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }),
    }
}

/// Returns what a notice says, unless it is none to worry about: the registry file may be
/// written by another process at the moment, and nobody edits it during a run.
pub(super) fn told(notice: &Notice) -> Option<String> {
    match notice {
        Notice::IndexBehind { .. } | Notice::IndexDeferred { .. } => None,
        _ => Some(format!("{notice:?}")),
    }
}
