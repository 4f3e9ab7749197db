//! Which rung fires with which privileges on which kernel: collected from the agent's own reports of the cells.

use super::cell::CellResult;
use crate::host;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The agent's account of the host, by who it runs as: what the payload leaves in `/out`, and the column's title.
const RUNS: [(&str, &str); 3] = [
    ("doctor.json", "root"),
    ("doctor-least.json", "shipped set"),
    ("doctor-least-2.json", "shipped set, `perf_event_paranoid` 2"),
];
/// Rungs, best first.
const RUNGS: [&str; 7] = ["tp_btf", "raw_tp", "cgroup", "lsm", "fentry", "kprobe", "tracepoint"];

/// What the payload's script adds: the same question with exactly the capabilities that the service and the pod are given, and
/// for the rungs that are perf events once more where the distribution asks for more than CAP_PERFMON.
pub(crate) const SCRIPT: &str = r#"
least() {
    # By its path: busybox has one of its own that cannot bound anything.
    /usr/bin/setpriv --bounding-set -all,+bpf,+perfmon,+sys_ptrace,+dac_read_search,+net_admin --inh-caps -all -- \
        timeout 100 sandwatch doctor --json --hooks "$SANDWATCH_HOOKS"
}
ulimit -l unlimited
paranoid=/proc/sys/kernel/perf_event_paranoid
least >/out/doctor-least.json
case $SANDWATCH_HOOKS in
kprobe | tracepoint) perf=yes ;;
*) perf= ;;
esac
if [ -n "$perf" ] && [ "$(cat $paranoid)" -gt 2 ]; then
    before=$(cat $paranoid)
    echo 2 >$paranoid
    least >/out/doctor-least-2.json
    echo "$before" >$paranoid
fi
"#;

/// Signals seen through a rung, by rung, kernel and run; `None`: that was not asked there.
type Table = BTreeMap<(usize, &'static str), [Option<BTreeSet<String>>; RUNS.len()]>;

/// Writes the matrix into docs/security.md.
pub(crate) fn document(results: &[CellResult]) -> Result<()> {
    let mut table = Table::new();
    let mut levels: BTreeMap<&'static str, i64> = BTreeMap::new();
    for result in results {
        for (run, (name, _)) in RUNS.iter().enumerate() {
            let Some(file) = result.files.iter().find(|file| file.ends_with(name)) else { continue };
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let Ok(report) = serde_json::from_str::<Value>(&text) else { continue };
            if run == 0
                && let Some(level) = report["host"]["perf_event_paranoid"].as_i64()
            {
                levels.insert(result.cell.release.name, level);
            }
            collect(&report, result.cell.release.name, run, &mut table);
        }
    }
    let file = host::repo()?.join("docs/security.md");
    crate::bench::into_document(&file, "privileges", &markdown(&table, &levels))
}

fn collect(report: &Value, kernel: &'static str, run: usize, table: &mut Table) {
    let Some(signals) = report["signals"].as_array() else { return };
    for signal in signals {
        let Some(name) = signal["signal"].as_str() else { continue };
        for attempt in signal["attempts"].as_array().into_iter().flatten() {
            let tried = attempt["verdict"] != "not-needed";
            let Some(rung) = RUNGS.iter().position(|rung| attempt["rung"] == *rung).filter(|_| tried) else {
                continue;
            };
            let seen = table.entry((rung, kernel)).or_default()[run].get_or_insert_default();
            if attempt["verdict"] == "taken" {
                seen.insert(name.to_owned());
            }
        }
    }
}

/// A line per rung and kernel, a column per run.
fn markdown(table: &Table, levels: &BTreeMap<&'static str, i64>) -> String {
    let mut lines = String::from(
        "Signals that a canary was seen through, by rung, kernel and capabilities, on Debian's kernels (`cargo xtask vm-test \
         --write-docs`). The shipped set is BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH and NET_ADMIN, with `ulimit -l \
         unlimited`; \"=\" is the same as root, \"–\" was not tried there.",
    );
    let levels: Vec<String> = levels.iter().map(|(kernel, level)| format!("{kernel}: {level}")).collect();
    lines.push_str(&format!(
        " As these kernels come, `kernel.perf_event_paranoid` is: {}.\n\n",
        levels.join(", ")
    ));
    let titles: Vec<&str> = RUNS.iter().map(|(_, title)| *title).collect();
    lines.push_str(&format!(
        "| rung | kernel | {} |\n|---|---|{}\n",
        titles.join(" | "),
        "---|".repeat(RUNS.len())
    ));
    let order = |kernel: &str| super::kernel::RELEASES.iter().position(|release| release.name == kernel);
    let mut rows: Vec<_> = table.iter().collect();
    rows.sort_by_key(|((rung, kernel), _)| (*rung, order(kernel)));
    for ((rung, kernel), runs) in rows {
        let root = runs[0].as_ref();
        let cells: Vec<String> =
            runs.iter().enumerate().map(|(run, seen)| cell(run, seen.as_ref(), root)).collect();
        lines.push_str(&format!("| {} | {kernel} | {} |\n", RUNGS[*rung], cells.join(" | ")));
    }
    lines
}

fn cell(run: usize, seen: Option<&BTreeSet<String>>, root: Option<&BTreeSet<String>>) -> String {
    match seen {
        None => "–".to_owned(),
        Some(seen) if run > 0 && Some(seen) == root => "=".to_owned(),
        Some(seen) if seen.is_empty() => "none".to_owned(),
        Some(seen) => seen.iter().cloned().collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(verdict: &str) -> Value {
        json!({"signals": [{"signal": "open", "attempts": [
            {"rung": "kprobe", "verdict": verdict}, {"rung": "tracepoint", "verdict": "not-needed"}
        ]}]})
    }

    #[test]
    fn rung_that_only_root_gets_is_told_apart_from_one_that_was_not_tried() {
        let mut table = Table::new();
        collect(&report("taken"), "5.10", 0, &mut table);
        collect(&report("attach-failed"), "5.10", 1, &mut table);
        let text = markdown(&table, &BTreeMap::from([("5.10", 3)]));
        assert!(text.contains("| kprobe | 5.10 | open | none | – |"), "{text}");
        assert!(text.contains("5.10: 3") && !text.contains("| tracepoint |"), "{text}");
    }

    #[test]
    fn rung_that_fires_in_one_of_several_cells_counts() {
        let mut table = Table::new();
        for verdict in ["not-seen", "taken"] {
            collect(&report(verdict), "6.1", 0, &mut table);
            collect(&report(verdict), "6.1", 1, &mut table);
        }
        assert!(markdown(&table, &BTreeMap::new()).contains("| kprobe | 6.1 | open | = | – |"));
    }
}
