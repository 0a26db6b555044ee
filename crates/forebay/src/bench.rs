//! `forebay bench`: measurements through the server.

use crate::cli::BenchTpch;

/// Runs the 22 TPC-H queries and prints a table of their times.
pub fn tpch(options: &BenchTpch) -> anyhow::Result<()> {
    let BenchTpch {
        data,
        iterations,
        against,
    } = options;
    anyhow::bail!("this build cannot bench {data:?} {iterations} {against:?}")
}
