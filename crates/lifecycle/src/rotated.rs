//! Logs in files of bounded size and number.
//!
//! The newest file has the log's own name, `audit.log`. When it is full it becomes
//! `audit.log.000001`, the next one `audit.log.000002`, and so on: a larger number is newer, no file is
//! renamed twice, and `tail -F audit.log` goes on over a rotation.

use crate::disk::{Disk, failed};
use crate::lines::LineFile;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many digits a number has at least, so that names sort as numbers do.
const NUMBER_DIGITS: usize = 6;

/// The bounds of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// A file that has reached this size gets no more lines. A longer line has a file of its own.
    pub max_file_bytes: u64,
    /// How many files there may be, the newest one included; at least one.
    pub max_files: usize,
}

impl Default for Rotation {
    /// Ten files of 100 MiB.
    fn default() -> Self {
        Rotation {
            max_file_bytes: 100 << 20,
            max_files: 10,
        }
    }
}

/// A log of lines in files of bounded size and number, with one writer.
pub struct RotatedFile {
    disk: Disk,
    path: PathBuf,
    rotation: Rotation,
    /// None after a rotation that could not make the new file; the next line tries again.
    current: Option<LineFile>,
    next_number: u64,
}

impl RotatedFile {
    /// Continues the log at `path`, or begins it; makes its folder too. A last line that a crash has
    /// left without its end is cut off.
    ///
    /// # Errors
    ///
    /// When the folder or the file cannot be made, read or written.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        RotatedFile::open_on(&Disk::default(), path, rotation)
    }

    pub(crate) fn open_on(disk: &Disk, path: &Path, rotation: Rotation) -> io::Result<Self> {
        disk.create_folder(folder_of(path))?;
        let newest = older_files(path)?.last().map_or(0, |(number, _)| *number);
        Ok(RotatedFile {
            current: Some(LineFile::open(disk, path)?),
            disk: disk.clone(),
            path: path.to_path_buf(),
            rotation,
            next_number: newest + 1,
        })
    }

    /// The name of the newest file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `line` and a line feed with one write. After that a crash of the process loses nothing
    /// of it; against the loss of power there is [`RotatedFile::sync`].
    ///
    /// # Errors
    ///
    /// Names the file and the reason. The line is then not in the log, not even a part of it, and the
    /// next one may succeed. `InvalidInput` for a line with a line feed in it.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if line.contains(&b'\n') {
            let text = format!(
                "a line of {} must not have a line feed",
                self.path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        self.file_for(whole.len() as u64)?.append(&whole)
    }

    /// The file that has room for `bytes` more.
    fn file_for(&mut self, bytes: u64) -> io::Result<&mut LineFile> {
        let is_full = |file: &LineFile| {
            file.len() > 0 && file.len().saturating_add(bytes) > self.rotation.max_file_bytes
        };
        if self.current.as_ref().is_some_and(is_full) {
            self.rotate()?;
        }
        if self.current.is_none() {
            self.current = Some(LineFile::open(&self.disk, &self.path)?);
        }
        Ok(self.current.as_mut().expect("it was opened just now"))
    }

    /// Gives the newest file a number, and removes the oldest ones.
    fn rotate(&mut self) -> io::Result<()> {
        self.disk
            .rename(&self.path, &numbered(&self.path, self.next_number))?;
        self.next_number += 1;
        self.current = None;
        // A line is worth more than the bound: what cannot be removed now is so at the next rotation.
        if let Err(error) = self.remove_oldest() {
            tracing::warn!("an old log file stays: {error}");
        }
        Ok(())
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let older = older_files(&self.path)?;
        let kept = self.rotation.max_files.saturating_sub(1);
        for (_, path) in &older[..older.len().saturating_sub(kept)] {
            self.disk.remove(path)?;
        }
        Ok(())
    }

    /// Waits until every line is on the disk.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.current.as_ref().map_or(Ok(()), LineFile::sync)
    }
}

/// The files of the log at `path` that are there, oldest first.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn files_of_log(path: &Path) -> io::Result<Vec<PathBuf>> {
    let older = older_files(path)?.into_iter().map(|(_, path)| path);
    let newest = path.exists().then(|| path.to_path_buf());
    Ok(older.chain(newest).collect())
}

/// The files of the log at `path`, opened for reading, oldest first, each once even while the log is
/// rotated. A file that has just been removed is left out.
pub(crate) fn open_files_of_log(path: &Path) -> io::Result<Vec<File>> {
    // The newest is opened before the others are listed: so a rotation in between shows it twice, and
    // never not at all.
    let newest = open_if_there(path)?;
    let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    let newest_identity = newest.as_ref().map(identity).transpose()?;
    let mut files = Vec::new();
    for (_, older) in older_files(path)? {
        if let Some(file) = open_if_there(&older)?
            && Some(identity(&file)?) != newest_identity
        {
            files.push(file);
        }
    }
    files.extend(newest);
    Ok(files)
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("open", path)(error)),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:0NUMBER_DIGITS$}"));
    name.into()
}

