//! `cargo xtask fuzz`: noise for the decoder of HiveServer2.
//!
//! The flags are those of `cargo fuzz` without a sanitizer, which the stable compiler takes; `unsafe` is
//! forbidden in what is looked at. What is found, and every input that reaches something new, goes to
//! `target/fuzz`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, repository, run, target_dir};

/// Counts which ways are taken, and looks at what is compared.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks --cfg fuzzing";

/// Longest input, in bytes: what is decoded may be twice as long.
const MAX_INPUT: &str = "-max_len=512";

/// Checks everything that was found before.
///
/// # Errors
/// Something does not hold.
pub fn corpus() -> Result<()> {
    run(in_workspace().args(["test", "--locked"]))
}

/// Makes noise for so many seconds.
///
/// # Errors
/// Something does not hold; the input is written to `target/fuzz`.
pub fn decoder(seconds: u64) -> Result<()> {
    let found = target_dir().join("fuzz").join("found");
    fs::create_dir_all(&found)?;
    let artifacts = format!("-artifact_prefix={}/", target_dir().join("fuzz").display());
    // With a target named, what only builds is built without the flags.
    run(in_workspace()
        .env("RUSTFLAGS", FLAGS)
        .args(["run", "--locked", "--bin", "noise", "--target"])
        .arg(host()?)
        .arg("--")
        .arg(&found)
        .args(["corpus", "seeds", MAX_INPUT])
        .arg(format!("-max_total_time={seconds}"))
        .arg(artifacts))
}

fn in_workspace() -> Command {
    let mut command = cargo();
    command
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", target_dir().join("fuzz"));
    command
}

fn workspace() -> PathBuf {
    repository().join("crates/hs2/fuzz")
}

/// The platform that we run on.
fn host() -> Result<String> {
    let told = Command::new("rustc").arg("-vV").output();
    let told = told.context("cannot start rustc")?.stdout;
    let told = String::from_utf8_lossy(&told);
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}
