//! How much the spool may take.

use std::time::Duration;

use crate::delivery::Class;

/// How much the spool may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most bytes on disk by class, from the one sent first.
    pub(crate) class: [u64; 3],
    /// Records older than this are evicted.
    pub(crate) max_age: Duration,
    /// Most bytes of records that are only in memory.
    pub(crate) memory: usize,
    /// Most records that are only in memory.
    pub(crate) records: u64,
}

/// Parts of the whole that each class has: 128, 96 and 32 of 256 MiB.
const SHARES: [u64; 3] = [4, 3, 1];
/// A segment is never larger than this.
const SEGMENT: u64 = 4 << 20;
/// Records of one class that are read from memory by sinks that keep up.
pub(crate) const TAIL: usize = 256 << 10;
/// What the spool may take on a file system that is nearly full.
pub(crate) const FLOOR: u64 = 8 << 20;
/// What a class that others go before keeps of it all the same, and for each sink: of more, one segment in four goes at a time,
/// and what tells each sink of that is far smaller.
const KEPT: u64 = 128 << 10;
const KEPT_A_SINK: u64 = 32 << 10;
/// The spool does not grow when less than this is free, percent.
pub(crate) const FREE_PERCENT: u64 = 15;

impl Limits {
    /// Shares of a whole.
    pub(crate) fn share(total: u64) -> [u64; 3] {
        let all: u64 = SHARES.iter().sum();
        SHARES.map(|share| (total / all).saturating_mul(share))
    }

    /// Where a segment of this class ends: an eighth of the class, so that an eviction costs little of it.
    pub(crate) fn segment(&self, class: Class) -> u64 {
        (self.class[class.order()] / 8).clamp(16 << 10, SEGMENT)
    }

    /// What a class other than the highest keeps for so many sinks on a file system that is nearly full. It goes for no other
    /// class, and does not count: if it did, the highest class would have to make room for it.
    pub(crate) fn kept(sinks: usize) -> u64 {
        KEPT.max((sinks as u64).saturating_mul(KEPT_A_SINK))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            class: Self::share(256 << 20),
            max_age: Duration::from_secs(7 * 24 * 3600),
            memory: 8 << 20,
            records: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_128_96_and_32_mib() {
        assert_eq!(Limits::default().class, [128 << 20, 96 << 20, 32 << 20]);
        assert_eq!(Limits::default().segment(Class::Low), 4 << 20);
    }
}
