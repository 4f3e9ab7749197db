//! How large the probes are to each kernel's verifier, and how long they take to load: collected from the
//! agent's own reports of the cells.

use super::cell::CellResult;
use crate::host;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One program on one kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Load {
    /// Instructions the verifier walked; kernels before 5.16 do not tell.
    verified_instructions: Option<u64>,
    load_ms: Option<f64>,
    error: Option<String>,
}

/// program → kernel → load
type Table = BTreeMap<String, BTreeMap<String, Load>>;

/// Prints the table and keeps it in `target/vm/programs.json`, and in `docs/performance.md` if `document`.
/// Cells without a report add nothing.
pub(crate) fn report(results: &[CellResult], document: bool) -> Result<()> {
    let mut table = Table::new();
    for result in results {
        let Some(file) = result.files.iter().find(|file| file.ends_with("doctor.json")) else { continue };
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        if let Ok(report) = serde_json::from_str::<Value>(&text) {
            collect(&report, result.cell.release.name, &mut table);
        }
    }
    if table.is_empty() {
        println!("no program report: `sandwatch doctor --json` gave none in any cell");
        return Ok(());
    }
    let path = host::target()?.join("vm/programs.json");
    std::fs::write(&path, serde_json::to_string_pretty(&table)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    print!("{}", text(&table));
    if document {
        let file = host::repo()?.join("docs/performance.md");
        crate::bench::into_document(&file, "programs", &markdown(&table))?;
    }
    println!("programs: {}", path.display());
    Ok(())
}

fn collect(report: &Value, kernel: &str, table: &mut Table) {
    let Some(programs) = report.get("programs").and_then(Value::as_array) else { return };
    for program in programs {
        let Some(name) = program.get("name").and_then(Value::as_str) else { continue };
        let load = Load {
            verified_instructions: program.get("verified_instructions").and_then(Value::as_u64),
            load_ms: program.get("load_ms").and_then(Value::as_f64),
            error: program.get("error").and_then(Value::as_str).map(str::to_owned),
        };
        let kernels = table.entry(name.to_owned()).or_default();
        // A program is reported by several cells; a cell in which it loaded says more.
        let better = kernels.get(kernel).is_none_or(|old| old.error.is_some() && load.error.is_none());
        if better {
            kernels.insert(kernel.to_owned(), load);
        }
    }
}

/// A line per program, a column per kernel: instructions the verifier walked, and milliseconds.
fn markdown(table: &Table) -> String {
    let mut kernels: Vec<&str> = Vec::new();
    for release in super::kernel::RELEASES {
        if table.values().any(|loads| loads.contains_key(release.name)) {
            kernels.push(release.name);
        }
    }
    let mut lines = String::from(
        "## Programs on each kernel\n\nInstructions that the verifier walked / milliseconds to load, in emulated VMs \
         (`cargo xtask vm-test --write-docs`): compare the instructions, not the times. Kernels before 5.16 do not \
         tell instructions; \"–\" was not tried there, \"refused\" did not load.\n\n",
    );
    lines.push_str(&format!(
        "| program | {} |\n|---|{}\n",
        kernels.join(" | "),
        "---|".repeat(kernels.len())
    ));
    for (name, loads) in table {
        let cells: Vec<String> =
            kernels.iter().map(|kernel| loads.get(*kernel).map_or("–".into(), cell)).collect();
        lines.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
    }
    lines
}

fn cell(load: &Load) -> String {
    let time = load.load_ms.map_or("?".to_owned(), |ms| format!("{ms:.0}"));
    match (&load.error, load.verified_instructions) {
        (Some(_), _) => "refused".to_owned(),
        (None, Some(instructions)) => format!("{instructions} / {time}"),
        (None, None) => format!("? / {time}"),
    }
}

fn text(table: &Table) -> String {
    let mut lines = String::from("program          kernel  verified instructions  load ms\n");
    for (name, kernels) in table {
        for (kernel, load) in kernels {
            let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            let error = load.error.as_ref().map(|e| format!("  {}", e.lines().next().unwrap_or_default()));
            lines.push_str(&format!(
                "{name:16} {kernel:6} {:>22} {:>8}{}\n",
                or_dash(load.verified_instructions.map(|n| n.to_string())),
                or_dash(load.load_ms.map(|ms| format!("{ms:.1}"))),
                error.unwrap_or_default()
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{Table, collect};
    use serde_json::json;

    #[test]
    fn a_cell_in_which_the_program_loaded_wins_over_one_in_which_it_did_not() {
        let mut table = Table::new();
        let failed = json!({"programs": [{"name": "open", "load_ms": 1.0, "error": "refused"}]});
        let loaded = json!({"programs": [{"name": "open", "load_ms": 2.0, "verified_instructions": 330}]});
        collect(&failed, "6.1", &mut table);
        collect(&loaded, "6.1", &mut table);
        collect(&failed, "6.1", &mut table);
        assert_eq!(table["open"]["6.1"].verified_instructions, Some(330));
        assert_eq!(table["open"]["6.1"].error, None);
    }
}
