//! One server per data directory.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use crate::error::CatalogError;

/// The file that is locked, in the data directory.
const LOCK_FILE: &str = "forebay.lock";

/// Holds the data directory until it is dropped, or the process ends in whatever way: the operating system keeps the
/// lock, the file's content only says who has it.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    /// Closing the file gives the lock back.
    _file: File,
}

impl DirectoryLock {
    pub(crate) fn acquire(data_dir: &Path) -> Result<Self, CatalogError> {
        let path = data_dir.join(LOCK_FILE);
        // Not truncated when opened: until the lock is ours, the content is somebody else's.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = file.map_err(|error| CatalogError::io(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CatalogError::Locked {
                    path: data_dir.to_owned(),
                    pid: recorded_pid(&path),
                });
            }
            Err(TryLockError::Error(error)) => return Err(CatalogError::io(&path, error)),
        }
        record_pid(&mut file).map_err(|error| CatalogError::io(&path, error))?;
        Ok(Self { _file: file })
    }
}

fn record_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn recorded_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Creates the data directory, for its owner only: it will hold secrets. An existing one is left as it is.
pub(crate) fn create_private_directory(path: &Path) -> Result<(), CatalogError> {
    let missing = path
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.is_dir());
    let missing: Vec<&Path> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .map_err(|error| CatalogError::io(path, error))?;
    // SQLite makes its files' names durable; the directory's own name is ours to care for.
    missing.into_iter().try_for_each(|created| {
        sync_parent(created).map_err(|error| CatalogError::io(created, error))
    })
}

#[cfg(unix)]
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Other systems do not open directories as files, and keep their names without being asked.
#[cfg(not(unix))]
fn sync_parent(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Creates an empty file, readable by its owner only, unless it is there. SQLite gives the files beside its database
/// the same permissions.
pub(crate) fn create_private_file(path: &Path) -> Result<(), CatalogError> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map(drop)
        .map_err(|error| CatalogError::io(path, error))
}
