//! The closing table.

use super::outcome::{Outcome, PlacedSkip};
use super::skips::ExpectedSkips;
use super::tier::{Group, Tier};
use std::collections::BTreeMap;
use std::time::Duration;

/// A tier in the table.
pub(crate) struct Row {
    pub(crate) tier: &'static str,
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    /// Expected ones only; the others are failures.
    pub(crate) skipped: Vec<PlacedSkip>,
    flaky: Vec<String>,
    not_run: Option<String>,
    /// What the deadline cut off.
    cut: Option<String>,
    time: Duration,
}

/// A tier that takes so many times what it usually takes is not short of time: it hangs.
const HANGS: u32 = 3;
/// So much of a failure is said again below the table.
const SHORT: usize = 480;

impl Row {
    /// A tier that was run.
    pub(crate) fn of(tier: &Tier, outcome: Outcome, expected: &ExpectedSkips, time: Duration) -> Self {
        let (skipped, unexpected): (Vec<_>, Vec<_>) =
            outcome.skipped.into_iter().partition(|skip| expected.contains(tier.name, skip));
        let mut failed = outcome.failed;
        failed.extend(unexpected.iter().map(|s| {
            format!("{}: {} was skipped and is not expected to be: {}", s.place, s.skip.test, s.skip.reason)
        }));
        let mut cut = outcome.cut;
        // What has to be run on every change, and what hangs, is not excused by the time.
        if let Some(missing) =
            cut.take_if(|_| tier.group == Group::Default || time > tier.usual.saturating_mul(HANGS))
        {
            failed.push(format!("{missing} was ended at the deadline, after {:.0} s", time.as_secs_f64()));
        }
        Self {
            tier: tier.name,
            passed: outcome.passed,
            failed,
            skipped,
            flaky: outcome.flaky,
            not_run: outcome.not_run,
            cut,
            time,
        }
    }

    /// A tier that was not run.
    pub(crate) fn not_run(tier: &Tier, reason: &str) -> Self {
        Self {
            tier: tier.name,
            passed: 0,
            failed: Vec::new(),
            skipped: Vec::new(),
            flaky: Vec::new(),
            not_run: Some(reason.to_owned()),
            cut: None,
            time: Duration::ZERO,
        }
    }

    /// Whether all of it was run.
    pub(crate) fn ran(&self) -> bool {
        self.not_run.is_none() && self.cut.is_none()
    }

    /// A line per failure.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = String> + '_ {
        self.failed.iter().map(|failure| format!("FAILED {failure}"))
    }

    /// The same, a line each, with the tier: for the end of a long output, of which some see nothing else.
    pub(crate) fn in_short(&self) -> impl Iterator<Item = String> + '_ {
        let short = |word: &str, what: &str| {
            let first = what.lines().next().unwrap_or_default();
            format!("{word} {}: {}", self.tier, &first[..first.floor_char_boundary(SHORT)])
        };
        let failed = self.failed.iter().map(move |failure| short("FAILED", failure));
        failed.chain(self.flaky.iter().map(move |what| short("FLAKY", what)))
    }

    /// The numbers, without the tier's name.
    pub(crate) fn counts(&self) -> String {
        match &self.not_run {
            Some(reason) => format!("not run: {reason}"),
            None => format!(
                "{} passed, {} failed, {} skipped, {:.0} s",
                self.passed,
                self.failed.len(),
                self.skipped.len(),
                self.time.as_secs_f64()
            ),
        }
    }

    /// Reasons of the skips, each with how many.
    fn reasons(&self) -> String {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for skip in &self.skipped {
            *reasons.entry(skip.skip.reason.as_str()).or_default() += 1;
        }
        let skips = reasons.iter().map(|(reason, count)| format!("{count}: {reason}"));
        let cut = self.cut.iter().map(|missing| format!("not run to its end, deadline: {missing}"));
        let flaky = (!self.flaky.is_empty()).then(|| format!("{} flaky, see below", self.flaky.len()));
        cut.chain(flaky).chain(skips).collect::<Vec<_>>().join("; ")
    }
}

