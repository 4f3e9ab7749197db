//! `sandwatch replay`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use super::args::{HooksArgs, ReplayArgs};
use super::run::configuration;
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::alert::human::{self, Style};
use crate::alert::{SafeAlert, json};
use crate::recording::{Header, Made, Reader, Replay, Scenario};

pub(super) fn run(args: &ReplayArgs) -> Result<Exit, CliError> {
    let config = configuration(&args.files, &HooksArgs::default())?;
    let rules = load_rules(&RulesFrom::choose(&args.files.rules, &config.rules))?;
    let mut out = Out::open(args.output.as_deref())?;
    let name = args.file.display().to_string();
    let wrong = |what: String| CliError::usage(format!("{name}: {what}"));
    let mut replay;
    let mut torn = None;
    if args.file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        let text = std::fs::read_to_string(&args.file).map_err(|error| wrong(error.to_string()))?;
        let scenario = Scenario::parse(&Arc::from(name.as_str()), &text)
            .map_err(|error| CliError::usage(error.to_string()))?;
        introduce(&scenario.header);
        replay = Replay::new(&scenario.header, rules).map_err(wrong)?;
        for line in scenario.lines {
            replay.take(line);
            out.alerts(&mut replay)?;
        }
    } else {
        let from: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
            Box::new(BufReader::new(io::stdin()))
        } else {
            Box::new(BufReader::new(File::open(&args.file).map_err(|error| wrong(error.to_string()))?))
        };
        let mut reader = Reader::new(from).map_err(|error| wrong(error.to_string()))?;
        introduce(reader.header());
        replay = Replay::new(reader.header(), rules).map_err(wrong)?;
        loop {
            match reader.next() {
                Ok(Some(line)) => replay.take(line),
                Ok(None) => break,
                Err(error) if error.is_torn() => {
                    torn = Some(error);
                    break;
                }
                Err(error) => return Err(wrong(error.to_string())),
            }
            out.alerts(&mut replay)?;
        }
    }
    let done = replay.finish();
    out.alerts(&mut replay)?;
    for (worker, profile) in &done.profiles {
        crate::observe::complain(&crate::alert::escape::for_terminal(&format!(
            "sandwatch: worker {worker}, profile {profile}"
        )));
    }
    crate::observe::complain(&format!(
        "sandwatch: replayed {} events; findings {}, alerts {}",
        done.events, done.findings, done.alerts
    ));
    if let Some(error) = torn {
        return Err(CliError::no(format!("{name}: {error}; what stands before it was played")));
    }
    Ok(Exit::Ok)
}

/// Says that what follows is no live alert.
fn introduce(header: &Header) {
    let how = match header.made {
        Made::Recorded => format!("recorded on {} (kernel {})", header.host, header.kernel),
        Made::Built => "built by hand, not recorded".to_owned(),
    };
    let text = format!("sandwatch: a replay, {how}. {}", header.about);
    crate::observe::complain(&crate::alert::escape::for_terminal(text.trim_end()));
}

/// Where the alerts go: for people on a terminal, JSON lines otherwise.
enum Out {
    Human(Style),
    Json(Box<dyn Write>),
}

impl Out {
    fn open(output: Option<&Path>) -> Result<Self, CliError> {
        Ok(match output {
            Some(path) if path.as_os_str() != "-" => {
                let file = File::create(path)
                    .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
                Self::Json(Box::new(io::BufWriter::new(file)))
            }
            None if io::stdout().is_terminal() => {
                let width = Some(crate::sink::terminal_columns(io::stdout().as_fd()));
                Self::Human(Style::detect(width))
            }
            _ => Self::Json(Box::new(io::BufWriter::new(io::stdout()))),
        })
    }

    fn alerts(&mut self, replay: &mut Replay) -> Result<(), CliError> {
        while let Some(alert) = replay.next_alert() {
            let safe = SafeAlert::new(alert);
            match self {
                Self::Human(style) => crate::observe::say(&human::text(&safe, style)),
                Self::Json(to) => {
                    let line = json::line(&safe, None);
                    match writeln!(to, "{line}").and_then(|()| to.flush()) {
                        Ok(()) => {}
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                        Err(error) => {
                            return Err(CliError::usage(format!("the alerts cannot be written: {error}")));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
