//! `cargo xtask`: what is done to the repository by machine. `cargo xtask help` tells what.

mod fuzz;
mod mutations;
mod prepare;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const HELP: &str = "\
cargo xtask test           prepare the machine, then run every test
cargo xtask browser        only the browser test of the web pages
cargo xtask proofs         only the proofs of admission: model, reference, interleavings
cargo xtask mutations      breaks admission in many ways, and tells which check notices (an hour);
                           with a word, only those whose name contains it; with a second one, only
                           the check of that name; with --first, no check after one that notices
                           (minutes)
cargo xtask fuzz SECONDS   noise for HiveServer2: for its decoder with libFuzzer, then for a server
cargo xtask test --quick   the same without Rust's own tests
cargo xtask ci             format check, clippy, and every test

What the tests need is installed at the first run: Python packages into target/test-venv and
target/dbt-venv, Hive's JDBC driver into target/test-jars (209 MB to download), and Debian
packages where you are root. Where you are not, the missing ones are listed.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["test"] => test(true),
        ["test", "--quick"] => test(false),
        ["browser"] => browser().map(|()| true),
        ["proofs"] => proofs().map(|()| true),
        ["fuzz", seconds] => fuzz(seconds).map(|()| true),
        ["mutations", ref words @ ..] => mutations::run(words).map(|()| true),
        ["ci"] => ci(),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(true)
        }
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that a change must pass. Cheapest first, so that a slip is told early.
fn ci() -> Result<bool> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args("clippy --workspace --all-targets -- -D warnings".split(' ')))?;
    test(true)
}

/// Runs the tests of the crates, if `rust`, and those of the clients; returns whether all passed.
/// The last line has the totals of the latter.
fn test(rust: bool) -> Result<bool> {
    let python = prepare::everything(&target_dir(), &clients_dir())?;
    // What does not compile has no tests; what fails does not keep the others from running.
    run(cargo().args("build --workspace --all-targets".split(' ')))?;
    let (rust_result, proofs_result, noise_result) = if rust {
        let tests = run(cargo().args("test --workspace --no-fail-fast".split(' ')));
        (tests, proofs(), fuzz::corpus())
    } else {
        (Ok(()), Ok(()), Ok(()))
    };
    let browser_result = test_browser();
    let totals = test_clients(&python)?;
    if let Err(error) = &rust_result {
        eprintln!("xtask: tests of the crates failed: {error:#}");
    }
    if let Err(error) = &proofs_result {
        eprintln!("xtask: proofs of admission failed: {error:#}");
    }
    if let Err(error) = &noise_result {
        eprintln!("xtask: what noise has found in HiveServer2 is there again: {error:#}");
    }
    if let Err(error) = &browser_result {
        eprintln!("xtask: the browser test of the web pages failed: {error:#}");
    }
    println!("{} passed, {} failed", totals.passed, totals.failed);
    let others = [rust_result, proofs_result, noise_result, browser_result];
    let others_passed = others.iter().all(Result::is_ok);
    Ok(others_passed && totals.failed == 0 && totals.passed > 0)
}

/// The browser test alone.
fn browser() -> Result<()> {
    prepare::everything(&target_dir(), &clients_dir())?;
    run(cargo().args("build --workspace --all-targets".split(' ')))?;
    test_browser()
}

/// Noise, half of the time for the decoder and half for a whole server.
fn fuzz(seconds: &str) -> Result<()> {
    let seconds: u64 = seconds.parse().context("not a number of seconds")?;
    fuzz::decoder(seconds.div_ceil(2))?;
    let python = prepare::everything(&target_dir(), &clients_dir())?;
    run(cargo().args("build --workspace --all-targets".split(' ')))?;
    // Once over each transport.
    let each = seconds.div_ceil(4).to_string();
    run(pytest(&python)
        .args(["test_hs2_wire.py", "-k", "noise"])
        .env("FOREBAY_NOISE_SECONDS", each))
}

/// The proofs of `crates/admission`: a workspace of its own, with target folders of its own. The
/// interleavings need another mutex, so they are another build.
fn proofs() -> Result<()> {
    let proof = |folder: &str| {
        let mut command = cargo();
        command
            .current_dir(repository().join("crates/admission/proof"))
            .env("CARGO_TARGET_DIR", target_dir().join(folder))
            .args(["test", "--locked", "--no-fail-fast"]);
        command
    };
    let searches = run(&mut proof("proof"));
    let flags = env::var("RUSTFLAGS").unwrap_or_default() + " --cfg shuttle";
    run(proof("proof-shuttle")
        .args(["--test", "interleavings"])
        .env("RUSTFLAGS", &flags))?;
    run(cargo()
        .env("CARGO_TARGET_DIR", target_dir().join("proof-shuttle"))
        .env("RUSTFLAGS", &flags)
        .args("test --locked -p forebay-lifecycle --test interleavings".split(' ')))?;
    searches
}

/// Walks the web pages of the binary that was just built with a browser. Pictures of them are left
/// in `target/test-data/pages`.
fn test_browser() -> Result<()> {
    let sources = repository().join("tests").join("browser");
    let folder = prepare::browser_test(&target_dir(), &sources)?;
    run(Command::new("node")
        .arg("pages.mjs")
        .arg(target_dir().join("debug").join("forebay"))
        .arg(target_dir().join("test-data").join("pages"))
        .current_dir(folder))
}

struct Totals {
    passed: u64,
    failed: u64,
}

/// Runs pytest over the binary that was just built.
fn test_clients(python: &Path) -> Result<Totals> {
    let report = target_dir().join("test-data").join("clients.xml");
    fs::create_dir_all(report.parent().context("the report has a folder")?)?;
    let _ = fs::remove_file(&report);
    // Its exit code says no more than the report, which tells apart what failed and what never ran.
    let _ = pytest(python)
        .arg("--junit-xml")
        .arg(&report)
        .status()
        .context("cannot start pytest")?;
    let report = fs::read_to_string(&report).context("pytest wrote no report")?;
    totals(&report).context("pytest's report has no totals")
}

/// pytest over the binary that was just built.
fn pytest(python: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "pytest", "-q"])
        .current_dir(clients_dir())
        .env("FOREBAY_BIN", target_dir().join("debug").join("forebay"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Reads the totals at the head of a report in JUnit's form.
fn totals(report: &str) -> Option<Totals> {
    let head = report.split_once("<testsuite ")?.1.split_once('>')?.0;
    let number = |name: &str| -> Option<u64> {
        let (_, rest) = head.split_once(&format!("{name}=\""))?;
        rest.split_once('"')?.0.parse().ok()
    };
    let failed = number("failures")? + number("errors")?;
    let passed = number("tests")?.checked_sub(failed + number("skipped")?)?;
    Some(Totals { passed, failed })
}

/// The cargo that started us. It must not see what cargo told us of this program: build scripts
/// that look at such variables would run again, and half of what is built with them.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs a command, and makes an error of its failure.
fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

fn repository() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

fn clients_dir() -> PathBuf {
    repository().join("tests").join("clients")
}

fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), |dir| repository().join(dir))
}

#[cfg(test)]
mod tests {
    use super::totals;

    #[test]
    fn totals_of_a_report() {
        let report = r#"<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="1.5"><testcase/>"#;
        let found = totals(report).unwrap();
        assert_eq!((found.passed, found.failed), (4, 3));
        assert!(totals("").is_none());
    }
}
