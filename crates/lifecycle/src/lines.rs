//! A file of lines that grows at its end: a line is there whole, or not at all.

use crate::disk::{Disk, DiskFile};
use std::io::{self, Write};
use std::path::Path;

/// How much is read at once when the end of the last whole line is looked for.
const LOOK_BACK_BYTES: u64 = 8 * 1024;

/// A file to which whole lines are appended by one writer.
pub(crate) struct LineFile {
    file: DiskFile,
    length: u64,
    /// Where the file must end, when a part of a line could not be taken back yet.
    torn_at: Option<u64>,
}

impl LineFile {
    /// Opens the file, or makes it. A last line without its end, from a writer that died, is cut off.
    pub(crate) fn open(disk: &Disk, path: &Path) -> io::Result<Self> {
        let mut file = disk.append(path)?;
        let found = file.len()?;
        let length = end_of_last_line(&mut file, found)?;
        if length < found {
            file.truncate(length)?;
        }
        Ok(LineFile {
            file,
            length,
            torn_at: None,
        })
    }

    /// The size of the file in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Appends one line, which must end in its only line feed, with one write.
    ///
    /// When it cannot be written whole, what was written of it is taken back; if even that fails, it is
    /// taken back before the next line.
    pub(crate) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        debug_assert_eq!(
            line.iter().position(|byte| *byte == b'\n'),
            Some(line.len() - 1)
        );
        if let Some(end) = self.torn_at {
            self.cut(end)?;
        }
        match self.file.write_all(line) {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                let end = self.length;
                self.torn_at = Some(end);
                // The first error is the one to tell of.
                let _ = self.cut(end);
                Err(error)
            }
        }
    }

    fn cut(&mut self, end: u64) -> io::Result<()> {
        // Somebody may have emptied the file meanwhile: cutting must not make it longer.
        self.length = end.min(self.file.len()?);
        self.file.truncate(self.length)?;
        self.torn_at = None;
        Ok(())
    }

    /// Waits until all lines are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// The position behind the last line feed in the first `length` bytes.
fn end_of_last_line(file: &mut DiskFile, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut buffer = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(LOOK_BACK_BYTES);
        buffer.resize((end - start) as usize, 0);
        file.read_at(start, &mut buffer)?;
        if let Some(at) = buffer.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn a_partial_last_line_is_cut_off_when_the_file_is_opened() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("lines");
        let long = "x".repeat(3 * LOOK_BACK_BYTES as usize);
        for (found, kept) in [
            (String::new(), ""),
            ("partial".to_owned(), ""),
            (long.clone(), ""),
            ("one\n".to_owned(), "one\n"),
            ("one\ntwo\nthr".to_owned(), "one\ntwo\n"),
            (format!("one\n{long}"), "one\n"),
        ] {
            fs::write(&path, found).unwrap();
            let mut lines = LineFile::open(&Disk::default(), &path).unwrap();
            assert_eq!(lines.len(), kept.len() as u64);
            lines.append(b"next\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{kept}next\n"));
        }
    }

    #[test]
    fn what_could_not_be_written_whole_is_taken_back() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("lines");
        let disk = Disk::default();
        let mut lines = LineFile::open(&disk, &path).unwrap();
        lines.append(b"one\n").unwrap();

        disk.faults.fail(1, 1);
        let error = lines.append(b"two two\n").unwrap_err();
        let expected = format!("cannot write to {}: injected failure", path.display());
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"one\n");

        lines.append(b"three\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\nthree\n");
    }

    #[test]
    fn what_could_not_even_be_taken_back_is_so_before_the_next_line() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("lines");
        let disk = Disk::default();
        let mut lines = LineFile::open(&disk, &path).unwrap();
        lines.append(b"one\n").unwrap();

        disk.faults.fail(1, 3);
        lines.append(b"two two\n").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo ");
        let error = lines.append(b"three\n").unwrap_err();
        assert!(error.to_string().starts_with("cannot truncate"), "{error}");

        lines.append(b"four\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\nfour\n");
    }

    #[test]
    fn a_file_that_was_emptied_meanwhile_is_not_made_longer() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("lines");
        let disk = Disk::default();
        let mut lines = LineFile::open(&disk, &path).unwrap();
        lines.append(b"one one one one one one\n").unwrap();
        fs::write(&path, b"").unwrap();

        disk.faults.fail(1, 1);
        lines.append(b"two\n").unwrap_err();
        assert!(fs::read(&path).unwrap().len() <= 2);
    }
}
