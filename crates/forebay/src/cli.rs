//! The command line: what can be asked for, and the help that explains it.
//!
//! The flags of `serve` are not written here: they are made from the table of settings in
//! [`crate::config`].

use crate::config::Flags;
use clap::{Args, Parser, Subcommand, ValueEnum};
use forebay_lifecycle::QueryId;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const MAIN_EXAMPLES: &str = "\
Examples:
  Serve sample data, then ask for it from another terminal:
      forebay serve --sample tpch
      psql -h localhost forebay

  Serve your own files, each as a table named after it:
      forebay serve sales.parquet customers.csv events/

  See what a configuration comes to, and where each value is from:
      forebay config --config forebay.toml

`forebay COMMAND --help` tells more about each command.";

/// Forebay serves Parquet, CSV and JSON files as SQL tables to many people at once.
///
/// It speaks the PostgreSQL protocol, so psql and every other PostgreSQL client can talk to it.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, after_help = MAIN_EXAMPLES, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a server on files and folders
    #[command(long_about = SERVE_ABOUT, after_help = SERVE_EXAMPLES)]
    Serve(Flags),

    /// Print the effective configuration, and where each value came from
    #[command(long_about = CONFIG_ABOUT)]
    Config(Flags),

    /// Make TPC-H sample data
    #[command(subcommand)]
    Tpch(TpchCommand),

    /// Print the profiles of queries that have ended, from a profile log
    #[command(long_about = PROFILE_ABOUT, after_help = PROFILE_EXAMPLES)]
    Profile(ShowProfile),

    /// Measure the server, alone or beside others
    #[command(subcommand)]
    Bench(BenchCommand),
}

const SERVE_ABOUT: &str = "\
Start a server on files and folders.

Each PATH is a file or a folder of Parquet, CSV or newline-delimited JSON, also with nested \
key=value folders, and becomes a table in the schema public, named after it. The server runs until \
it gets SIGINT (Ctrl-C) or SIGTERM; a second one stops it at once.

Every option can also be set by the environment variable beside it, or by a key of the same name \
(pg-listen or pg_listen) in the TOML file that --config names. The command line wins over the \
environment, and the environment over the file.";

const SERVE_EXAMPLES: &str = "\
Examples:
  forebay serve --sample tpch
  forebay serve sales.parquet events/ --pg-listen 0.0.0.0:5433
  FOREBAY_LOG=debug forebay serve --config /etc/forebay.toml";

const CONFIG_ABOUT: &str = "\
Print the effective configuration, and where each value came from.

It takes the options of `forebay serve`, reads the same environment and file, and starts nothing. \
What it prints is a TOML file that --config takes.";

const PROFILE_ABOUT: &str = "\
Print the profiles of queries that have ended, from a profile log.

A server writes a line for each query into profiles/profile.log of its data directory, and rotates the \
file. Files that were copied elsewhere are read alike, and so is a profile log of Impala. No server \
needs to run.";

const PROFILE_EXAMPLES: &str = "\
Examples:
  One query of the server that keeps its data in ./forebay-data:
      forebay profile 1f0c5d0b3a2e4411:00000000deadbeef

  Every query of a file from elsewhere, as JSON, one line each:
      forebay profile /tmp/profile.log.1 --format json";

/// What `forebay profile` was asked to do.
#[derive(Debug, Args)]
pub struct ShowProfile {
    /// A profile log, whose rotated files are read too; or the id of a query, which is looked up in
    /// the profile log of the data directory
    #[arg(value_name = "FILE|ID")]
    pub source: String,

    /// Of a file, this query only
    #[arg(long, value_name = "ID")]
    pub query_id: Option<QueryId>,

    /// How to print: text as people read it, or JSON, a line for each profile
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ProfileFormat::Text)]
    pub format: ProfileFormat,

    /// The data directory of the server
    #[arg(
        long,
        value_name = "DIR",
        env = "FOREBAY_DATA_DIR",
        default_value = "./forebay-data"
    )]
    pub data_dir: PathBuf,
}

/// How a profile is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum TpchCommand {
    /// Write the eight TPC-H tables as Parquet files
    ///
    /// The files are OUT/<table>/part-<n>.parquet. They are made in a folder beside OUT that takes
    /// its name at the end, so that OUT is there completely or not at all. If OUT holds complete
    /// data of this scale already, nothing is done.
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate {
        /// How much: 1 is about a gigabyte as text and 6 million line items; fractions work too
        #[arg(long, value_name = "N", value_parser = crate::tpch::parse_scale)]
        scale: f64,

        /// The folder to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,

        /// Files per table (nation and region always have one) [default: as many as keep each file
        /// below about 250 MB]
        #[arg(long, value_name = "N", value_parser = parse_count)]
        parts: Option<usize>,
    },
}

