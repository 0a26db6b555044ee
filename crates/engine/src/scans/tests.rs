//! Every row once, in the order of the files, however they are cut.

use std::path::Path;

use datafusion::arrow::array::{
    ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::physical_plan::collect;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use super::*;

const ROWS: i64 = 25_000;
const BATCH_ROWS: usize = 256;
/// A column has some 5,000 bytes for each 1,000 rows.
const SLICE_BYTES: u64 = 20_000;

/// Numbers from `first` on, texts with gaps, and lists of changing length.
fn batch(first: i64, rows: i64) -> RecordBatch {
    let numbers = first..first + rows;
    let texts = numbers
        .clone()
        .map(|n| (n % 7 != 0).then(|| format!("text {}", n * 7919)));
    let lists = numbers
        .clone()
        .map(|n| (n % 5 != 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>()));
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("n", Arc::new(Int64Array::from_iter_values(numbers)), false),
        ("t", Arc::new(texts.collect::<StringArray>()), true),
        (
            "l",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn write(path: &Path, batch: &RecordBatch, group_rows: usize, page_index: bool) {
    let statistics = match page_index {
        true => EnabledStatistics::Page,
        false => EnabledStatistics::None,
    };
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_dictionary_enabled(false)
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(100)
        .set_offset_index_disabled(!page_index)
        .set_statistics_enabled(statistics)
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Two files of a table `t`, read by up to four partitions.
struct Table {
    folder: tempfile::TempDir,
    context: SessionContext,
}

impl Table {
    async fn new(group_rows: usize, page_index: bool, footer_cache_bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let half = ROWS / 2;
        for (name, first) in [("a.parquet", 0), ("b.parquet", half)] {
            let path = folder.path().join(name);
            write(&path, &batch(first, half), group_rows, page_index);
        }
        let caches = CacheManagerConfig::default()
            .with_list_files_cache_limit(0)
            .with_metadata_cache_limit(footer_cache_bytes);
        let environment = RuntimeEnvBuilder::new().with_cache_manager(caches);
        let environment = environment.build_arc().unwrap();
        let rule = LeanPlainScans {
            slice_bytes: SLICE_BYTES,
            ..LeanPlainScans::new(&environment)
        };
        let mut config = SessionConfig::new()
            .with_target_partitions(4)
            .with_batch_size(BATCH_ROWS);
        config.options_mut().optimizer.repartition_file_min_size = 0;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(environment)
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(rule))
            .build();
        let context = SessionContext::new_with_state(state);
        let url = folder.path().to_str().unwrap();
        let options = ParquetReadOptions::default();
        context.register_parquet("t", url, options).await.unwrap();
        Self { folder, context }
    }

    async fn plan(&self, sql: &str) -> Arc<dyn ExecutionPlan> {
        let query = self.context.sql(sql).await.unwrap();
        query.create_physical_plan().await.unwrap()
    }

    async fn rows(&self, sql: &str) -> RecordBatch {
        let plan = self.plan(sql).await;
        let batches = collect(Arc::clone(&plan), self.context.task_ctx()).await;
        datafusion::arrow::compute::concat_batches(&plan.schema(), &batches.unwrap()).unwrap()
    }

    async fn numbers(&self, sql: &str) -> Vec<i64> {
        let rows = self.rows(sql).await;
        rows.column(0).as_primitive::<Int64Type>().values().to_vec()
    }
}

/// Partitions of a plan, and the pieces of files that its scan has.
fn shape(plan: &Arc<dyn ExecutionPlan>) -> (usize, usize) {
    let mut scan = plan;
    while let [child] = scan.children()[..] {
        scan = child;
    }
    let scan = scan.downcast_ref::<DataSourceExec>().expect("a scan");
    let files = scan.data_source().downcast_ref::<FileScanConfig>().unwrap();
    let pieces = files.file_groups.iter().map(FileGroup::len).sum();
    (files.file_groups.len(), pieces)
}

const CACHE: usize = 1 << 20;

#[tokio::test]
async fn a_plain_scan_gives_every_row_once_and_in_order() {
    // Groups larger than a slice, smaller ones, and some of each.
    for group_rows in [12_500, 7_000, 1_000, 100] {
        let table = Table::new(group_rows, true, CACHE).await;
        let expected: Vec<i64> = (0..ROWS).collect();
        assert_eq!(
            table.numbers("SELECT n FROM t").await,
            expected,
            "{group_rows}"
        );
        let all = table.rows("SELECT * FROM t").await;
        assert_eq!(
            all,
            table.rows("SELECT * FROM t ORDER BY n").await,
            "{group_rows}"
        );
        assert_eq!(all.num_rows() as i64, ROWS);
        let swapped = table.numbers("SELECT n, l, n AS again FROM t").await;
        assert_eq!(swapped, expected, "{group_rows}");
    }
}

#[tokio::test]
async fn large_row_groups_are_cut_and_small_ones_are_not() {
    let large = Table::new(12_500, true, CACHE).await;
    let (partitions, all) = shape(&large.plan("SELECT * FROM t").await);
    assert_eq!(partitions, 1);
    assert!(all > 8, "{all} pieces");
    // Less of each row is read, so more rows are a slice.
    let (_, few) = shape(&large.plan("SELECT n FROM t").await);
    assert!(few < all, "{few} pieces of one column, {all} of all");
    let small = Table::new(500, true, CACHE).await;
    assert_eq!(shape(&small.plan("SELECT * FROM t").await), (1, 2));
}

#[tokio::test]
async fn slices_fetch_their_own_pages_only() {
    let table = Table::new(12_500, true, CACHE).await;
    let plan = table.plan("SELECT * FROM t").await;
    let batches = collect(Arc::clone(&plan), table.context.task_ctx()).await;
    assert!(batches.unwrap().iter().all(|b| b.num_rows() <= BATCH_ROWS));
    let metrics = plan.metrics().unwrap();
    let read = metrics.sum_by_name("bytes_scanned").unwrap().as_usize() as u64;
    let there: u64 = std::fs::read_dir(table.folder.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    // A page at the border of two slices is read for both.
    assert!(read < 2 * there, "{read} bytes of {there}");
}

#[tokio::test]
async fn what_cannot_be_cut_is_read_whole() {
    let expected: Vec<i64> = (0..ROWS).collect();
    for (page_index, cache) in [(false, CACHE), (true, 0)] {
        let table = Table::new(12_500, page_index, cache).await;
        let plan = table.plan("SELECT n FROM t").await;
        assert_eq!(shape(&plan), (1, 2), "index {page_index}, cache {cache}");
        assert_eq!(table.numbers("SELECT n FROM t").await, expected);
    }
}

#[tokio::test]
async fn a_limit_stops_at_its_row() {
    let table = Table::new(12_500, true, CACHE).await;
    let numbers = table.numbers("SELECT n FROM t LIMIT 5 OFFSET 12498").await;
    assert_eq!(numbers, [12498, 12499, 12500, 12501, 12502]);
    assert_eq!(
        table.numbers("SELECT n FROM t LIMIT 20000").await.len(),
        20_000
    );
}

#[tokio::test]
async fn work_beside_reading_keeps_its_partitions() {
    let table = Table::new(1_000, true, CACHE).await;
    for sql in [
        "SELECT n FROM t WHERE n % 3 = 1",
        "SELECT n + 1 FROM t",
        "SELECT sum(n) FROM t",
        "SELECT n FROM t ORDER BY t",
    ] {
        let (partitions, _) = shape(&table.plan(sql).await);
        assert_eq!(partitions, 4, "{sql}");
    }
}

#[tokio::test]
async fn a_file_that_was_replaced_is_not_cut_as_the_old_one() {
    let table = Table::new(12_500, true, CACHE).await;
    assert_eq!(table.numbers("SELECT n FROM t").await.len() as i64, ROWS);
    let path = table.folder.path().join("a.parquet");
    write(&path, &batch(-10, 10), 12_500, true);
    let expected: Vec<i64> = (-10..0).chain(ROWS / 2..ROWS).collect();
    assert_eq!(table.numbers("SELECT n FROM t").await, expected);
}
