//! Messages: their encoding, and where they end.

pub(crate) mod call;
pub(crate) mod scan;

/// The types of the IDL (`idl/hs2.thrift`), as `build.rs` makes them.
pub(crate) mod idl {
    include!(concat!(env!("OUT_DIR"), "/hs2.rs"));
    pub(crate) use hs2::hs2::*;
}
