//! What a registry file can be besides a registry.

use std::fmt;

/// Why a file is no registry. Some of it may be saved: see [`salvage`](super::salvage::salvage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// There is nothing but white space in it.
    Empty,
    /// It is longer than [`LEN_MAX`](super::document::LEN_MAX).
    TooLong,
    /// It is not UTF-8, from this byte on.
    NotUtf8(usize),
    /// Its end is missing.
    Torn,
    /// It is not JSON; the text says where and why.
    NotJson(String),
    /// It is JSON, but not an object.
    NotAnObject,
    /// Behind the object stands something else: often, the rest of a longer file.
    ExtraData,
    /// It is nested deeper than any registry.
    TooDeep,
    /// It has no mappings.
    NoMappings,
    /// Its mappings are not an object.
    MappingsNotAnObject,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Empty => f.write_str("it is empty"),
            Damage::TooLong => f.write_str("it is longer than any registry"),
            Damage::NotUtf8(at) => write!(f, "it is not UTF-8 from byte {at} on"),
            Damage::Torn => f.write_str("its end is missing"),
            Damage::NotJson(why) => write!(f, "it is not JSON: {why}"),
            Damage::NotAnObject => f.write_str("it is not a JSON object"),
            Damage::ExtraData => f.write_str("there is something else behind its end"),
            Damage::TooDeep => f.write_str("it is nested too deep"),
            Damage::NoMappings => f.write_str("it has no \"mappings\""),
            Damage::MappingsNotAnObject => f.write_str("its \"mappings\" are not an object"),
        }
    }
}

impl std::error::Error for Damage {}
