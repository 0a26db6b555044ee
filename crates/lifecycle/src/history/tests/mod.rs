//! The history as its callers see it, with a disk that fails.

mod crash;

use super::*;
use crate::QueryId;
use crate::record::tests::full;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use chrono::{TimeDelta, Utc};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

fn options() -> HistoryOptions {
    HistoryOptions {
        merge_files: 3,
        ..HistoryOptions::default()
    }
}

/// A row that ended so many days ago.
fn row(serial: u64, days_ago: i64) -> Arc<QueryRecord> {
    Arc::new(QueryRecord {
        query_id: QueryId::from_halves(0, serial),
        end_time: Some(Utc::now() - TimeDelta::days(days_ago)),
        ..full(serial)
    })
}

fn open(folder: &Path, options: HistoryOptions) -> (History, Disk) {
    let disk = Disk::default();
    (History::open_on(&disk, folder, options).unwrap(), disk)
}

fn append(history: &History, serials: impl IntoIterator<Item = u64>) {
    serials
        .into_iter()
        .for_each(|serial| history.append(row(serial, 0)));
}

/// The serial numbers in a file.
fn serials_in(path: &Path) -> Vec<u64> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let mut serials = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let column = batch
            .column_by_name("serial")
            .unwrap()
            .as_primitive::<Int64Type>();
        serials.extend(column.values().iter().map(|serial| *serial as u64));
    }
    serials
}

/// The serial numbers in the history as a reader sees it, in its order.
fn seen(history: &History) -> Vec<u64> {
    let snapshot = history.snapshot();
    let in_files = snapshot
        .files
        .iter()
        .flat_map(|file| serials_in(file.path()));
    in_files
        .chain(snapshot.pending.iter().map(|record| record.serial))
        .collect()
}

fn names(folder: &Path, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| name.into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

#[test]
fn a_row_is_seen_once_before_and_after_it_is_in_a_file() {
    let folder = TempDir::new().unwrap();
    let (history, _) = open(folder.path(), options());
    append(&history, 1..=3);
    assert_eq!((seen(&history), history.files().len()), (vec![1, 2, 3], 0));

    history.flush().unwrap();
    assert_eq!((seen(&history), history.files().len()), (vec![1, 2, 3], 1));
    assert!(history.pending().is_empty());
    history.flush().unwrap();
    assert_eq!(history.files().len(), 1);

    append(&history, [4]);
    assert_eq!(seen(&history), [1, 2, 3, 4]);
    let health = history.health();
    assert_eq!(
        (health.appended, health.pending_rows, health.file_rows),
        (4, 1, 3)
    );
    assert_eq!((health.failures, health.dropped), (0, 0));
    assert!(health.pending_bytes > 0 && health.file_bytes > 0 && health.last_flush.is_some());
}

#[test]
fn a_file_has_every_column_as_it_was() {
    let folder = TempDir::new().unwrap();
    let (history, _) = open(folder.path(), options());
    let rows = [
        row(1, 0),
        Arc::new(QueryRecord::new(QueryId::random(), 2, Utc::now())),
    ];
    rows.iter().for_each(|row| history.append(Arc::clone(row)));
    history.flush().unwrap();
    let file = File::open(history.files()[0].path()).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        reader.next().unwrap().unwrap(),
        QueryRecord::to_batch(&rows)
    );
}

#[test]
fn after_a_clean_end_there_is_nothing_to_take_up() {
    let folder = TempDir::new().unwrap();
    let history = History::open(folder.path(), options()).unwrap();
    append(&history, 1..=5);
    drop(history);
    assert_eq!(names(folder.path(), ".jsonl"), Vec::<String>::new());
    let (history, _) = open(folder.path(), options());
    assert_eq!(history.opened(), Opened::default());
    assert_eq!(seen(&history), [1, 2, 3, 4, 5]);
}

#[test]
fn after_a_crash_rows_are_taken_up_and_missing_queries_counted() {
    let folder = TempDir::new().unwrap();
    let (history, _) = open(folder.path(), options());
    append(&history, [1, 2, 5]);
    history.flush().unwrap();
    append(&history, [4, 6]);
    history.note_registered(10);
    append(&history, [9]);
    drop(history);

    let (history, _) = open(folder.path(), options());
    // Neither 3, 7, 8 nor 10 came.
    let expected = Opened {
        recovered: 3,
        lost: 4,
        ..Opened::default()
    };
    assert_eq!(history.opened(), expected);
    assert_eq!(seen(&history), [1, 2, 5, 4, 6, 9]);
    // The numbers of the next run begin again.
    append(&history, [1]);
    drop(history);
    let (history, _) = open(folder.path(), options());
    assert_eq!((history.opened().recovered, history.opened().lost), (4, 0));
    assert_eq!(seen(&history), [1, 2, 5, 4, 6, 9, 1]);
    history.close().unwrap();
    assert_eq!(names(folder.path(), ".jsonl"), Vec::<String>::new());
}

