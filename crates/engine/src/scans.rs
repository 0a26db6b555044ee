//! Parquet scans whose rows go to the client as they are.
//!
//! The Parquet reader holds what it needs of a whole row group, compressed: tens of megabytes for
//! all columns of a usual file, and each partition of a scan reads a row group of its own. A
//! plain `SELECT * FROM t` would hold as many of them as the machine has cores, and gain nothing:
//! one task decodes rows faster than a connection can put them into messages. So such a scan is
//! read by one task, in slices of row groups ([`slices`]).
//!
//! A scan that filters, computes or feeds other operators keeps its partitions, and so does one of
//! a remote store, where several reads at once hide the time that each takes.

mod slices;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

use slices::SliceSize;

pub(crate) use slices::footer;

/// Compressed bytes that the reader of a plain scan should hold at most. Smaller slices read the
/// dictionaries of a row group more often.
const SLICE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads a plain scan with one task and little memory.
#[derive(Debug)]
pub(crate) struct LeanPlainScans {
    footers: Arc<FileMetadataCache>,
    slice_bytes: u64,
}

impl LeanPlainScans {
    /// The rule for plans that run in `environment`, whose cache has the files' footers.
    pub(crate) fn new(environment: &RuntimeEnv) -> Self {
        Self {
            footers: environment.cache_manager.get_file_metadata_cache(),
            slice_bytes: SLICE_BYTES,
        }
    }
}

impl PhysicalOptimizerRule for LeanPlainScans {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        options: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let size = SliceSize {
            bytes: self.slice_bytes,
            batch_rows: options.execution.batch_size.into(),
        };
        let lean = rewritten(&plan, &|scan| lean_scan(scan, self.footers.as_ref(), size))?;
        Ok(lean.unwrap_or(plan))
    }

    fn name(&self) -> &'static str {
        "lean_plain_scans"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `plan` with another scan, if it is a scan below nothing but operators that hand rows on.
fn rewritten(
    plan: &Arc<dyn ExecutionPlan>,
    rewrite: &dyn Fn(&FileScanConfig) -> Option<FileScanConfig>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        let files = scan.data_source().downcast_ref::<FileScanConfig>();
        return Ok(files
            .and_then(rewrite)
            .map(|files| DataSourceExec::from_data_source(files) as _));
    }
    if !hands_rows_on(plan.as_ref()) {
        return Ok(None);
    }
    let [child] = plan.children()[..] else {
        return Ok(None);
    };
    let Some(child) = rewritten(child, rewrite)? else {
        return Ok(None);
    };
    let children = vec![child];
    replace_children_if_necessary(Arc::clone(plan), children).map(Some)
}

fn hands_rows_on(plan: &dyn ExecutionPlan) -> bool {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return projection.expr().iter().all(|e| e.expr.is::<Column>());
    }
    plan.is::<CoalescePartitionsExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
}

/// `scan` with one partition of slices; `None` when it has to stay as it is.
fn lean_scan(
    scan: &FileScanConfig,
    footers: &FileMetadataCache,
    size: SliceSize,
) -> Option<FileScanConfig> {
    let source = scan.file_source();
    let computes = source
        .projection()
        .is_some_and(|p| p.iter().any(|e| !e.expr.is::<Column>()));
    let partitions_matter = scan.preserve_order
        || !scan.output_ordering.is_empty()
        || scan.output_partitioning.is_some();
    let plain = source.is::<ParquetSource>()
        && source.filter().is_none()
        && scan.object_store_url == ObjectStoreUrl::local_filesystem();
    if !plain || computes || partitions_matter {
        return None;
    }
    let pieces = scan.file_groups.iter().flat_map(FileGroup::iter).cloned();
    let files = slices::of(pieces.collect(), &columns_read(scan), footers, size);
    let lean = FileScanConfigBuilder::from(scan.clone());
    Some(lean.with_file_groups(vec![FileGroup::new(files)]).build())
}

/// Names of the file's columns that `scan` reads.
fn columns_read(scan: &FileScanConfig) -> HashSet<&str> {
    let fields = scan.file_schema().fields();
    let Some(projection) = scan.file_source().projection() else {
        return fields.iter().map(|f| f.name().as_str()).collect();
    };
    let read = projection.column_indices().into_iter();
    // Behind the file's columns are those of its partition.
    let read = read.filter_map(|i| fields.get(i));
    read.map(|f| f.name().as_str()).collect()
}
