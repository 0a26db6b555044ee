//! Reading files, and sources that are not files.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Statistics;
use datafusion::common::pruning::PrunableStatistics;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfig, ParquetSource};
use datafusion::physical_expr::conjunction;
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::relation::{Column, Relation};
use super::selectivity::operators;
use super::{CostConstants, Node, defaults};

/// Files whose statistics are looked at to find those that a condition rules out. Of more, all
/// are taken to be read: an estimate must not take longer than the planning before it.
const MAX_PRUNED_FILES: usize = 10_000;

/// A source that is not a file: values, a function, a system view.
pub(super) fn source(plan: &dyn ExecutionPlan, constants: &CostConstants) -> Node {
    let schema = plan.schema();
    let known = StatisticsContext::new().compute(plan, &StatisticsArgs::new());
    let relation = match known {
        Ok(statistics) => Relation::from_statistics(&statistics, &schema, defaults::ROWS),
        Err(_) => Relation::unknown(&schema, defaults::ROWS),
    };
    Node {
        startup: 0.0,
        total: relation.rows * constants.cpu_tuple_cost,
        relation,
    }
}

/// A scan of files.
pub(super) fn files(config: &FileScanConfig, constants: &CostConstants) -> Node {
    let scan = FileScan::of(config);
    let table = scan.table();
    let projection = config.file_source().projection();
    let predicate = scan.predicate.as_ref().filter(|_| scan.filters);

    let pages = scan.bytes_read(&table) / defaults::PAGE_BYTES;
    let mut cost = pages * constants.seq_page_cost
        + scan.read.files * constants.random_page_cost
        + scan.looked_at * constants.cpu_index_tuple_cost
        + table.rows * scan.columns_read() * constants.cpu_operator_cost;

    let mut rows = table;
    if let Some(predicate) = predicate {
        cost += rows.rows * rows.operators(predicate.as_ref()) * constants.cpu_operator_cost;
        rows.keep(predicate);
    }
    let relation = match projection {
        Some(projection) => {
            let expressions = projection.iter().map(|p| operators(p.expr.as_ref()));
            cost += rows.rows * expressions.sum::<f64>() * constants.cpu_operator_cost;
            let columns = projection.iter().map(|p| {
                let data_type = p.expr.data_type(scan.schema());
                let data_type = data_type.unwrap_or(DataType::Utf8);
                rows.describe(p.expr.as_ref(), &data_type)
            });
            Relation {
                rows: rows.rows,
                columns: columns.collect(),
            }
        }
        None => rows,
    };
    Node {
        startup: 0.0,
        total: cost,
        relation,
    }
}

/// What a scan has to read.
struct FileScan<'a> {
    config: &'a FileScanConfig,
    /// The condition on columns of the table, without what is only known while it runs.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Whether the scan itself drops rows, not only whole files.
    filters: bool,
    /// Files, or parts of them, that may have rows that the condition keeps.
    read: Portion,
    /// Files whose statistics were asked.
    looked_at: f64,
    /// Statistics of the files to be read, where some are not.
    statistics: Option<Statistics>,
}

#[derive(Default, Clone, Copy)]
struct Portion {
    files: f64,
    bytes: f64,
}

impl Portion {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn of<'f>(files: impl Iterator<Item = &'f PartitionedFile>) -> Self {
        files.fold(Self::default(), |portion, file| Self {
            files: portion.files + 1.0,
            bytes: portion.bytes + file.effective_size() as f64,
        })
    }
}

impl<'a> FileScan<'a> {
    fn of(config: &'a FileScanConfig) -> Self {
        let parquet = config.file_source().downcast_ref::<ParquetSource>();
        let predicate = config.file_source().filter().as_ref().and_then(known_part);
        let filters = parquet.is_some_and(|p| p.table_parquet_options().global.pushdown_filters);
        let mut scan = Self {
            config,
            predicate,
            filters,
            read: Portion::of(all_files(config)),
            looked_at: 0.0,
            statistics: None,
        };
        scan.prune();
        scan
    }

