//! The profile log: rotated files with one line for each query that was archived.
//!
//! A line is the time in milliseconds since 1970, the query's id and its compressed and encoded
//! profile, with one space between each:
//!
//! ```text
//! 1763751600123 1f0c5d0b3a2e4411:00000000deadbeef eJzLSM3JyQcABiwCFQ==
//! ```
//!
//! Impala's profile log has the same form.

use crate::QueryId;
use crate::rotated::{RotatedFile, Rotation, open_files_of_log};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// The longest line that a reader takes into memory.
const MAX_LINE_BYTES: u64 = 256 << 20;

/// The profile log, for writing. Threads may share it.
pub struct ProfileLog {
    path: PathBuf,
    file: Mutex<RotatedFile>,
}

/// One line of a profile log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileEntry {
    /// When it was written, to the millisecond.
    pub time: DateTime<Utc>,
    /// Whose profile it is.
    pub query_id: QueryId,
    /// The profile as it was given to [`ProfileLog::write`].
    pub payload: Vec<u8>,
}

impl ProfileLog {
    /// Continues the log at `path`, or begins it.
    ///
    /// # Errors
    ///
    /// When its folder or file cannot be made, read or written.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        Ok(ProfileLog {
            path: path.to_path_buf(),
            file: Mutex::new(RotatedFile::open(path, rotation)?),
        })
    }

    /// Writes the profile of one query. `payload` is text without spaces: base64.
    ///
    /// # Errors
    ///
    /// Names the file and the reason; nothing of the line is in the log then. `InvalidInput` for a
    /// payload that is not such a text.
    pub fn write(&self, time: DateTime<Utc>, query_id: QueryId, payload: &[u8]) -> io::Result<()> {
        if !is_payload(payload) {
            let text = format!("the profile of {query_id} is not encoded");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut line = Vec::with_capacity(payload.len() + 64);
        write!(line, "{} {query_id} ", time.timestamp_millis())?;
        line.extend_from_slice(payload);
        self.file.lock().append(&line)
    }

    /// The newest profile of a query that is still in the log's files.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn find(&self, query_id: QueryId) -> io::Result<Option<ProfileEntry>> {
        ProfileReader::open(&self.path)?.find(query_id)
    }

    /// Waits until every line is on the disk.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.file.lock().sync()
    }
}

/// Reads a profile log, oldest line first. A line that is not one is skipped and counted.
pub struct ProfileReader {
    files: VecDeque<BufReader<File>>,
    broken: u64,
}

