//! `sandwatch rules`.

use super::args::{RulesArgs, RulesCommand, SchemaOf};
use super::{CliError, Exit};
use crate::{alert, config};

pub(super) fn run(args: &RulesArgs) -> Result<Exit, CliError> {
    match &args.command {
        RulesCommand::Schema { of } => {
            let schema = match of {
                SchemaOf::Alert => alert::schema(),
                SchemaOf::Config => config::schema(),
            };
            println!("{schema}");
            Ok(Exit::Ok)
        }
    }
}
