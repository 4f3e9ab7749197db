//! The story: the agent starts, a normal step, a step that leaves its sandbox, the verdict.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::stage::Stage;
use super::tally::{Tally, Verdict};
use super::{DemoError, interrupt, toy};
use crate::alert::human::{self, Style};
use crate::alert::{Alert, SafeAlert};
use crate::kernel::Coverage;

/// How the demo is to be played.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Alerts as JSON lines: to standard output for `-`, else to this file. For people on standard output without.
    pub output: Option<PathBuf>,
    /// Hooks to pin, as for `sandwatch run`.
    pub hooks: Option<String>,
}

/// How long the agent may take until it is ready.
const READY: Duration = Duration::from_secs(20);
/// How long nothing has to happen after the normal step.
const QUIET: Duration = Duration::from_millis(800);
/// How long the alerts of the escape may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Plays it. `coverage` is what this host lets the agent see, `shown` the same in short; the stage is removed whatever happens.
pub fn run(options: &Options, coverage: &Coverage, shown: &str) -> Result<Verdict, DemoError> {
    interrupt::check()?;
    let root = coverage.host.cgroup2.clone().unwrap_or_else(|| "/sys/fs/cgroup".into());
    let mut voice = Voice::new(options)?;
    voice.say("sandwatch demo: a toy workflow engine leaves its sandbox; the probes, the kernel and the alerts are real.");
    voice.step("1. Coverage of this host (`sandwatch doctor` says more)");
    voice.say(shown.trim_end_matches('\n'));
    let stage = Stage::set(&root)?;
    let mut agent = Agent::start(&stage.config(), options.hooks.as_deref())?;
    let workers = agent.wait_ready(READY)?;
    voice.step("2. The agent watches");
    for worker in &workers {
        voice.say(&format!("  worker {}, profile {}, cgroup {}", worker.name, worker.profile, worker.cgroup));
    }
    let mut tally = Tally::default();
    let result = act(&mut voice, &stage, &mut agent, &mut tally);
    let (rest, summary) = agent.stop();
    for line in rest {
        voice.alert(&line, &mut tally, true)?;
    }
    result?;
    voice.finale(&tally)?;
    if let Some(summary) = summary {
        voice.say(&format!("\nThe agent's own count: {summary}"));
    }
    let verdict = tally.verdict();
    voice.verdict(&verdict);
    drop(stage);
    Ok(verdict)
}

fn act(voice: &mut Voice, stage: &Stage, agent: &mut Agent, tally: &mut Tally) -> Result<(), DemoError> {
    let mut engine = Engine::start(stage)?;
    voice.say(&format!(
        "  its engine is process {}: {}",
        engine.child.id(),
        stage.program("toy-engine").display()
    ));
    voice.step(
        "3. A normal step: the engine starts a runner, the runner starts the step. No alert is to come.",
    );
    engine.tell("normal")?;
    listen(voice, agent, tally, false, QUIET)?;
    let quiet = if tally.early.is_empty() {
        "  no alert: as it should be."
    } else {
        "  an alert on a normal step: not as it should be."
    };
    voice.say(quiet);
    voice.step(
        "4. A step that leaves its sandbox: an expression makes the engine itself run a shell, which reads",
    );
    voice.say("   a secret (planted, fake) and sends it to a collector on loopback.\n");
    let began = Instant::now();
    engine.tell("escape")?;
    listen(voice, agent, tally, true, PATIENCE)?;
    if tally.complete() {
        voice.say(&format!(
            "\n  everything was seen {} ms after the engine was told.",
            began.elapsed().as_millis()
        ));
    }
    // A moment for updates that are on their way.
    listen_for(voice, agent, tally, Duration::from_millis(300))?;
    Ok(())
}

/// Takes alerts for this long; in the escape until all has been seen.
fn listen(
    voice: &mut Voice,
    agent: &mut Agent,
    tally: &mut Tally,
    escaped: bool,
    time: Duration,
) -> Result<(), DemoError> {
    let until = Instant::now() + time;
    while Instant::now() < until && !(escaped && tally.complete()) {
        agent.wait(until)?;
        for line in agent.alerts() {
            voice.alert(&line, tally, escaped)?;
        }
    }
    Ok(())
}

fn listen_for(
    voice: &mut Voice,
    agent: &mut Agent,
    tally: &mut Tally,
    time: Duration,
) -> Result<(), DemoError> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        agent.wait(until)?;
        for line in agent.alerts() {
            voice.alert(&line, tally, true)?;
        }
    }
    Ok(())
}

/// The toy engine, in the worker's cgroup. Dropping it kills it.
struct Engine {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Engine {
    fn start(stage: &Stage) -> Result<Self, DemoError> {
        let failed = |source| DemoError::Process { what: "cannot start the toy engine", source };
        let collector = stage.collector.local_addr().map_err(failed)?.to_string();
        let program = stage.program("toy-engine");
        let mut command = Command::new("/proc/self/exe");
        command.arg(toy::WORD).arg("enter").arg(stage.cgroup_procs()).arg(&program);
        command.args([toy::WORD, "engine"]).arg(stage.folder()).arg(collector);
        command
            .current_dir(stage.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(to), Some(from)) = pipes else { return Err(failed(io::ErrorKind::BrokenPipe.into())) };
        Ok(Self { child, to, from: BufReader::new(from) })
    }

