//! The record of behaviour in `tests/slt/` at the workspace's root, run over the wire.
//!
//! A file is one test, with a server (or database) of its own. All statements of a file run, also
//! after a failure, and all failures are shown together.
//!
//! Cells are separated by ` | `, NULL is `NULL`, an empty text `(empty)`. Errors are matched as
//! `SQLSTATE: message`. `onlyif forebay` marks what PostgreSQL has not, or does otherwise.
//! Where Forebay does not answer as PostgreSQL, the file holds both answers, under a comment
//! `# differs from PostgreSQL`. `FOREBAY_SLT_RECORD=1` brings these pairs up to date in the files:
//! look at what it changed, then say why in the comment.
//!
//! With `FOREBAY_SLT_POSTGRES="host=… user=…"` the same files run against a real PostgreSQL
//! server, which is how to tell who is wrong. They make and drop databases and roles there.

mod common;
mod record;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use common::Server;
use futures::TryStreamExt;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Normalizer, Record, Runner};
use tokio_postgres::{Client, SimpleQueryMessage};

/// One test for each file, so that a failure names its file.
macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                run(stringify!($name)).await;
            }
        )*
    };
}

files! {
    aggregates
    casts
    catalog
    copy
    cursors
    datetimes
    errors
    explain
    expressions
    external_tables
    functions
    joins
    literals
    nulls
    numbers
    prepared
    resource_queues
    roles
    select
    set_operations
    settings
    strings
    subqueries
    templates
    tpch
    transactions
    types
    views
    windows
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/slt")
}

/// A file that is not in the list above would never run.
#[test]
fn every_file_is_run() {
    let entries = std::fs::read_dir(folder()).expect("the folder with the files");
    let mut found: Vec<String> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "slt"))
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    found.sort();
    assert_eq!(found, FILES);
}

/// Whoever reads PostgreSQL's answer finds Forebay's below.
#[test]
fn differences_are_pairs() {
    if recording() {
        return;
    }
    let paths = FILES.iter().map(|name| path_of(name));
    let wrong: Vec<String> = paths.flat_map(|path| record::misshapen(&path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the files are written, not checked.
fn recording() -> bool {
    std::env::var_os("FOREBAY_SLT_RECORD").is_some()
}

fn path_of(name: &str) -> PathBuf {
    folder().join(format!("{name}.slt"))
}

async fn run(name: &str) {
    let target = Target::start(name).await;
    let config = target.config.clone();
    let engine = target.engine;
    let mut runner = Runner::new(move || {
        let config = config.clone();
        async move {
            let client = common::connect(&config).await.map_err(Failure)?;
            Ok(Session { client, engine })
        }
    });
    runner.with_validator(same_rows);
    let path = path_of(name);
    if recording() {
        assert_eq!(engine, "forebay", "only Forebay's answers are recorded");
        let changes = record::record(&mut runner, &path).await;
        runner.shutdown_async().await;
        eprintln!("{name}.slt: {changes}");
        return target.stop().await;
    }
    let records = sqllogictest::parse_file::<DefaultColumnType>(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut failures = Vec::new();
    let mut checked = 0;
    for record in records {
        checked += usize::from(matches!(
            record,
            Record::Statement { .. } | Record::Query { .. }
        ));
        if let Err(error) = runner.run_async(record).await {
            failures.push(error.display(false).to_string());
        }
    }
    runner.shutdown_async().await;
    assert!(checked > 0, "{name}.slt checks nothing");
    assert!(
        failures.is_empty(),
        "{} of {checked} in {name}.slt fail:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    target.stop().await;
}

/// What the files run against.
struct Target {
    config: tokio_postgres::Config,
    engine: &'static str,
    server: Option<Server>,
}

impl Target {
    async fn start(name: &str) -> Self {
        if let Ok(url) = std::env::var("FOREBAY_SLT_POSTGRES") {
            return Self::postgres(&url, name).await;
        }
        let server = Server::with_tpch(&[]);
        Self {
            config: server.client_config(),
            engine: "forebay",
            server: Some(server),
        }
    }

    /// A new database on a PostgreSQL server.
    async fn postgres(url: &str, name: &str) -> Self {
        let mut config: tokio_postgres::Config = url.parse().expect("FOREBAY_SLT_POSTGRES");
        let client = common::connect(&config).await.expect("a PostgreSQL server");
        for sql in [
            format!("DROP DATABASE IF EXISTS slt_{name}"),
            format!(
                "CREATE DATABASE slt_{name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
            ),
            format!("ALTER DATABASE slt_{name} SET timezone = 'UTC'"),
        ] {
            client.simple_query(&sql).await.expect("a new database");
        }
        config.dbname(format!("slt_{name}"));
        Self {
            config,
            engine: "postgres",
            server: None,
        }
    }

    /// The server must still be well.
    async fn stop(self) {
        let Some(server) = self.server else { return };
        let client = server.client().await;
        assert_eq!(common::value(&client, "SELECT 1").await, "1");
        drop(client);
        server.stop();
    }
}

struct Session {
    client: Client,
    engine: &'static str,
}

/// An error that shows its SQLSTATE first.
#[derive(Debug)]
struct Failure(tokio_postgres::Error);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&common::explain(&self.0))
    }
}

impl std::error::Error for Failure {}

#[async_trait]
impl AsyncDB for Session {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        if sql.to_uppercase().contains(" TO STDOUT") {
            return self.copy_out(sql).await;
        }
        let work = self.client.simple_query(sql);
        let messages = tokio::time::timeout(common::DEADLINE, work)
            .await
            .unwrap_or_else(|_| panic!("no answer to {sql}"))
            .map_err(Failure)?;
        let mut types = None;
        let mut rows = Vec::new();
        let mut count = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    types = Some(vec![DefaultColumnType::Any; columns.len()]);
                }
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|i| cell(row.get(i))).collect());
                }
                SimpleQueryMessage::CommandComplete(n) => count = n,
                _ => {}
            }
        }
        Ok(match types {
            Some(types) => DBOutput::Rows { types, rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        self.engine
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl Session {
    /// What `COPY … TO STDOUT` sends, a line a row.
    async fn copy_out(&self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let stream = self.client.copy_out(sql).await.map_err(Failure)?;
        let parts: Vec<_> = stream.try_collect().await.map_err(Failure)?;
        let text = String::from_utf8(parts.concat()).expect("text");
        let rows = text.lines().map(|line| vec![cell(Some(line))]).collect();
        let types = vec![DefaultColumnType::Any];
        Ok(DBOutput::Rows { types, rows })
    }
}

fn cell(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\t', "\\t")
            .replace('\0', "\\0"),
    }
}

/// Rows must agree to the letter; only blanks at the end of a line do not count, because editors
/// remove them.
fn same_rows(_: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    let actual = actual.iter().map(|row| line(row));
    actual.eq(expected.iter().map(|line| line.trim_end()))
}

fn line(row: &[String]) -> String {
    row.join(" | ").trim_end().to_owned()
}
