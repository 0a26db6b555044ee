//! Kill -9 while the history is written: it opens again, every row that was archived is there once, and
//! what was not archived is counted.
//!
//! `FOREBAY_CRASH_ROUNDS` sets how often (10).

use arrow_array::cast::AsArray;
use chrono::Utc;
use forebay_lifecycle::{History, HistoryOptions, QueryId, QueryRecord};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Tells the process that is killed where the history is.
const FOLDER: &str = "FOREBAY_HISTORY_FOLDER";

/// Threads that append at the same time.
const WRITERS: u64 = 3;

/// Queries that were registered and do not end.
const LIVING: u64 = 5;

/// Every step happens often, so that a kill comes in the middle of each.
fn options() -> HistoryOptions {
    HistoryOptions {
        flush_rows: 20,
        flush_interval: Duration::from_millis(1),
        merge_files: 3,
        ..HistoryOptions::default()
    }
}

/// Appends rows until it is killed, and tells of each one that has been appended.
fn append_for_ever(folder: &Path) {
    let history = History::open(folder, options()).unwrap();
    history.note_registered(LIVING);
    while !journal(folder).contains(&format!("{{\"registered\":{LIVING}}}")) {
        std::thread::yield_now();
    }
    writeln!(std::io::stdout().lock(), "noted").unwrap();
    let serial = AtomicU64::new(LIVING);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                loop {
                    let serial = serial.fetch_add(1, Ordering::SeqCst) + 1;
                    history.note_registered(serial);
                    let id = QueryId::random();
                    history.append(Arc::new(QueryRecord {
                        statement: format!("SELECT {serial}"),
                        ..QueryRecord::new(id, serial, Utc::now())
                    }));
                    assert_eq!(history.health().failures, 0);
                    writeln!(std::io::stdout().lock(), "archived {id}").unwrap();
                }
            });
        }
    });
}

/// What is in the journal.
fn journal(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let journals = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".jsonl"));
    let read = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path()).unwrap_or_default();
    journals.map(read).collect()
}

/// Lets a process append, kills it after `rows` rows, and returns the ids of all that it told of.
fn kill_after(folder: &Path, rows: usize) -> BTreeSet<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kill_9_loses_no_archived_row_and_doubles_none",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    assert!(lines.any(|line| line == "noted"));
    let mut told = BTreeSet::new();
    let mut note = |line: String| {
        if let Some(id) = line.strip_prefix("archived ") {
            // The last line may be cut in the middle.
            told.extend(id.parse::<QueryId>().ok().map(|id| id.to_string()));
        }
    };
    lines.by_ref().take(rows).for_each(&mut note);
    child.kill().unwrap();
    lines.for_each(note);
    child.wait().unwrap();
    told
}

/// How often each id is in the history.
fn count(history: &History) -> BTreeMap<String, usize> {
    let snapshot = history.snapshot();
    let mut counts = BTreeMap::new();
    for file in &snapshot.files {
        let file = File::open(file.path()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap();
        for batch in reader {
            let batch = batch.unwrap();
            for id in batch.column_by_name("query_id").unwrap().as_string::<i32>() {
                *counts.entry(id.unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    for record in &snapshot.pending {
        *counts.entry(record.query_id.to_string()).or_default() += 1;
    }
    counts
}

#[test]
fn kill_9_loses_no_archived_row_and_doubles_none() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return append_for_ever(Path::new(&folder));
    }
    let rounds = std::env::var("FOREBAY_CRASH_ROUNDS").map_or(10, |rounds| {
        rounds.parse().expect("FOREBAY_CRASH_ROUNDS is a number")
    });
    let folder = tempfile::tempdir().unwrap();
    let mut told = BTreeSet::new();
    for round in 0..rounds {
        let rows = rand::rng().random_range(0..600);
        told.extend(kill_after(folder.path(), rows));
        // Now and then the next process finds what this one has left, and is killed over it.
        if round % 3 == 1 && round + 1 < rounds {
            continue;
        }
        let history = History::open(folder.path(), options()).unwrap();
        let opened = history.opened();
        let at = format!("round {round}, killed after {rows} rows, {opened:?}");
        let counts = count(&history);
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{at}: twice {twice:?}");
        let missing: Vec<_> = told.iter().filter(|id| !counts.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{at}: missing {missing:?}");
        // What lived, and what a thread had in its hands.
        assert!((LIVING..=LIVING + WRITERS).contains(&opened.lost), "{at}");
        assert_eq!((opened.damaged, opened.broken), (0, 0), "{at}");
        assert!(
            counts.len() <= told.len() + (WRITERS as usize) * (round + 1),
            "{at}"
        );
    }
}
