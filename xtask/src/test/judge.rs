//! From what a command printed and how it ended to the outcome of a tier; logs are kept in `target/test`.

use super::deadline::{Deadline, Finished};
use super::outcome::Outcome;
use crate::host;
use crate::libtest::Results;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// A check that passes or fails as a whole. The output is kept, and shown in short if it failed.
pub(super) fn single(tier: &str, what: &str, finished: &Finished) -> Result<Outcome> {
    let log = keep(tier, what, finished)?;
    if finished.good {
        return Ok(Outcome::single(true, ""));
    }
    if finished.timed_out {
        return Ok(Outcome::cut(&format!("{what}; log {}", log.display())));
    }
    Ok(Outcome::broken(&format!("{what} failed; log {}\n{}", log.display(), tail(&finished.output))))
}

/// Runs test programs, and once more the few tests of them that failed, by themselves: what passes then was no fault of the
/// code alone, and is told as flaky. `command` takes options of the test programs at its end.
pub(super) fn twice(
    name: &str,
    deadline: &Deadline,
    command: impl Fn() -> Result<Command>,
) -> Result<Outcome> {
    let finished = deadline.run(&mut command()?)?;
    let mut results = Results::parse(&finished.output);
    if results.may_be_chance() && results.is_complete() && !finished.timed_out {
        println!("   failed, and run once more: {}", results.failed.join(", "));
        let again = deadline.run(command()?.arg("--exact").args(&results.failed))?;
        keep(&format!("{name}-again"), "host", &again)?;
        results.settle(&Results::parse(&again.output));
    }
    judged(name, "host", &finished, results)
}

/// Test programs' output, read test by test.
pub(super) fn tests(tier: &str, place: &str, finished: &Finished) -> Result<Outcome> {
    judged(tier, place, finished, Results::parse(&finished.output))
}

fn judged(tier: &str, place: &str, finished: &Finished, results: Results) -> Result<Outcome> {
    let log = keep(tier, place, finished)?;
    let complete = results.is_complete() && results.finished > 0;
    // Those that failed at first did not fail again.
    let good = finished.good || !results.flaky.is_empty();
    let mut outcome = Outcome::of_tests(results, place);
    if finished.timed_out {
        outcome.cut = Some(format!("{tier}; log {}", log.display()));
    } else if outcome.failed.is_empty() && (!good || !complete) {
        let how = if good { "died, or its output is incomplete" } else { "failed without a failing test" };
        outcome.failed.push(format!("{tier} {how}; log {}\n{}", log.display(), tail(&finished.output)));
    } else if !outcome.failed.is_empty() {
        println!("   log {}\n{}", log.display(), tail(&finished.output));
    }
    Ok(outcome)
}

fn keep(tier: &str, what: &str, finished: &Finished) -> Result<PathBuf> {
    let dir = host::target()?.join("test");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let name: String =
        what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let log = dir.join(format!("{tier}-{name}.log"));
    std::fs::write(&log, &finished.output).with_context(|| format!("cannot write {}", log.display()))?;
    Ok(log)
}

/// The last lines, which say what went wrong.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let from = lines.len().saturating_sub(40);
    lines[from..].iter().map(|line| format!("      | {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::twice;
    use crate::test::deadline::Deadline;
    use std::process::Command;

    /// Two tests fail at first; the second run passes those that it is told to, but for `stubborn`.
    const SCRIPT: &str = "
        close='0 ignored; 0 measured; 0 filtered out; finished in 0s'
        if [ $# -eq 0 ]; then
            printf 'test chance ... FAILED\ntest stubborn ... FAILED\ntest good ... ok\n---- chance ----\nwhy\n\n'
            echo \"test result: FAILED. 1 passed; 2 failed; $close\"; exit 101
        fi
        [ \"$*\" = '--exact chance stubborn' ] || exit 102
        printf 'test chance ... ok\ntest stubborn ... FAILED\n'
        echo \"test result: FAILED. 1 passed; 1 failed; $close\"; exit 101";

    #[test]
    fn failing_tests_are_run_once_more_by_themselves_and_those_that_fail_again_have_failed() {
        let command = || {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT, "sh"]);
            Ok(command)
        };
        let outcome = twice("judge-test", &Deadline::new(None), command).unwrap();
        assert_eq!((outcome.passed, outcome.failed.as_slice()), (2, &["host: stubborn".to_owned()][..]));
        assert_eq!(outcome.flaky, ["host: chance: why"]);
    }
}
