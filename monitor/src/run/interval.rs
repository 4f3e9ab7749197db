//! Until when the agent watched: what lies between that and its next start was judged by nobody, and is said.
//!
//! Written each second, and exactly at the end: a small file that is not synced, as what a power cut takes is the boot it is about.
//! What is written is the time before which everything is judged, and its alerts are in the spool: a kill takes what still waits.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Agent;
use crate::alert::{Severity, State};
use crate::detect::GapReport;
use crate::event::BootNs;
use crate::kernel::Probes;
use crate::pipeline::Judged;
use crate::state_dir;

const FILE: &str = "watched-until";
/// Room of the record: it is overwritten in place.
const LENGTH: usize = 160;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Until {
    boot: String,
    /// Boot-time ns.
    time: BootNs,
    /// Processes that began after this, boot-time ns, may not have been judged; absent: after `time`.
    #[serde(default)]
    born: Option<BootNs>,
    /// The agent ended in order.
    stopped: bool,
}

/// The file.
pub(super) struct Interval {
    file: File,
    boot: String,
    failing: bool,
    /// The newest time that may be written.
    settled: Option<Judged>,
    /// A newer one, and how many alerts have to be in the spool before it may.
    next: Option<(Judged, u64)>,
}

/// How far the agent has come with what the probes wrote.
pub(super) struct Progress {
    /// Every record that was written before was taken, boot-time ns.
    pub(super) read: BootNs,
    /// Alerts that were handed to delivery, and those of them that are in the spool.
    pub(super) handed: u64,
    pub(super) spooled: u64,
}

impl Progress {
    /// Nothing was written before `read`, which is when the first cgroup was labelled or earlier.
    pub(super) fn from(read: BootNs) -> Self {
        Self { read, handed: 0, spooled: 0 }
    }
}

impl Interval {
    pub(super) fn new(file: File, boot: String) -> Self {
        Self { file, boot, failing: false, settled: None, next: None }
    }

    #[cfg(test)]
    pub(super) fn settled(&self) -> Option<Judged> {
        self.settled
    }

    /// Everything before `judged` is. It may be written once what was said by then, up to alert number `handed`, is in the
    /// spool; `spooled` of them are.
    pub(super) fn advance(&mut self, judged: Judged, handed: u64, spooled: u64) {
        if spooled >= handed {
            (self.settled, self.next) = (Some(judged), None);
            return;
        }
        match self.next {
            Some((earlier, wanted)) if spooled >= wanted => {
                (self.settled, self.next) = (Some(earlier), Some((judged, handed)));
            }
            Some(_) => {}
            None => self.next = Some((judged, handed)),
        }
    }

    fn write(&self, stopped: bool) -> std::io::Result<()> {
        // What an earlier agent wrote still holds.
        let Some(Judged { until, born }) = self.settled else { return Ok(()) };
        let until = Until { boot: self.boot.clone(), time: until, born: Some(born), stopped };
        let mut line = serde_json::to_vec(&until).unwrap_or_default();
        // One write of always the same length: no reader meets half of one.
        line.resize(LENGTH - 1, b' ');
        line.push(b'\n');
        self.file.write_all_at(&line, 0)
    }
}

fn read(path: &Path) -> Option<Until> {
    serde_json::from_str(std::fs::read_to_string(path).ok()?.trim()).ok()
}

impl<P: Probes> Agent<P> {
    /// From now on it is kept until when the agent watched. What lies between an earlier agent's end and this one's start is said
    /// as a gap, and the processes of workers that began meanwhile are judged by what they are now.
    pub fn keep_interval(&mut self, state_dir: &Path) {
        let path = state_dir.join(FILE);
        let boot = self.pipeline.detector.envelope.host.boot_id.clone();
        let before = read(&path);
        if let Some(before) = &before {
            self.say_interval(before, &boot);
        }
        let file = state_dir::make(state_dir).map_err(|error| error.to_string()).and_then(|()| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)
                .map_err(|error| error.to_string())
        });
        match file {
            Ok(file) => {
                self.interval = Some(Interval::new(file, boot));
                // Until what was just found is said, the earlier time stands.
                if before.is_none() {
                    self.watched(false);
                }
            }
            Err(error) => self.say_not_written(error),
        }
    }

    fn say_interval(&mut self, before: &Until, boot: &str) {
        let same_boot = before.boot == *boot;
        // Of an earlier boot nothing runs any more: what began since the host is up was not seen.
        let from = if same_boot { before.time } else { 1 };
        let to = self.began;
        if from >= to {
            return;
        }
        let born = if same_boot { before.born.unwrap_or(from) } else { from };
        // What began before was watched for a while: it is judged again, and no part of the gap.
        let missed = self.pipeline.count_missed(from, to);
        self.pipeline.judge_missed(born, to);
        if !same_boot && missed == 0 {
            return;
        }
        let how = match (same_boot, before.stopped) {
            (false, _) => "the host was started again, and the agent later than processes of workers",
            (true, true) => "the agent was stopped and started again",
            (true, false) => {
                "the agent ended without a word (killed, or out of memory) and was started again"
            }
        };
        tracing::warn!(seconds = (to - from) / super::SECOND, missed, "{how}");
        self.pipeline.note_gap(GapReport {
            reason: "restart",
            from,
            to,
            lost: None,
            detail: format!(
                "{how}. What workers did in between was not seen; {missed} of their processes began then, still run, and are judged by \
                 what they are now (`candidate`)"
            ),
            ..GapReport::default()
        });
    }

    /// Writes down until when everything is judged and said. `stopped`: nothing comes after this.
    pub(super) fn watched(&mut self, stopped: bool) {
        if self.interval.is_none() {
            return;
        }
        // What was found is in the queue of delivery, and what arrived in the spool is counted.
        self.deliver();
        let read = self.progress.read;
        let judged = if stopped { self.pipeline.judged_at_end(read) } else { self.pipeline.judged(read) };
        let (handed, spooled) = (self.progress.handed, self.progress.spooled);
        let Some(interval) = &mut self.interval else { return };
        interval.advance(judged, handed, spooled);
        let result = interval.write(stopped);
        let was_failing = std::mem::replace(&mut interval.failing, result.is_err());
        if let Err(error) = result
            && !was_failing
        {
            self.say_not_written(error.to_string());
        }
    }

    fn say_not_written(&mut self, error: String) {
        let title = "The next start of the agent cannot say what it did not see: the time is not kept";
        tracing::warn!(error, "{title}");
        self.say_health(State::Open, Severity::Low, "watched-until", title, error);
    }
}
