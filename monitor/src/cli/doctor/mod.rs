//! `sandwatch doctor`: what this host lets the agent see.
//!
//! The answer is not read off a list: the probes are loaded, attached and shown a canary, and taken down again.

mod text;

use serde::Serialize;

use super::args::DoctorArgs;
use super::run::configuration;
use super::{CliError, Exit};
use crate::alert::human::Style;
use crate::kernel::{Coverage, KernelError, Level, Sensor};
use crate::observe::{LogFormat, start_log};

pub(crate) use text::coverage as coverage_text;

/// What `--json` prints when nothing can be watched.
#[derive(Serialize)]
struct Nothing<'a> {
    level: Level,
    error: &'a str,
}

pub(super) fn run(args: &DoctorArgs) -> Result<Exit, CliError> {
    start_log(LogFormat::detect(), "warn");
    let config = configuration(&args.files, &args.hooks)?;
    let options = config.sensor_options(Vec::new())?;
    match Sensor::start(&options) {
        Ok(sensor) => {
            let coverage = sensor.coverage();
            let shown =
                if args.json { json(coverage)? } else { text::page(coverage, args.programs, &style()) };
            println!("{shown}");
            Ok(exit(coverage.level))
        }
        Err(error @ KernelError::Hooks(_)) => Err(error.into()),
        Err(error) => {
            let why = error.to_string();
            if args.json {
                println!("{}", json(&Nothing { level: Level::None, error: &why })?);
            } else {
                println!("Coverage: none. Nothing can be watched on this host:\n  {why}");
            }
            Ok(exit(Level::None))
        }
    }
}

/// 0 full, 1 partial, 2 none.
fn exit(level: Level) -> Exit {
    match level {
        Level::Full => Exit::Ok,
        Level::Partial => Exit::No,
        Level::None => Exit::Usage,
    }
}

fn json(value: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(value).map_err(|error| CliError::new(Exit::No, error))
}

fn style() -> Style {
    use std::io::IsTerminal;
    use std::os::fd::AsFd;
    let out = std::io::stdout();
    Style::detect(out.is_terminal().then(|| crate::sink::terminal_columns(out.as_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_its_exit_code() {
        assert_eq!([Level::Full, Level::Partial, Level::None].map(exit), [Exit::Ok, Exit::No, Exit::Usage]);
    }
}
