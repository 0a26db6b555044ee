//! Reading files, and sources that are not files.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Statistics;
use datafusion::common::pruning::PrunableStatistics;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfig, ParquetSource};
use datafusion::functions_table::generate_series::GenericSeriesState;
use datafusion::physical_expr::conjunction;
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::footers::Footers;
use super::relation::{Column, Range, Relation};
use super::{CostConstants, Estimator, Node, defaults, weights};

/// Files whose statistics are looked at to find those that a condition rules out. Of more, all
/// are taken to be read: an estimate must not take longer than the planning before it.
const MAX_PRUNED_FILES: usize = 10_000;

/// A source that is not a file: values, a function, a system view. One that cannot tell how many
/// rows it has is taken to have as many as PostgreSQL takes a function to have.
pub(super) fn source(plan: &dyn ExecutionPlan, constants: &CostConstants) -> Node {
    let schema = plan.schema();
    let known = StatisticsContext::new().compute(plan, &StatisticsArgs::new());
    let rows = series_rows(plan).unwrap_or(defaults::ROWS);
    let relation = match known {
        Ok(statistics) => Relation::from_statistics(&statistics, &schema, rows),
        Err(_) => Relation::unknown(&schema, rows),
    };
    Node {
        startup: 0.0,
        total: relation.rows * constants.cpu_tuple_cost,
        relation,
    }
}

/// The rows of `generate_series` over whole numbers, as its arguments say.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn series_rows(plan: &dyn ExecutionPlan) -> Option<f64> {
    let generators = plan.downcast_ref::<LazyMemoryExec>()?.generators();
    let rows = generators.iter().map(|generator| {
        let generator = generator.read();
        let series = generator
            .as_any()
            .downcast_ref::<GenericSeriesState<i64>>()?;
        let length = *series.end() as f64 - *series.start() as f64;
        let steps = (length / *series.step() as f64).floor();
        Some((steps + 1.0).max(0.0))
    });
    rows.sum()
}

