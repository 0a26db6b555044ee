//! The Parquet files of the history.
//!
//! A file is named after the day of its newest row and the journal segments whose rows it has:
//! `2026-11-21-000000000007-000000000009.parquet`. A file whose segments are all among those of another
//! one has been merged into that, and does not count.

use crate::QueryRecord;
use crate::disk::{Disk, failed};
use chrono::NaiveDate;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::borrow::Borrow;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is called until it is whole.
const TEMPORARY: &str = "tmp";

/// How a file is called that cannot be read.
const DAMAGED: &str = "damaged";

/// How many rows are turned into Arrow's form at once.
const BATCH_ROWS: usize = 8192;

/// How many rows there are in a row group at most.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// zstd's level: above it files shrink by little and take several times as long.
const COMPRESSION_LEVEL: i32 = 3;

/// One Parquet file of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFile {
    path: PathBuf,
    name: Name,
    rows: u64,
    bytes: u64,
    /// Whether it has the columns that this server writes.
    has_our_columns: bool,
}

/// What a file's name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) day: NaiveDate,
    /// The first journal segment whose rows the file has.
    pub(super) first: u64,
    /// The last one.
    pub(super) last: u64,
}

impl HistoryFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The day of its newest row, in UTC.
    pub fn day(&self) -> NaiveDate {
        self.name.day
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn name(&self) -> Name {
        self.name
    }

    /// Whether it can be merged with files of this server.
    pub(super) fn has_our_columns(&self) -> bool {
        self.has_our_columns
    }

    #[cfg(test)]
    pub(super) fn for_test(day: NaiveDate, number: u64, bytes: u64) -> Self {
        HistoryFile {
            path: PathBuf::new(),
            name: Name {
                day,
                first: number,
                last: number,
            },
            rows: 1,
            bytes,
            has_our_columns: true,
        }
    }

    /// The file with this name, if it is whole.
    fn read(folder: &Path, name: Name) -> Result<Self, ParquetError> {
        let path = name.path(folder);
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let rows = reader.metadata().file_metadata().num_rows();
        Ok(HistoryFile {
            path,
            name,
            rows: u64::try_from(rows).unwrap_or(0),
            bytes,
            has_our_columns: reader.schema().fields() == QueryRecord::schema().fields(),
        })
    }
}

impl Name {
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        let Name { day, first, last } = self;
        folder.join(format!("{day}-{first:012}-{last:012}.parquet"))
    }

    fn parse(name: &str) -> Option<Name> {
        let (day, numbers) = name
            .strip_suffix(".parquet")?
            .split_at_checked("2026-11-21".len())?;
        let (first, last) = numbers.strip_prefix('-')?.split_once('-')?;
        Some(Name {
            day: day.parse().ok()?,
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        })
    }

    /// Whether `other` has no rows that a file of this name has not.
    pub(super) fn covers(&self, other: &Name) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// What there is in a folder.
#[derive(Default)]
pub(super) struct Found {
    /// The whole files, oldest first.
    pub(super) files: Vec<HistoryFile>,
    /// Those that were merged into others.
    pub(super) merged: Vec<HistoryFile>,
    /// Journal segments, oldest first.
    pub(super) segments: Vec<u64>,
    /// Files that cannot be read, under their new names.
    pub(super) damaged: Vec<PathBuf>,
    /// The largest number of a segment in any name.
    pub(super) last_number: u64,
}

/// Looks through the folder. What a crash has left half-written is removed; what cannot be read is
/// put aside.
pub(super) fn find(disk: &Disk, folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if let Some(number) = super::journal::segment_number(&name) {
            found.segments.push(number);
            continue;
        }
        let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
        let Some(parsed) = Name::parse(&name).or_else(|| Name::parse(stem)) else {
            continue;
        };
        found.last_number = found.last_number.max(parsed.last);
        match ending {
            TEMPORARY => warn_of(disk.remove(&entry.path())),
            "parquet" => names.push(parsed),
            _ => {}
        }
    }
    found.segments.sort_unstable();
    found.last_number = found
        .last_number
        .max(found.segments.last().copied().unwrap_or(0));
    // A merged file comes before the ones that it was made of.
    names.sort_unstable_by_key(|name| (name.first, std::cmp::Reverse(name.last)));
    for name in names {
        take_up(disk, folder, name, &mut found);
    }
    Ok(found)
}

