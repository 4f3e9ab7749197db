//! `sandwatch alert test`: a marked test alert through the sinks, and what each receiver says.

use std::path::Path;
use std::sync::Arc;

use super::args::{AlertTestArgs, HooksArgs};
use super::run::configuration;
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::alert::escape;
use crate::config::{Config, SinkConfig};
use crate::delivery::{Clock, Outcome, SystemClock};
use crate::observe::say;
use crate::sink::{Said, TestAlert, Trial};

pub(super) fn run(args: &AlertTestArgs) -> Result<Exit, CliError> {
    let config = configuration(&args.files, &HooksArgs::default())?;
    let default = [SinkConfig::stdout()];
    let sinks = if config.sinks.is_empty() { &default[..] } else { &config.sinks };
    let sinks = chosen(sinks, args.sink.as_deref())?;
    let test =
        TestAlert::new(&crate::run::envelope(&config, &rules(&config, args), Path::new("/sys/fs/cgroup")));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut well = true;
    let mut begun = Vec::new();
    for sink in sinks {
        match Trial::open(sink, &clock) {
            Ok(mut trial) => {
                for said in trial.begin(&test) {
                    well &= said.outcome == Outcome::Accepted;
                    say(&line(sink, &said));
                }
                begun.push((sink, trial));
            }
            Err(error) => {
                well = false;
                say(&format!("{}not sent: {}", head(sink), escape::for_terminal(&error.to_string())));
            }
        }
    }
    if begun.iter().any(|(_, trial)| trial.is_for_people()) {
        say(&format!("The test stays open for {} s.", args.hold.0.as_secs_f32()));
        std::thread::sleep(args.hold.0);
    }
    for (sink, trial) in &mut begun {
        for said in trial.end(&test).iter().filter(|said| said.outcome != Outcome::Accepted) {
            well = false;
            say(&format!("{}; the test was not closed there", line(sink, said)));
        }
    }
    Ok(if well { Exit::Ok } else { Exit::No })
}

/// The sink of this name; all of them without one.
fn chosen<'a>(sinks: &'a [SinkConfig], name: Option<&str>) -> Result<Vec<&'a SinkConfig>, CliError> {
    let chosen: Vec<&SinkConfig> =
        sinks.iter().filter(|sink| name.is_none_or(|name| sink.name == name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = sinks.iter().map(|sink| &*sink.name).collect();
        let name = name.unwrap_or_default();
        return Err(CliError::usage(format!("no sink is called {name:?}; there are: {}", names.join(", "))));
    }
    Ok(chosen)
}

/// Digest of the rules, as the agent would have them. That they are wrong is for `rules check` to say.
fn rules(config: &Config, args: &AlertTestArgs) -> String {
    let from = RulesFrom::choose(&args.files.rules, &config.rules);
    load_rules(&from).map_or_else(|_| "unknown".to_owned(), |rules| rules.digest().to_owned())
}

fn head(sink: &SinkConfig) -> String {
    format!("{:<16} {:<14}", escape::for_terminal(&sink.name), sink.kind.name())
}

fn line(sink: &SinkConfig, said: &Said) -> String {
    let target = escape::for_terminal(&said.target);
    let answer = match &said.outcome {
        Outcome::Accepted if said.answers => "accepted".to_owned(),
        Outcome::Accepted => "handed over; such a receiver does not answer: look for it there".to_owned(),
        Outcome::Rejected { reason } => format!("refused: {reason}"),
        Outcome::Retry { reason, .. } => format!("not accepted now: {reason}"),
    };
    format!("{}{target}: {}", head(sink), escape::for_terminal(&answer))
}
