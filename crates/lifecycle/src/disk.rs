//! The few things that logs and history do to a file system. Every error names the file and what was
//! tried, and tests can make any step fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Access to files. In tests a step can fail, or everything from a step on.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub(crate) faults: std::sync::Arc<faults::Faults>,
}

/// An open file that knows its name.
pub(crate) struct DiskFile {
    disk: Disk,
    path: PathBuf,
    file: File,
}

/// Adds to an error what was tried with which file.
pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.to_path_buf();
    move |error| {
        let text = format!("cannot {doing} {}: {error}", path.display());
        io::Error::new(error.kind(), text)
    }
}

impl Disk {
    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    fn step(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        self.faults.step()
    }

    /// Opens a file for writing at its end; makes it if it is not there.
    pub(crate) fn append(&self, path: &Path) -> io::Result<DiskFile> {
        self.open(
            path,
            OpenOptions::new().create(true).append(true).read(true),
        )
    }

    /// Opens an empty file, whatever was there before.
    pub(crate) fn create(&self, path: &Path) -> io::Result<DiskFile> {
        self.open(
            path,
            OpenOptions::new().create(true).write(true).truncate(true),
        )
    }

    fn open(&self, path: &Path, options: &OpenOptions) -> io::Result<DiskFile> {
        let opened = self.step().and_then(|()| options.open(path));
        Ok(DiskFile {
            file: opened.map_err(failed("open", path))?,
            path: path.to_path_buf(),
            disk: self.clone(),
        })
    }

    /// Gives a file another name in the same folder, replacing what had that name.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()
            .and_then(|()| fs::rename(from, to))
            .map_err(failed("rename", from))
    }

    /// Removes a file. It is no error if it is gone already.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        match self.step().and_then(|()| fs::remove_file(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the folder and its parents, if they are not there.
    pub(crate) fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.step()
            .and_then(|()| fs::create_dir_all(path))
            .map_err(failed("create", path))
    }

    /// Waits until the names in the folder are on the disk.
    pub(crate) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step()
            .and_then(|()| File::open(path)?.sync_all())
            .map_err(failed("flush", path))
    }
}

impl DiskFile {
    pub(crate) fn len(&self) -> io::Result<u64> {
        let metadata = self
            .file
            .metadata()
            .map_err(failed("inspect", &self.path))?;
        Ok(metadata.len())
    }

    /// Cuts the file.
    pub(crate) fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk
            .step()
            .and_then(|()| self.file.set_len(length))
            .map_err(failed("truncate", &self.path))
    }

    /// Waits until the contents are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.disk
            .step()
            .and_then(|()| self.file.sync_all())
            .map_err(failed("flush", &self.path))
    }

    /// Fills `buffer` with what is at `position`.
    pub(crate) fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file
            .seek(SeekFrom::Start(position))
            .and_then(|_| self.file.read_exact(buffer))
            .map_err(failed("read", &self.path))
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.step() {
            // A disk that is full takes a part, and so does a process that dies.
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(failed("write to", &self.path)(error));
        }
        self.file
            .write(bytes)
            .map_err(failed("write to", &self.path))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Failures on demand.
#[cfg(test)]
pub(crate) mod faults {
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    /// Counts the steps and says which of them fail.
    #[derive(Default)]
    pub(crate) struct Faults {
        steps: AtomicU64,
        first: AtomicU64,
        last: AtomicU64,
    }

    impl Faults {
        /// The steps from the `first` on fail, counted from now and from 1, up to the `last`.
        pub(crate) fn fail(&self, first: u64, last: u64) {
            self.steps.store(0, SeqCst);
            self.first.store(first, SeqCst);
            self.last.store(last, SeqCst);
        }

        /// From now on nothing fails.
        pub(crate) fn heal(&self) {
            self.fail(0, 0);
        }

        /// How many steps there were since the last call of `fail` or `heal`.
        pub(crate) fn steps(&self) -> u64 {
            self.steps.load(SeqCst)
        }

        pub(super) fn step(&self) -> io::Result<()> {
            let step = self.steps.fetch_add(1, SeqCst) + 1;
            if self.first.load(SeqCst) <= step && step <= self.last.load(SeqCst) {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "injected failure",
                ));
            }
            Ok(())
        }
    }
}
