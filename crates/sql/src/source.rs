//! From the tokenizer's lines and columns to places in the text.

use sqlparser::tokenizer::Location;

/// One place in a query string, in every unit that somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Line, counting from 1.
    pub line: u64,
    /// Character in the line, counting from 1.
    pub column: u64,
    /// Bytes before this place.
    pub byte: usize,
    /// Characters before this place.
    pub chars: usize,
}

impl Mark {
    /// The beginning of a text.
    pub(crate) const START: Self = Self {
        line: 1,
        column: 1,
        byte: 0,
        chars: 0,
    };

    /// The place that the tokenizer calls `to`, or the end of the text where that comes first.
    ///
    /// It only walks forward, so a caller that asks for places in order pays for each character
    /// once: a query string of many short statements on one line stays linear.
    pub(crate) fn advance(self, text: &str, to: Location) -> Self {
        let mut mark = self;
        for c in text[self.byte..].chars() {
            if (mark.line, mark.column) >= (to.line, to.column) {
                break;
            }
            mark.step(c);
        }
        mark
    }

    /// The place as error messages give it: characters, counting from 1.
    pub(crate) fn position(self) -> usize {
        self.chars + 1
    }

    fn step(&mut self, c: char) {
        self.byte += c.len_utf8();
        self.chars += 1;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_become_bytes_and_characters() {
        let text = "a\näö x\n";
        for (line, column, byte, chars) in [(1, 1, 0, 0), (2, 1, 2, 2), (2, 4, 7, 5), (9, 9, 9, 7)]
        {
            let mark = Mark::START.advance(text, Location { line, column });
            assert_eq!((mark.byte, mark.chars), (byte, chars), "{line}:{column}");
        }
    }
}