const GENERATE_EXAMPLES: &str = "\
Examples:
  forebay tpch generate --scale 1 --out tpch-1
  forebay tpch generate --scale 100 --out /data/tpch-100 --parts 32";

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Run the 22 TPC-H queries through a server and print their times
    #[command(after_help = BENCH_EXAMPLES)]
    Tpch(BenchTpch),
    /// Measure SELECT 1: latency over one connection, statements a second over many
    Latency(BenchLatency),
    /// Stream a whole table to a client, and watch the server's memory
    Stream(BenchStream),
    /// Fetch large results over every protocol, and close queries over HiveServer2
    Fetch(BenchFetch),
    /// Compare the estimated costs of queries with the CPU time that they take
    Cost(BenchCost),
    /// Measure short queries beside heavy ones that never stop, with and without resource queues
    Overload(BenchOverload),
    /// Measure what a client waits for when its query is closed, with and without the pool
    Close(BenchClose),
    /// Compare two configurations of the server: TPC-H query by query, and short queries
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(BenchCompare),
    /// Measure what resource queues cost: memory of connections that wait, SELECT 1 with and without
    Admission(BenchAdmission),
    /// Measure the web pages with a full query log
    Pages(BenchPages),
}

const COMPARE_EXAMPLES: &str = "\
Examples:
  forebay bench compare --data tpch-1
  forebay bench compare --data tpch-1 --base='--batch-size 4096' --new='--batch-size 16384'";

const BENCH_EXAMPLES: &str = "\
Examples:
  forebay bench tpch --data tpch-1 --iterations 5
  forebay bench tpch --data tpch-1 --iterations 5 --against datafusion --against duckdb
  forebay bench tpch --data tpch-1 --iterations 5 --against pg:postgres://me@db.example/tpch";

/// What `forebay bench tpch` was asked to do.
#[derive(Debug, Args)]
pub struct BenchTpch {
    /// The folder that `forebay tpch generate` has made
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// How often each query runs; the first run of each is not counted
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_count)]
    pub iterations: usize,

    /// A peer that runs the same queries on the same files, for a ratio; may be given more than once:
    /// duckdb, datafusion (in this process), or pg:URL (a PostgreSQL server that has the tables)
    #[arg(long, value_name = "PEER")]
    pub against: Vec<Peer>,
}

/// What `forebay bench latency` was asked to do.
#[derive(Debug, Args)]
pub struct BenchLatency {
    /// Connections of the throughput part
    #[arg(long, value_name = "N", default_value = "32", value_parser = parse_count)]
    pub connections: usize,

    /// Seconds that each part of each round takes
    #[arg(long, value_name = "N", default_value = "2", value_parser = parse_count)]
    pub seconds: usize,

    /// Rounds; in each, the server and its peers take turns
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_count)]
    pub rounds: usize,

    /// A server that speaks PostgreSQL's protocol, as pg:URL; may be given more than once
    #[arg(long, value_name = "PEER")]
    pub against: Vec<Peer>,
}

/// What `forebay bench cost` was asked to do.
#[derive(Debug, Args)]
pub struct BenchCost {
    /// The folder of the data, one folder for each table
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// A folder of .sql files, one query each; without it, the 22 TPC-H queries
    #[arg(long, value_name = "DIR")]
    pub queries: Option<PathBuf>,

    /// How often each query runs; the first run of each is not counted
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_count)]
    pub iterations: usize,
}

/// What `forebay bench close` was asked to do.
#[derive(Debug, Args)]
pub struct BenchClose {
    /// How often a query is closed in each way
    #[arg(long, value_name = "N", default_value = "50", value_parser = parse_count)]
    pub iterations: usize,
}

/// What `forebay bench compare` was asked to do.
#[derive(Debug, Args)]
pub struct BenchCompare {
    /// The folder that `forebay tpch generate` has made
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Options of the server that is the base
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "--unregistration-thread-pool-size 0"
    )]
    pub base: String,

    /// Options of the server that is compared with it
    #[arg(long, value_name = "OPTIONS", default_value = "")]
    pub new: String,

    /// How often each query runs; the first run of each is not counted
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_count)]
    pub iterations: usize,

    /// Connections that ask short queries
    #[arg(long, value_name = "N", default_value = "32", value_parser = parse_count)]
    pub connections: usize,

    /// Seconds that each round of short queries takes
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_count)]
    pub seconds: usize,

    /// Rounds of short queries; in each, the servers take turns
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_count)]
    pub rounds: usize,
}

/// What `forebay bench overload` was asked to do.
#[derive(Debug, Args)]
pub struct BenchOverload {
    /// The folder that `forebay tpch generate` has made
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Connections that ask a short query, and again after a pause
    #[arg(long, value_name = "N", default_value = "2", value_parser = parse_count)]
    pub dashboards: usize,

    /// Milliseconds from an answer to the next question of a dashboard
    #[arg(long, value_name = "N", default_value = "300", value_parser = parse_count)]
    pub pause_ms: usize,

    /// Connections that ask a heavy query again and again
    #[arg(long, value_name = "N", default_value = "4", value_parser = parse_count)]
    pub loops: usize,

    /// Seconds of each setup in each round
    #[arg(long, value_name = "N", default_value = "10", value_parser = parse_count)]
    pub seconds: usize,