#[test]
fn queries_that_ran_when_it_crashed_are_counted_though_none_ended_after_them() {
    let folder = TempDir::new().unwrap();
    let (history, disk) = open(folder.path(), options());
    append(&history, [1]);
    history.note_registered(3);
    disk.faults.fail(1, u64::MAX);
    history.shared.write_registered();
    disk.faults.heal();
    history.note_registered(4);
    for _ in 0..2 {
        history.shared.write_registered();
    }
    drop(history);
    let (history, _) = open(folder.path(), options());
    let opened = history.opened();
    assert_eq!((opened.recovered, opened.lost, opened.broken), (1, 3, 0));
    assert_eq!(seen(&history), [1]);
}

#[test]
fn what_a_clean_end_has_not_archived_is_told_too() {
    let folder = TempDir::new().unwrap();
    let (history, _) = open(folder.path(), options());
    append(&history, [1, 3]);
    history.note_registered(5);
    history.close().unwrap();
    drop(history);
    let (history, _) = open(folder.path(), options());
    assert_eq!((history.opened().recovered, history.opened().lost), (0, 3));
    assert_eq!(seen(&history), [1, 3]);
}

#[test]
fn while_nothing_can_be_written_rows_wait_up_to_a_bound() {
    let folder = TempDir::new().unwrap();
    let bounded = HistoryOptions {
        max_pending_rows: 5,
        ..options()
    };
    let (history, disk) = open(folder.path(), bounded);
    append(&history, 1..=2);
    history.flush().unwrap();

    disk.faults.fail(1, u64::MAX);
    append(&history, 3..=6);
    let error = history.flush().unwrap_err().to_string();
    assert!(
        error.contains("injected failure") && error.contains(".parquet"),
        "{error}"
    );
    append(&history, 7..=10);
    assert_eq!(seen(&history), [1, 2, 6, 7, 8, 9, 10]);
    let health = history.health();
    assert_eq!((health.pending_rows, health.dropped), (5, 3));
    assert!(health.failures >= 5);
    assert!(
        health
            .last_trouble
            .unwrap()
            .error
            .contains("injected failure")
    );

    disk.faults.heal();
    history.flush().unwrap();
    assert_eq!(seen(&history), [1, 2, 6, 7, 8, 9, 10]);
    assert_eq!(
        (
            history.health().pending_rows,
            history.health().pending_bytes
        ),
        (0, 0)
    );
    history.close().unwrap();
    drop(history);
    let (history, _) = open(folder.path(), options());
    // The dropped ones are told.
    assert_eq!((history.opened().recovered, history.opened().lost), (0, 3));
}

#[test]
fn the_journal_does_not_keep_what_was_dropped() {
    let folder = TempDir::new().unwrap();
    let bounded = HistoryOptions {
        max_pending_rows: 2,
        ..options()
    };
    let (history, disk) = open(folder.path(), bounded);
    // No Parquet file can be made, because a folder has the name of the first attempt of each.
    for round in 1..=20 {
        append(&history, [2 * round - 1, 2 * round]);
        let day = Utc::now().date_naive();
        let first = history.shared.state.lock().pending().count() as u64;
        assert_eq!(first, 2);
        for from in 1..=round {
            let _ = fs::create_dir(
                folder
                    .path()
                    .join(format!("{day}-{from:012}-{round:012}.parquet.tmp")),
            );
        }
        history.flush().unwrap_err();
    }
    assert!(
        names(folder.path(), ".jsonl").len() <= 4,
        "{:?}",
        names(folder.path(), ".jsonl")
    );
    assert_eq!(history.health().dropped, 38);
    drop(disk);
}

#[test]
fn a_file_stays_until_its_last_reader_is_done() {
    let folder = TempDir::new().unwrap();
    let (history, _) = open(folder.path(), options());
    for serial in 1..=2 {
        append(&history, [serial]);
        history.flush().unwrap();
    }
    let reader = history.snapshot();
    append(&history, [3]);
    history.flush().unwrap();
    assert_eq!(history.files().len(), 1);
    let read: Vec<_> = reader
        .files
        .iter()
        .flat_map(|file| serials_in(file.path()))
        .collect();
    assert_eq!((read, seen(&history)), (vec![1, 2], vec![1, 2, 3]));
    assert_eq!(names(folder.path(), ".parquet").len(), 3);

    drop(reader);
    history.flush().unwrap();
    assert_eq!(names(folder.path(), ".parquet").len(), 1);
    assert_eq!(seen(&history), [1, 2, 3]);
}

