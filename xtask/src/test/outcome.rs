//! What a tier's run gave, before expected skips are taken into account.

use crate::libtest::{Results, Skip};

/// Counts and names; `failed` carries one line per failure, fit to be read alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) skipped: Vec<PlacedSkip>,
    /// What failed at first and passed when it was run again: a line each, like those of `failed`.
    pub(crate) flaky: Vec<String>,
    /// Set when there is nothing to run, with the reason.
    pub(crate) not_run: Option<String>,
    /// Set when the deadline ended it, with what is missing.
    pub(crate) cut: Option<String>,
}

/// A skipped test and where: `host`, or a cell of the VM matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedSkip {
    pub(crate) place: String,
    pub(crate) skip: Skip,
}

impl Outcome {
    /// One check, without tests of its own.
    pub(crate) fn single(good: bool, complaint: &str) -> Self {
        if good { Self { passed: 1, ..Self::default() } } else { Self::broken(complaint) }
    }

    /// One failure.
    pub(crate) fn broken(complaint: &str) -> Self {
        Self { failed: vec![complaint.to_owned()], ..Self::default() }
    }

    /// Nothing was run.
    pub(crate) fn not_run(reason: &str) -> Self {
        Self { not_run: Some(reason.to_owned()), ..Self::default() }
    }

    /// The tests of a place.
    pub(crate) fn of_tests(results: Results, place: &str) -> Self {
        Self {
            passed: results.passed.len(),
            failed: results
                .failed
                .iter()
                .map(|test| format!("{place}: {}", results.complaint(test)))
                .collect(),
            flaky: results.flaky.iter().map(|what| format!("{place}: {what}")).collect(),
            skipped: results
                .skipped
                .into_iter()
                .map(|skip| PlacedSkip { place: place.to_owned(), skip })
                .collect(),
            not_run: None,
            cut: None,
        }
    }

    /// Ended by the deadline: what is missing.
    pub(crate) fn cut(missing: &str) -> Self {
        Self { cut: Some(missing.to_owned()), ..Self::default() }
    }

    /// Adds another part of the same tier.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.flaky.extend(other.flaky);
        self.skipped.extend(other.skipped);
        self.cut = self.cut.take().or(other.cut);
    }
}
