//! `forebay tpch generate`: the eight TPC-H tables as Parquet files.

use anyhow::{Context, Result, bail};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::arrow::record_batch::RecordBatchReader;
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

/// The file that says what a folder holds. It starts with a dot so that nobody takes it for data.
const MARKER: &str = ".forebay-tpch";

/// Goes up when the files of a scale become different ones.
const LAYOUT_VERSION: u32 = 1;

/// Rows in a row group, at most.
const ROW_GROUP_ROWS: usize = 1_000_000;

/// What a file may become, by the estimate of [`Table::bytes_per_row`]. It leaves room below 250 MB
/// for the estimate to be wrong.
const FILE_TARGET_BYTES: f64 = 200e6;

/// Reads a scale factor.
///
/// # Errors
///
/// What is allowed, for any other text.
pub fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        // Below, there is less than one supplier for each part's four; above, keys overflow.
        Ok(scale) if (0.001..=100_000.0).contains(&scale) => Ok(scale),
        _ => Err("must be a number from 0.001 to 100000".to_owned()),
    }
}

/// Writes the eight tables at this scale as `out/<table>/part-<n>.parquet`.
///
/// With `parts`, every table but nation and region has so many files (fewer where it has fewer rows);
/// without, as many as keep each file below about 250 MB. With `progress`, a bar is shown where
/// standard error is a terminal. Nothing is done if `out` holds complete data of this scale.
///
/// # Errors
///
/// `out` holds something else, another process makes the same data right now, or a file cannot be
/// written. In none of these cases is `out` touched.
pub fn generate(scale: f64, out: &Path, parts: Option<usize>, progress: bool) -> Result<()> {
    parse_scale(&scale.to_string()).map_err(|allowed| anyhow::anyhow!("the scale {allowed}"))?;
    let out = std::path::absolute(out).context("cannot find the current folder")?;
    let marker = marker_text(scale, parts);
    if holds_complete_data(&out, &marker, parts.is_some())? {
        tracing::info!(scale, out = %out.display(), "TPC-H data is there already");
        return Ok(());
    }
    let workshop = Workshop::open(&out)?;
    let bar = progress_bar(scale, progress);
    if let Err(error) = write_tables(scale, parts, &workshop.folder, &bar) {
        workshop.abandon();
        return Err(error);
    }
    workshop.finish(&out, &marker)
}

// What is there already. ------------------------------------------------------------------------

fn marker_text(scale: f64, parts: Option<usize>) -> String {
    let parts = parts.map_or("auto".to_owned(), |parts| parts.to_string());
    format!("version = {LAYOUT_VERSION}\nscale = {scale}\nparts = \"{parts}\"\n")
}

/// Whether `out` is what we would make; an error if it is something else that we must not replace.
/// The number of parts matters only to those who ask for one.
fn holds_complete_data(out: &Path, marker: &str, parts_matter: bool) -> Result<bool> {
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none()) || !out.try_exists()? {
        return Ok(false);
    }
    let place = out.display();
    let Ok(found) = fs::read_to_string(out.join(MARKER)) else {
        bail!("{place} is there and is not TPC-H data made by Forebay; choose another folder");
    };
    let compared = if parts_matter { 3 } else { 2 };
    if found
        .lines()
        .take(compared)
        .eq(marker.lines().take(compared))
    {
        return Ok(true);
    }
    let (found, wanted) = (one_line(&found), one_line(marker));
    bail!(
        "{place} holds other TPC-H data ({found}, not {wanted}); remove it or choose another folder"
    )
}

fn one_line(marker: &str) -> String {
    marker.lines().collect::<Vec<_>>().join(", ")
}

// The folder in which the data is made. ---------------------------------------------------------

/// A folder beside the one to make, held by one process. It becomes the other by a rename, which
/// happens completely or not at all.
struct Workshop {
    folder: PathBuf,
    /// The marker, empty until the end. Its lock keeps other processes out.
    marker: File,
}