#[test]
fn what_is_too_old_or_too_much_is_removed_oldest_first() {
    let folder = TempDir::new().unwrap();
    let (history, _) = open(folder.path(), options());
    for (serial, days_ago) in [(1, 40), (2, 40), (3, 20), (4, 1), (5, 0)] {
        history.append(row(serial, days_ago));
        history.flush().unwrap();
    }
    assert_eq!(seen(&history), [3, 4, 5]);
    let bytes = history.health().file_bytes;
    drop(history);
    let less = HistoryOptions {
        retention: Retention {
            days: Some(30),
            bytes: Some(bytes - 1),
        },
        ..options()
    };
    let (history, _) = open(folder.path(), less);
    history.flush().unwrap();
    assert_eq!(seen(&history), [4, 5]);
    assert_eq!(names(folder.path(), ".parquet").len(), 2);
}

#[test]
fn a_damaged_file_is_put_aside_and_a_foreign_one_left_alone() {
    let folder = TempDir::new().unwrap();
    let (history, _) = open(folder.path(), options());
    append(&history, [1]);
    history.flush().unwrap();
    append(&history, [2]);
    history.flush().unwrap();
    let damaged = history.files()[0].path().to_path_buf();
    history.close().unwrap();
    drop(history);
    fs::write(&damaged, b"PAR1 not at all").unwrap();
    fs::write(folder.path().join("notes.parquet"), b"mine").unwrap();

    let (history, _) = open(folder.path(), options());
    assert_eq!((history.opened().damaged, seen(&history)), (1, vec![2]));
    assert_eq!(names(folder.path(), ".damaged").len(), 1);
    assert_eq!(names(folder.path(), "notes.parquet").len(), 1);
    append(&history, [3]);
    history.flush().unwrap();
    assert_eq!(seen(&history), [2, 3]);
}

#[test]
fn a_broken_line_of_the_journal_is_counted_and_the_others_are_taken_up() {
    let folder = TempDir::new().unwrap();
    let (history, _) = open(folder.path(), options());
    append(&history, 1..=3);
    drop(history);
    let path = folder.path().join(&names(folder.path(), ".jsonl")[0]);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2] = "{}";
    fs::write(&path, lines.join("\n") + "\n{\"registered\":4,\"rec").unwrap();
    let (history, _) = open(folder.path(), options());
    let opened = history.opened();
    assert_eq!((opened.recovered, opened.broken, opened.lost), (2, 1, 1));
    assert_eq!(seen(&history), [1, 3]);
}

#[test]
fn a_folder_that_cannot_be_made_is_told_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let error = History::open(&path, options()).err().unwrap().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn files_of_a_server_with_other_columns_are_not_merged() {
    let folder = TempDir::new().unwrap();
    let day = Utc::now().date_naive();
    let other = QueryRecord::to_batch(&[row(1, 0)])
        .project(&[0, 40])
        .unwrap();
    for number in 1..=3 {
        let path = folder
            .path()
            .join(format!("{day}-{number:012}-{number:012}.parquet"));
        let file = File::create(path).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, other.schema(), None).unwrap();
        writer.write(&other).unwrap();
        writer.close().unwrap();
    }
    let (history, _) = open(folder.path(), options());
    for serial in 2..=4 {
        append(&history, [serial]);
        history.flush().unwrap();
    }
    assert_eq!(history.health().failures, 0);
    assert_eq!(seen(&history), [1, 1, 1, 2, 3, 4]);
    assert_eq!(history.files().len(), 4);
}

#[test]
fn readers_see_each_row_once_while_it_is_written_and_merged() {
    const ROWS: u64 = 400;
    let folder = TempDir::new().unwrap();
    let frequent = HistoryOptions {
        flush_rows: 7,
        flush_interval: Duration::from_millis(1),
        ..options()
    };
    let history = History::open(folder.path(), frequent).unwrap();
    let (appended, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for serial in 1..=ROWS {
                history.append(row(serial, 0));
                appended.store(serial, Ordering::SeqCst);
                if serial % 50 == 0 {
                    history.flush().unwrap();
                }
            }
            is_over.store(true, Ordering::SeqCst);
        });
        let reader = || {
            let mut last_look = false;
            while !last_look {
                last_look = is_over.load(Ordering::SeqCst);
                let before = appended.load(Ordering::SeqCst);
                let rows = seen(&history);
                let expected: Vec<u64> = (1..=rows.len() as u64).collect();
                assert_eq!(rows, expected);
                assert!(rows.len() as u64 >= before);
            }
        };
        scope.spawn(reader);
        scope.spawn(reader);
    });
    assert_eq!(seen(&history).len() as u64, ROWS);
    assert_eq!(history.health().failures, 0);
}

#[test]
fn the_thread_writes_when_enough_waits() {
    let folder = TempDir::new().unwrap();
    let few = HistoryOptions {
        flush_rows: 10,
        flush_interval: Duration::from_secs(3600),
        ..options()
    };
    let history = History::open(folder.path(), few).unwrap();
    append(&history, 1..=100);
    // What the thread has written at its start may leave fewer than it waits for.
    while history.pending().len() >= 10 {
        std::thread::yield_now();
    }
    assert_eq!(seen(&history), (1..=100).collect::<Vec<_>>());
}
