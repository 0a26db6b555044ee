//! The lines of a file, the last one first.

use std::io::{self, Read, Seek, SeekFrom};

/// How much is read at once; more where a line is longer.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Reads a file of lines from its end. What stands behind the last line feed is no line: somebody may
/// be in the middle of writing it.
pub(crate) struct LinesBackwards<F> {
    file: F,
    /// What has not been read yet ends here.
    start: u64,
    /// What was read and not handed out.
    buffer: Vec<u8>,
    /// Longer lines are left out.
    max_line_bytes: usize,
    /// Bytes that were read.
    read: u64,
}

impl<F: Read + Seek> LinesBackwards<F> {
    pub(crate) fn new(mut file: F, max_line_bytes: usize) -> io::Result<Self> {
        let start = file.seek(SeekFrom::End(0))?;
        let mut lines = Self {
            file,
            start,
            buffer: Vec::new(),
            max_line_bytes,
            read: 0,
        };
        lines.skip_to_line_feed()?;
        Ok(lines)
    }

    /// Bytes that were read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The line before the one that was given last, without its line feed.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            let unsearched = &self.buffer[..self.buffer.len() - searched];
            if let Some(at) = unsearched.iter().rposition(|byte| *byte == b'\n') {
                let line = self.buffer.split_off(at + 1);
                self.buffer.pop();
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if self.start == 0 {
                let first = std::mem::take(&mut self.buffer);
                return Ok((!first.is_empty()).then_some(first));
            }
            if searched > self.max_line_bytes {
                self.buffer.clear();
                self.skip_to_line_feed()?;
                searched = 0;
            } else {
                self.read_block(BLOCK_BYTES.max(searched as u64))?;
            }
        }
    }

    /// Forgets what stands behind the last line feed that was not handed out, and the line feed.
    fn skip_to_line_feed(&mut self) -> io::Result<()> {
        loop {
            if let Some(at) = self.buffer.iter().rposition(|byte| *byte == b'\n') {
                self.buffer.truncate(at);
                return Ok(());
            }
            self.buffer.clear();
            if self.start == 0 {
                return Ok(());
            }
            self.read_block(BLOCK_BYTES)?;
        }
    }

    /// Reads what stands before the buffer.
    fn read_block(&mut self, bytes: u64) -> io::Result<()> {
        let from = self.start.saturating_sub(bytes);
        let length = usize::try_from(self.start - from).map_err(io::Error::other)?;
        let mut block = vec![0; length];
        self.file.seek(SeekFrom::Start(from))?;
        self.file.read_exact(&mut block)?;
        block.append(&mut self.buffer);
        self.buffer = block;
        self.read += length as u64;
        self.start = from;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn lines(text: &str, max_line_bytes: usize) -> Vec<String> {
        let mut lines = LinesBackwards::new(Cursor::new(text.as_bytes()), max_line_bytes).unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines.bytes_read(), text.len() as u64);
        found
    }

    #[test]
    fn the_last_line_comes_first() {
        assert_eq!(lines("", 100), [""; 0]);
        assert_eq!(lines("a\n", 100), ["a"]);
        assert_eq!(lines("a\nb\nc\n", 100), ["c", "b", "a"]);
        assert_eq!(lines("a\n\nc\n", 100), ["c", "", "a"]);
    }

    #[test]
    fn what_has_no_end_yet_is_no_line() {
        assert_eq!(lines("half", 100), [""; 0]);
        assert_eq!(lines("a\nhalf", 100), ["a"]);
    }

    #[test]
    fn lines_may_be_longer_than_a_block_and_end_at_its_edges() {
        let block = BLOCK_BYTES as usize;
        for length in [1, block - 2, block - 1, block, block + 1, 5 * block + 3] {
            let written: Vec<String> = ["x", "y", "z"].iter().map(|c| c.repeat(length)).collect();
            let text: String = written.iter().map(|line| format!("{line}\n")).collect();
            let mut found = lines(&text, usize::MAX);
            found.reverse();
            assert!(found == written, "lines of {length} bytes");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out() {
        let block = BLOCK_BYTES as usize;
        let text = format!(
            "a\n{}\nb\n{}\nc\n",
            "x".repeat(9 * block),
            "y".repeat(block)
        );
        let found = lines(&text, 2 * block);
        let lengths: Vec<usize> = found.iter().map(String::len).collect();
        assert_eq!(lengths, [1, block, 1, 1]);
    }
}
