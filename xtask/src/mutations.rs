//! `cargo xtask mutations`: whether the checks of admission can fail.
//!
//! Every check runs over a copy of the crate, where it must pass. Then each mutation of
//! `proof/mutations.txt` is applied to the copy, alone, and every check runs again. A mutation that
//! no check notices is an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{cargo, repository, target_dir};

/// A check may take this many times as long over a broken core as over the right one.
const PATIENCE: u32 = 5;

/// It may take this long in any case: the machine has other work too.
const LEAST_LIMIT: Duration = Duration::from_secs(60);

/// Fewer than in an ordinary run, which is about a right core.
const REFERENCE_STEPS: &str = "200000";

/// What looks at a broken core, the quickest first. The core's own assertions are on only where
/// they are its first check: each of the others has to notice by itself.
const CHECKS: [Check; 4] = [
    Check::new("scripts", "proof", true, "-p forebay-admission --lib"),
    Check::new(
        "interleavings",
        "proof-shuttle",
        false,
        "--test interleavings",
    ),
    Check::new("reference", "proof", false, "--test reference"),
    Check::new("model", "proof", false, "--test model"),
];

/// Which mutations are tried, and on what.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options<'a> {
    /// A part of the names of the mutations.
    part: &'a str,
    /// A part of the names of the checks.
    check: &'a str,
    /// Whether the first check that notices is enough.
    first: bool,
}

impl<'a> Options<'a> {
    fn parse(words: &[&'a str]) -> Result<Self> {
        let mut plain = words.iter().filter(|word| **word != "--first");
        let options = Self {
            part: plain.next().copied().unwrap_or_default(),
            check: plain.next().copied().unwrap_or_default(),
            first: words.contains(&"--first"),
        };
        ensure!(plain.next().is_none(), "more than two words: {words:?}");
        Ok(options)
    }
}

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

impl Mutation<'_> {
    /// What `look` finds while `copy` has the mistake.
    fn over<T>(&self, copy: &Path, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let file = copy.join(self.file);
        let whole = fs::read_to_string(&file)?;
        let places = whole.matches(&self.old).count();
        ensure!(places == 1, "it applies in {places} places");
        fs::write(&file, whole.replace(&self.old, &self.new))?;
        let found = look();
        fs::write(&file, whole)?;
        found
    }
}

/// What a check says of a core.
enum Verdict {
    Passed,
    /// So many of its tests.
    Failed(usize),
    /// It did not end in time: that may be the mistake, and may be a slow machine.
    TookTooLong,
    /// Another check was enough.
    NotAsked,
}

impl Verdict {
    fn cell(&self) -> String {
        match self {
            Self::Passed => "-".to_owned(),
            Self::Failed(tests) => tests.to_string(),
            Self::TookTooLong => "no end".to_owned(),
            Self::NotAsked => String::new(),
        }
    }
}

/// Runs the mutations that `words` of the command line ask for, and prints which check noticed
/// which.
///
/// # Errors
/// A check fails over the right core, or none notices a mutation.
pub fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words)?;
    let text = fs::read_to_string(admission().join("proof/mutations.txt"))?;
    let copy = copy_admission()?;
    let wanted = CHECKS.iter().filter(|c| c.name.contains(options.check));
    let checks = wanted.map(|check| Ok((check, limit(check, &copy)?)));
    let checks: Vec<(&Check, Duration)> = checks.collect::<Result<_>>()?;
    let names: Vec<&str> = checks.iter().map(|(check, _)| check.name).collect();
    println!("| broken | {} |", names.join(" | "));
    println!("| --- |{}", " --- |".repeat(checks.len()));
    let mut unnoticed = Vec::new();
    for mutation in parse(&text).filter(|m| m.name.contains(options.part)) {
        let verdicts = mutation.over(&copy, || all(&checks, &copy, options.first));
        let verdicts = verdicts.with_context(|| mutation.name.to_owned())?;
        let cells: Vec<String> = verdicts.iter().map(Verdict::cell).collect();
        println!("| {} | {} |", mutation.name, cells.join(" | "));
        if !verdicts.iter().any(|v| matches!(v, Verdict::Failed(_))) {
            unnoticed.push(mutation.name);
        }
    }
    ensure!(unnoticed.is_empty(), "nothing notices: {unnoticed:?}");
    Ok(())
}

/// How long a check may take over a broken core; over the right one it must pass.
fn limit(check: &Check, copy: &Path) -> Result<Duration> {
    build(check, copy)?;
    let start = Instant::now();
    let told = command(check, copy, None).output()?;
    ensure!(
        told.status.success(),
        "{} fails over the right core",
        check.name
    );
    Ok(LEAST_LIMIT.max(start.elapsed() * PATIENCE))
}

/// What each check says, one after the other.
fn all(checks: &[(&Check, Duration)], copy: &Path, first: bool) -> Result<Vec<Verdict>> {
    let mut noticed = false;
    let verdicts = checks.iter().map(|(check, limit)| {
        if first && noticed {
            return Ok(Verdict::NotAsked);
        }
        build(check, copy)?;
        let verdict = verdict(&command(check, copy, Some(*limit)).output()?);
        noticed |= matches!(verdict, Verdict::Failed(_));
        Ok(verdict)
    });
    verdicts.collect()
}

/// Builds a check, which takes as long as it takes.
fn build(check: &Check, copy: &Path) -> Result<()> {
    let output = command(check, copy, None).arg("--no-run").output()?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    bail!("it does not compile:\n{errors}")
}

fn command(check: &Check, copy: &Path, limit: Option<Duration>) -> Command {
    let cargo = cargo();
    let mut command = Command::new(cargo.get_program());
    if let Some(limit) = limit {
        command = Command::new("timeout");
        command.arg(limit.as_secs().to_string());
        command.arg(cargo.get_program());
    }
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
    command
}

fn verdict(output: &Output) -> Verdict {
    let told = String::from_utf8_lossy(&output.stdout);
    let failed = told.lines().filter(|line| line.ends_with("... FAILED"));
    match (output.status.code(), failed.count()) {
        (Some(0), _) => Verdict::Passed,
        (Some(124), 0) => Verdict::TookTooLong,
        // A process that dies tells of no test.
        (_, failed) => Verdict::Failed(failed.max(1)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line() {
        let options = |words: &[&'static str]| Options::parse(words).ok();
        assert_eq!(options(&[]), Some(Options::default()));
        let all = Options {
            part: "rule 7",
            check: "model",
            first: true,
        };
        assert_eq!(options(&["rule 7", "--first", "model"]), Some(all));
        assert_eq!(options(&["rule 7", "model", "scripts"]), None);
    }

    /// A mutation whose place has changed would be found out only by a run of an hour.
    #[test]
    fn every_mutation_applies_in_one_place() {
        let text = fs::read_to_string(admission().join("proof/mutations.txt")).unwrap();
        for mutation in parse(&text) {
            let whole = fs::read_to_string(admission().join(mutation.file)).unwrap();
            assert_eq!(whole.matches(&mutation.old).count(), 1, "{}", mutation.name);
            assert_ne!(mutation.old, mutation.new, "{}", mutation.name);
        }
    }
}
