//! Reading what Rust's test programs print (libtest and libtest-mimic alike).

use std::collections::BTreeMap;

/// Of what a failing test said, so many bytes are kept.
const SAID: usize = 400;
/// More failing tests than this in one place are no chance.
const CHANCE: usize = 3;

/// A test that was not run, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Skip {
    pub(crate) test: String,
    pub(crate) reason: String,
}

/// What a run of tests gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Results {
    pub(crate) passed: Vec<String>,
    pub(crate) failed: Vec<String>,
    pub(crate) skipped: Vec<Skip>,
    /// What the failing tests said, by name, in short.
    #[serde(default)]
    pub(crate) said: BTreeMap<String, String>,
    /// What failed and did not fail again, and how; the tests are among those that passed.
    #[serde(default)]
    pub(crate) flaky: Vec<String>,
    /// Test programs that printed their closing line; fewer than were started means one died.
    pub(crate) finished: usize,
    /// Test programs that said how many tests they run.
    #[serde(skip)]
    started: usize,
    /// Tests counted in closing lines: more than were read means lines were lost.
    #[serde(skip)]
    counted: usize,
    /// A test whose verdict did not come on its own line, because the test itself printed something.
    #[serde(skip)]
    pending: Option<String>,
    /// The test whose words are being read.
    #[serde(skip)]
    speaker: Option<String>,
}

impl Results {
    /// Reads a run's output.
    pub(crate) fn parse(output: &str) -> Self {
        let mut results = Self::default();
        for line in output.lines() {
            results.line(line.trim_end());
        }
        results
    }

    /// Whether every program that began ended, and every test that they counted was read.
    pub(crate) fn is_complete(&self) -> bool {
        self.pending.is_none()
            && self.started <= self.finished
            && self.counted == self.passed.len() + self.failed.len() + self.skipped.len()
    }

    /// Whether so little failed that it may have been chance.
    pub(crate) fn may_be_chance(&self) -> bool {
        (1..=CHANCE).contains(&self.failed.len())
    }

    /// A failing test, and why it failed if it said so.
    pub(crate) fn complaint(&self, test: &str) -> String {
        self.said.get(test).map_or_else(|| test.to_owned(), |said| format!("{test}: {said}"))
    }

    /// Takes those that failed and were run again alone for what they were then.
    pub(crate) fn settle(&mut self, again: &Self) {
        for test in std::mem::take(&mut self.failed) {
            // A name may stand in two programs.
            if again.passed.contains(&test) && !again.failed.contains(&test) {
                self.flaky.push(self.complaint(&test));
                self.passed.push(test);
            } else {
                self.failed.push(test);
            }
        }
    }

    /// Keeps what is said of a failing test: libtest's `---- name stdout ----`, mimic's `---- name ----`.
    fn listen(&mut self, line: &str) -> bool {
        if let Some(head) = line.strip_prefix("---- ").and_then(|text| text.strip_suffix(" ----")) {
            self.speaker = Some(head.strip_suffix(" stdout").unwrap_or(head).to_owned());
            return true;
        }
        if line == "failures:" || line.starts_with("test result: ") {
            self.speaker = None;
            return false;
        }
        let Some(speaker) = &self.speaker else { return false };
        if line.starts_with("thread '") && line.contains("panicked at") {
            // What it printed until then is not why it failed.
            self.said.remove(speaker);
        } else if line.starts_with("stack backtrace:") {
            // From here on it is only how it got there.
            self.speaker = None;
        } else if !line.is_empty() && !line.starts_with("note: run with") {
            let said = self.said.entry(speaker.clone()).or_default();
            if said.len() < SAID {
                let room = line.floor_char_boundary(SAID - said.len());
                said.push_str(if said.is_empty() { "" } else { " / " });
                said.push_str(line[..room].trim());
            }
        }
        true
    }

    fn line(&mut self, line: &str) {
        if self.listen(line) {
            return;
        }
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.started += 1;
        } else if let Some(summary) = line.strip_prefix("test result: ") {
            self.finished += 1;
            self.counted += counts(summary);
        } else if let Some((name, rest)) =
            line.strip_prefix("test ").and_then(|text| text.split_once(" ... "))
        {
            // libtest pads names to a common width; libtest-mimic puts a kind in brackets first.
            let name = name.trim().rsplit_once("] ").map_or(name.trim(), |(_, name)| name).to_owned();
            if !self.verdict(&name, rest) {
                self.pending = Some(name);
            }
        } else if let Some(name) = self.pending.take()
            && !self.verdict(&name, line)
        {
            self.pending = Some(name);
        }
    }

    fn verdict(&mut self, name: &str, text: &str) -> bool {
        // The end of the line is written by itself: a log line of another test may come between.
        let is =
            |word: &str| text.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        if is("ok") {
            self.passed.push(name.to_owned());
        } else if is("FAILED") {
            self.failed.push(name.to_owned());
        } else if let Some(reason) = text.strip_prefix("ignored") {
            let reason = reason.trim_start_matches([',', ' ', '(']).trim_end_matches(')').to_owned();
            self.skipped.push(Skip { test: name.to_owned(), reason });
        } else {
            return false;
        }
        true
    }
}