impl Workshop {
    fn open(out: &Path) -> Result<Self> {
        let (Some(parent), Some(name)) = (out.parent(), out.file_name()) else {
            bail!("{} cannot be made; name a folder", out.display());
        };
        let folder = parent.join(format!(".{}.partial", name.to_string_lossy()));
        let workshop = (|| {
            fs::create_dir_all(&folder)?;
            let marker = File::create(folder.join(MARKER))?;
            Ok::<_, std::io::Error>(Workshop {
                folder: folder.clone(),
                marker,
            })
        })()
        .with_context(|| format!("cannot make {}", folder.display()))?;
        match workshop.marker.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another process is making {} right now", out.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the folder"),
        }
        workshop.clear()?;
        Ok(workshop)
    }

    /// Removes what a process has left that did not come to its end.
    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }

    /// Gives the disk back. What cannot be removed now is removed by the next run.
    fn abandon(self) {
        let _ = fs::remove_dir_all(&self.folder);
    }

    fn finish(mut self, out: &Path, marker: &str) -> Result<()> {
        self.marker.write_all(marker.as_bytes())?;
        self.marker.sync_all()?;
        if out.try_exists()? {
            // Only an empty folder can be in the way, and this removes only an empty one.
            fs::remove_dir(out)?;
        }
        fs::rename(&self.folder, out)
            .with_context(|| format!("cannot give the data its place {}", out.display()))
    }
}

// The tables. -----------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    LineItem,
    Orders,
    PartSupp,
    Part,
    Customer,
    Supplier,
    Nation,
    Region,
}

impl Table {
    /// The largest first, so that the last jobs to end are small ones.
    const ALL: [Table; 8] = [
        Table::LineItem,
        Table::Orders,
        Table::PartSupp,
        Table::Part,
        Table::Customer,
        Table::Supplier,
        Table::Nation,
        Table::Region,
    ];

    const fn name(self) -> &'static str {
        match self {
            Table::LineItem => "lineitem",
            Table::Orders => "orders",
            Table::PartSupp => "partsupp",
            Table::Part => "part",
            Table::Customer => "customer",
            Table::Supplier => "supplier",
            Table::Nation => "nation",
            Table::Region => "region",
        }
    }

    const fn is_fixed(self) -> bool {
        matches!(self, Table::Nation | Table::Region)
    }

    /// Rows at this scale. For lineitem an estimate: an order has one to seven of them, by chance.
    fn rows(self, scale: f64) -> u64 {
        let rows_at_scale_one = match self {
            Table::LineItem => 6_000_000.0,
            Table::Orders => 1_500_000.0,
            Table::PartSupp => 800_000.0,
            Table::Part => 200_000.0,
            Table::Customer => 150_000.0,
            Table::Supplier => 10_000.0,
            Table::Nation => return 25,
            Table::Region => return 5,
        };
        (rows_at_scale_one * scale) as u64
    }

    /// About what a row takes in a file; measured at scale 1.
    const fn bytes_per_row(self) -> f64 {
        match self {
            Table::LineItem => 36.0,
            Table::Orders => 38.0,
            Table::PartSupp => 54.0,
            Table::Part => 36.0,
            Table::Customer | Table::Supplier => 92.0,
            Table::Nation | Table::Region => 100.0,
        }
    }

    /// Into how many files it goes.
    fn parts(self, scale: f64, wanted: Option<usize>) -> usize {
        if self.is_fixed() {
            return 1;
        }
        let bytes = self.rows(scale) as f64 * self.bytes_per_row();
        let parts = wanted.unwrap_or_else(|| (bytes / FILE_TARGET_BYTES).ceil() as usize);
        // A line item belongs to its order, so there are no more parts than orders.
        let divisible_rows = match self {
            Table::LineItem => Table::Orders.rows(scale),
            table => table.rows(scale),
        };
        parts.clamp(
            1,
            usize::try_from(divisible_rows).unwrap_or(usize::MAX).max(1),
        )
    }

    /// The rows of one part; parts count from one.
    fn batches(self, scale: f64, part: i32, parts: i32) -> Box<dyn RecordBatchReader> {
        match self {
            Table::LineItem => Box::new(LineItemArrow::new(LineItemGenerator::new(
                scale, part, parts,
            ))),
            Table::Orders => Box::new(OrderArrow::new(OrderGenerator::new(scale, part, parts))),
            Table::PartSupp => Box::new(PartSuppArrow::new(PartSuppGenerator::new(
                scale, part, parts,
            ))),
            Table::Part => Box::new(PartArrow::new(PartGenerator::new(scale, part, parts))),
            Table::Customer => Box::new(CustomerArrow::new(CustomerGenerator::new(
                scale, part, parts,
            ))),
            Table::Supplier => Box::new(SupplierArrow::new(SupplierGenerator::new(
                scale, part, parts,
            ))),
            Table::Nation => Box::new(NationArrow::new(NationGenerator::new(scale, part, parts))),
            Table::Region => Box::new(RegionArrow::new(RegionGenerator::new(scale, part, parts))),
        }
    }
}

