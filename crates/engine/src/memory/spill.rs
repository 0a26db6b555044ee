//! Files for what operators spill.
//!
//! All are in one folder of the server, which is emptied when it starts. A file belongs to one
//! statement and goes when the operator that reads it is done, or the statement is gone. It is
//! open only while it is written or read, so the number of files is limited by the disk alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder};
use datafusion::execution::spill_file::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use tokio::io::AsyncReadExt;

use crate::EngineError;

/// Bytes that are read at once.
const READ_BYTES: usize = 128 * 1024;

/// The folder of all statements' files.
#[derive(Debug)]
pub(super) struct SpillFolder {
    path: PathBuf,
    /// A folder that only this process knows goes with it.
    own: bool,
    serial: AtomicU64,
    files: AtomicUsize,
    bytes: AtomicU64,
}

impl SpillFolder {
    /// An empty folder at `path`; without one, a folder of this process's own, which is made when
    /// the first file is.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let own = path.is_none();
        let path = path.unwrap_or_else(|| {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let name = format!("forebay-{}-{serial}", std::process::id());
            std::env::temp_dir().join(name)
        });
        if !own {
            make_folder(&path)
                .and_then(|()| empty(&path))
                .map_err(|error| {
                    told(
                        &error,
                        &format!("could not empty folder \"{}\"", path.display()),
                        &path,
                    )
                })?;
        }
        Ok(Self {
            path,
            own,
            serial: AtomicU64::new(0),
            files: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// Files and their bytes.
    pub(super) fn in_use(&self) -> (usize, u64) {
        let files = self.files.load(Ordering::Relaxed);
        (files, self.bytes.load(Ordering::Relaxed))
    }

    /// What a statement's operators make their files with.
    pub(super) fn manager(self: &Arc<Self>, limit_bytes: Option<u64>) -> Arc<DiskManager> {
        let factory = Factory(Arc::new(StatementFiles {
            folder: Arc::clone(self),
            limit_bytes,
            bytes: AtomicU64::new(0),
        }));
        let builder = DiskManagerBuilder::default().with_temp_file_factory(Arc::new(factory));
        Arc::new(
            builder
                .build()
                .expect("a manager with a factory opens nothing"),
        )
    }

    fn create(&self) -> io::Result<PathBuf> {
        if self.own {
            make_folder(&self.path)?;
        }
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{serial}.spill"));
        let mut new = OpenOptions::new();
        // What is spilled is nobody else's to read.
        new.write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(path)
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        if self.own {
            // Where no file was made there is no folder either.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    let mut folder = fs::DirBuilder::new();
    folder.recursive(true).mode(0o700).create(path)
}

/// Removes what an earlier server has left behind.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// The files of one statement.
#[derive(Debug)]
struct StatementFiles {
    folder: Arc<SpillFolder>,
    limit_bytes: Option<u64>,
    bytes: AtomicU64,
}

impl StatementFiles {
    /// Counts `bytes` that are about to be written.
    fn take(&self, bytes: u64) -> Result<(), EngineError> {
        let limit = self.limit_bytes.unwrap_or(u64::MAX);
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        let taken = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if taken.is_err() {
            let message = format!(
                "temporary file size exceeds temp_file_limit ({}kB)",
                limit / 1024
            );
            let mut error = EngineError::new("53400", message);
            error.hint = Some(
                "Raise temp_file_limit, or give the statement more memory (statement_mem).".into(),
            );
            return Err(error);
        }
        self.folder.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.folder.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Factory(Arc<StatementFiles>);

impl TempFileFactory for Factory {
    fn create_temp_file(&self, _: &str) -> Result<Arc<dyn SpillFile>> {
        let folder = &self.0.folder;
        let path = folder
            .create()
            .map_err(|error| told(&error, "could not create temporary file", &folder.path))?;
        Ok(Arc::new(Spilled::new(Arc::clone(&self.0), path)))
    }
}

/// A file; removed when nobody needs it any more.
#[derive(Debug)]
struct Spilled(Arc<SpilledFile>);

#[derive(Debug)]
struct SpilledFile {
    of: Arc<StatementFiles>,
    path: PathBuf,
    bytes: AtomicU64,
}

impl Spilled {
    fn new(of: Arc<StatementFiles>, path: PathBuf) -> Self {
        of.folder.files.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(SpilledFile {
            of,
            path,
            bytes: AtomicU64::new(0),
        }))
    }
}

impl Drop for SpilledFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            // It goes when the server starts again.
            let path = self.path.display();
            tracing::warn!("could not remove temporary file \"{path}\": {error}");
        }
        self.of.give_back(*self.bytes.get_mut());
        self.of.folder.files.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SpillFile for Spilled {
    fn path(&self) -> Option<&Path> {
        Some(&self.0.path)
    }

    fn size(&self) -> Option<u64> {
        Some(self.0.bytes.load(Ordering::Relaxed))
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        // The stream keeps the file alive.
        let spilled = Arc::clone(&self.0);
        let chunks = futures::stream::try_unfold((spilled, None), |(spilled, file)| async move {
            let mut file = match file {
                Some(file) => file,
                None => tokio::fs::File::open(&spilled.path).await?,
            };
            let mut chunk = Vec::with_capacity(READ_BYTES);
            let read = (&mut file)
                .take(READ_BYTES as u64)
                .read_to_end(&mut chunk)
                .await?;
            Ok((read > 0).then(|| (Bytes::from(chunk), (spilled, Some(file)))))
        });
        let folder = self.0.of.folder.path.clone();
        let chunks = futures::TryStreamExt::map_err(chunks, move |error: io::Error| {
            told(&error, "could not read temporary file", &folder)
        });
        Ok(Box::pin(chunks))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        let file = OpenOptions::new().append(true).open(&self.0.path);
        let file = file.map_err(|error| {
            told(
                &error,
                "could not open temporary file",
                &self.0.of.folder.path,
            )
        })?;
        Ok(Box::new(Writer {
            file,
            spilled: Arc::clone(&self.0),
        }))
    }
}

struct Writer {
    file: File,
    spilled: Arc<SpilledFile>,
}

impl Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let bytes = data.len() as u64;
        let files = &self.spilled.of;
        files.take(bytes).map_err(io::Error::other)?;
        if let Err(error) = self.file.write_all(data) {
            files.give_back(bytes);
            let what = "could not write to temporary file";
            return Err(io::Error::other(reason(&error, what, &files.folder.path)));
        }
        self.spilled.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

fn told(error: &io::Error, what: &str, folder: &Path) -> DataFusionError {
    reason(error, what, folder).into()
}

/// An error of the file system as the client is told it.
fn reason(error: &io::Error, what: &str, folder: &Path) -> EngineError {
    let full = error.kind() == io::ErrorKind::StorageFull;
    let (sqlstate, why) = match full {
        true => ("53100", "No space left on device".to_owned()),
        false => ("58030", error.to_string()),
    };
    let mut told = EngineError::new(sqlstate, format!("{what}: {why}"));
    if full {
        told.hint = Some(format!(
            "Free space in the file system of {}, or give the statement more memory \
             (statement_mem).",
            folder.display()
        ));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/dev/full` takes nothing, as a full disk does.
    #[test]
    fn a_full_disk_is_told_and_counts_nothing() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = SpillFolder::open(Some(temporary.path().to_owned())).unwrap();
        let files = StatementFiles {
            folder: Arc::new(folder),
            limit_bytes: None,
            bytes: AtomicU64::new(0),
        };
        let path = temporary.path().join("full");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let files = Arc::new(files);
        let file = Spilled::new(Arc::clone(&files), path.clone());
        let mut writer = file.open_writer().unwrap();
        let error = writer.write_all(b"rows").unwrap_err();
        let error = EngineError::from(DataFusionError::IoError(error));
        assert_eq!(error.sqlstate, "53100");
        let message = "could not write to temporary file: No space left on device";
        assert_eq!(error.message, message);
        assert!(error.hint.unwrap().contains("statement_mem"));
        drop((file, writer));
        assert_eq!(files.folder.in_use(), (0, 0));
        assert!(!path.is_symlink());
    }
}
