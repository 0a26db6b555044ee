//! The journal: rows that are in no Parquet file yet, so that `kill -9` does not lose them.
//!
//! It consists of segments, `journal-NUMBER.jsonl`. The first line of a segment tells of the run of the
//! server that wrote it, every other line is one row. Rows are appended to the newest segment. A flush
//! begins a new one, writes the rows of all older ones into one Parquet file that has their numbers in
//! its name, and removes them.

use super::serials::Serials;
use crate::QueryRecord;
use crate::disk::{Disk, failed};
use crate::lines::LineFile;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What a run of the server has archived, at one moment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Run {
    /// The serial numbers of the rows that a crash does not lose.
    pub(super) archived: Serials,
    /// The largest serial number that was given out.
    pub(super) registered: u64,
}

impl Run {
    /// How many queries were registered and are not archived.
    pub(super) fn missing(&self) -> u64 {
        self.archived.missing(self.registered)
    }
}

/// A row as the journal has it; borrowed to write it, owned to read it. Without a record it only says
/// how many queries were registered.
#[derive(Serialize, Deserialize)]
struct Line<R> {
    registered: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<R>,
}

/// One row as a line with its end.
pub(super) fn to_line(record: &QueryRecord, registered: u64) -> Vec<u8> {
    let record = Some(record);
    line_of(&Line { registered, record })
}

/// A line that says how many were registered.
pub(super) fn to_note(registered: u64) -> Vec<u8> {
    line_of(&Line::<QueryRecord> {
        registered,
        record: None,
    })
}

fn line_of(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("these types have no values that JSON has not");
    line.push(b'\n');
    line
}

/// The name of a segment in its folder.
pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("journal-{number:012}.jsonl"))
}

/// The number of the segment with this name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    name.strip_prefix("journal-")?
        .strip_suffix(".jsonl")?
        .parse()
        .ok()
}

/// Begins a segment.
pub(super) fn begin(disk: &Disk, folder: &Path, number: u64, run: &Run) -> io::Result<LineFile> {
    let mut file = LineFile::open(disk, &segment_path(folder, number))?;
    // It is there already when its first line could not be written before.
    if file.len() == 0 {
        file.append(&line_of(run))?;
    }
    Ok(file)
}

/// What a segment has.
#[derive(Default)]
pub(super) struct Replay {
    pub(super) rows: Vec<QueryRecord>,
    /// The run as it was after the last of these rows; none if not even the first line is whole.
    pub(super) run: Option<Run>,
    /// Whole lines that are no rows.
    pub(super) broken: u64,
}

/// Reads a segment. A last line without its end was never told to be written, and is left out.
pub(super) fn replay(path: &Path) -> io::Result<Replay> {
    let mut file = BufReader::new(File::open(path).map_err(failed("open", path))?);
    let mut found = Replay::default();
    let mut line = Vec::new();
    let mut is_first = true;
    loop {
        line.clear();
        file.read_until(b'\n', &mut line)
            .map_err(failed("read", path))?;
        if line.pop() != Some(b'\n') {
            return Ok(found);
        }
        if std::mem::take(&mut is_first) {
            found.run = serde_json::from_slice(&line).ok();
            found.broken += u64::from(found.run.is_none());
            continue;
        }
        match serde_json::from_slice::<Line<QueryRecord>>(&line) {
            Ok(Line { registered, record }) => {
                if let Some(run) = &mut found.run {
                    run.registered = run.registered.max(registered);
                    let serial = record.as_ref().map_or(0, |record| record.serial);
                    run.archived.insert(serial);
                }
                found.rows.extend(record);
            }
            Err(_) => found.broken += 1,
        }
    }
}
