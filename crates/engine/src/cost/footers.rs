//! What footers of Parquet files say of a scan's columns: their bytes, how many different values
//! they have, and which part is left when row groups and pages that cannot match are skipped.
//!
//! The reader skips them by their least and greatest values, as the conditions of the statement
//! say and as the build sides of joins say once they have run. Footers are looked at only where
//! the cache has them, which is so when planning has read statistics.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::parquet::basic::Type;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use datafusion::parquet::file::page_index::column_index::PrimitiveColumnIndex;
use datafusion::parquet::file::statistics::Statistics;

use super::relation::Range;
use crate::scans::footer;

/// Row groups that are looked at. Of more, all are taken to be read: an estimate must not take
/// longer than the planning before it.
const MAX_ROW_GROUPS: usize = 2_000;

/// Bytes in front of a page's values.
const PAGE_HEADER_BYTES: f64 = 14.0;

/// A dictionary is not compressed to less than one part in so many.
const MAX_COMPRESSION: f64 = 5.0;

/// Rows for each entry from which a dictionary is taken to have all values that there are, not
/// only those of its row group: of texts, of which nothing else is known, and of numbers.
const ROWS_OF_TEXT: f64 = 10.0;
const ROWS_OF_NUMBER: f64 = 100.0;

/// The footers of the files of a scan.
pub(super) struct Footers(Vec<Arc<ParquetMetaData>>);

impl Footers {
    /// `None` where one is not at hand, or they have too many row groups.
    pub(super) fn of(files: &[&PartitionedFile], cache: &FileMetadataCache) -> Option<Self> {
        let mut found = Vec::new();
        let mut groups = 0;
        // A large file stands there once for each of its ranges.
        let mut seen = HashSet::new();
        for file in files
            .iter()
            .filter(|f| seen.insert(&f.object_meta.location))
        {
            let footer = footer(file, cache)?;
            groups += footer.num_row_groups();
            if groups > MAX_ROW_GROUPS {
                return None;
            }
            found.push(footer);
        }
        (groups > 0).then_some(Self(found))
    }

    /// What they say of the column `name`, whose values lie in `whole`; `None` where a file has
    /// no such column, or it is nested.
    pub(super) fn column(&self, name: &str, whole: Option<Range>) -> Option<StoredColumn> {
        let mut column = StoredColumn::default();
        for footer in &self.0 {
            let leaves = footer.file_metadata().schema_descr().columns();
            let leaf = leaves.iter().position(|c| c.path().parts() == [name])?;
            for (i, group) in footer.row_groups().iter().enumerate() {
                column.add(footer, i, group.column(leaf), leaf, whole);
            }
        }
        // A file may store another type than its table has: then the numbers do not fit.
        let fits = |p: &Part| whole.is_some_and(|w| p.min >= w.min && p.max <= w.max);
        if column.parts.len() < column.chunks || !column.parts.iter().all(fits) {
            column.parts.clear();
        }
        Some(column)
    }
}

/// A column in all row groups of a scan.
#[derive(Default)]
pub(super) struct StoredColumn {
    pub(super) rows: f64,
    /// Bytes as stored.
    pub(super) stored: f64,
    /// Bytes after decompression.
    pub(super) decompressed: f64,
    /// Bytes of texts, without what separates them.
    texts: Option<f64>,
    /// Different values of the row group with most, and of all together.
    most_distinct: f64,
    all_distinct: f64,
    /// Whether a dictionary has all values of a row group.
    in_dictionaries: bool,
    chunks: usize,
    /// Row groups whose least and greatest values are known.
    parts: Vec<Part>,
}

/// A row group's part of a column.
struct Part {
    rows: f64,
    min: f64,
    max: f64,
    /// From the least to the greatest value of a page, on average.
    page: f64,
}

impl StoredColumn {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn add(
        &mut self,
        footer: &ParquetMetaData,
        group: usize,
        chunk: &ColumnChunkMetaData,
        leaf: usize,
        whole: Option<Range>,
    ) {
        let rows = chunk.num_values() as f64;
        self.rows += rows;
        self.stored += chunk.compressed_size() as f64;
        self.decompressed += chunk.uncompressed_size() as f64;
        if let Some(bytes) = chunk.unencoded_byte_array_data_bytes() {
            *self.texts.get_or_insert_default() += bytes as f64;
        }
        let rows_of_entry = match chunk.column_type() {
            Type::BYTE_ARRAY => ROWS_OF_TEXT,
            _ => ROWS_OF_NUMBER,
        };
        let distinct = distinct(chunk).filter(|entries| entries * rows_of_entry <= rows);
        self.in_dictionaries = distinct.is_some() && (self.chunks == 0 || self.in_dictionaries);
        self.most_distinct = self.most_distinct.max(distinct.unwrap_or(rows));
        self.all_distinct += distinct.unwrap_or(rows);
        self.chunks += 1;
        // Numbers are stored without their unit (days, hundredths); the step is what it is.
        let unit = whole.map(|w| if w.step > 0.0 { w.step } else { 1.0 });
        if let (Some(unit), Some((min, max))) = (unit, chunk.statistics().and_then(bounds)) {
            self.parts.push(Part {
                rows,
                min: min * unit,
                max: max * unit,
                page: page_length(footer, group, leaf).unwrap_or(max - min) * unit,
            });
        }
    }

    /// Bytes of a value.
    pub(super) fn width(&self) -> Option<f64> {
        self.texts.map(|bytes| bytes / self.rows.max(1.0))
    }

