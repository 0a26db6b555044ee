//! Files in slices that need little memory each.
//!
//! The reader fetches only the pages of the rows that it was asked for, where a file has an index
//! of its pages (most writers add one). A slice is such a file with a selection of its rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::parquet::metadata::CachedParquetMetaData;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::parquet::file::metadata::ParquetMetaData;
use object_store::path::Path;

/// Slices of one scan at most: each is a file to the plan. A table with more is read by whole row
/// groups.
const MAX_SLICES: usize = 10_000;

/// How large slices are.
#[derive(Debug, Clone, Copy)]
pub(super) struct SliceSize {
    /// Compressed bytes that the reader should hold at most.
    pub(super) bytes: u64,
    /// A slice that is not the last of its row group has a multiple of this many rows, so that
    /// all its batches are full.
    pub(super) batch_rows: usize,
}

/// The files of `pieces` in the same order, in slices where `footers` knows how to cut them.
/// `columns` are the names of those that are read.
pub(super) fn of(
    pieces: Vec<PartitionedFile>,
    columns: &HashSet<&str>,
    footers: &FileMetadataCache,
    size: SliceSize,
) -> Vec<PartitionedFile> {
    let Some(files) = whole_files(&pieces) else {
        return pieces;
    };
    let mut slices = Vec::with_capacity(files.len());
    for file in files {
        let selections = footer(&file, footers)
            .map(|footer| selections(&footer, columns, size))
            .unwrap_or_default();
        if selections.len() < 2 {
            slices.push(file);
        } else {
            let slice = |s| file.clone().with_extension(ParquetRowSelection::new(s));
            slices.extend(selections.into_iter().map(slice));
        }
        if slices.len() > MAX_SLICES {
            return pieces;
        }
    }
    slices
}

/// The files that `pieces` are ranges of; `None` where a range is missing.
fn whole_files(pieces: &[PartitionedFile]) -> Option<Vec<PartitionedFile>> {
    let mut files = Vec::new();
    let mut missing: HashMap<&Path, i64> = HashMap::new();
    for piece in pieces {
        let Some(range) = &piece.range else {
            files.push(piece.clone());
            continue;
        };
        let size = i64::try_from(piece.object_meta.size).ok()?;
        let missing = missing
            .entry(&piece.object_meta.location)
            .or_insert_with(|| {
                let mut file = piece.clone();
                file.range = None;
                files.push(file);
                size
            });
        *missing -= range.end - range.start;
    }
    missing.values().all(|bytes| *bytes == 0).then_some(files)
}

/// The footer of `file`, if it is cached: planning has read it for its statistics.
pub(crate) fn footer(
    file: &PartitionedFile,
    footers: &FileMetadataCache,
) -> Option<Arc<ParquetMetaData>> {
    let cached = footers.get(&file.object_meta.location)?;
    if !cached.is_valid_for(&file.object_meta) {
        return None;
    }
    let footer = cached.file_metadata.as_any();
    let footer = footer.downcast_ref::<CachedParquetMetaData>()?;
    Some(Arc::clone(footer.parquet_metadata()))
}

/// Selections that together are all rows of a file, in order.
fn selections(
    footer: &ParquetMetaData,
    columns: &HashSet<&str>,
    size: SliceSize,
) -> Vec<RowSelection> {
    let lengths = lengths(footer, columns, size);
    let total: usize = lengths.iter().sum();
    let mut before = 0;
    let cut = |length| {
        let selection = RowSelection::from(vec![
            RowSelector::skip(before),
            RowSelector::select(length),
            RowSelector::skip(total - before - length),
        ]);
        before += length;
        selection
    };
    lengths.into_iter().map(cut).collect()
}

/// Rows of each slice. The reader goes through a slice by row groups, so small ones share one.
fn lengths(footer: &ParquetMetaData, columns: &HashSet<&str>, size: SliceSize) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut small = 0;
    for (i, group) in footer.row_groups().iter().enumerate() {
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let step = step(footer, i, columns, size).unwrap_or(rows);
        if step >= rows {
            small += rows;
            continue;
        }
        lengths.extend((small > 0).then_some(small));
        small = 0;
        lengths.extend((0..rows).step_by(step).map(|at| step.min(rows - at)));
    }
    lengths.extend((small > 0).then_some(small));
    lengths
}

/// Rows of row group `group` that a slice may have; `None` when it has no index of its pages,
/// without which the reader fetches the whole group for every slice.
fn step(
    footer: &ParquetMetaData,
    group: usize,
    columns: &HashSet<&str>,
    size: SliceSize,
) -> Option<usize> {
    let pages = footer.offset_index()?.get(group)?;
    let group = footer.row_group(group);
    let mut bytes = 0;
    for (i, chunk) in group.columns().iter().enumerate() {
        let root = chunk.column_path().parts().first()?;
        if columns.contains(root.as_str()) {
            bytes += u64::try_from(chunk.compressed_size()).ok()?;
            pages.get(i).filter(|p| !p.page_locations().is_empty())?;
        }
    }
    let rows = u64::try_from(group.num_rows()).ok()?;
    let rows = usize::try_from(rows.saturating_mul(size.bytes) / bytes.max(1)).ok()?;
    Some((rows / size.batch_rows).max(1) * size.batch_rows)
}
