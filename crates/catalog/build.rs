//! Tells Cargo that a new migration file means a new build: the macro that embeds the folder sees only the files that
//! were there when it last ran.
#![allow(
    clippy::print_stdout,
    reason = "printing is how a build script talks to Cargo"
)]

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
