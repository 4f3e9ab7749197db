//! `sandwatch demo`.

use super::args::DemoArgs;
use super::{CliError, Exit, RulesFrom, doctor, load_rules};
use crate::config::{Config, Hooks};
use crate::demo::{self, DemoError, Options};
use crate::kernel::Sensor;
use crate::observe::{LogFormat, start_log};
use crate::run::sensor_options;

pub(super) fn run(args: &DemoArgs) -> Result<Exit, CliError> {
    start_log(LogFormat::detect(), "error");
    if args.recorded {
        let options = Options { output: args.output.clone(), hooks: None };
        let verdict = demo::run_recorded(&options, load_rules(&RulesFrom::Shipped)?)?;
        return Ok(if verdict.good() { Exit::Ok } else { Exit::No });
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(CliError::new(Exit::Host, DemoError::NotRoot));
    }
    let mut config = Config::default();
    if let Some(hooks) = &args.hooks.hooks {
        config.hooks = Hooks::Text(hooks.clone());
    }
    // Before anything is made, the probes' canary included.
    demo::catch_signals()?;
    // Once without the play: where the kernel will not have it, its reason is the answer.
    let rules = load_rules(&RulesFrom::Shipped)?;
    let coverage = Sensor::start(&sensor_options(&config, &rules)?)?.coverage().clone();
    let options = Options { output: args.output.clone(), hooks: args.hooks.hooks.clone() };
    let verdict = demo::run(&options, &coverage, &doctor::coverage_text(&coverage))?;
    Ok(if verdict.good() { Exit::Ok } else { Exit::No })
}

impl From<DemoError> for CliError {
    fn from(error: DemoError) -> Self {
        let exit = match &error {
            DemoError::Interrupted | DemoError::Recording(_) | DemoError::Process { .. } => Exit::No,
            DemoError::Output { .. } | DemoError::Agent { code: Some(2), .. } => Exit::Usage,
            DemoError::Agent { code: Some(3), .. } => Exit::Host,
            DemoError::Agent { .. } => Exit::No,
            DemoError::NotRoot
            | DemoError::Disk { .. }
            | DemoError::Stage { .. }
            | DemoError::Collector { .. } => Exit::Host,
        };
        Self::new(exit, error)
    }
}
