//! Makes Rust of the IDL, as the crate beside does it.

use std::path::Path;

#[allow(dead_code, reason = "its `main` is for the crate beside")]
#[path = "../build.rs"]
mod hs2;

fn main() {
    hs2::make(Path::new(".."));
}
