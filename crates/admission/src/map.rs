//! Maps by the numbers that name owners, waits and relations.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map by such a number. One look-up costs the same however many there are, which an ordered map
/// does not; whoever shows its content sorts it.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// A set of such numbers.
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<NumberHasher>>;

/// Fibonacci hashing: one multiplication. The numbers count up, and the server gives them out, so
/// nobody can choose them to collide.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NumberHasher(u64);

/// 2⁶⁴ divided by the golden ratio: it spreads numbers that count up evenly over the upper bits.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for NumberHasher {
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(GOLDEN);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    /// A table takes the lowest bits first, and the best ones are the highest.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}