fn take_up(disk: &Disk, folder: &Path, name: Name, found: &mut Found) {
    match HistoryFile::read(folder, name) {
        Ok(file) => match found.files.last() {
            Some(before) if before.name.covers(&name) => found.merged.push(file),
            _ => found.files.push(file),
        },
        Err(error) => {
            let path = name.path(folder);
            let aside = with_ending(&path, DAMAGED);
            tracing::error!(
                "{} of the query history cannot be read and is renamed to {}: {error}",
                path.display(),
                aside.display(),
            );
            warn_of(disk.rename(&path, &aside));
            found.damaged.push(aside);
        }
    }
}

fn warn_of(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!("the query history: {error}");
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Writes rows into a new file. It has its name only when it is whole.
pub(super) fn write<R: Borrow<QueryRecord>>(
    disk: &Disk,
    folder: &Path,
    name: Name,
    rows: &[R],
) -> io::Result<HistoryFile> {
    write_with(disk, folder, name, |writer| {
        for rows in rows.chunks(BATCH_ROWS) {
            writer.write(&QueryRecord::to_batch(rows))?;
        }
        Ok(())
    })
}

/// Writes the rows of files into a new one, in their order.
pub(super) fn merge(
    disk: &Disk,
    folder: &Path,
    name: Name,
    files: &[Arc<HistoryFile>],
) -> io::Result<HistoryFile> {
    write_with(disk, folder, name, |writer| {
        for file in files {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path)?)?;
            for batch in reader.with_batch_size(BATCH_ROWS).build()? {
                writer.write(&batch?)?;
            }
        }
        Ok(())
    })
}

fn write_with(
    disk: &Disk,
    folder: &Path,
    name: Name,
    fill: impl FnOnce(&mut ArrowWriter<Box<dyn Write + Send>>) -> Result<(), ParquetError>,
) -> io::Result<HistoryFile> {
    let path = name.path(folder);
    let temporary = with_ending(&path, TEMPORARY);
    let written = write_whole(disk, &temporary, fill).and_then(|rows| {
        let bytes = fs::metadata(&temporary)
            .map_err(failed("inspect", &temporary))?
            .len();
        disk.rename(&temporary, &path)?;
        Ok((rows, bytes))
    });
    match written {
        Ok((rows, bytes)) => Ok(HistoryFile {
            path,
            name,
            rows,
            bytes,
            has_our_columns: true,
        }),
        Err(error) => {
            // A full disk has better uses for it. If this fails too, the next start removes it.
            let _ = disk.remove(&temporary);
            Err(error)
        }
    }
}

/// Writes a whole file and waits until it is on the disk; returns the number of its rows.
fn write_whole(
    disk: &Disk,
    path: &Path,
    fill: impl FnOnce(&mut ArrowWriter<Box<dyn Write + Send>>) -> Result<(), ParquetError>,
) -> io::Result<u64> {
    let file: Box<dyn Write + Send> = Box::new(BufWriter::new(disk.create(path)?));
    let unwritable = |error| unusable(path, error);
    let mut writer = ArrowWriter::try_new(file, QueryRecord::schema(), Some(properties()))
        .map_err(unwritable)?;
    fill(&mut writer).map_err(unwritable)?;
    let footer = writer.finish().map_err(unwritable)?;
    writer.inner_mut().flush()?;
    drop(writer);
    disk.append(path)?.sync()?;
    Ok(u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0))
}

/// The reason under Parquet's error, with the name of the file.
fn unusable(path: &Path, error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => *cause,
            Err(cause) => failed("use", path)(io::Error::other(cause)),
        },
        other => failed("use", path)(io::Error::other(other)),
    }
}

fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(COMPRESSION_LEVEL).expect("the level is one of zstd's");
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_created_by(concat!("forebay ", env!("CARGO_PKG_VERSION")).to_owned())
        .build()
}
