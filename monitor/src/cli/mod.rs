//! The command line: what users type, what they read, and how the program ends.
//!
//! One file per command; `exit` has the exit codes, `rules_from` finds the rule files. Commands print their answer to
//! standard output and everything else to standard error.

mod alert;
mod alert_test;
mod args;
mod demo;
mod doctor;
mod exit;
mod explain;
mod incident;
mod log;
mod record;
mod replay;
mod rules;
mod rules_from;
mod run;
mod status;
mod workers;

use std::process::ExitCode;

use clap::Parser;

pub use args::{
    AlertArgs, AlertCommand, AlertTestArgs, Cli, CloseArgs, Command, DeadArgs, DemoArgs, DoctorArgs,
    ExplainArgs, FilesArgs, HooksArgs, IncidentArgs, IncidentCommand, ListArgs, LogArgs, LogCommand,
    RecordArgs, ReplayArgs, ReplayDeadArgs, RulesArgs, RulesCommand, RunArgs, SchemaOf, ShowArgs, StatusArgs,
    VerifyArgs,
};
pub(crate) use doctor::answer as doctor_of;
pub use exit::{CliError, Exit};
pub use rules_from::{RulesFrom, load_rules, shipped};

/// Reads the command line, does what it says and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Also `--help` and `--version`, which are no errors.
        Err(message) => {
            let code = if message.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = message.print();
            return code.into();
        }
    };
    if let Command::DemoToy { args } = &cli.command {
        return crate::demo::toy_main(args).into();
    }
    if let Command::Canary { port } = cli.command {
        return if crate::kernel::canary_main(port).is_ok() { Exit::Ok } else { Exit::Host }.into();
    }
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            crate::observe::complain(&format!("sandwatch: {}", error.message()));
            error.exit().into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit, CliError> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Workers(args) => workers::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Incident(args) => incident::run(&args),
        Command::Alert(args) => alert::run(&args),
        Command::Log(args) => log::run(&args),
        // Before: it has exit codes of its own.
        Command::Canary { .. } | Command::DemoToy { .. } => Ok(Exit::Ok),
    }
}

#[cfg(test)]
mod tests;