impl ProfileReader {
    /// Reads the log at `path` with its rotated files, or a file of a log that was copied elsewhere.
    ///
    /// # Errors
    ///
    /// When there is no such file, or one cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let files = open_files_of_log(path)?;
        if files.is_empty() {
            let text = format!("there is no profile log {}", path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(ProfileReader {
            files: files.into_iter().map(BufReader::new).collect(),
            broken: 0,
        })
    }

    /// How many lines were skipped so far because they are not lines of a profile log.
    pub fn broken(&self) -> u64 {
        self.broken
    }

    /// The last profile of a query in what has not been read yet.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn find(mut self, query_id: QueryId) -> io::Result<Option<ProfileEntry>> {
        // The newest file first: a query that somebody asks for is seldom an old one.
        while let Some(newest) = self.files.pop_back() {
            let mut file = ProfileReader {
                files: VecDeque::from([newest]),
                broken: 0,
            };
            let mut found = None;
            while let Some(line) = file.next_line()? {
                if parse_head(&line).is_some_and(|(_, id, _)| id == query_id) {
                    found = parse(&line).or(found);
                }
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The next line, without its end; an empty one for a line that is too long.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(file) = self.files.front_mut() {
            let mut line = Vec::new();
            file.by_ref()
                .take(MAX_LINE_BYTES)
                .read_until(b'\n', &mut line)?;
            if line.last() == Some(&b'\n') {
                line.pop();
                return Ok(Some(line));
            }
            if line.len() as u64 == MAX_LINE_BYTES {
                skip_line(file)?;
                return Ok(Some(Vec::new()));
            }
            self.files.pop_front();
            // The last line may lack its end: a crash, or a writer that is in the middle of it.
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }
}

impl Iterator for ProfileReader {
    type Item = io::Result<ProfileEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_line() {
                Ok(Some(line)) => match parse(&line) {
                    Some(entry) => return Some(Ok(entry)),
                    None => self.broken += 1,
                },
                Ok(None) => return None,
                Err(error) => {
                    // What cannot be read once would be tried for ever.
                    self.files.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Reads on to the end of the line, keeping nothing.
fn skip_line(file: &mut BufReader<File>) -> io::Result<()> {
    file.skip_until(b'\n').map(|_| ())
}

fn parse(line: &[u8]) -> Option<ProfileEntry> {
    let (time, query_id, payload) = parse_head(line)?;
    is_payload(payload).then(|| ProfileEntry {
        time,
        query_id,
        payload: payload.to_vec(),
    })
}

/// The three parts of a line, the payload unseen.
fn parse_head(line: &[u8]) -> Option<(DateTime<Utc>, QueryId, &[u8])> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let mut text = || str::from_utf8(parts.next()?).ok();
    let time = DateTime::from_timestamp_millis(text()?.parse().ok()?)?;
    let query_id = text()?.parse().ok()?;
    Some((time, query_id, parts.next()?))
}

/// Whether the bytes are of the alphabets of base64, and some.
fn is_payload(bytes: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_base64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotated::files_of_log;
    use std::fs;
    use tempfile::TempDir;

    fn id(low: u64) -> QueryId {
        QueryId::from_halves(7, low)
    }

    fn entry(millis: i64, low: u64, payload: &str) -> ProfileEntry {
        ProfileEntry {
            time: DateTime::from_timestamp_millis(millis).unwrap(),
            query_id: id(low),
            payload: payload.into(),
        }
    }

    fn write(log: &ProfileLog, entry: &ProfileEntry) {
        log.write(entry.time, entry.query_id, &entry.payload)
            .unwrap();
    }

    fn read(path: &Path) -> (Vec<ProfileEntry>, u64) {
        let mut reader = ProfileReader::open(path).unwrap();
        let entries = reader.by_ref().map(Result::unwrap).collect();
        (entries, reader.broken())
    }

    #[test]
    fn what_is_written_is_read_across_rotated_files() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("profile.log");
        let rotation = Rotation {
            max_file_bytes: 120,
            max_files: 10,
        };
        let log = ProfileLog::open(&path, rotation).unwrap();
        let entries: Vec<_> = (0..7)
            .map(|i| entry(i, i as u64, &"aGk=".repeat(5)))
            .collect();
        entries.iter().for_each(|entry| write(&log, entry));
        assert!(files_of_log(&path).unwrap().len() > 3);

        assert_eq!(read(&path), (entries.clone(), 0));
        for entry in &entries {
            assert_eq!(log.find(entry.query_id).unwrap().as_ref(), Some(entry));
        }
        assert_eq!(log.find(id(99)).unwrap(), None);
    }

    #[test]
    fn a_copied_file_is_read_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("profile.log");
        let log = ProfileLog::open(&path, Rotation::default()).unwrap();
        write(&log, &entry(1, 1, "YQ=="));
        let elsewhere = TempDir::new().unwrap();
        let copy = elsewhere.path().join("from-a-customer");
        fs::copy(&path, &copy).unwrap();
        assert_eq!(read(&copy), (vec![entry(1, 1, "YQ==")], 0));
        let found = ProfileReader::open(&copy).unwrap().find(id(1)).unwrap();
        assert_eq!(found, Some(entry(1, 1, "YQ==")));
    }

    #[test]
    fn a_broken_line_is_skipped_and_counted() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("profile.log");
        let good = |low| format!("5 {} YQ==\n", id(low)).into_bytes();
        let broken: [&[u8]; 8] = [
            b"\n",
            b"not a line\n",
            b"5 0000000000000007:0000000000000009\n",
            b"5 0000000000000007:0000000000000009 \n",
            b"5 0000000000000007:0000000000000009 YQ== YQ==\n",
            b"x 0000000000000007:0000000000000009 YQ==\n",
            b"99999999999999999999 0000000000000007:0000000000000009 YQ==\n",
            b"\xff\x00 0000000000000007:0000000000000009 \xff\n",
        ];
        let mut bytes = good(1);
        broken.iter().for_each(|line| bytes.extend_from_slice(line));
        bytes.extend(good(2));
        bytes.extend_from_slice(b"5 00000000000");
        fs::write(&path, bytes).unwrap();

        let expected = vec![entry(5, 1, "YQ=="), entry(5, 2, "YQ==")];
        assert_eq!(read(&path), (expected, 9));
        assert_eq!(
            ProfileReader::open(&path).unwrap().find(id(9)).unwrap(),
            None
        );
    }

    #[test]
    fn a_payload_that_would_break_the_line_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("profile.log");
        let log = ProfileLog::open(&path, Rotation::default()).unwrap();
        for payload in ["", "a b", "a\nb", "{}"] {
            let error = log
                .write(Utc::now(), id(1), payload.as_bytes())
                .unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{payload:?}");
        }
        assert_eq!(read(&path), (vec![], 0));
    }

    #[test]
    fn a_log_that_is_not_there_is_told_by_name() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("profile.log");
        let error = ProfileReader::open(&path).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("profile.log"), "{error}");
    }
}
