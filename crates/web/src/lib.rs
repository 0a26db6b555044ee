//! The place of the web front end: pages, JSON and metrics.
//!
//! It will read what [`forebay_server`] shows of queries, sessions and admission. Nothing listens
//! yet.
