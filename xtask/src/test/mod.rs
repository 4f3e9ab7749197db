//! `cargo xtask test`: every tier in order, and a closing table that leaves nothing unsaid.
//!
//! A tier passes, fails, or is listed as not run with the reason. A skipped test is only accepted when
//! `tests/expected-skips.toml` names it; any other skip counts as a failure. The last line is always
//! `N passed, N failed, N skipped`.

mod deadline;
mod judge;
mod outcome;
mod receivers;
mod skips;
mod table;
mod tier;
mod tiers;

use anyhow::{Result, bail};
use deadline::Deadline;
pub(crate) use outcome::{Outcome, PlacedSkip};
use skips::ExpectedSkips;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::Row;
use tier::{Group, Tier};
pub(crate) use tiers::names as tier_names;

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also every forced rung, long fault and loss runs
    #[arg(long)]
    full: bool,
    /// Also real workflow engines
    #[arg(long)]
    engines: bool,
    /// Also Kubernetes
    #[arg(long)]
    kubernetes: bool,
    /// Also Kafka
    #[arg(long)]
    kafka: bool,
    /// Also hours of load
    #[arg(long)]
    soak: bool,
    /// All of the above, the default tiers first
    #[arg(long)]
    all: bool,
    /// Only this tier; may be given several times
    #[arg(long, value_name = "TIER")]
    only: Vec<String>,
    /// Time for all of it (80m, 1h, 90s); tiers that no longer fit are listed as not run
    #[arg(long, value_name = "TIME", value_parser = deadline::parse_time)]
    deadline: Option<Duration>,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> Result<ExitCode> {
    if let Some(name) = options.only.iter().find(|name| !tiers::names().contains(&name.as_str())) {
        bail!("no tier {name}; there are {}", tiers::names().join(", "));
    }
    let expected = ExpectedSkips::load()?;
    let deadline = Deadline::new(options.deadline);
    let mut rows = Vec::new();
    for tier in tiers::all() {
        let row = match options.reason_not_to_run(&tier) {
            Some(reason) => Row::not_run(&tier, reason),
            // One that is run on every change fails if there is no time for it.
            None if tier.group != Group::Default && deadline.left() < tier.usual => {
                Row::not_run(&tier, "deadline")
            }
            None => run(&tier, &deadline, &expected),
        };
        rows.push(row);
    }
    for line in expected.unused(&rows) {
        println!("note: {line}");
    }
    print!("{}", table::text(&rows));
    for line in rows.iter().flat_map(Row::in_short) {
        println!("{line}");
    }
    println!("{}", table::closing_line(&rows));
    Ok(if table::is_green(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn reason_not_to_run(&self, tier: &Tier) -> Option<&'static str> {
        if !self.only.is_empty() {
            return if self.only.iter().any(|name| name == tier.name) { None } else { Some("not asked for") };
        }
        let (asked, flag) = match tier.group {
            Group::Default => (true, ""),
            Group::Full => (self.full, "needs --full"),
            Group::Engines => (self.engines, "needs --engines"),
            Group::Kubernetes => (self.kubernetes, "needs --kubernetes"),
            Group::Kafka => (self.kafka, "needs --kafka"),
            Group::Soak => (self.soak, "needs --soak"),
        };
        if asked || self.all { None } else { Some(flag) }
    }
}

fn run(tier: &Tier, deadline: &Deadline, expected: &ExpectedSkips) -> Row {
    println!("-- {}: {}", tier.name, tier.title);
    let started = Instant::now();
    let outcome = (tier.run)(deadline).unwrap_or_else(|error| Outcome::broken(&format!("{error:#}")));
    let row = Row::of(tier, outcome, expected, started.elapsed());
    for line in row.complaints() {
        println!("   {line}");
    }
    println!("   {}", row.counts());
    row
}
