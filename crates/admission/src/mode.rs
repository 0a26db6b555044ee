//! The modes of a relation lock.

use std::fmt;

/// PostgreSQL's eight modes of a table lock, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockMode {
    /// Taken by statements that only read.
    AccessShare,
    /// Taken by `SELECT … FOR UPDATE` and its kin.
    RowShare,
    /// Taken by statements that change rows.
    RowExclusive,
    /// Taken by maintenance that must not run twice on one table.
    ShareUpdateExclusive,
    /// Keeps the rows of a table as they are; several may do so.
    Share,
    /// Keeps the rows of a table as they are; only one may do so.
    ShareRowExclusive,
    /// Leaves others nothing but reading.
    Exclusive,
    /// Leaves others nothing; taken by statements that drop or redefine.
    AccessExclusive,
}

impl LockMode {
    /// Every mode, the weakest first.
    pub const ALL: [LockMode; 8] = [
        LockMode::AccessShare,
        LockMode::RowShare,
        LockMode::RowExclusive,
        LockMode::ShareUpdateExclusive,
        LockMode::Share,
        LockMode::ShareRowExclusive,
        LockMode::Exclusive,
        LockMode::AccessExclusive,
    ];

    /// Whether two owners may not hold these modes on one relation at the same time.
    pub const fn conflicts(self, other: LockMode) -> bool {
        self.conflict_mask() & other.bit() != 0
    }

    /// The name that `pg_locks` shows, for example `AccessShareLock`.
    pub const fn as_str(self) -> &'static str {
        match self {
            LockMode::AccessShare => "AccessShareLock",
            LockMode::RowShare => "RowShareLock",
            LockMode::RowExclusive => "RowExclusiveLock",
            LockMode::ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            LockMode::Share => "ShareLock",
            LockMode::ShareRowExclusive => "ShareRowExclusiveLock",
            LockMode::Exclusive => "ExclusiveLock",
            LockMode::AccessExclusive => "AccessExclusiveLock",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn conflict_mask(self) -> u8 {
        // From the right: bit 0 is AccessShare, bit 7 is AccessExclusive.
        match self {
            LockMode::AccessShare => 0b1000_0000,
            LockMode::RowShare => 0b1100_0000,
            LockMode::RowExclusive => 0b1111_0000,
            LockMode::ShareUpdateExclusive => 0b1111_1000,
            LockMode::Share => 0b1110_1100,
            LockMode::ShareRowExclusive => 0b1111_1100,
            LockMode::Exclusive => 0b1111_1110,
            LockMode::AccessExclusive => 0b1111_1111,
        }
    }
}

/// Modes of one relation, each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ModeSet(u8);

impl ModeSet {
    /// Whether one of them conflicts with `mode`.
    pub(crate) const fn conflicts(self, mode: LockMode) -> bool {
        self.0 & mode.conflict_mask() != 0
    }
}

impl FromIterator<LockMode> for ModeSet {
    fn from_iter<T: IntoIterator<Item = LockMode>>(modes: T) -> Self {
        Self(modes.into_iter().fold(0, |set, mode| set | mode.bit()))
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_those_that_postgresql_documents() {
        // Rows and columns in the order of `ALL`.
        let expected = [
            //                     AS RS RE SUE S SRE E AE
            "AccessShare          . . . . . . . X",
            "RowShare             . . . . . . X X",
            "RowExclusive         . . . . X X X X",
            "ShareUpdateExclusive . . . X X X X X",
            "Share                . . X X . X X X",
            "ShareRowExclusive    . . X X X X X X",
            "Exclusive            . X X X X X X X",
            "AccessExclusive      X X X X X X X X",
        ];
        let actual = LockMode::ALL.map(|row| {
            let cells = LockMode::ALL.map(|column| if row.conflicts(column) { "X" } else { "." });
            format!("{:<20} {}", format!("{row:?}"), cells.join(" "))
        });
        assert_eq!(actual, expected);
    }

    #[test]
    fn conflicts_are_mutual() {
        for a in LockMode::ALL {
            for b in LockMode::ALL {
                assert_eq!(a.conflicts(b), b.conflicts(a), "{a} and {b}");
            }
        }
    }

    #[test]
    fn is_shown_as_in_pg_locks() {
        for mode in LockMode::ALL {
            assert_eq!(mode.to_string(), format!("{mode:?}Lock"));
        }
    }
}
