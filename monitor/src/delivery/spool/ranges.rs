//! Sequence numbers, as first and last of each run.

/// More runs than this are joined over the smallest hole between them: what is named is then more than what was meant,
/// never less.
pub(crate) const MOST: usize = 64;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<[u64; 2]>);

impl Ranges {
    pub(crate) fn add(&mut self, number: u64) {
        self.add_run([number, number]);
    }

    pub(crate) fn add_run(&mut self, [first, last]: [u64; 2]) {
        if first > last {
            return;
        }
        // All runs that touch or overlap the new one become one with it.
        let from = self.0.partition_point(|run| run[1].saturating_add(1) < first);
        let to = self.0.partition_point(|run| run[0] <= last.saturating_add(1));
        let mut joined = [first, last];
        if let Some(run) = self.0.get(from).filter(|_| from < to) {
            joined[0] = joined[0].min(run[0]);
        }
        if let Some(run) = to.checked_sub(1).and_then(|to| self.0.get(to)).filter(|_| from < to) {
            joined[1] = joined[1].max(run[1]);
        }
        self.0.splice(from..to, [joined]);
        if self.0.len() > MOST {
            self.join_nearest();
        }
    }

    pub(crate) fn runs(&self) -> &[[u64; 2]] {
        &self.0
    }

    /// How many numbers are in it.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|[first, last]| (last - first).saturating_add(1)).fold(0, u64::saturating_add)
    }

    /// As people write it: `3-7, 9`.
    pub(crate) fn text(&self) -> String {
        let each = |run: &[u64; 2]| match run {
            [first, last] if first == last => first.to_string(),
            [first, last] => format!("{first}-{last}"),
        };
        self.0.iter().map(each).collect::<Vec<_>>().join(", ")
    }

    fn join_nearest(&mut self) {
        let holes = self.0.windows(2).map(|two| two[1][0] - two[0][1]);
        let Some((at, _)) = holes.enumerate().min_by_key(|(_, hole)| *hole) else { return };
        let second = self.0.remove(at + 1);
        self.0[at][1] = second[1];
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_are_written_as_people_do() {
        let mut ranges = Ranges::default();
        for number in [9, 3, 5, 4, 9] {
            ranges.add(number);
        }
        assert_eq!(ranges.text(), "3-5, 9");
    }

    proptest! {
        #[test]
        fn every_number_added_is_in_a_run(numbers in proptest::collection::vec(0u64..2000, 0..400)) {
            let mut ranges = Ranges::default();
            numbers.iter().for_each(|number| ranges.add(*number));
            let named: BTreeSet<u64> = ranges.runs().iter().flat_map(|[a, b]| *a..=*b).collect();
            prop_assert!(numbers.iter().all(|number| named.contains(number)));
            prop_assert!(ranges.runs().len() <= MOST);
            prop_assert!(ranges.runs().windows(2).all(|two| two[0][1] + 1 < two[1][0]));
        }

        #[test]
        fn few_runs_name_nothing_else(numbers in proptest::collection::btree_set(0u64..100, 0..100)) {
            let mut ranges = Ranges::default();
            numbers.iter().rev().for_each(|number| ranges.add(*number));
            let named: BTreeSet<u64> = ranges.runs().iter().flat_map(|[a, b]| *a..=*b).collect();
            prop_assert_eq!(named, numbers);
        }
    }
}