    /// Gives the engine a word and waits for its answer.
    fn tell(&mut self, word: &str) -> Result<(), DemoError> {
        let failed = |source| DemoError::Process { what: "the toy engine does not answer", source };
        writeln!(self.to, "{word}").map_err(failed)?;
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let mut ready =
                [nix::poll::PollFd::new(self.from.get_ref().as_fd(), nix::poll::PollFlags::POLLIN)];
            match nix::poll::poll(&mut ready, nix::poll::PollTimeout::from(50u8)) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => interrupt::check()?,
                Ok(_) => break,
                Err(error) => return Err(failed(error.into())),
            }
            if Instant::now() > until {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
        }
        let mut answer = String::new();
        self.from.read_line(&mut answer).map_err(failed)?;
        match answer.trim() {
            "done" => Ok(()),
            "" => Err(failed(io::ErrorKind::UnexpectedEof.into())),
            other => Err(failed(io::Error::other(other.to_owned()))),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who speaks where: with JSON on standard output, the story goes to standard error.
pub(super) struct Voice {
    json: Option<Box<dyn Write>>,
    quiet_stdout: bool,
    style: Style,
    shown: usize,
}

impl Voice {
    pub(super) fn new(options: &Options) -> Result<Self, DemoError> {
        let mut quiet_stdout = false;
        let json: Option<Box<dyn Write>> = match &options.output {
            None => None,
            Some(path) if path.as_os_str() == "-" => {
                quiet_stdout = true;
                Some(Box::new(io::stdout()))
            }
            Some(path) => {
                let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
                let place = path.display().to_string();
                Some(Box::new(file.map_err(|source| DemoError::Output { place, source })?))
            }
        };
        let out = io::stdout();
        let width = out.is_terminal().then(|| crate::sink::terminal_columns(out.as_fd()));
        Ok(Self { json, quiet_stdout, style: Style::detect(width), shown: 0 })
    }

    pub(super) fn say(&self, text: &str) {
        if self.quiet_stdout { crate::observe::complain(text) } else { crate::observe::say(text) }
    }

    pub(super) fn step(&self, text: &str) {
        let bold = self.style.color && !self.quiet_stdout;
        self.say(&if bold { format!("\n\x1b[1m{text}\x1b[0m") } else { format!("\n{text}") });
    }

    /// The first alert in full, its updates in a line each: the whole incident is shown at the end.
    pub(super) fn alert(&mut self, line: &str, tally: &mut Tally, escaped: bool) -> Result<(), DemoError> {
        if let Some(json) = &mut self.json {
            let failed = |source| DemoError::Output { place: "the JSON output".into(), source };
            writeln!(json, "{line}").and_then(|()| json.flush()).map_err(failed)?;
        }
        let Ok(alert) = serde_json::from_str::<Alert>(line) else {
            self.say(&format!(
                "  the agent wrote what is no alert: {}",
                crate::alert::escape::for_terminal(line)
            ));
            return Ok(());
        };
        self.shown += 1;
        if !self.quiet_stdout {
            if self.shown == 1 {
                self.say(&human::text(&SafeAlert::new(alert.clone()), &self.style));
                self.say("");
            } else {
                self.say(&in_a_line(&alert));
            }
        }
        tally.add(alert, escaped);
        Ok(())
    }

    pub(super) fn finale(&mut self, tally: &Tally) -> Result<(), DemoError> {
        if let Some(last) = tally.last()
            && !self.quiet_stdout
            && self.shown > 1
        {
            self.step("The incident as it stands: what the person on call reads");
            self.say(&human::text(&SafeAlert::new(last.clone()), &self.style));
        }
        Ok(())
    }

    pub(super) fn verdict(&self, verdict: &Verdict) {
        let all = verdict.seen.len() + verdict.missing.len();
        self.step(&format!("Verdict: {} of {all} signs of the escape were seen.", verdict.seen.len()));
        verdict.seen.iter().for_each(|text| self.say(&format!("  seen:     {text}")));
        verdict.missing.iter().for_each(|text| self.say(&format!("  NOT SEEN: {text}")));
        verdict
            .early
            .iter()
            .for_each(|text| self.say(&format!("  WRONG:    an alert on the normal step: {text}")));
        verdict.gaps.iter().for_each(|text| self.say(&format!("  gap:      {text}")));
        if !verdict.missing.is_empty() {
            self.say("  `sandwatch doctor` says which signals this host lets the agent see.");
        }
    }
}

fn in_a_line(alert: &Alert) -> String {
    let tier = alert.tier.map_or(alert.kind.name(), |tier| tier.name());
    let revision =
        alert.incident.as_ref().map_or(String::new(), |incident| format!("update {}: ", incident.revision));
    let finding = alert.finding.as_ref().map_or(String::new(), |finding| format!(" ({})", finding.id));
    let text = format!("  {revision}{tier}: {}{finding}", alert.title);
    crate::alert::escape::for_terminal(&text).into_owned()
}
