//! What the system can refuse.

use std::fmt;

/// What was asked of the system when it refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Open,
    Create,
    CreateDirectory,
    Read,
    Write,
    Publish,
    Replace,
    Remove,
    List,
    Sync,
    Lock,
    Inspect,
    Permit,
    Draw,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Open => "open",
            Op::Create => "create",
            Op::CreateDirectory => "create the directory",
            Op::Read => "read",
            Op::Write => "write",
            Op::Publish => "publish",
            Op::Replace => "replace",
            Op::Remove => "remove",
            Op::List => "list",
            Op::Sync => "make durable",
            Op::Lock => "lock",
            Op::Inspect => "inspect",
            Op::Permit => "change the permissions of",
            Op::Draw => "draw random bytes for",
        })
    }
}
