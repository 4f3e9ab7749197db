//! The report as people read it: a generated section of `docs/performance.md`, and the same on the terminal.

use super::budget::{Budget, Report, RungClass};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

/// The report as Markdown.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text, report);
    text
}

fn write_all(text: &mut String, report: &Report) -> std::fmt::Result {
    let place = &report.place;
    let rungs: Vec<String> = place.rungs.iter().map(|(signal, rung)| format!("{signal} {rung}")).collect();
    writeln!(
        text,
        "Kernel {}, {} processors ({}), {} MiB, `--hooks {}`: {}. {} alternations; load before: {}.\n",
        place.kernel,
        place.cpus,
        place.cpu_model,
        place.memory_mib,
        place.hooks,
        rungs.join(", "),
        place.alternations,
        place.load_before,
    )?;
    if place.virtual_machine {
        writeln!(
            text,
            "Software emulation: ratios guard against regressions, absolute numbers mean nothing.\n"
        )?;
    }
    let class = match place.class {
        RungClass::Tracepoint => "tracepoint",
        RungClass::Function => "function",
    };
    writeln!(text, "| cost on the worker | without | with | ratio | spread | budget ({class}) | |")?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for ratio in &report.ratios {
        writeln!(
            text,
            "| {} | {:.0} ns | {:.0} ns | **{:.2}** | {:.2}–{:.2} | {} |",
            ratio.what,
            ratio.off_ns,
            ratio.on_ns,
            ratio.ratio,
            ratio.lowest,
            ratio.highest,
            verdict(ratio.ratio, ratio.budget)
        )?;
    }
    writeln!(text, "\n| what | measured | budget | |\n|---|---|---|---|")?;
    for value in &report.values {
        let number =
            if value.value >= 100.0 { format!("{:.0}", value.value) } else { format!("{:.2}", value.value) };
        writeln!(
            text,
            "| {} | {number} {} | {} |",
            value.what,
            value.unit,
            verdict(value.value, value.budget)
        )?;
    }
    writeln!(text, "\n| hook | runs | ns each |\n|---|---|---|")?;
    for hook in &report.hooks {
        writeln!(text, "| {} | {} | {:.0} |", hook.program, hook.runs, hook.ns_each)?;
    }
    let missed = report.missed();
    if !missed.is_empty() {
        writeln!(text, "\nBudgets not met:\n")?;
        for line in missed {
            writeln!(text, "- {line}")?;
        }
    }
    if !report.missing.is_empty() {
        writeln!(text, "\nNot measured:\n")?;
        for missing in &report.missing {
            writeln!(text, "- {}: {}", missing.what, missing.why.lines().next().unwrap_or_default())?;
        }
    }
    Ok(())
}

fn verdict(value: f64, budget: Option<Budget>) -> String {
    match budget {
        None => "– | ".to_owned(),
        Some(budget) if budget.holds(value) => format!("{} | met", budget.text()),
        Some(budget) => format!("{} | **missed**", budget.text()),
    }
}

/// Replaces a generated section of a document, or adds it at the end.
pub(crate) fn into_document(file: &Path, section: &str, body: &str) -> Result<()> {
    let old = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "# Performance\n".to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(file, replaced(&old, section, body))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn replaced(old: &str, section: &str, body: &str) -> String {
    let (begin, end) = (format!("<!-- begin {section} -->"), format!("<!-- end {section} -->"));
    let block = format!("{begin}\n{}\n{end}", body.trim_end());
    match (old.find(&begin), old.find(&end)) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{block}{}", &old[..from], &old[to + end.len()..])
        }
        _ => format!("{}\n\n{block}\n", old.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::{replaced, verdict};
    use crate::bench::budget::Budget;

    #[test]
    fn section_is_added_once_and_then_replaced() {
        let first = replaced("# P\n", "host", "one");
        assert_eq!(first, "# P\n\n<!-- begin host -->\none\n<!-- end host -->\n");
        let second = replaced(&format!("{first}after\n"), "host", "two\n");
        assert_eq!(second, "# P\n\n<!-- begin host -->\ntwo\n<!-- end host -->\nafter\n");
    }

    #[test]
    fn missed_budget_is_shown() {
        assert_eq!(verdict(2.0, Some(Budget::AtMost(1.5))), "≤ 1.5 | **missed**");
        assert_eq!(verdict(1.0, Some(Budget::AtMost(1.5))), "≤ 1.5 | met");
    }
}