/// Passed, failed and ignored of a closing line.
fn counts(summary: &str) -> usize {
    let words: Vec<&str> = summary.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    words
        .windows(2)
        .filter(|pair| matches!(pair[1], "passed" | "failed" | "ignored"))
        .filter_map(|pair| pair[0].parse::<usize>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::{Results, Skip};

    #[test]
    fn log_line_right_behind_a_verdict_does_not_hide_it() {
        let results = Results::parse(concat!(
            "test a ... ok{\"timestamp\":\"x\"}\n\n",
            "test b ... FAILED{\"timestamp\":\"x\"}\n",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s\n",
        ));
        assert_eq!(
            (results.passed.as_slice(), results.failed.as_slice()),
            (&["a".to_owned()][..], &["b".to_owned()][..])
        );
        assert!(results.is_complete());
    }

    #[test]
    fn output_of_libtest_and_mimic_is_read() {
        let output = "running 5 tests\ntest open::symlink     ... ok\ntest a ... FAILED\n\
                      test b ... ignored, no such kernel\ntest c ... ignored\n\
                      test [live] d  ... ignored (no kprobes)\n\
                      test result: FAILED. 1 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out\n";
        let results = Results::parse(output);
        assert_eq!(results.passed, ["open::symlink"]);
        assert_eq!(results.failed, ["a"]);
        let skip = |test: &str, reason: &str| Skip { test: test.into(), reason: reason.into() };
        assert_eq!(results.skipped, [skip("b", "no such kernel"), skip("c", ""), skip("d", "no kprobes")]);
        assert_eq!(results.finished, 1);
        assert!(results.is_complete());
    }

    #[test]
    fn verdict_after_a_tests_own_output_is_found() {
        let results = Results::parse(
            "test a ... noise\nmore noise\nok\ntest result: ok. 1 passed; 0 failed; 0 ignored;\n",
        );
        assert_eq!(results.passed, ["a"]);
        assert!(results.is_complete());
    }

    #[test]
    fn a_test_without_verdict_makes_the_run_incomplete() {
        assert!(!Results::parse("test a ... noise\n").is_complete());
        assert!(!Results::parse("running 1 test\n").is_complete(), "it died before its first verdict");
        assert!(!Results::parse("test result: ok. 2 passed; 0 failed; 0 ignored;\n").is_complete());
    }

    #[test]
    fn words_of_failing_tests_are_kept_in_short_without_their_backtrace() {
        let long = "x".repeat(1000);
        let results = Results::parse(&format!(
            "test a ... FAILED\ntest b ... FAILED\n\nfailures:\n\n---- a stdout ----\nwhat it logs\n\n\
             thread 'a' (7) panicked at src/a.rs:3:5:\nassertion `left == right` failed\n  left: 1\n right: 2\n\
             stack backtrace:\n   0: somewhere\n\n---- b ----\n{long}\n\nfailures:\n    a\n    b\n\n\
             test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s\n"
        ));
        assert_eq!(results.said["a"], "assertion `left == right` failed / left: 1 / right: 2");
        assert!(results.said["b"].starts_with("xxx") && results.said["b"].len() <= 400);
        assert_eq!(results.failed, ["a", "b"]);
        assert!(results.is_complete());
    }

    #[test]
    fn test_that_passes_when_run_again_has_passed_and_is_told() {
        let run = |lines: &str| Results::parse(lines);
        let mut results = run("test a ... FAILED\ntest b ... FAILED\ntest c ... ok\n---- a ----\nwhy\n");
        assert!(results.may_be_chance());
        results.settle(&run("test a ... ok\ntest b ... FAILED\n"));
        assert_eq!(results.failed, ["b"]);
        assert_eq!(results.passed, ["c", "a"]);
        assert_eq!(results.flaky, ["a: why"]);
        assert!(!run("test c ... ok\n").may_be_chance());
    }

    #[test]
    fn output_of_a_test_that_prints_is_not_a_verdict() {
        assert_eq!(Results::parse("test of strength\nokay ... ok\n"), Results::default());
    }
}
