//! DuckDB, driven by `bench/duckdb_peer.py`: a query goes in as one line of its standard input,
//! the seconds that it took come out as one line of its standard output.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};

/// Where `bench/install` puts Python's environment.
const ENVIRONMENT: &str = "target/bench-venv/bin/python";

/// A DuckDB with views on the tables of a folder.
pub struct DuckDb {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// The Python that has DuckDB.
pub fn python() -> anyhow::Result<PathBuf> {
    let python = PathBuf::from(ENVIRONMENT);
    if !python.exists() {
        bail!("DuckDB is not installed: run bench/install in the project's folder");
    }
    Ok(python)
}

impl DuckDb {
    /// Starts it on the TPC-H folder `data`.
    pub fn start(data: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(python()?)
            .arg("bench/duckdb_peer.py")
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start bench/duckdb_peer.py")?;
        let input = process.stdin.take().context("no standard input")?;
        let output = process.stdout.take().context("no standard output")?;
        Ok(Self {
            process,
            input,
            output: BufReader::new(output),
        })
    }

    /// DuckDB's process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Runs `sql` to its end; gives the seconds that it took.
    pub fn seconds(&mut self, sql: &str) -> anyhow::Result<f64> {
        // One line, so without the comments that would hide the rest of it.
        let code = sql.lines().filter(|l| !l.trim_start().starts_with("--"));
        let line = code
            .flat_map(str::split_whitespace)
            .collect::<Vec<_>>()
            .join(" ");
        writeln!(self.input, "{line}")?;
        self.input.flush()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        answer
            .trim()
            .parse()
            .with_context(|| format!("DuckDB answered: {}", answer.trim()))
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
