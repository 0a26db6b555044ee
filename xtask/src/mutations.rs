//! `cargo xtask mutations`: whether the checks of admission can fail.
//!
//! Each mutation of `proof/mutations.txt` is applied to a copy of the crate, alone, and every check
//! runs over it. A mutation that no check notices is an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::{cargo, repository, target_dir};

/// A broken core may run for ever; that is noticed as well.
const LIMIT_S: &str = "600";

/// Fewer than in an ordinary run, which is about a right core.
const REFERENCE_STEPS: &str = "200000";

/// What looks at a broken core. The core's own assertions are on only where they are its first check:
/// each of the others has to notice by itself.
const CHECKS: [Check; 4] = [
    Check::new("scripts", "proof", true, "-p forebay-admission --lib"),
    Check::new("model", "proof", false, "--test model"),
    Check::new("reference", "proof", false, "--test reference"),
    Check::new(
        "interleavings",
        "proof-shuttle",
        false,
        "--test interleavings",
    ),
];

struct Check {
    name: &'static str,
    /// Where it is built; another one for another mutex.
    target: &'static str,
    asserts: bool,
    arguments: &'static str,
}

impl Check {
    const fn new(
        name: &'static str,
        target: &'static str,
        asserts: bool,
        arguments: &'static str,
    ) -> Self {
        Self {
            name,
            target,
            asserts,
            arguments,
        }
    }
}

/// One mistake.
struct Mutation<'a> {
    name: &'a str,
    file: &'a str,
    old: String,
    new: String,
}

/// Runs the mutations whose names contain `part`, and prints which check noticed which; only the
/// checks whose names contain `check`.
pub fn run(part: &str, check: &str) -> Result<()> {
    let text = fs::read_to_string(admission().join("proof/mutations.txt"))?;
    let copy = copy_admission()?;
    let checks: Vec<&Check> = CHECKS.iter().filter(|c| c.name.contains(check)).collect();
    let names: Vec<&str> = checks.iter().map(|check| check.name).collect();
    println!("| broken | {} |", names.join(" | "));
    println!("| --- |{}", " --- |".repeat(checks.len()));
    let mut unnoticed = Vec::new();
    for mutation in parse(&text).filter(|m| m.name.contains(part)) {
        let broken = copy.join(mutation.file);
        let whole = fs::read_to_string(&broken)?;
        let places = whole.matches(&mutation.old).count();
        ensure!(places == 1, "{} applies in {places} places", mutation.name);
        fs::write(&broken, whole.replace(&mutation.old, &mutation.new))?;
        let noticed: Result<Vec<String>> = checks.iter().map(|c| notices(c, &copy)).collect();
        fs::write(&broken, whole)?;
        let cells = noticed.with_context(|| mutation.name.to_owned())?;
        println!("| {} | {} |", mutation.name, cells.join(" | "));
        if cells.iter().all(|cell| cell == "-") {
            unnoticed.push(mutation.name);
        }
    }
    ensure!(unnoticed.is_empty(), "nothing notices: {unnoticed:?}");
    Ok(())
}

/// How many tests of a check fail, or `-`.
fn notices(check: &Check, copy: &Path) -> Result<String> {
    let mut command = Command::new("timeout");
    command.args([LIMIT_S]).arg(cargo().get_program());
    command
        .args(["test", "--no-fail-fast", "--config"])
        .arg(format!("profile.dev.debug-assertions={}", check.asserts))
        .args(check.arguments.split(' '))
        .current_dir(copy.join("proof"))
        .env("RUST_BACKTRACE", "0")
        .env("FOREBAY_REFERENCE_STEPS", REFERENCE_STEPS)
        .env(
            "CARGO_TARGET_DIR",
            target_dir().join("mutations").join(check.target),
        );
    if check.target == "proof-shuttle" {
        command.env("RUSTFLAGS", "--cfg shuttle");
    }
    let output = command.output().context("cannot start timeout")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("could not compile") {
        bail!("it does not compile:\n{errors}");
    }
    let told = String::from_utf8_lossy(&output.stdout);
    let failed = told
        .lines()
        .filter(|line| line.ends_with("... FAILED"))
        .count();
    Ok(match (output.status.code(), failed) {
        (Some(0), _) => "-".to_owned(),
        (Some(124), _) => "hangs".to_owned(),
        // A process that dies tells of no test.
        (_, failed) => failed.max(1).to_string(),
    })
}

fn parse(text: &str) -> impl Iterator<Item = Mutation<'_>> {
    let blocks = text.split("\n# ").skip(1);
    blocks.map(|block| {
        let mut lines = block.lines();
        let name = lines.next().unwrap_or_default();
        let file = lines.next().unwrap_or_default();
        let side = |sign: char| {
            let lines = block
                .lines()
                .skip(2)
                .filter_map(|line| line.strip_prefix(sign));
            lines.collect::<Vec<_>>().join("\n")
        };
        Mutation {
            name,
            file,
            old: side('-'),
            new: side('+'),
        }
    })
}

/// A copy of the crate, and of the root's manifest, from which it inherits.
fn copy_admission() -> Result<PathBuf> {
    let root = target_dir().join("mutations").join("copy");
    let copy = root.join("crates/admission");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(copy.parent().context("it has a folder")?)?;
    fs::copy(repository().join("Cargo.toml"), root.join("Cargo.toml"))?;
    super::run(Command::new("cp").arg("-r").arg(admission()).arg(&copy))?;
    Ok(copy)
}

fn admission() -> PathBuf {
    repository().join("crates/admission")
}
