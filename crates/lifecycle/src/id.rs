//! The name of a query.

use std::fmt;
use std::str::FromStr;

/// The 128-bit name of a query, unique for ever as far as chance allows.
///
/// It is written as two halves of sixteen lower-case hexadecimal digits with a colon between them,
/// the high half first: `1f0c5d0b3a2e4411:00000000deadbeef`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(u128);

impl QueryId {
    /// A new id that nobody can guess.
    pub fn random() -> Self {
        QueryId(rand::random())
    }

    /// The id whose halves are `high` (printed first) and `low`.
    pub const fn from_halves(high: u64, low: u64) -> Self {
        QueryId(((high as u128) << 64) | low as u128)
    }

    /// The two halves, the one that is printed first in front.
    pub const fn halves(self) -> (u64, u64) {
        ((self.0 >> 64) as u64, self.0 as u64)
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = self.halves();
        write!(f, "{high:016x}:{low:016x}")
    }
}

impl fmt::Debug for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueryId({self})")
    }
}

/// The text is not a query id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a query id is two halves of 16 hexadecimal digits joined by a colon")]
pub struct ParseQueryIdError;

impl FromStr for QueryId {
    type Err = ParseQueryIdError;

    /// Reads what `Display` writes; upper-case digits are taken too.
    ///
    /// # Errors
    ///
    /// [`ParseQueryIdError`] for any other text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (high, low) = text.split_once(':').ok_or(ParseQueryIdError)?;
        Ok(QueryId::from_halves(parse_half(high)?, parse_half(low)?))
    }
}

fn parse_half(digits: &str) -> Result<u64, ParseQueryIdError> {
    // `from_str_radix` alone would also take a sign and fewer digits.
    if digits.len() != 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ParseQueryIdError);
    }
    u64::from_str_radix(digits, 16).map_err(|_| ParseQueryIdError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_two_padded_halves() {
        let id = QueryId::from_halves(0x1f, 0xdead_beef);
        assert_eq!(id.to_string(), "000000000000001f:00000000deadbeef");
        assert_eq!(id.halves(), (0x1f, 0xdead_beef));
    }

    #[test]
    fn reads_back_what_it_writes() {
        for _ in 0..1000 {
            let id = QueryId::random();
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn refuses_every_other_text() {
        for text in [
            "",
            ":",
            "1:2",
            "000000000000001f",
            "000000000000001f-00000000deadbeef",
            "000000000000001f:00000000deadbeef:",
            "+00000000000001f:00000000deadbeef",
            "000000000000001g:00000000deadbeef",
            " 000000000000001f:00000000deadbeef",
            "00000000000000é:00000000deadbeef",
        ] {
            assert_eq!(text.parse::<QueryId>(), Err(ParseQueryIdError), "{text:?}");
        }
    }
}
