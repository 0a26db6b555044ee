//! The totals of a plan, over all its operators.

use super::{Operator, Profile, Unit};

/// What scans have skipped, as DataFusion names it: files, and row groups by either kind of
/// statistic.
const FILES_PRUNED: &str = "files_ranges_pruned_statistics_pruned";
const ROW_GROUPS_PRUNED_BY_STATISTICS: &str = "row_groups_pruned_statistics_pruned";
const ROW_GROUPS_PRUNED_BY_BLOOM_FILTERS: &str = "row_groups_pruned_bloom_filter_pruned";

/// The name of what operators have computed.
pub(super) const COMPUTE_TIME: &str = "ComputeTime";

/// What a plan has measured, added up. A query keeps it beside its compressed profile, so that nobody
/// has to read that one for a row of the query log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Rows of the operators that have no input.
    pub(crate) rows_read: u64,
    pub(crate) compute_time_ns: u64,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) bytes_read: u64,
    pub(crate) spilled_bytes: u64,
    pub(crate) files_pruned: u64,
    pub(crate) row_groups_pruned_by_statistics: u64,
    pub(crate) row_groups_pruned_by_bloom_filters: u64,
}

impl Totals {
    /// Those of a plan's operators; `None` without a plan.
    pub(crate) fn of(operators: &[Operator]) -> Option<Self> {
        let sum = |of: fn(&Operator) -> u64| operators.iter().map(of).sum();
        let counted = |name: &str| {
            let counters = operators.iter().flat_map(|operator| &operator.counters);
            let total: i64 = counters.filter(|c| c.name == name).map(|c| c.value).sum();
            u64::try_from(total).unwrap_or(0)
        };
        (!operators.is_empty()).then(|| Self {
            rows_read: rows_read(operators),
            compute_time_ns: sum(|o| o.time_total_ns),
            peak_memory_bytes: sum(|o| o.peak_memory_bytes.unwrap_or(0)),
            bytes_read: sum(|o| o.scanned_bytes),
            spilled_bytes: sum(|o| o.spilled_bytes),
            files_pruned: counted(FILES_PRUNED),
            row_groups_pruned_by_statistics: counted(ROW_GROUPS_PRUNED_BY_STATISTICS),
            row_groups_pruned_by_bloom_filters: counted(ROW_GROUPS_PRUNED_BY_BLOOM_FILTERS),
        })
    }

    /// Row groups that needed no reading, in files that did.
    pub(crate) fn row_groups_pruned(&self) -> u64 {
        self.row_groups_pruned_by_statistics + self.row_groups_pruned_by_bloom_filters
    }

    /// As a part of a profile.
    pub(crate) fn node(&self, rows_returned: u64) -> Profile {
        let mut node = Profile::named("Totals");
        for (name, unit, value) in [
            ("RowsReturned", Unit::Unit, rows_returned),
            ("RowsRead", Unit::Unit, self.rows_read),
            (COMPUTE_TIME, Unit::TimeNs, self.compute_time_ns),
            ("PeakMemory", Unit::Bytes, self.peak_memory_bytes),
            ("BytesRead", Unit::Bytes, self.bytes_read),
            ("SpilledBytes", Unit::Bytes, self.spilled_bytes),
            (FILES_PRUNED, Unit::Unit, self.files_pruned),
            (
                ROW_GROUPS_PRUNED_BY_STATISTICS,
                Unit::Unit,
                self.row_groups_pruned_by_statistics,
            ),
            (
                ROW_GROUPS_PRUNED_BY_BLOOM_FILTERS,
                Unit::Unit,
                self.row_groups_pruned_by_bloom_filters,
            ),
        ] {
            node.add_counter(name, unit, value);
        }
        node
    }
}

fn rows_read(operators: &[Operator]) -> u64 {
    let nexts = operators.iter().skip(1).map(Some).chain([None]);
    let leaves = operators
        .iter()
        .zip(nexts)
        .filter(|(operator, next)| next.is_none_or(|next| next.depth <= operator.depth));
    leaves.map(|(leaf, _)| leaf.rows.unwrap_or(0)).sum()
}