    /// How many different values there are, if dictionaries have all of them.
    pub(super) fn distinct(&self, whole: Option<Range>) -> Option<f64> {
        if !self.in_dictionaries {
            return None;
        }
        let apart = whole.is_some_and(|whole| self.is_ordered(&whole));
        Some(if apart {
            self.all_distinct
        } else {
            self.most_distinct
        })
    }

    /// Whether numbers take so few bytes that many must be equal.
    pub(super) fn repeats(&self, value_bytes: f64) -> bool {
        self.decompressed < self.rows * value_bytes * 0.9
    }

    /// Whether its values follow the order of the rows: pages have different ones.
    pub(super) fn is_ordered(&self, whole: &Range) -> bool {
        let length = whole.max - whole.min;
        let pages: f64 = self.parts.iter().map(|p| p.rows * p.page).sum();
        !self.parts.is_empty() && pages < self.rows * length / 2.0
    }

    /// The share of rows that is left when only values in `kept` are asked for.
    pub(super) fn share_of(&self, kept: &Range) -> f64 {
        self.share(|part| {
            let common = part.max.min(kept.max) - part.min.max(kept.min);
            if common < 0.0 {
                0.0
            } else if part.max > part.min {
                ((common + part.page) / (part.max - part.min)).min(1.0)
            } else {
                1.0
            }
        })
    }

    /// The share of rows that is left when an interval is asked for that has `length` (0 to 1) of
    /// the whole range, wherever it lies.
    pub(super) fn share_of_length(&self, length: f64, whole: &Range) -> f64 {
        let range = whole.max - whole.min;
        if range <= 0.0 {
            return 1.0;
        }
        self.share(|part| (part.page / range + length).min(1.0))
    }

    fn share(&self, of_part: impl Fn(&Part) -> f64) -> f64 {
        let rows: f64 = self.parts.iter().map(|p| p.rows).sum();
        let left: f64 = self.parts.iter().map(|p| p.rows * of_part(p)).sum();
        if rows > 0.0 { left / rows } else { 1.0 }
    }
}

/// How many entries the dictionary of a row group's column has; `None` where it has no
/// dictionary, or one that was given up when it was too large.
///
/// The dictionary's bytes are known as stored, compressed. Each row has the number of an entry,
/// of as many bits as that needs, or fewer where equal ones follow each other: these tell how many
/// entries there are at least.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn distinct(chunk: &ColumnChunkMetaData) -> Option<f64> {
    let start = chunk.dictionary_page_offset()?;
    let bytes = (chunk.data_page_offset() - start) as f64 - PAGE_HEADER_BYTES;
    let rows = (chunk.num_values() as f64).max(1.0);
    let entry = match chunk.column_type() {
        Type::BOOLEAN => return Some(2.0),
        Type::INT32 | Type::FLOAT => 4.0,
        Type::INT64 | Type::DOUBLE => 8.0,
        Type::INT96 => 12.0,
        Type::FIXED_LEN_BYTE_ARRAY => f64::from(chunk.column_descr().type_length()),
        Type::BYTE_ARRAY => 4.0 + chunk.unencoded_byte_array_data_bytes()? as f64 / rows,
    };
    let all_bytes = chunk.uncompressed_size() as f64;
    let number_bits = (all_bytes - bytes * MAX_COMPRESSION) * 8.0 / rows;
    // Between a power of two and the one before it.
    let at_least = (number_bits - 0.5).exp2();
    let entries = (bytes / entry).max(at_least).max(1.0);
    let numbers = rows * entries.max(2.0).log2().ceil() / 8.0;
    let explained = (entries * entry + numbers) * 1.5 + 1024.0;
    (all_bytes <= explained.max(2.0 * bytes)).then_some(entries)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn bounds(statistics: &Statistics) -> Option<(f64, f64)> {
    match statistics {
        Statistics::Int32(s) => Some((f64::from(*s.min_opt()?), f64::from(*s.max_opt()?))),
        Statistics::Int64(s) => Some((*s.min_opt()? as f64, *s.max_opt()? as f64)),
        Statistics::Float(s) => Some((f64::from(*s.min_opt()?), f64::from(*s.max_opt()?))),
        Statistics::Double(s) => Some((*s.min_opt()?, *s.max_opt()?)),
        _ => None,
    }
}

/// From the least to the greatest value of a page of a column, on average.
fn page_length(footer: &ParquetMetaData, group: usize, leaf: usize) -> Option<f64> {
    use datafusion::parquet::file::page_index::column_index::ColumnIndexMetaData as Index;
    match footer.column_index()?.get(group)?.get(leaf)? {
        Index::INT32(index) => average_length(index, |n| f64::from(*n)),
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        Index::INT64(index) => average_length(index, |n| *n as f64),
        Index::FLOAT(index) => average_length(index, |n| f64::from(*n)),
        Index::DOUBLE(index) => average_length(index, |n| *n),
        _ => None,
    }
}

fn average_length<T>(index: &PrimitiveColumnIndex<T>, number: impl Fn(&T) -> f64) -> Option<f64> {
    let pages = index.min_values_iter().zip(index.max_values_iter());
    let lengths = pages.filter_map(|(min, max)| Some(number(max?) - number(min?)));
    let (sum, pages) = lengths.fold((0.0, 0.0), |(sum, n), length| (sum + length, n + 1.0));
    (pages > 0.0).then_some(sum / pages)
}