    fn schema(&self) -> &SchemaRef {
        self.config.file_source().table_schema().table_schema()
    }

    /// Leaves out the files that cannot have rows that the condition keeps.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn prune(&mut self) {
        let Some(predicate) = &self.predicate else {
            return;
        };
        let files: Vec<&PartitionedFile> =
            all_files(self.config).take(MAX_PRUNED_FILES + 1).collect();
        if files.len() < 2 || files.len() > MAX_PRUNED_FILES {
            return;
        }
        let statistics: Option<Vec<Arc<Statistics>>> =
            files.iter().map(|f| f.statistics.clone()).collect();
        let Some(statistics) = statistics else {
            return;
        };
        let schema = Arc::clone(self.schema());
        let pruning = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&schema))
            .try_build(Arc::clone(predicate));
        let prunable = PrunableStatistics::new(statistics, Arc::clone(&schema));
        let Ok(kept) = pruning.and_then(|p| p.prune(&prunable)) else {
            return;
        };
        self.looked_at = files.len() as f64;
        if kept.iter().all(|kept| *kept) {
            return;
        }
        let kept_files = || files.iter().zip(&kept).filter(|(_, kept)| **kept);
        // A large file stands there once for each of its ranges, with the same statistics.
        let mut seen = HashSet::new();
        let of_kept = kept_files().filter(|(file, _)| seen.insert(&file.object_meta.location));
        let of_kept: Vec<&Statistics> = of_kept
            .filter_map(|(f, _)| f.statistics.as_deref())
            .collect();
        self.read = Portion::of(kept_files().map(|(file, _)| *file));
        self.statistics = Statistics::try_merge_iter(of_kept, &schema).ok();
    }

    /// The rows of the files to be read, with all columns of the table.
    fn table(&self) -> Relation {
        let of_all = self.config.statistics();
        let statistics = self.statistics.as_ref().unwrap_or(&of_all);
        if self.read.files == 0.0 {
            return Relation::unknown(self.schema(), 0.0);
        }
        // Where no one has counted: as many rows of the usual width as the files have room for.
        let width = Relation::unknown(self.schema(), 1.0).width().max(1.0);
        Relation::from_statistics(
            statistics,
            self.schema(),
            (self.read.bytes / width).max(1.0),
        )
    }

    /// Columns to be decoded; each value is what an operator is.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn columns_read(&self) -> f64 {
        let source = self.config.file_source();
        let all = self.schema().fields().len();
        let read = match (source.file_type(), source.projection()) {
            ("parquet", Some(projection)) => projection.column_indices().len(),
            _ => all,
        };
        read as f64
    }

    /// Bytes to be decoded: of Parquet only the columns that are asked for, of other formats all.
    fn bytes_read(&self, table: &Relation) -> f64 {
        if self.config.file_source().file_type() != "parquet" {
            return self.read.bytes;
        }
        let Some(projection) = self.config.file_source().projection() else {
            return table.rows * table.width();
        };
        let mut indices: HashSet<usize> = projection.column_indices().into_iter().collect();
        if let Some(predicate) = self.predicate.as_ref().filter(|_| self.filters) {
            indices.extend(collect_columns(predicate).iter().map(|c| c.index()));
        }
        let columns: Vec<&Column> = indices
            .iter()
            .filter_map(|i| table.columns.get(*i))
            .collect();
        table.rows * columns.iter().map(|c| c.width).sum::<f64>()
    }
}

fn all_files(config: &FileScanConfig) -> impl Iterator<Item = &PartitionedFile> {
    config.file_groups.iter().flat_map(|group| group.iter())
}

/// The conditions that are known before the plan runs.
fn known_part(predicate: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let known = split_conjunction(predicate).into_iter();
    let known: Vec<_> = known.filter(|p| !is_dynamic(p)).map(Arc::clone).collect();
    (!known.is_empty()).then(|| conjunction(known))
}

fn is_dynamic(expression: &Arc<dyn PhysicalExpr>) -> bool {
    expression.is::<DynamicFilterPhysicalExpr>()
        || expression.children().into_iter().any(is_dynamic)
}
