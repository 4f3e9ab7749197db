//! Label ids: small numbers that stand for workers in the kernel's maps and counters.

use std::collections::VecDeque;

use crate::event::BootNs;

/// How long an id rests before it may name another worker: records, held events and exited processes of the old one are
/// gone by then.
pub(super) const REST: BootNs = 120_000_000_000;

/// Gives out label ids from 1 to a maximum: unused ones first, then the one that has rested longest.
#[derive(Debug)]
pub(super) struct LabelPool {
    next: u32,
    max: u32,
    resting: VecDeque<(u32, BootNs)>,
}

impl LabelPool {
    /// A pool of the ids 1 to `max`.
    pub(super) fn new(max: u32) -> Self {
        Self { next: 1, max, resting: VecDeque::new() }
    }

    /// An id; `None` when all are in use or still resting.
    pub(super) fn take(&mut self, now: BootNs) -> Option<u32> {
        if self.next <= self.max {
            self.next += 1;
            return Some(self.next - 1);
        }
        let (_, since) = self.resting.front()?;
        if now.saturating_sub(*since) < REST {
            return None;
        }
        self.resting.pop_front().map(|(id, _)| id)
    }

    /// How many ids cannot be taken now, and how many there are.
    pub(super) fn used(&self, now: BootNs) -> (u32, u32) {
        // In the order in which they were given back.
        let rested = self.resting.iter().take_while(|(_, since)| now.saturating_sub(*since) >= REST).count();
        (self.next - 1 - u32::try_from(rested).unwrap_or(u32::MAX).min(self.next - 1), self.max)
    }

    /// Gives an id back.
    pub(super) fn give_back(&mut self, id: u32, now: BootNs) {
        self.resting.push_back((id, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_never_zero() {
        let mut pool = LabelPool::new(3);
        assert_eq!(
            [pool.take(0), pool.take(0), pool.take(0), pool.take(0)],
            [Some(1), Some(2), Some(3), None]
        );
    }

    #[test]
    fn id_counts_as_used_until_it_has_rested() {
        let mut pool = LabelPool::new(3);
        assert_eq!(pool.used(0), (0, 3));
        let (first, _) = (pool.take(0).unwrap(), pool.take(0).unwrap());
        assert_eq!(pool.used(0), (2, 3));
        pool.give_back(first, 0);
        assert_eq!(pool.used(REST - 1), (2, 3));
        assert_eq!(pool.used(REST), (1, 3));
    }

    #[test]
    fn freed_id_is_reused_only_when_rested_and_nothing_unused_is_left() {
        let mut pool = LabelPool::new(2);
        assert_eq!(pool.take(0), Some(1));
        pool.give_back(1, 10);
        assert_eq!(pool.take(10 + REST), Some(2), "an unused one comes first");
        assert_eq!(pool.take(9 + REST), None);
        assert_eq!(pool.take(10 + REST), Some(1));
    }
}
