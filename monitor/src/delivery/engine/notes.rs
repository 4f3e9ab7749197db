//! What delivery itself has to say: alerts of its own.

use std::sync::{Arc, Mutex, PoisonError};

use super::dead::{self, DEAD_LETTERS};
use super::intake::Intake;
use crate::alert::{Alert, AlertKind, ClosedBy, GapInfo, Severity, State};
use crate::delivery::Clock;
use crate::delivery::spool::{Event, Eviction, Lost, Why, nanoseconds};
use crate::detect::{Envelope, WallClock, boot_now};

/// What an engine needs to speak.
pub(crate) struct Notes {
    envelope: Mutex<Envelope>,
    clock: Arc<dyn Clock>,
    intake: Arc<Intake>,
}

impl Notes {
    pub(crate) fn new(envelope: Envelope, clock: Arc<dyn Clock>, intake: Arc<Intake>) -> Self {
        Self { envelope: Mutex::new(envelope), clock, intake }
    }

    /// What alerts carry from now on.
    pub(crate) fn follow(&self, envelope: Envelope) {
        *self.envelope.lock().unwrap_or_else(PoisonError::into_inner) = envelope;
    }

    fn envelope(&self) -> Envelope {
        self.envelope.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spool does not keep alerts over a restart: since when this is so from the start, why.
    pub(crate) fn no_spool(&self, why: String) {
        tracing::error!(why, "alerts are kept in memory only");
        let title = "Alerts that wait would be lost at a restart of the agent: they are kept in memory only";
        self.health(Severity::Medium, State::Open, "spool", title, why);
    }

    /// What became of the spool.
    pub(crate) fn spool(&self, event: Event) {
        match event {
            Event::Broken(why) => self.no_spool(why),
            Event::Mended => {
                tracing::info!("alerts are on disk again");
                let title = "Alerts that wait are on disk again";
                self.health(Severity::Info, State::Closed, "spool", title, String::new());
            }
        }
    }

    /// A sink has failed for a while.
    pub(crate) fn sink_fails(&self, sink: &str, target: &str, reason: &str) {
        let title = format!("Sink {sink} takes no alerts; they wait");
        let detail = format!("{target}: {reason}");
        self.health(Severity::Medium, State::Open, &format!("sink-{sink}"), &title, detail);
    }

    /// And works again.
    pub(crate) fn sink_works(&self, sink: &str, target: &str) {
        let title = format!("Sink {sink} takes alerts again");
        self.health(Severity::Info, State::Closed, &format!("sink-{sink}"), &title, target.to_owned());
    }

    /// A sink that had failed is none any more.
    pub(crate) fn sink_goes(&self, sink: &str) {
        let title = format!("Sink {sink} is not in the configuration any more");
        self.health(Severity::Info, State::Closed, &format!("sink-{sink}"), &title, String::new());
    }

    /// Alerts could not be spooled by a fault of the agent itself; no sink has numbers for them.
    pub(crate) fn refused(&self, count: u64, why: &str) {
        let mut info = self.gap("not-spooled", Some(count));
        info.detail = Some(why.to_owned());
        let title = format!("{count} alert(s) were left out");
        self.put(self.gap_alert(Severity::High, title, info), None);
    }

    /// A record of a sink cannot be read back.
    pub(crate) fn unreadable(&self, sink: usize, seq: u64) {
        let mut eviction = Eviction::none(sink, Why::Unreadable);
        eviction.count = Some(1);
        eviction.seqs.add(seq);
        self.put(self.eviction(&eviction), Some(sink));
    }

    /// Dead letters of a sink are gone: there was no room for them.
    pub(crate) fn letters_lost(&self, sink: usize, name: &str, lost: &dead::Lost) {
        tracing::error!(sink = name, count = lost.count, "dead letters are lost");
        let mut info = self.gap(DEAD_LETTERS, Some(lost.count));
        info.sequences = lost.seqs.runs().to_vec();
        let numbers = lost.seqs.text();
        let numbers = if numbers.is_empty() { String::new() } else { format!(", numbers {numbers}") };
        info.detail =
            Some(format!("refused by sink {name}{numbers}; their file was full, or its disk took nothing"));
        let title = format!("{} dead letter(s) of sink {name} are lost", lost.count);
        self.put(self.gap_alert(Severity::Medium, title, info), Some(sink));
    }

    /// Records of a sink, in a segment that cannot be read whole.
    pub(crate) fn lost(&self, sink: usize, lost: &Lost) {
        let mut eviction = Eviction::none(sink, Why::Unreadable);
        eviction.count = Some(lost.records);
        eviction.seqs = lost.seqs.clone();
        eviction.detail.clone_from(&lost.why);
        self.put(self.eviction(&eviction), Some(sink));
    }

    /// Alerts that a sink does not get.
    pub(crate) fn eviction(&self, eviction: &Eviction) -> Alert {
        let many = eviction.count.map_or("Some".to_owned(), |count| count.to_string());
        let (reason, title) = match eviction.why {
            Why::Full => ("evicted", format!("{many} alert(s) were evicted: the spool was full")),
            Why::Old => ("evicted", format!("{many} alert(s) were evicted: they were too old")),
            Why::Memory => (
                "evicted",
                format!("{many} alert(s) were evicted: the disk took nothing and the memory was full"),
            ),
            Why::Unreadable => ("unreadable", format!("{many} alert(s) in the spool could not be read")),
            Why::Unclean => (
                "unclean-end",
                "Alerts may be lost: host or disk failed before all of them were on disk".to_owned(),
            ),
            Why::Away => (
                "evicted",
                "Alerts may be missing: this sink was not in the configuration for a while".to_owned(),
            ),
            Why::LeftOut => {
                ("not-spooled", format!("{many} alert(s) were left out: more came than could be spooled"))
            }
            Why::Anew => ("new-stream", "This sink's stream of alerts begins anew".to_owned()),
        };
        let mut info = self.gap(reason, eviction.count);
        let numbers = eviction.seqs.text();
        let detail = [
            (!numbers.is_empty())
                .then(|| format!("numbers of this sink's stream that do not come: {numbers}")),
            Some(eviction.detail.clone()).filter(|detail| !detail.is_empty()),
        ];
        info.detail = Some(detail.into_iter().flatten().collect::<Vec<_>>().join("; "));
        info.sequences = eviction.seqs.runs().to_vec();
        if let Some((from, to)) = eviction.span {
            (info.from, info.to) = (time(from), Some(time(to)));
        }
        let severity = match eviction.why {
            Why::Anew => Severity::Info,
            Why::Unclean | Why::Away => Severity::Medium,
            Why::Full | Why::Old | Why::Memory | Why::Unreadable | Why::LeftOut => Severity::High,
        };
        self.gap_alert(severity, title, info)
    }

    fn gap(&self, reason: &str, lost: Option<u64>) -> GapInfo {
        let now = time(nanoseconds(&*self.clock));
        GapInfo { reason: reason.to_owned(), lost, from: now.clone(), to: Some(now), ..GapInfo::default() }
    }

    fn gap_alert(&self, severity: Severity, title: String, info: GapInfo) -> Alert {
        let mut alert = self.alert(AlertKind::Gap, severity, title);
        alert.id = uuid::Uuid::new_v4().to_string();
        alert.gap = Some(GapInfo { condition: Some(alert.id.clone()), ..info });
        alert
    }

    fn health(&self, severity: Severity, state: State, condition: &str, title: &str, detail: String) {
        let mut alert =
            self.envelope().health(severity, state, boot_now(), condition, title.to_owned(), detail);
        alert.time = time(nanoseconds(&*self.clock));
        alert.closed_by = (state == State::Closed).then_some(ClosedBy::Recovered);
        self.put(alert, None);
    }

    fn alert(&self, kind: AlertKind, severity: Severity, title: String) -> Alert {
        let envelope = Envelope { clock: WallClock::now(), ..self.envelope() };
        let mut alert = envelope.alert(kind, severity, boot_now(), title);
        alert.time = time(nanoseconds(&*self.clock));
        alert
    }

    fn put(&self, alert: Alert, only: Option<usize>) {
        self.intake.put(alert, nanoseconds(&*self.clock), only, None);
    }
}

fn time(ns: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(ns.into()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.9}")
}
