//! The matrix: which cells there are, running them side by side, and what came of it.

use super::cell::{Cell, CellResult, Lsm, Settings};
use super::kernel::{RELEASES, Release};
use super::payload::Payload;
use crate::build::{self, Profile};
use crate::{host, setup};
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Rungs that a cell may be pinned to. `lsm` without BPF LSM is a cell too: the agent must say that it
/// does not fire.
const HOOKS: [&str; 7] = ["auto", "lsm", "fentry", "kprobe", "cgroup", "tracepoint", "raw_tp"];
/// The kernel on which the tiers pin `raw_tp`; `vm-test` does on each.
const RAW_ON: &str = "6.1";
/// The test programs that hold on every kernel.
const TESTS: [&str; 2] = ["behaviour", "privilege"];

/// All cells of these kernels; all rungs if `hooks` is empty.
pub(crate) fn cells(releases: &[Release], hooks: &[String], boots: &[Lsm]) -> Vec<Cell> {
    let all: Vec<String> = HOOKS.iter().map(|&name| name.to_owned()).collect();
    let hooks = if hooks.is_empty() { &all } else { hooks };
    let mut cells = Vec::new();
    for &release in releases {
        for &lsm in boots {
            cells.extend(hooks.iter().map(|hooks| Cell { release, lsm, hooks: hooks.clone() }));
        }
    }
    cells
}

/// Every kernel on its best rung, and on its worst: with BPF LSM as the ladder decides, without it on tracepoints.
pub(crate) fn best_and_worst() -> Vec<Cell> {
    RELEASES
        .into_iter()
        .flat_map(|release| {
            [
                Cell { release, lsm: Lsm::With, hooks: "auto".to_owned() },
                Cell { release, lsm: Lsm::Without, hooks: "tracepoint".to_owned() },
            ]
        })
        .collect()
}

/// Every kernel on every other rung. What BPF LSM is for a kernel's other rungs makes no difference to them: they are run
/// once, without; `vm-test` has the whole product.
pub(crate) fn other_rungs() -> Vec<Cell> {
    let without = ["fentry", "kprobe", "cgroup", "auto"].map(|hooks| (Lsm::Without, hooks));
    let wanted = [[(Lsm::With, "lsm")].as_slice(), without.as_slice()].concat();
    let cell = |release, (lsm, hooks): (Lsm, &str)| Cell { release, lsm, hooks: hooks.to_owned() };
    let rungs = RELEASES
        .into_iter()
        .flat_map(|release| wanted.iter().map(move |&rung| cell(release, rung)).collect::<Vec<_>>());
    // Forks, execs and exits through it, all else as in `auto`: one kernel shows that it works, the others take the rung above.
    let raw = RELEASES.into_iter().filter(|release| release.name == RAW_ON);
    let raw = raw.map(|release| cell(release, (Lsm::Without, "raw_tp")));
    rungs.chain(raw).collect()
}

/// Builds the agent and the tests and runs them in every cell.
///
/// # Errors
/// Building, fetching a kernel or starting qemu failed. Failing tests are in the results.
pub(crate) fn run_tests(
    cells: &[Cell],
    settings: &Settings,
    filter: Option<&str>,
) -> Result<Vec<CellResult>> {
    setup::build_tools()?;
    let agent = build::agent(Profile::Dev)?;
    let mut tests = build::integration_tests()?;
    tests.retain(|test| TESTS.contains(&test.name.as_str()));
    if tests.len() != TESTS.len() {
        bail!("package integration has not all test targets of {}", TESTS.join(", "));
    }
    let payload = Payload::tests(agent, &tests, filter)?;
    run(cells, &payload, settings)
}