/// The table, a line per tier.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<17} {:>7} {:>7} {:>8} {:>8}  {}\n",
        "tier", "passed", "failed", "skipped", "seconds", "remarks"
    );
    for row in rows {
        let line = match &row.not_run {
            Some(reason) => {
                format!("{:<17} {:>7} {:>7} {:>8} {:>8}  not run: {reason}", row.tier, "-", "-", "-", "-")
            }
            None => format!(
                "{:<17} {:>7} {:>7} {:>8} {:>8.0}  {}",
                row.tier,
                row.passed,
                row.failed.len(),
                row.skipped.len(),
                row.time.as_secs_f64(),
                row.reasons()
            ),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let total: f64 = rows.iter().map(|row| row.time.as_secs_f64()).sum();
    text.push_str(&format!("{:<17} {:>33.0}\n", "all", total));
    text
}

/// `N passed, N failed, N skipped`.
pub(crate) fn closing_line(rows: &[Row]) -> String {
    let count = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    format!(
        "{} passed, {} failed, {} skipped",
        count(|r| r.passed),
        count(|r| r.failed.len()),
        count(|r| r.skipped.len())
    )
}

/// Whether nothing failed, and something passed.
pub(crate) fn is_green(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.failed.is_empty()) && rows.iter().any(|row| row.passed > 0)
}

#[cfg(test)]
mod tests {
    use super::{Row, closing_line, is_green, text};
    use crate::libtest::Skip;
    use crate::test::outcome::{Outcome, PlacedSkip};
    use crate::test::skips::ExpectedSkips;
    use crate::test::tier::{Group, Tier};
    use std::time::Duration;

    const TIER: Tier = Tier {
        name: "vm",
        title: "",
        group: Group::Default,
        usual: Duration::ZERO,
        run: |_| Ok(Outcome { passed: 1, ..Outcome::default() }),
    };
    const WIDER: Tier = Tier { group: Group::Full, usual: Duration::from_secs(100), ..TIER };

    fn skipped(test: &str) -> Outcome {
        Outcome {
            passed: 2,
            skipped: vec![PlacedSkip {
                place: "host".into(),
                skip: Skip { test: test.into(), reason: "no kprobes".into() },
            }],
            ..Outcome::default()
        }
    }

    #[test]
    fn unexpected_skip_is_a_failure_and_expected_one_is_not() {
        let expected: ExpectedSkips =
            toml::from_str("[[skip]]\ntier = \"vm\"\ntest = \"a\"\nreason = \"r\"\n").unwrap();
        let good = [Row::of(&TIER, skipped("a"), &expected, Duration::ZERO)];
        assert!(is_green(&good));
        assert_eq!(closing_line(&good), "2 passed, 0 failed, 1 skipped");
        let bad = [Row::of(&TIER, skipped("b"), &expected, Duration::ZERO)];
        assert!(!is_green(&bad));
        assert_eq!(closing_line(&bad), "2 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn tier_that_the_deadline_ends_is_said_and_no_failure_unless_it_hangs_or_is_run_on_every_change() {
        let cut = || Outcome { passed: 3, ..Outcome::cut("engines") };
        let expected = ExpectedSkips::default();
        let late = [Row::of(&WIDER, cut(), &expected, Duration::from_secs(120))];
        assert!(is_green(&late) && !late[0].ran());
        assert!(text(&late).contains("not run to its end, deadline: engines"), "{}", text(&late));
        let hangs = [Row::of(&WIDER, cut(), &expected, Duration::from_secs(301))];
        assert!(!is_green(&hangs));
        let default = [Row::of(&TIER, cut(), &expected, Duration::ZERO)];
        assert_eq!(closing_line(&default), "3 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn flaky_test_has_passed_and_is_told_in_the_table_and_below_it() {
        let outcome = Outcome { flaky: vec!["host: a: why".into()], passed: 1, ..Outcome::default() };
        let rows = [Row::of(&TIER, outcome, &ExpectedSkips::default(), Duration::ZERO)];
        assert!(is_green(&rows) && text(&rows).contains("1 flaky, see below"), "{}", text(&rows));
        assert_eq!(rows[0].in_short().collect::<Vec<_>>(), ["FLAKY vm: host: a: why"]);
    }

    #[test]
    fn failure_is_said_again_in_one_line() {
        let outcome = Outcome::broken(&format!("x failed; log l\n{}", "y".repeat(9)));
        let row = Row::of(&TIER, outcome, &ExpectedSkips::default(), Duration::ZERO);
        assert_eq!(row.in_short().collect::<Vec<_>>(), ["FAILED vm: x failed; log l"]);
    }

    #[test]
    fn nothing_run_is_not_green_and_is_listed() {
        let rows = [Row::not_run(&TIER, "deadline")];
        assert!(!is_green(&rows));
        assert!(text(&rows).contains("not run: deadline"));
    }
}
