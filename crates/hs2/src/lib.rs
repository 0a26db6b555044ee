//! The place of the HiveServer2 front end (Thrift, binary and HTTP).
//!
//! It will open sessions of [`forebay_server`] as the PostgreSQL front end does, and know nothing
//! of that one. Nothing listens yet; `pilota` is among its dependencies because it decides features
//! of crates that everything else is built with.
