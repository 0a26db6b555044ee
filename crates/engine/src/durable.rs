//! What a statement has written to local files survives the loss of power once its client is told.

use std::any::Any;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::file_format::csv::CsvSink;
use datafusion::datasource::file_format::json::JsonSink;
use datafusion::datasource::file_format::parquet::ParquetSink;
use datafusion::datasource::physical_plan::{FileSink, FileSinkConfig};
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::physical_plan::ExecutionPlan;

use crate::EngineError;

/// What the clock of a file system may be behind.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// Writes what has changed since then through to the disk: a file, or a folder with all in it, and the
/// entries of the folders around it that are new. What is removed meanwhile needs nothing.
///
/// # Errors
/// What the file system says.
pub fn sync(path: &Path, since: SystemTime) -> io::Result<()> {
    let since = since - CLOCK_SLACK;
    if path.is_dir() {
        sync_folder(path, since)?;
    } else {
        sync_one(path)?;
    }
    for around in path.ancestors().skip(1) {
        if !has_changed(around, since)? {
            break;
        }
        sync_one(around)?;
    }
    Ok(())
}

fn sync_folder(folder: &Path, since: SystemTime) -> io::Result<()> {
    // Files are written aside and renamed: where no entry is new, no file is.
    let has_new_entries = has_changed(folder, since)?;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folder(&entry.path(), since)?;
        } else if has_new_entries && has_changed(&entry.path(), since)? {
            sync_one(&entry.path())?;
        }
    }
    match has_new_entries {
        true => sync_one(folder),
        false => Ok(()),
    }
}

fn has_changed(path: &Path, since: SystemTime) -> io::Result<bool> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        about => Ok(about?.modified()? >= since),
    }
}

fn sync_one(path: &Path) -> io::Result<()> {
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file?.sync_all(),
    }
}

/// Syncs what `plan` has written since `began`.
pub(crate) async fn sync_written(
    plan: &Arc<dyn ExecutionPlan>,
    began: SystemTime,
) -> Result<(), EngineError> {
    let Some(path) = target(plan)? else {
        return Ok(());
    };
    let work = move || sync(&path, began).map_err(|error| (path, error));
    let synced = tokio::task::spawn_blocking(work).await;
    let synced = synced.map_err(|error| EngineError::internal(format!("file thread: {error}")))?;
    synced.map_err(|(path, error)| {
        let message = format!("could not write \"{}\" to disk: {error}", path.display());
        EngineError::new("58030", message)
    })
}

/// The file or folder that a plan writes to, where that is local.
fn target(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<PathBuf>, EngineError> {
    let mut found = None;
    plan.apply(|node| {
        let sink = node.downcast_ref::<DataSinkExec>().map(DataSinkExec::sink);
        let Some(config) = sink.and_then(config) else {
            return Ok(TreeNodeRecursion::Continue);
        };
        let url = config.table_paths.first();
        found = url.and_then(|url| url.get_url().to_file_path().ok());
        Ok(TreeNodeRecursion::Stop)
    })?;
    Ok(found)
}

/// Where a sink writes; `None` for one that is not of files.
fn config(sink: &dyn DataSink) -> Option<&FileSinkConfig> {
    let sink: &dyn Any = sink;
    let parquet = sink.downcast_ref().map(ParquetSink::config);
    let csv = || sink.downcast_ref().map(CsvSink::config);
    let json = || sink.downcast_ref().map(JsonSink::config);
    parquet.or_else(csv).or_else(json)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    /// A socket is nothing that can be opened: who comes by it is found out.
    #[cfg(unix)]
    #[test]
    fn what_has_not_changed_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a=1");
        fs::create_dir(&below).unwrap();
        fs::write(below.join("x.parquet"), b"x").unwrap();
        let now = SystemTime::now();
        assert!(sync(folder.path(), now).is_ok());
        let _socket = std::os::unix::net::UnixListener::bind(below.join("socket")).unwrap();
        assert!(sync(folder.path(), now).is_err());
        assert!(sync(folder.path(), now + 2 * CLOCK_SLACK).is_ok());
        assert!(sync(&folder.path().join("gone"), now).is_ok());
    }

    #[tokio::test]
    async fn the_target_of_every_writing_plan_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let context = SessionContext::new();
        for format in ["parquet", "csv", "json"] {
            let path = at(format);
            fs::create_dir(&path).unwrap();
            let table = format!(
                "CREATE EXTERNAL TABLE {format} (a INT) STORED AS {format} LOCATION '{}/'",
                path.display()
            );
            context.sql(&table).await.unwrap();
            let file = at("one").with_extension(format);
            let copy = format!("COPY (VALUES (1)) TO '{}'", file.display());
            let insert = format!("INSERT INTO {format} VALUES (1)");
            for (statement, expected) in [(insert, path), (copy, file)] {
                let plan = context.sql(&statement).await.unwrap();
                let plan = plan.create_physical_plan().await.unwrap();
                assert_eq!(target(&plan).unwrap(), Some(expected), "{statement}");
            }
        }
        let plan = context.sql("SELECT 1").await.unwrap();
        let plan = plan.create_physical_plan().await.unwrap();
        assert_eq!(target(&plan).unwrap(), None);
    }
}