/// A scan of files.
pub(super) fn files(config: &FileScanConfig, estimator: &Estimator<'_>) -> Node {
    let constants = &estimator.constants;
    let scan = FileScan::of(config);
    let mut table = scan.table();
    for column in &mut table.columns {
        column.source = Some(estimator.estimates.len());
    }
    let bytes = scan.read_footers(&mut table, estimator);
    let bytes = bytes.unwrap_or_else(|| scan.usual_bytes(&table));
    let projection = config.file_source().projection();
    let predicate = scan.predicate.as_ref().filter(|_| scan.filters);

    let pages = bytes.stored / defaults::PAGE_BYTES;
    let mut operations =
        bytes.decoding + table.rows * scan.columns_read().len() as f64 * weights::VALUE_DECODED;

    let mut rows = table;
    if let Some(predicate) = predicate {
        operations += rows.rows * rows.operators(predicate.as_ref());
        rows.keep(predicate);
    }
    let relation = match projection {
        Some(projection) => {
            let expressions = projection.iter().map(|p| rows.operators(p.expr.as_ref()));
            operations += rows.rows * expressions.sum::<f64>();
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
    let total = pages * constants.seq_page_cost
        + scan.read.files * constants.random_page_cost
        + scan.looked_at * constants.cpu_index_tuple_cost
        + operations * constants.cpu_operator_cost;
    Node {
        startup: 0.0,
        total,
        relation,
    }
}

/// Bytes that a scan reads.
#[derive(Default)]
struct Bytes {
    /// As they are stored.
    stored: f64,
    /// What decoding them takes, in operators.
    decoding: f64,
}

/// What a scan has to read.
struct FileScan<'a> {
    config: &'a FileScanConfig,
    /// The condition on columns of the table, without what is only known while it runs.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Whether the scan itself drops rows, not only whole files.
    filters: bool,
    /// Files, or parts of them, that may have rows that the condition keeps.
    files: Vec<&'a PartitionedFile>,
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
    fn of(files: &[&PartitionedFile]) -> Self {
        files.iter().fold(Self::default(), |portion, file| Self {
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
        let files: Vec<&PartitionedFile> = all_files(config).collect();
        let mut scan = Self {
            config,
            predicate,
            filters,
            read: Portion::of(&files),
            files,
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
        let files = &self.files;
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
        let kept_files = files.iter().zip(&kept).filter(|(_, kept)| **kept);
        let kept_files: Vec<&PartitionedFile> = kept_files.map(|(file, _)| *file).collect();
        // A large file stands there once for each of its ranges, with the same statistics.
        let mut seen = HashSet::new();
        let of_kept = kept_files
            .iter()
            .filter(|f| seen.insert(&f.object_meta.location));
        let of_kept: Vec<&Statistics> = of_kept.filter_map(|f| f.statistics.as_deref()).collect();
        self.read = Portion::of(&kept_files);
        self.files = kept_files;
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

    /// Writes down what footers say of the columns that are read, takes the rows out of `table`
    /// that lie in row groups or pages which the reader skips, and gives what is left to read.
    fn read_footers(&self, table: &mut Relation, estimator: &Estimator<'_>) -> Option<Bytes> {
        if self.config.file_source().file_type() != "parquet" {
            return None;
        }
        let footers = Footers::of(&self.files, estimator.footers)?;
        let mut stored = BTreeMap::new();
        let mut bytes = Bytes::default();
        for i in self.columns_read() {
            let column = &mut table.columns[i];
            let found = footers.column(self.schema().field(i).name(), column.range)?;
            bytes.stored += found.stored;
            bytes.decoding += found.decompressed / weights::BYTES_DECODED;
            column.describe(&found);
            stored.insert(i, found);
        }
        let rows = table.rows;
        for (i, kept) in self.narrowed(table) {
            if let Some(found) = stored.get(&i) {
                let share = found.share_of(&kept);
                table.rows *= share;
                table.columns[i].keep_around(&kept, share);
                table.narrow_order(i, share);
            }
        }
        for (i, length) in self.told_while_running(table, &estimator.build_keys) {
            let column = &mut table.columns[i];
            if let (Some(found), Some(whole)) = (stored.get(&i), column.range) {
                let share = found.share_of_length(length, &whole);
                table.rows *= share;
                column.asked_for *= share;
            }
        }
        let share = table.rows / rows.max(1.0);
        Some(Bytes {
            stored: bytes.stored * share,
            decoding: bytes.decoding * share,
        })
    }

    /// Columns whose range the condition narrows, and to what.
    fn narrowed(&self, table: &Relation) -> Vec<(usize, Range)> {
        let Some(predicate) = &self.predicate else {
            return Vec::new();
        };
        let mut kept = table.clone();
        kept.keep(predicate);
        let columns = kept.columns.iter().zip(&table.columns).enumerate();
        let narrower = columns.filter(|(_, (kept, whole))| kept.range != whole.range);
        narrower
            .filter_map(|(i, (kept, _))| Some((i, kept.range?)))
            .collect()
    }

    /// Columns that are keys of joins, and the length (0 to 1 of their range) of the interval in
    /// which the keys of the build side are expected to lie.
    fn told_while_running(
        &self,
        table: &Relation,
        build_keys: &HashMap<u64, Vec<Column>>,
    ) -> Vec<(usize, f64)> {
        let filter = self.config.file_source().filter();
        let parts = filter.iter().flat_map(split_conjunction);
        let filters = parts.filter_map(|part| {
            let keys = build_keys.get(&part.expression_id()?)?;
            Some(part.children().into_iter().zip(keys))
        });
        filters
            .flatten()
            .filter_map(|(own, key)| {
                let i = table.column_index(own.as_ref())?;
                let length = table.columns[i].interval_of(key);
                (length < 1.0).then_some((i, length))
            })
            .collect()
    }

    /// The columns of the table that are decoded: of Parquet those that are asked for.
    fn columns_read(&self) -> BTreeSet<usize> {
        let source = self.config.file_source();
        let (true, Some(projection)) = (source.file_type() == "parquet", source.projection())
        else {
            return (0..self.schema().fields().len()).collect();
        };
        let mut columns: BTreeSet<usize> = projection.column_indices().into_iter().collect();
        if let Some(predicate) = self.predicate.as_ref().filter(|_| self.filters) {
            columns.extend(collect_columns(predicate).iter().map(|c| c.index()));
        }
        columns
    }

    /// Bytes to be read where no footer tells: of Parquet only those of the columns that are asked
    /// for, of other formats all.
    fn usual_bytes(&self, table: &Relation) -> Bytes {
        if self.config.file_source().file_type() != "parquet" {
            return Bytes {
                stored: self.read.bytes,
                decoding: self.read.bytes / weights::BYTES_PARSED,
            };
        }
        let columns = self.columns_read();
        let columns = columns.iter().filter_map(|i| table.columns.get(*i));
        let bytes = table.rows * columns.map(|c| c.width).sum::<f64>();
        Bytes {
            stored: bytes,
            decoding: bytes / weights::BYTES_DECODED,
        }
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