/// Runs one payload in every cell, `settings.jobs` at a time; results in the order of `cells`. Cells that were not begun
/// in time (`settings.until`) are left out.
pub(crate) fn run(cells: &[Cell], payload: &Payload, settings: &Settings) -> Result<Vec<CellResult>> {
    // Install and fetch before the workers start: apt takes one at a time, and two of them may want the same kernel.
    setup::vm_packages()?;
    let mut fetched: Vec<&str> = Vec::new();
    for cell in cells {
        if !fetched.contains(&cell.release.name) {
            cell.release.kernel(&host::cache()?, settings.refresh)?;
            fetched.push(cell.release.name);
        }
    }
    let settings = Settings { refresh: false, ..settings.clone() };
    let queue: Mutex<VecDeque<(usize, &Cell)>> = Mutex::new(cells.iter().enumerate().collect());
    let done: Mutex<Vec<(usize, Result<CellResult>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs.min(cells.len()) {
            scope.spawn(|| {
                while settings.until.is_none_or(|until| Instant::now() < until) {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((number, cell)) = next else { break };
                    let result = if settings.again {
                        cell.run_twice(payload, &settings, &mut |_| ())
                    } else {
                        cell.run(payload, &settings, &mut |_| ())
                    };
                    if let Ok(result) = &result {
                        println!("{}", describe(result));
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter()
        .map(|(number, result)| result.with_context(|| format!("cell {}", cells[number].name())))
        .collect()
}

fn describe(result: &CellResult) -> String {
    let tests = &result.tests;
    let mut text = format!(
        "== {}: {} passed, {} failed, {} skipped; {}",
        result.cell.name(),
        tests.passed.len(),
        tests.failed.len(),
        tests.skipped.len(),
        result.one_line()
    );
    for name in &tests.failed {
        text.push_str(&format!("\n   FAILED {}", tests.complaint(name)));
    }
    text
}

/// Prints the closing line; whether all is well.
pub(crate) fn summary(results: &[CellResult]) -> bool {
    let count = |of: fn(&CellResult) -> usize| results.iter().map(of).sum::<usize>();
    println!(
        "{} cells: {} passed, {} failed, {} skipped",
        results.len(),
        count(|r| r.tests.passed.len()),
        count(|r| r.tests.failed.len()),
        count(|r| r.tests.skipped.len())
    );
    results.iter().all(|result| result.trouble().is_none())
}

impl Cell {
    /// Runs the payload, and once more if it may have failed by chance and there is time: what failed at first and not then is
    /// flaky. The first run's log is kept.
    pub(crate) fn run_twice(
        &self,
        payload: &Payload,
        settings: &Settings,
        line: &mut dyn FnMut(&str),
    ) -> Result<CellResult> {
        let first = self.run(payload, settings, line)?;
        if !first.may_be_chance() || settings.until.is_some_and(|until| Instant::now() >= until) {
            return Ok(first);
        }
        println!("{}\n== {}: once more", describe(&first), self.name());
        std::fs::rename(&first.log, first.log.with_extension("first.log"))?;
        let mut second = self.run(payload, settings, line)?;
        let tests = first.tests.failed.iter().filter(|test| !second.tests.failed.contains(test));
        let mut flaky: Vec<String> = tests.map(|test| first.tests.complaint(test)).collect();
        if first.tests.failed.is_empty() {
            flaky.extend(first.trouble());
        }
        second.tests.flaky = flaky;
        Ok(second)
    }
}

impl CellResult {
    /// Whether an emulator on a busy machine may be to blame: few tests failed, or the run broke off, and the kernel
    /// complains of nothing but what emulation does to it ([`Machine::run_patiently`](super::qemu::Machine::run_patiently)).
    fn may_be_chance(&self) -> bool {
        let emulated = self.complaint.as_ref().is_none_or(|complaint| complaint.contains("int3"));
        let few =
            if self.tests.failed.is_empty() { self.trouble().is_some() } else { self.tests.may_be_chance() };
        emulated && few
    }

    /// What is wrong with the run as a whole, apart from single tests; none if nothing.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.code != Some(0) {
            Some(self.verdict())
        } else if self.tests.finished != self.expected || !self.tests.is_complete() {
            Some("a test program died, or its output is incomplete".to_owned())
        } else if let Some(complaint) = &self.complaint {
            Some(format!("the kernel complained: {complaint}"))
        } else if self.tests.passed.is_empty() {
            Some("no test passed".to_owned())
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{best_and_worst, cells, other_rungs};
    use crate::vm::cell::Lsm;
    use crate::vm::kernel::RELEASES;
    use std::collections::BTreeSet;

    #[test]
    fn cells_are_the_product_and_have_distinct_names() {
        let all = cells(&RELEASES, &[], &[Lsm::With, Lsm::Without]);
        assert_eq!(all.len(), 4 * 7 * 2);
        assert_eq!(all.iter().map(super::Cell::name).collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(cells(&RELEASES[..1], &["lsm".into()], &[Lsm::With]).len(), 1);
        assert_eq!(best_and_worst().len(), 8);
        let both: BTreeSet<String> =
            best_and_worst().iter().chain(&other_rungs()).map(super::Cell::name).collect();
        assert_eq!(both.len(), 8 + 21, "no cell is in both tiers");
    }
}