    /// Rounds; in each, the setups and the peer take turns
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_count)]
    pub rounds: usize,

    /// duckdb: the same dashboards and loops in one DuckDB process
    #[arg(long, value_name = "PEER")]
    pub against: Vec<Peer>,
}

/// What `forebay bench admission` was asked to do.
#[derive(Debug, Args)]
pub struct BenchAdmission {
    /// Connections that wait for one slot
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_count)]
    pub waiters: usize,

    /// Connections that run SELECT 1
    #[arg(long, value_name = "N", default_value = "32", value_parser = parse_count)]
    pub connections: usize,

    /// Seconds that each role of each round takes
    #[arg(long, value_name = "N", default_value = "2", value_parser = parse_count)]
    pub seconds: usize,

    /// Rounds; in each, roles with and without a queue take turns
    #[arg(long, value_name = "N", default_value = "15", value_parser = parse_count)]
    pub rounds: usize,
}

/// What `forebay bench pages` was asked to do.
#[derive(Debug, Args)]
pub struct BenchPages {
    /// Queries that the query log has
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_count)]
    pub queries: usize,

    /// How often each page is asked for
    #[arg(long, value_name = "N", default_value = "50", value_parser = parse_count)]
    pub iterations: usize,
}

/// What `forebay bench fetch` was asked to do.
#[derive(Debug, Args)]
pub struct BenchFetch {
    /// The folder that `forebay tpch generate` has made
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// How often each result is fetched over each protocol
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_count)]
    pub iterations: usize,

    /// A peer that serves the same table: pg:URL (a PostgreSQL server that has it and asks for no
    /// password)
    #[arg(long, value_name = "PEER")]
    pub against: Option<Peer>,
}

/// What `forebay bench stream` was asked to do.
#[derive(Debug, Args)]
pub struct BenchStream {
    /// The folder that `forebay tpch generate` has made
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// The table that is streamed
    #[arg(long, value_name = "NAME", default_value = "lineitem")]
    pub table: String,

    /// How often the table is streamed in each form, every time from a new server
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_count)]
    pub iterations: usize,

    /// A peer that reads the same table; may be given more than once: datafusion (in this process),
    /// duckdb (writes CSV to /dev/null), or pg:URL (a PostgreSQL server that has the table)
    #[arg(long, value_name = "PEER")]
    pub against: Vec<Peer>,
}

/// Somebody to be measured against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// DuckDB, driven by the Python program in `bench/`.
    DuckDb,
    /// The same DataFusion in this process, without a server.
    DataFusion,
    /// A server that speaks PostgreSQL's protocol, by its connection URL.
    Postgres(String),
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "duckdb" => Ok(Peer::DuckDb),
            "datafusion" => Ok(Peer::DataFusion),
            _ => match text.strip_prefix("pg:") {
                Some(url) if !url.is_empty() => Ok(Peer::Postgres(url.to_owned())),
                _ => Err("a peer is duckdb, datafusion or pg:URL".to_owned()),
            },
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::DuckDb => f.pad("duckdb"),
            Peer::DataFusion => f.pad("datafusion"),
            // Without the URL: it may hold a password.
            Peer::Postgres(_) => f.pad("postgres"),
        }
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=10_000) => Ok(count),
        _ => Err("must be a whole number from 1 to 10000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_a_bench_with_two_peers() {
        let line = "forebay bench tpch --data d --iterations 3 --against duckdb --against pg:h/d";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Bench(BenchCommand::Tpch(options)) = cli.command else {
            panic!("read something else: {cli:?}");
        };
        assert_eq!(options.iterations, 3);
        assert_eq!(
            options.against,
            [Peer::DuckDb, Peer::Postgres("h/d".into())]
        );
    }

    #[test]
    fn reads_a_generate() {
        let line = "forebay tpch generate --scale 0.1 --out d --parts 4";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Tpch(TpchCommand::Generate { scale, out, parts }) = cli.command else {
            panic!("read something else: {cli:?}");
        };
        assert_eq!((scale, out, parts), (0.1, PathBuf::from("d"), Some(4)));
    }

    #[test]
    fn bad_values_say_what_is_allowed() {
        for (line, wanted) in [
            (
                "bench tpch --data d --against mysql",
                "duckdb, datafusion or pg:URL",
            ),
            ("bench tpch --data d --iterations 0", "from 1 to 10000"),
            ("tpch generate --out d --scale many", "from 0.001 to 100000"),
            ("tpch generate --out d --scale 0", "from 0.001 to 100000"),
        ] {
            let args = std::iter::once("forebay").chain(line.split(' '));
            let message = Cli::try_parse_from(args).unwrap_err().to_string();
            assert!(message.contains(wanted), "{line}: {message}");
        }
    }

    #[test]
    fn help_names_every_setting_with_its_environment_variable() {
        let mut command = Cli::command();
        let serve = command.find_subcommand_mut("serve").unwrap();
        let help = serve.render_long_help().to_string();
        for wanted in [
            "--pg-listen <ADDRESS>",
            "FOREBAY_PG_LISTEN",
            "127.0.0.1:5432",
            "PATH",
        ] {
            assert!(help.contains(wanted), "{wanted} is not in:\n{help}");
        }
    }
}
