//! How many operators things take.
//!
//! PostgreSQL's `cpu_operator_cost` is one operator on one row. An operator on a column of numbers
//! takes less, decoding text takes more; these are the ratios. They were measured with small
//! statements over TPC-H's tables at scale 1, each doing little else than the one thing
//! (`docs/benchmarks.md` has examples): the time that `EXPLAIN ANALYZE` shows for the operator
//! over its rows, in a release build on an Intel Xeon with 2 MiB of second-level cache. Time is
//! counted in operators of 3 ns.
//!
//! They are properties of the engine, not of a deployment, so they are not settings.

use super::relation::Kind;

/// Stored bytes, after decompression, that a scan decodes meanwhile: 1 ns each.
pub(super) const BYTES_DECODED: f64 = 3.0;

/// Making a value of a column, apart from its bytes: 1.25 ns.
pub(super) const VALUE_DECODED: f64 = 0.4;

/// Bytes of text formats (CSV, JSON) that a scan splits and parses meanwhile.
pub(super) const BYTES_PARSED: f64 = 1.0;

/// Copying a value next to others of its column, in order: 1 to 2 ns, and bytes of text.
pub(super) const VALUE_COPIED: f64 = 0.5;
pub(super) const BYTES_COPIED: f64 = 64.0;

/// Copying a value from one of a few streams: 5 ns.
pub(super) const VALUE_MERGED: f64 = 1.5;

/// Copying a value from anywhere: 12 to 20 ns.
pub(super) const VALUE_GATHERED: f64 = 4.0;

/// Comparing numbers: 0.7 ns alone, up to 3 ns where rows are chosen for the next condition.
const NUMBERS_COMPARED: f64 = 0.5;
/// Comparing texts for equality: 6 ns.
const TEXTS_COMPARED: f64 = 2.0;

/// Adding integers, their overflow watched: 1.7 ns; the same of decimals, with their scales: 4 to 12 ns.
pub(super) const INTEGERS_ADDED: f64 = 0.6;
const DECIMALS_ADDED: f64 = 2.0;

/// A function of numbers: 12 to 30 ns; one that reads or makes a text: 14 to 23 ns.
pub(super) const FUNCTION: f64 = 5.0;
pub(super) const TEXT_FUNCTION: f64 = 6.0;

/// A pattern that is compared with one end of the text: 4 ns; one that is searched in it: 17 to 22 ns;
/// one that needs a state machine: 70 to 80 ns.
pub(super) const PATTERN_AT_END: f64 = 1.3;
pub(super) const PATTERN_SEARCHED: f64 = 7.0;
pub(super) const PATTERN: f64 = 25.0;

/// Looking a value up in a constant list.
pub(super) const LIST: f64 = 2.0;

/// Choosing between the branches of a `CASE`: 3 ns.
pub(super) const CASE: f64 = 1.0;

/// Aggregating a value into its group: 0.5 to 2.5 ns.
pub(super) const AGGREGATED: f64 = 0.5;

/// Finding a row's group, for each key: 4 to 7 ns of a number, 5 to 12 ns of a text.
const NUMBER_GROUPED: f64 = 2.0;
const TEXT_GROUPED: f64 = 3.5;
/// Making a group, on top of what a row is (`cpu_tuple_cost`): 45 to 60 ns and 2 ns for a byte of text.
pub(super) const GROUP_MADE: f64 = 12.0;
pub(super) const GROUP_BYTE: f64 = 0.6;

/// A partial aggregation stops to group when it has seen so many rows, and this share of them
/// were groups of their own (DataFusion's `skip_partial_aggregation_probe_…`).
pub(super) const SKIPPED_AFTER: f64 = 100_000.0;
pub(super) const SKIPPED_FROM: f64 = 0.8;

/// Putting a row into a hash table beyond what a row is (`cpu_tuple_cost`), and each key after
/// the first: 14 ns and 8 ns. Less where the keys are so dense that an array serves: 7 ns.
pub(super) const ROW_HASHED: f64 = 0.5;
pub(super) const KEY_HASHED: f64 = 2.5;
/// Keys in a range that the engine makes an array of have at least this density.
pub(super) const DENSE: f64 = 0.15;
/// Looking a row up: 2 to 3 ns.
pub(super) const ROW_PROBED: f64 = 1.0;
/// A pair of rows with equal keys: 2 to 4 ns.
pub(super) const PAIR_FOUND: f64 = 1.0;

/// Bytes of an entry of a hash table, apart from its columns.
pub(super) const ENTRY_BYTES: f64 = 24.0;
/// Bytes of a hash table that is as good as no memory at all: the second-level cache.
const CACHE_BYTES: f64 = 2.0 * 1024.0 * 1024.0;

/// Sending a value to the partition of its row: the hash of a key.
const NUMBER_HASHED: f64 = 0.5;
const TEXT_HASHED: f64 = 2.5;

/// A window function that looks at its row: 30 to 130 ns.
pub(super) const WINDOW_FUNCTION: f64 = 20.0;
/// An aggregate whose frame moves with the row: 450 ns.
pub(super) const WINDOW_RUNNING: f64 = 150.0;
/// A function of whole partitions: 40 ns.
pub(super) const WINDOW_WHOLE: f64 = 10.0;
/// Beginning a partition of a window: 600 to 1000 ns.
pub(super) const PARTITION_MADE: f64 = 250.0;

/// A pair of rows of a nested loop: 1.4 ns.
pub(super) const PAIR_MADE: f64 = 0.25;

/// What comparing two values of a kind takes.
pub(super) fn compared(kind: Kind) -> f64 {
    match kind {
        Kind::Text => TEXTS_COMPARED,
        _ => NUMBERS_COMPARED,
    }
}

/// What an arithmetic operator takes.
pub(super) fn added(kind: Kind) -> f64 {
    match kind {
        Kind::Decimal => DECIMALS_ADDED,
        _ => INTEGERS_ADDED,
    }
}

/// What finding a row's group by a key of this kind takes.
pub(super) fn grouped(kind: Kind) -> f64 {
    match kind {
        Kind::Text => TEXT_GROUPED,
        _ => NUMBER_GROUPED,
    }
}

/// What hashing a key of this kind takes.
pub(super) fn hashed(kind: Kind) -> f64 {
    match kind {
        Kind::Text => TEXT_HASHED,
        _ => NUMBER_HASHED,
    }
}

/// What a look-up in a table of `bytes` waits for memory: 3 ns for each doubling beyond the cache.
pub(super) fn beyond_cache(bytes: f64) -> f64 {
    (bytes / CACHE_BYTES).max(1.0).log2()
}
