//! What the agent tells of itself: a snapshot each second, and answers to what only its own thread knows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use monitor_common::hook::{Lane, Signal};
use monitor_common::map::Tally;

use super::Agent;
use crate::alert::{ClosedBy, Severity, State};
use crate::control::{
    Board, ConfigState, LaneCount, Question, RulesState, Server, SignalCount, SignalHook, SinkState,
    Snapshot, WorkerCount, list,
};
use crate::delivery::SinkStats;
use crate::detect::boot_now;
use crate::event::BootNs;
use crate::kernel::{Counters, Coverage, Probes};
use crate::observe::metrics::Listener;

/// Where others look, and what does not change while the agent runs.
pub(super) struct Reporter {
    board: Arc<Board>,
    _server: Option<Server>,
    metrics: Option<Listener>,
    /// It was said that there are none.
    no_metrics: bool,
    started: BootNs,
    /// The same by the host's clock, ms since the epoch.
    started_ms: i64,
    coverage: String,
    hooks: Vec<SignalHook>,
    pub(super) config: ConfigState,
}

#[cfg(test)]
impl Reporter {
    pub(super) fn board(&self) -> &Arc<Board> {
        &self.board
    }
}

impl<P: Probes> Agent<P> {
    /// From now on the agent tells how it is on a board, and answers on a socket at this path. That it cannot is said, and ends
    /// nothing.
    pub fn report(
        &mut self,
        socket: Option<&Path>,
        coverage: Option<Coverage>,
        config: ConfigState,
    ) -> Arc<Board> {
        let hooks = coverage.iter().flat_map(|coverage| &coverage.signals).map(|entry| SignalHook {
            signal: entry.signal.name().to_owned(),
            rung: entry.rung.map(|rung| rung.name().to_owned()),
        });
        let (hooks, mark) = (hooks.collect(), coverage.as_ref().map(Coverage::mark).unwrap_or_default());
        let board = Arc::new(Board::new(coverage, Arc::clone(self.pipeline.rules())));
        let server = socket.map(|path| Server::start(path, Arc::clone(&board)));
        let (server, problem) = match server {
            Some(Ok(server)) => (Some(server), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        self.reporter = Some(Reporter {
            board: Arc::clone(&board),
            _server: server,
            metrics: None,
            no_metrics: false,
            started: boot_now(),
            started_ms: epoch_ms(),
            coverage: mark,
            hooks,
            config,
        });
        if let Some(error) = problem {
            let title = "The agent cannot be asked how it is: its control socket is not open";
            tracing::error!(%error, "{title}");
            self.say_health(State::Open, Severity::Medium, "control-socket", title, error.to_string());
        }
        self.post();
        board
    }

    /// From now on the board is shown as metrics on this address; on the usual one if the configuration names none, and that may be
    /// somebody else's.
    pub fn serve_metrics(&mut self, listen: Option<&str>) {
        let Some(reporter) = &mut self.reporter else { return };
        // The port may be the same.
        reporter.metrics = None;
        let said = std::mem::take(&mut reporter.no_metrics);
        let address = match crate::config::listen_address(listen.unwrap_or(crate::config::DEFAULT_LISTEN)) {
            Ok(Some(address)) => address,
            Ok(None) => return self.say_metrics(said),
            Err(error) => return self.say_no_metrics(said, &error),
        };
        match Listener::start(&address, Arc::clone(&reporter.board)) {
            Ok(listener) => {
                tracing::info!(address = %listener.address(), "metrics");
                reporter.metrics = Some(listener);
                self.say_metrics(said);
            }
            Err(error) if listen.is_none() => {
                tracing::warn!(%error, "no metrics");
                self.say_metrics(said);
            }
            Err(error) => self.say_no_metrics(said, &error.to_string()),
        }
    }

    fn say_metrics(&mut self, was_said: bool) {
        if was_said {
            let title = "The agent's metrics are where the configuration has them";
            self.say_health(State::Closed, Severity::Info, "metrics", title, String::new());
        }
    }

    fn say_no_metrics(&mut self, was_said: bool, error: &str) {
        let title = "Nobody can scrape the agent's metrics";
        tracing::error!(error, "{title}");
        if let Some(reporter) = &mut self.reporter {
            reporter.no_metrics = true;
        }
        if was_said {
            return;
        }
        self.say_health(State::Open, Severity::Medium, "metrics", title, error.to_owned());
    }

    /// A turn is done: says that the agent moves, and answers who asks.
    pub(super) fn moved(&mut self) {
        let Some(reporter) = &self.reporter else { return };
        reporter.board.moved(boot_now());
        let Some(question) = reporter.board.desk.question() else { return };
        let answer = match question {
            Question::Workers => serde_json::to_string(&list(&self.pipeline)),
            Question::Incidents => serde_json::to_string(&self.pipeline.detector.last_saved()),
        };
        let answer = answer.unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        reporter.board.desk.answer(answer);
    }

    /// Puts up how the agent is now.
    pub(super) fn post(&mut self) {
        if self.reporter.is_none() {
            return;
        }
        let snapshot = self.snapshot(boot_now());
        if let Some(reporter) = &self.reporter {
            reporter.board.put(snapshot);
        }
    }

    /// Other rules are in force.
    pub(super) fn post_rules(&self) {
        if let Some(reporter) = &self.reporter {
            reporter.board.put_rules(Arc::clone(self.pipeline.rules()));
        }
    }

    fn snapshot(&self, now: BootNs) -> Snapshot {
        let (pipeline, counts) = (&self.pipeline, self.pipeline.counts());
        let none = Counters::default();
        let counters = self.duties.counters.as_ref().unwrap_or(&none);
        let envelope = &pipeline.detector.envelope;
        let rules = RulesState {
            digest: envelope.rules.clone(),
            refused: self.rules.is_refused(),
            skipped: self.skipped.clone(),
        };
        let reporter = self.reporter.as_ref();
        let hooks = reporter.map(|reporter| reporter.hooks.clone()).unwrap_or_default();
        let mut config = reporter.map(|reporter| reporter.config.clone()).unwrap_or_default();
        config.refused = self.rules.is_config_refused();
        // An agent that follows no configuration has one for good.
        let sinks_digest = Some(&self.outlets.digest).filter(|digest| !digest.is_empty());
        config.sinks_digest = sinks_digest.unwrap_or(&config.digest).clone();
        config.sinks_why = self.outlets.why.clone();
        let sinks: Vec<SinkState> =
            self.sinks.stats().into_iter().map(|(name, stats)| sink(name, &stats)).collect();
        let mut snapshot = Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: env!("SANDWATCH_BUILD_REVISION").to_owned(),
            pid: std::process::id(),
            node: envelope.host.name.clone(),
            started: reporter.map_or(now, |reporter| reporter.started),
            started_ms: reporter.map_or_else(epoch_ms, |reporter| reporter.started_ms),
            taken: now,
            coverage: reporter.map(|reporter| reporter.coverage.clone()).unwrap_or_default(),
            hooks,
            rules,
            config,
            canary: self.canary.as_ref().map(|watch| watch.ages(now)).unwrap_or_default(),
            not_ready: Vec::new(),
            wrong: Vec::new(),
            signals: signals(counters),
            lanes: lanes(counters),
            workers: self.worker_counts(counters),
            received: counts.records,
            undecodable: counts.undecodable.values().sum(),
            unexplained: counts.unexplained,
            findings: counts.findings,
            alerts: counts.alerts,
            incidents: pipeline.detector.open() as u64,
            processes: pipeline.processes().len() as u64,
            processes_evicted: pipeline.processes().counts().evicted,
            law_broken: self.duties.law_broken,
            helper_errors: counters.errors.iter().map(|error| error.count).sum(),
            gaps: pipeline.gap_counts().iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
            programs: programs(counters),
            clock_synced: envelope.host.clock_synced,
            sinks,
            tables: self.tables(now),
            spool: super::sizes::spool(&self.sinks.spool()),
            pods: self.pods_state(now),
        };
        self.say_not_ready(&mut snapshot);
        say_wrong(&mut snapshot);
        snapshot
    }

    fn say_not_ready(&self, snapshot: &mut Snapshot) {
        if snapshot.config.last_good {
            snapshot.not_ready.push(
                "the configuration or the rules are bad, and the last good ones are in use; the log and the alert `last-good` \
                 say what is wrong"
                    .to_owned(),
            );
        }
        if self.canary.is_none() && self.wants_canary {
            snapshot
                .not_ready
                .push("there is no canary: nothing shows that the probes still fire".to_owned());
        }
        snapshot.not_ready.extend(self.canary_reasons(snapshot.taken));
    }

    fn worker_counts(&self, counters: &Counters) -> Vec<WorkerCount> {
        let mut sums: BTreeMap<u32, Tally> = BTreeMap::new();
        for entry in &counters.workers {
            let sum = sums.entry(entry.label).or_insert(Tally::ZERO);
            *sum = crate::kernel::add(*sum, &entry.tally);
        }
        let present = self.pipeline.workers.iter().filter(|worker| worker.gone.is_none());
        present
            .map(|worker| {
                let tally = sums.get(&worker.label).copied().unwrap_or(Tally::ZERO);
                WorkerCount {
                    name: worker.name.clone(),
                    cgroup: worker.path.clone(),
                    seen: tally.hits,
                    sent: tally.sent,
                    lost: tally.lost,
                    throttled: tally.throttled,
                }
            })
            .collect()
    }

    /// Says something of the agent's own condition.
    pub(super) fn say_health(
        &mut self,
        state: State,
        severity: Severity,
        condition: &str,
        title: &str,
        detail: String,
    ) {
        let envelope = &self.pipeline.detector.envelope;
        let mut alert = envelope.health(severity, state, boot_now(), condition, title.to_owned(), detail);
        if state == State::Closed {
            alert.closed_by = Some(ClosedBy::Recovered);
        }
        self.pipeline.say(alert);
    }
}

/// What is wrong and does not make the agent unready, in words.
fn say_wrong(snapshot: &mut Snapshot) {
    let wrong = &mut snapshot.wrong;
    for hook in snapshot.hooks.iter().filter(|hook| hook.rung.is_none()) {
        wrong
            .push(format!("signal {} is not watched on this host; `sandwatch doctor` says why", hook.signal));
    }
    if snapshot.rules.refused {
        wrong.push("changed rule files were refused, the old rules stay in force".to_owned());
    }
    let config = &snapshot.config;
    match &config.sinks_why {
        Some(why) => wrong.push(format!(
            "sinks and spool are those of the configuration {}, the rest is of {}: {why}",
            config.sinks_digest, config.digest
        )),
        None if config.refused => {
            wrong.push("the changed configuration was refused, the old one stays in force".to_owned());
        }
        None => {}
    }
    for file in &snapshot.rules.skipped {
        wrong.push(format!("a rule file is left out: {file}"));
    }
    if snapshot.law_broken > 0 {
        wrong.push(format!("the probes' counters did not add up {} times", snapshot.law_broken));
    }
    for lane in snapshot.lanes.iter().filter(|lane| lane.lost > 0) {
        wrong.push(format!("{} records were lost in the {} lane since the start", lane.lost, lane.lane));
    }
    for sink in &snapshot.sinks {
        if sink.failing {
            wrong.push(format!("sink {} fails at the moment, {} alerts wait", sink.name, sink.waiting));
        }
        for (why, count) in sink.dropped.iter().filter(|(_, count)| **count > 0) {
            wrong.push(format!("{count} alerts did not get to sink {} since the start: {why}", sink.name));
        }
        if sink.rejected > 0 {
            wrong.push(format!(
                "the receiver of sink {} refused {} alerts for good since the start; `sandwatch alert dead` counts those that are kept",
                sink.name, sink.rejected
            ));
        }
    }
}

/// The host's clock, ms since the epoch.
fn epoch_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn signals(counters: &Counters) -> Vec<SignalCount> {
    let of = |signal: &Signal| {
        let entries = counters.workers.iter().filter(|entry| entry.signal == *signal);
        let tally = entries.fold(Tally::ZERO, |sum, entry| crate::kernel::add(sum, &entry.tally));
        SignalCount {
            signal: signal.name().to_owned(),
            seen: tally.hits,
            sent: tally.sent,
            filtered: tally.filtered + tally.folded,
            lost: tally.lost,
            throttled: tally.throttled,
            errors: tally.error,
        }
    };
    Signal::ALL.iter().map(of).collect()
}

fn programs(counters: &Counters) -> Vec<(String, u64, u64)> {
    let runs = |entry: &crate::kernel::ProgramCounters| {
        entry.runs.map(|(runs, ns)| (entry.name.to_owned(), ns, runs))
    };
    counters.programs.iter().filter_map(runs).collect()
}

fn lanes(counters: &Counters) -> Vec<LaneCount> {
    let of = |lane: &Lane| {
        let entries = || counters.lanes.iter().filter(|entry| entry.lane == *lane);
        LaneCount {
            lane: lane.name().to_owned(),
            sent: entries().map(|entry| entry.tally.sent).sum(),
            lost: entries().map(|entry| entry.tally.lost).sum(),
        }
    };
    Lane::ALL.iter().map(of).collect()
}

fn sink(name: String, stats: &SinkStats) -> SinkState {
    SinkState {
        name,
        queued: stats.queued,
        sent: stats.sent,
        acknowledged: stats.acknowledged,
        rejected: stats.rejected,
        retried: stats.retried,
        dropped: stats.dropped().into_iter().map(|(why, count)| (why.to_owned(), count)).collect(),
        bytes: stats.bytes,
        waiting: stats.waiting,
        oldest_unsent: stats.oldest_unsent,
        last_success: stats.last_success,
        failing: stats.failing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sink_that_did_not_get_everything_is_named_and_one_that_did_is_not() {
        let lacks = SinkStats { queued: 9, rejected: 2, evicted: 3, letters: 1, ..SinkStats::default() };
        let sinks = vec![
            sink("whole".to_owned(), &SinkStats { queued: 9, acknowledged: 9, ..SinkStats::default() }),
            sink("lacks".to_owned(), &lacks),
        ];
        let mut snapshot = Snapshot { sinks, ..Snapshot::default() };
        say_wrong(&mut snapshot);
        assert_eq!(snapshot.wrong.len(), 3, "{:?}", snapshot.wrong);
        assert!(
            snapshot.wrong[0].contains("1 alerts did not get to sink lacks since the start: dead-letters")
        );
        assert!(snapshot.wrong[1].contains("3 alerts did not get to sink lacks since the start: evicted"));
        assert!(snapshot.wrong[2].contains("refused 2 alerts for good"));
    }

    #[test]
    fn every_figure_of_a_sink_is_put_up() {
        let stats = SinkStats {
            queued: 1,
            sent: 2,
            acknowledged: 3,
            rejected: 4,
            retried: 5,
            evicted: 6,
            unreadable: 7,
            refused: 8,
            letters: 9,
            bytes: 10,
            waiting: 11,
            oldest_unsent: Some(12),
            last_success: Some(13),
            failing: true,
        };
        let put_up = serde_json::to_value(sink("siem".to_owned(), &stats)).unwrap();
        let dropped = serde_json::json!({ "evicted": 6, "unreadable": 7, "refused": 8, "dead-letters": 9 });
        let expected = serde_json::json!({
            "name": "siem", "queued": 1, "sent": 2, "acknowledged": 3, "rejected": 4, "retried": 5, "dropped": dropped,
            "bytes": 10, "waiting": 11, "oldest_unsent": 12, "last_success": 13, "failing": true,
        });
        assert_eq!(put_up, expected);
    }
}
