//! `sandwatch record`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use globset::{GlobBuilder, GlobMatcher};

use super::args::RecordArgs;
use super::run::{configuration, rule_files};
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::config::{Assign, SinkConfig};
use crate::delivery::{Engine, Setup};
use crate::detect::{HostFacts, WallClock};
use crate::kernel::{Coverage, Sensor};
use crate::observe::{LogFormat, start_log};
use crate::privilege;
use crate::recording::{Header, Made, RECORDING_SCHEMA, Recorder, Redaction};
use crate::run::{Agent, Signals, envelope, sensor_options};
use crate::sink::FileSink;

pub(super) fn run(args: &RecordArgs) -> Result<Exit, CliError> {
    start_log(LogFormat::detect(), "warn");
    let mut config = configuration(&args.files, &args.hooks)?;
    config.workers.watch.extend(args.cgroup.iter().cloned());
    if let Some(profile) = &args.profile {
        config.workers.assign.splice(
            0..0,
            args.cgroup.iter().map(|cgroup| Assign {
                cgroup: cgroup.clone(),
                profile: profile.clone(),
                ..Assign::default()
            }),
        );
    }
    if config.workers.watch.is_empty() && config.workers.assign.is_empty() {
        return Err(CliError::usage(
            "no worker is named, so nothing would be recorded; name a cgroup or unit with --cgroup, or workers in the \
             configuration"
                .into(),
        ));
    }
    let names = args.worker.iter().map(|name| glob(name)).collect::<Result<Vec<_>, _>>()?;
    let from = RulesFrom::choose(&args.files.rules, &config.rules);
    let rules = load_rules(&from)?;
    // Before the probes: a file that cannot be written is said at once.
    let to = open(&args.output, args.force)?;
    let options = sensor_options(&config, &rules)?;
    let signals = Signals::catch()?;
    let sensor = Sensor::start(&options)?;
    let root = sensor.cgroup_root().to_owned();
    let header = header(args, sensor.coverage(), &root);
    let cgroups: Vec<GlobMatcher> =
        args.cgroup.iter().map(|cgroup| glob(cgroup)).collect::<Result<_, _>>()?;
    let recorder = Recorder::new(
        to,
        header,
        move |worker| {
            let named = names.is_empty() || names.iter().any(|name| name.is_match(&*worker.name));
            let there = cgroups.is_empty()
                || cgroups.iter().any(|cgroup| {
                    cgroup.is_match(&*worker.path)
                        || worker.unit.as_deref().is_some_and(|unit| cgroup.is_match(unit))
                });
            named && there
        },
        args.max_size.0,
    );
    let envelope = envelope(&config, rules.digest(), &root);
    let sinks = match &args.alerts {
        Some(path) => {
            let file = SinkConfig::file(path.clone());
            FileSink::open(&file).map_err(|error| CliError::usage(error.to_string()))?;
            config.sinks = vec![file];
            Engine::open(Setup::of(&config, envelope).in_memory())?
        }
        None => Engine::none(envelope),
    };
    // With the last probe attached and before the first thread.
    privilege::lower().log(args.alerts.as_slice());
    let mut agent = Agent::with_recorder(
        sensor,
        &config,
        rules,
        rule_files(from),
        sinks,
        &root,
        options.sizes.labels,
        Some(recorder.clone()),
    )?;
    agent.heed(signals)?;
    crate::observe::complain(&format!(
        "sandwatch: recording{}; end it with Ctrl-C",
        args.time.map_or_else(String::new, |time| format!(" for {} s", time.0.as_secs_f64()))
    ));
    let until = args.time.map(|time| Instant::now() + time.0);
    loop {
        let left =
            until.map_or(Duration::from_secs(1), |until| until.saturating_duration_since(Instant::now()));
        if agent.turn(left.min(Duration::from_secs(1)))? || left.is_zero() || recorder.has_failed() {
            break;
        }
    }
    let summary = agent.finish()?;
    let written = recorder.finish().map_err(|error| CliError::new(Exit::No, error))?;
    crate::observe::complain(&format!("sandwatch: {summary}"));
    crate::observe::complain(&format!(
        "sandwatch: {} events of {} worker(s) in {} bytes recorded to {}",
        written.events,
        written.workers,
        written.bytes,
        args.output.display()
    ));
    if written.workers == 0 {
        return Err(CliError::no(
            "no worker was there to record; `sandwatch workers` lists those that are".into(),
        ));
    }
    Ok(Exit::Ok)
}

fn header(args: &RecordArgs, coverage: &Coverage, cgroup_root: &Path) -> Header {
    let host = HostFacts::read();
    let rungs: BTreeMap<String, String> = coverage
        .signals
        .iter()
        .filter_map(|signal| Some((signal.signal.name().to_owned(), signal.rung.as_ref()?.name().to_owned())))
        .collect();
    Header {
        schema: RECORDING_SCHEMA.to_owned(),
        made: Made::Recorded,
        about: args.about.clone().unwrap_or_default(),
        by: format!("sandwatch {}", env!("CARGO_PKG_VERSION")),
        host: host.name,
        boot_id: host.boot_id,
        kernel: host.kernel,
        boot: WallClock::now().format(0),
        cgroup_root: Some(cgroup_root.display().to_string()),
        rungs,
        redaction: if args.no_redaction { Redaction::None } else { Redaction::Secrets },
        workers: Vec::new(),
    }
}

fn glob(pattern: &str) -> Result<GlobMatcher, CliError> {
    let glob = GlobBuilder::new(pattern).literal_separator(pattern.starts_with('/')).build();
    Ok(glob
        .map_err(|error| CliError::usage(format!("`{pattern}` is no pattern: {error}")))?
        .compile_matcher())
}

/// The file, for its owner only: what workers do is nobody else's business, whatever was masked.
fn open(path: &Path, force: bool) -> Result<Box<dyn Write>, CliError> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    let file = if force { options.create(true).truncate(true) } else { options.create_new(true) }.open(path);
    let file = file.map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::AlreadyExists { "; --force overwrites it" } else { "" };
        CliError::usage(format!("{}: {error}{hint}", path.display()))
    })?;
    Ok(Box::new(BufWriter::new(file)))
}
