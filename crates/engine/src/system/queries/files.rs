//! Reading the Parquet files of the history.
//!
//! DataFusion's own table of files does the work: statistics, pruning, partitions. Added are two
//! things: the files stay while a plan lives that reads them, and who may not see all rows gets them
//! through a filter that nothing of its own statement gets below ([`OwnRows`]).

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::datasource::file_format::parquet::ParquetFormatFactory;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl, PartitionedFile,
};
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, col, lit};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;

use super::own_rows::OwnRows;
use super::{OWNER, QueryReading};

/// What is wanted of the files.
pub(super) struct Scan<'a> {
    pub(super) schema: SchemaRef,
    /// Numbers of the columns of the result.
    pub(super) columns: &'a [usize],
    /// What the statement will filter by; everything that is given is filtered again.
    pub(super) filters: &'a [Expr],
    /// The role whose rows only are to be seen.
    pub(super) owner: Option<&'a str>,
}

impl Scan<'_> {
    pub(super) async fn plan(
        &self,
        state: &dyn Session,
        reading: &Arc<dyn QueryReading>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match self.owner {
            None => self.read(state, reading, self.columns.to_vec()).await,
            Some(owner) => self.owned(state, reading, owner).await,
        }
    }

    /// The rows of `owner`.
    async fn owned(
        &self,
        state: &dyn Session,
        reading: &Arc<dyn QueryReading>,
        owner: &str,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let harmless = self.filters.iter().filter(|filter| is_harmless(filter));
        let wanted = [col(OWNER).eq(lit(owner))];
        let wanted = conjunction(wanted.into_iter().chain(harmless.map(unqualified)));
        let Some(wanted) = wanted else {
            return internal_err!("a filter by role");
        };
        let mut columns = self.columns.to_vec();
        for column in wanted.column_refs() {
            let number = self.schema.index_of(&column.name)?;
            if !columns.contains(&number) {
                columns.push(number);
            }
        }
        let read = self.read(state, reading, columns.clone()).await?;
        let fields: Schema = self.schema.project(&columns)?;
        let wanted = state.create_physical_expr(wanted, &DFSchema::try_from(fields)?)?;
        let shown: Vec<usize> = (0..self.columns.len()).collect();
        let filter = FilterExecBuilder::new(wanted, read).apply_projection(Some(shown))?;
        Ok(Arc::new(OwnRows::new(Arc::new(filter.build()?))))
    }

    /// All rows.
    async fn read(
        &self,
        state: &dyn Session,
        reading: &Arc<dyn QueryReading>,
        columns: Vec<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let paths = reading.files();
        let urls = paths.iter().map(|path| ListingTableUrl::parse(url(path)));
        let format = ParquetFormatFactory::new().create(state, &HashMap::new())?;
        let config = ListingTableConfig::new_with_multi_paths(urls.collect::<Result<_>>()?)
            .with_listing_options(ListingOptions::new(format))
            .with_schema(Arc::clone(&self.schema));
        let table = ListingTable::try_new(config)?;
        let plan = table.scan(state, Some(&columns), &[], None).await?;
        Ok(held(&plan, reading).unwrap_or(plan))
    }
}

/// The scan `plan` with readers that keep `reading`, and so the files, as long as they live.
fn held(
    plan: &Arc<dyn ExecutionPlan>,
    reading: &Arc<dyn QueryReading>,
) -> Option<Arc<dyn ExecutionPlan>> {
    let scan = plan.downcast_ref::<DataSourceExec>()?.data_source();
    let scan = scan.downcast_ref::<FileScanConfig>()?;
    let source = scan.file_source().downcast_ref::<ParquetSource>()?;
    let readers = Held {
        readers: Arc::clone(source.parquet_file_reader_factory()?),
        _reading: Arc::clone(reading),
    };
    let source = source
        .clone()
        .with_parquet_file_reader_factory(Arc::new(readers));
    let scan = FileScanConfigBuilder::from(scan.clone()).with_source(Arc::new(source));
    Some(DataSourceExec::from_data_source(scan.build()))
}

/// Readers of files that stay while these are here.
#[derive(Debug)]
struct Held {
    readers: Arc<dyn ParquetFileReaderFactory>,
    _reading: Arc<dyn QueryReading>,
}

impl ParquetFileReaderFactory for Held {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        footer_bytes: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        self.readers
            .create_reader(partition, file, footer_bytes, metrics)
    }
}

/// Whether a filter cannot tell anything of a row that it does not let through: comparisons of a
/// column with a constant raise no errors, whatever the value.
fn is_harmless(filter: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else {
        return false;
    };
    match op {
        Operator::And => is_harmless(left) && is_harmless(right),
        Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
            matches!(
                (left.as_ref(), right.as_ref()),
                (Expr::Column(_), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(_))
            )
        }
        _ => false,
    }
}

/// The filter with its columns named as the files name them.
fn unqualified(filter: &Expr) -> Expr {
    datafusion::logical_expr::expr_rewriter::unnormalize_col(filter.clone())
}

/// The address of a file, whatever its name: as a path, a `[` would be taken for a pattern.
fn url(path: &Path) -> String {
    let mut url = String::from("file://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                url.push(char::from(*byte));
            }
            other => {
                let _ = write!(url, "%{other:02X}");
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_comparisons_with_constants_are_harmless() {
        let harmless = [
            col("total_us").gt(lit(5)),
            lit("a").eq(col("role")),
            col("total_us").gt(lit(5)).and(col("state").eq(lit("x"))),
        ];
        assert!(harmless.iter().all(is_harmless));
        let harmful = [
            (lit(1) / col("total_us")).gt(lit(0)),
            col("total_us")
                .gt(lit(5))
                .and(lit(1).eq(lit(1) / col("serial"))),
            col("total_us").gt(lit(5)).or(col("state").eq(lit("x"))),
            col("total_us").gt(col("serial")),
        ];
        assert!(!harmful.iter().any(is_harmless));
    }

    #[test]
    fn any_path_has_an_address() {
        let address = url(Path::new("/a b/[1]*?%é.parquet"));
        assert_eq!(address, "file:///a%20b/%5B1%5D%2A%3F%25%C3%A9.parquet");
        let parsed = ListingTableUrl::parse(&address).unwrap();
        assert_eq!(parsed.prefix().as_ref(), "a b/[1]*?%é.parquet");
    }
}
