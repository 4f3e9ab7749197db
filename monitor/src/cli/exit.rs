//! Exit codes and the errors that lead to them.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::kernel::KernelError;
use crate::profile::RuleErrors;
use crate::run::RunError;
use crate::sink::SinkError;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok,
    /// The thing asked about is not so.
    No,
    /// Usage or configuration error.
    Usage,
    /// Cannot run on this host.
    Host,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::Host => 3,
        })
    }
}

/// An error with the exit code it leads to.
#[derive(Debug)]
pub struct CliError {
    exit: Exit,
    error: anyhow::Error,
}

impl CliError {
    /// An error that ends with this code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// What was asked for is not so.
    pub fn no(message: String) -> Self {
        Self::new(Exit::No, anyhow::Error::msg(message))
    }

    /// A wrong argument or file.
    pub fn usage(message: String) -> Self {
        Self::new(Exit::Usage, anyhow::Error::msg(message))
    }

    /// Something that this host does not offer.
    pub fn host(message: String) -> Self {
        Self::new(Exit::Host, anyhow::Error::msg(message))
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What, where and what to do, with the causes.
    pub fn message(&self) -> String {
        let mut text = self.error.to_string();
        for cause in self.error.chain().skip(1).map(ToString::to_string) {
            // Most messages name their cause where it belongs.
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        text
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<RuleErrors> for CliError {
    fn from(error: RuleErrors) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Kernel(error) => error.into(),
            error @ RunError::Pattern(_) => Self::new(Exit::Usage, error),
            // Something was short for a moment: it may go well the next time.
            error @ RunError::Os { .. } => Self::new(Exit::No, error),
        }
    }
}

impl From<SinkError> for CliError {
    fn from(error: SinkError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<KernelError> for CliError {
    fn from(error: KernelError) -> Self {
        let exit = match &error {
            KernelError::Hooks(_) => Exit::Usage,
            error if error.is_host() => Exit::Host,
            _ => Exit::No,
        };
        Self::new(exit, error)
    }
}