/// The files that have a number, with it, oldest first.
fn older_files(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let folder = folder_of(path);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        let text = format!("{} is not the name of a file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    let mut older = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        let found = entry.file_name();
        let number = found
            .to_str()
            .and_then(|found| found.strip_prefix(name)?.strip_prefix('.'))
            .filter(|digits| digits.len() >= NUMBER_DIGITS)
            .and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            older.push((number, entry.path()));
        }
    }
    older.sort_unstable();
    Ok(older)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const SMALL: Rotation = Rotation {
        max_file_bytes: 10,
        max_files: 3,
    };

    /// The names of the log's files with their contents, oldest first.
    fn contents(path: &Path) -> Vec<(String, String)> {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let files = files_of_log(path).unwrap();
        let read = |path: &PathBuf| (name(path), fs::read_to_string(path).unwrap());
        files.iter().map(read).collect()
    }

    fn pair(name: &str, content: &str) -> (String, String) {
        (name.to_owned(), content.to_owned())
    }

    #[test]
    fn a_full_file_gets_a_number_and_the_oldest_goes() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("deep/er/log");
        let mut log = RotatedFile::open(&path, SMALL).unwrap();
        for line in ["1234", "5678", "abc", "a line that is too long", "de", "f"] {
            log.append(line.as_bytes()).unwrap();
        }
        let expected = [
            pair("log.000002", "abc\n"),
            pair("log.000003", "a line that is too long\n"),
            pair("log", "de\nf\n"),
        ];
        assert_eq!(contents(&path), expected);
    }

    #[test]
    fn a_restart_goes_on_where_the_last_one_ended() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("log");
        let mut log = RotatedFile::open(&path, SMALL).unwrap();
        for line in ["12345678", "abc"] {
            log.append(line.as_bytes()).unwrap();
        }
        drop(log);
        fs::write(&path, "abc\npartial").unwrap();
        // Neither of these belongs to the log.
        fs::write(folder.path().join("log.1"), "").unwrap();
        fs::write(folder.path().join("log.backup"), "").unwrap();

        let mut log = RotatedFile::open(&path, SMALL).unwrap();
        for line in ["def", "ghi"] {
            log.append(line.as_bytes()).unwrap();
        }
        let expected = [
            pair("log.000001", "12345678\n"),
            pair("log.000002", "abc\ndef\n"),
            pair("log", "ghi\n"),
        ];
        assert_eq!(contents(&path), expected);
    }

    #[test]
    fn one_file_at_most_means_that_no_older_one_stays() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("log");
        for max_files in [0, 1] {
            let rotation = Rotation { max_files, ..SMALL };
            let mut log = RotatedFile::open(&path, rotation).unwrap();
            for line in ["12345678", "abcdefgh", "last"] {
                log.append(line.as_bytes()).unwrap();
            }
            assert_eq!(contents(&path), [pair("log", "last\n")]);
        }
    }

    #[test]
    fn a_line_feed_within_a_line_is_refused() {
        let folder = TempDir::new().unwrap();
        let mut log = RotatedFile::open(&folder.path().join("log"), SMALL).unwrap();
        let error = log.append(b"a\nb").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn whichever_step_fails_no_line_is_half_there_and_later_ones_are() {
        for failing in 1..=12 {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("log");
            let disk = Disk::default();
            let mut log = RotatedFile::open_on(&disk, &path, SMALL).unwrap();
            disk.faults.fail(failing, failing);
            let mut told = Vec::new();
            for line in ["12345678", "abcdefg", "xyz", "tuv", "uvw"] {
                if log.append(line.as_bytes()).is_ok() {
                    told.push(line);
                }
            }
            disk.faults.heal();
            log.append(b"last").unwrap();
            told.push("last");
            let found: String = contents(&path)
                .into_iter()
                .map(|(_, lines)| lines)
                .collect();
            let found: Vec<_> = found.lines().collect();
            assert!(told.ends_with(&found), "step {failing}: {told:?} {found:?}");
            assert!(found.len() >= 2, "step {failing}: {found:?}");
        }
    }

    #[test]
    fn an_unwritable_folder_is_told_with_its_name() {
        let folder = TempDir::new().unwrap();
        // A file in the place of the folder is in the way of root too.
        let in_the_way = folder.path().join("file");
        fs::write(&in_the_way, "").unwrap();
        let path = in_the_way.join("log");
        let error = RotatedFile::open(&path, SMALL).err().unwrap().to_string();
        assert!(error.starts_with("cannot create "), "{error}");
        assert!(error.contains(in_the_way.to_str().unwrap()), "{error}");
        let mode = fs::metadata(&in_the_way).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0);
    }

    #[test]
    fn a_reader_sees_each_file_once_while_it_is_rotated() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("log");
        let mut log = RotatedFile::open(&path, SMALL).unwrap();
        log.append(b"12345678").unwrap();
        log.append(b"abc").unwrap();
        assert_eq!(open_files_of_log(&path).unwrap().len(), 2);
        // As if the rotation came between opening the newest and listing the others.
        fs::hard_link(&path, numbered(&path, 2)).unwrap();
        assert_eq!(open_files_of_log(&path).unwrap().len(), 2);
    }
}