// Writing them. ---------------------------------------------------------------------------------

/// One file to write.
#[derive(Debug, Clone, Copy)]
struct Job {
    table: Table,
    /// From zero.
    part: usize,
    parts: usize,
}

fn jobs(scale: f64, parts: Option<usize>) -> Vec<Job> {
    let of_table = |table: Table| {
        let parts = table.parts(scale, parts);
        (0..parts).map(move |part| Job { table, part, parts })
    };
    Table::ALL.into_iter().flat_map(of_table).collect()
}

/// Writes all files, one thread for each core; the first error stops all of them.
fn write_tables(scale: f64, parts: Option<usize>, folder: &Path, bar: &ProgressBar) -> Result<()> {
    for table in Table::ALL {
        fs::create_dir(folder.join(table.name()))?;
    }
    let jobs = jobs(scale, parts);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let work = || -> Result<()> {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            write_file(scale, *job, folder, bar, &stop)
                .inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let result = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores.min(jobs.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let results = workers.into_iter().map(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All of them, so that every thread has ended before the first error is reported.
        results
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<()>>()
    });
    bar.finish_and_clear();
    result
}

fn write_file(
    scale: f64,
    job: Job,
    folder: &Path,
    bar: &ProgressBar,
    stop: &AtomicBool,
) -> Result<()> {
    let Job { table, part, parts } = job;
    let path = folder
        .join(table.name())
        .join(format!("part-{part}.parquet"));
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let batches = table.batches(scale, i32::try_from(part + 1)?, i32::try_from(parts)?);
    let mut writer = ArrowWriter::try_new(file, batches.schema(), Some(writer_properties()))?;
    for batch in batches {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let batch = batch?;
        writer
            .write(&batch)
            .with_context(|| format!("cannot write {}", path.display()))?;
        bar.inc(batch.num_rows() as u64);
    }
    let file = writer
        .into_inner()
        .with_context(|| format!("cannot write {}", path.display()))?;
    // Before the rename: a machine that loses power must not keep the name without the data.
    file.sync_all()
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Statistics of chunks and pages are on by default.
fn writer_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build()
}

fn progress_bar(scale: f64, visible: bool) -> ProgressBar {
    let rows = Table::ALL.iter().map(|table| table.rows(scale)).sum();
    let target = match visible {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let template = "TPC-H {msg} [{bar:30}] {human_pos} of {human_len} rows, {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is correct");
    ProgressBar::with_draw_target(Some(rows), target)
        .with_style(style.progress_chars("=> "))
        .with_message(format!("scale {scale}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};
    use std::time::SystemTime;

    const SCALE: f64 = 0.001;

    fn files(out: &Path, table: Table) -> Vec<PathBuf> {
        let entries = fs::read_dir(out.join(table.name())).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn row_count(out: &Path, table: Table) -> i64 {
        let rows = |path: PathBuf| {
            let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
            reader.metadata().file_metadata().num_rows()
        };
        files(out, table).into_iter().map(rows).sum()
    }

    fn row_counts(out: &Path) -> Vec<(&'static str, i64)> {
        Table::ALL
            .iter()
            .map(|table| (table.name(), row_count(out, *table)))
            .collect()
    }

    const EXPECTED: [(&str, i64); 8] = [
        ("lineitem", 6005),
        ("orders", 1500),
        ("partsupp", 800),
        ("part", 200),
        ("customer", 150),
        ("supplier", 10),
        ("nation", 25),
        ("region", 5),
    ];

    fn changed_at(path: &Path) -> SystemTime {
        fs::metadata(path).unwrap().modified().unwrap()
    }

    #[test]
    fn makes_all_rows_once_and_skips_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("deep/tpch");
        generate(SCALE, &out, None, false).unwrap();
        assert_eq!(row_counts(&out), EXPECTED);
        let left: Vec<_> = fs::read_dir(out.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "something is left beside the data: {left:?}");

        let file = out.join("orders/part-0.parquet");
        let before = changed_at(&file);
        generate(SCALE, &out, None, false).unwrap();
        assert_eq!(changed_at(&file), before);
    }

    #[test]
    fn parts_hold_the_same_rows() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("tpch");
        fs::create_dir(&out).unwrap();
        generate(SCALE, &out, Some(12), false).unwrap();
        assert_eq!(row_counts(&out), EXPECTED);
        let counts = Table::ALL.map(|table| files(&out, table).len());
        assert_eq!(counts, [12, 12, 12, 12, 12, 10, 1, 1]);

        generate(SCALE, &out, None, false).unwrap();
        let message = generate(SCALE, &out, Some(3), false)
            .unwrap_err()
            .to_string();
        assert!(message.contains("parts = \"12\", not "), "{message}");
    }

    #[test]
    fn what_an_interrupted_run_has_left_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("tpch");
        let left = folder.path().join(".tpch.partial");
        fs::create_dir_all(left.join("orders")).unwrap();
        fs::write(left.join("orders/part-0.parquet"), "half a file").unwrap();
        fs::write(left.join("orders/part-99.parquet"), "half a file").unwrap();
        fs::write(left.join(MARKER), "").unwrap();

        generate(SCALE, &out, None, false).unwrap();
        assert_eq!(row_counts(&out), EXPECTED);
        assert!(!left.exists());
    }

    #[test]
    fn two_at_once_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("tpch");
        let first = Workshop::open(&out).unwrap();
        let message = generate(SCALE, &out, None, false).unwrap_err().to_string();
        assert!(message.contains("another process is making"), "{message}");
        drop(first);
        generate(SCALE, &out, None, false).unwrap();
        assert_eq!(row_counts(&out), EXPECTED);
    }

    #[test]
    fn never_replaces_what_it_has_not_made() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("precious.txt"), "data").unwrap();
        let message = generate(SCALE, folder.path(), None, false)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("is not TPC-H data made by Forebay"),
            "{message}"
        );
        assert!(folder.path().join("precious.txt").exists());

        let file = folder.path().join("precious.txt");
        assert!(generate(SCALE, &file, None, false).is_err());
        assert_eq!(fs::read_to_string(file).unwrap(), "data");

        let out = folder.path().join("tpch");
        generate(SCALE, &out, None, false).unwrap();
        let message = generate(2.0 * SCALE, &out, None, false)
            .unwrap_err()
            .to_string();
        assert!(message.contains("holds other TPC-H data"), "{message}");
        assert_eq!(row_counts(&out), EXPECTED);
    }

    #[test]
    fn a_failure_leaves_nothing_at_the_destination() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "data").unwrap();
        assert!(generate(SCALE, &file.join("tpch"), None, false).is_err());
        assert!(generate(f64::NAN, &folder.path().join("tpch"), None, false).is_err());
        assert!(!folder.path().join("tpch").exists());
    }

    #[test]
    fn a_failure_gives_the_disk_back() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("tpch");
        let left = folder.path().join(".tpch.partial");
        fs::create_dir(&left).unwrap();
        // A file where a table's folder should be.
        fs::write(left.join("region"), "").unwrap();
        assert!(generate(SCALE, &out, None, false).is_err());
        assert!(!left.exists() && !out.exists());
    }

    #[test]
    fn files_stay_below_a_quarter_of_a_gigabyte() {
        let parts = |scale| Table::ALL.map(|table| table.parts(scale, None));
        assert_eq!(parts(0.1), [1; 8]);
        assert_eq!(parts(1.0), [2, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(parts(100.0), [108, 29, 22, 4, 7, 1, 1, 1]);
    }
}
