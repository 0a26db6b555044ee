//! `forebay`: the command line, the configuration, and the wiring of all the rooms into a server.

mod bench;
mod cli;
mod config;
mod impala;
mod observe;
mod profile;
mod serve;
mod tpch;

use clap::Parser;
use cli::{BenchCommand, Cli, Command, TpchCommand};
use std::process::ExitCode;

/// Batches are allocated on one thread and freed on another, in all sizes up to megabytes: this
/// allocator keeps the least of them. `.cargo/config.toml` has its settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forebay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(flags) => serve::run(config::load(&flags)?),
        Command::Config(flags) => print_config(&config::load(&flags)?),
        Command::Tpch(TpchCommand::Generate { scale, out, parts }) => {
            tpch::generate(scale, &out, parts, true)
        }
        Command::Profile(options) => profile::run(&options),
        Command::Bench(command) => run_bench(&command),
    }
}

fn run_bench(command: &BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Tpch(options) => bench::tpch(options),
        BenchCommand::Latency(options) => bench::latency(options),
        BenchCommand::Stream(options) => bench::stream(options),
        BenchCommand::Fetch(options) => bench::fetch(options),
        BenchCommand::Cost(options) => bench::cost(options),
        BenchCommand::Overload(options) => bench::overload(options),
        BenchCommand::Close(options) => bench::close(options),
        BenchCommand::Compare(options) => bench::compare(options),
        BenchCommand::Admission(options) => bench::admission(options),
        BenchCommand::Pages(options) => bench::pages(options),
    }
}

#[allow(clippy::print_stdout, reason = "printing is what this command is for")]
fn print_config(effective: &config::Effective) -> anyhow::Result<()> {
    print!("{effective}");
    Ok(())
}
