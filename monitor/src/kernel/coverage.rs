//! What is watched through which rung, why not through a better one, and what is not seen: the data of `sandwatch doctor`.

use std::time::Duration;

use monitor_common::hook::{Rung, Signal};
use serde::{Serialize, Serializer};

use super::host::Host;
use crate::ledger::Hash;

/// The coverage of this host.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// All of it in one word.
    pub level: Level,
    /// Per signal.
    pub signals: Vec<SignalCoverage>,
    /// What the host offers.
    pub host: Host,
    /// Things that went wrong and do not stop the agent.
    pub warnings: Vec<String>,
    /// Every program that was loaded or tried.
    pub programs: Vec<ProgramReport>,
    /// From the start to the moment the last canary was seen.
    #[serde(serialize_with = "milliseconds", rename = "start_ms")]
    pub start: Duration,
}

impl Coverage {
    /// The level, and a digest of which rung each signal is seen through and with which gaps: `partial:1f0c9b7a5d3e2810`.
    pub fn mark(&self) -> String {
        let mut text = String::new();
        for signal in &self.signals {
            let gaps: Vec<&str> = signal.gaps.iter().map(|gap| gap.name).collect();
            text.push_str(&format!(
                "{} {} {}\n",
                signal.signal.name(),
                signal.rung.map_or("-", Rung::name),
                gaps.join(",")
            ));
        }
        let mut digest = Hash::of(text.as_bytes()).to_string();
        digest.truncate(16);
        format!("{}:{digest}", self.level.name())
    }
}

/// How much is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No signal.
    None,
    /// Some signals, or all and an action can succeed unseen.
    Partial,
    /// All signals, and no gap through which an action can succeed unseen.
    Full,
}

impl Level {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Full => "full",
        }
    }
}

/// The coverage of one signal.
#[derive(Clone, Debug, Serialize)]
pub struct SignalCoverage {
    /// The signal.
    #[serde(serialize_with = "signal_name")]
    pub signal: Signal,
    /// The rung taken; `None`: not watched.
    #[serde(serialize_with = "rung_name")]
    pub rung: Option<Rung>,
    /// The rungs that were considered, from the best.
    pub attempts: Vec<Attempt>,
    /// What the rung taken is known not to see, or not to say.
    pub gaps: Vec<KnownGap>,
}

/// One rung that was considered for a signal.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// The rung.
    #[serde(serialize_with = "one_rung_name")]
    pub rung: Rung,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, in words; empty for the rung taken.
    pub reason: String,
}

/// What became of a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The canary was seen through it.
    Taken,
    /// The kernel, a missing offset or the configuration rules it out before loading.
    Unavailable,
    /// The verifier or the kernel refused a program.
    LoadFailed,
    /// A program was loaded, but could not be attached.
    AttachFailed,
    /// Attached, and the canary was not seen: the hook does not fire.
    NotSeen,
    /// Below the rung taken: not tried.
    NotNeeded,
}

/// Something that is known not to be seen on a rung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownGap {
    /// Name, stable (`ia32`, `fd-race`, …).
    pub name: &'static str,
    /// How much it matters.
    pub weight: GapWeight,
    /// What is not seen.
    pub what: String,
    /// What would close it.
    pub closes: String,
}

/// How much a gap matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapWeight {
    /// An action can succeed unseen, or be seen as another.
    Blind,
    /// Every action that succeeds is seen; something about it, or failed attempts, is not.
    Detail,
}

/// One BPF program on this kernel.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramReport {
    /// Its name.
    pub name: &'static str,
    /// Its rung.
    #[serde(serialize_with = "one_rung_name")]
    pub rung: Rung,
    /// Whether it is attached now.
    pub attached: bool,
    /// Time the kernel took to verify and load it.
    #[serde(serialize_with = "milliseconds", rename = "load_ms")]
    pub load: Duration,
    /// Instructions the verifier walked (kernels >= 5.16).
    pub verified_instructions: Option<u32>,
    /// Bytes after translation.
    pub translated_bytes: Option<u32>,
    /// Bytes of machine code.
    pub jited_bytes: u32,
    /// Why it is not loaded or attached, with the tail of the verifier's log.
    pub error: Option<String>,
}

impl Level {
    /// The level of a set of signals.
    pub(crate) fn of(signals: &[SignalCoverage]) -> Self {
        let blind = |entry: &SignalCoverage| entry.gaps.iter().any(|gap| gap.weight == GapWeight::Blind);
        if signals.iter().all(|entry| entry.rung.is_none()) {
            Self::None
        } else if signals.iter().any(|entry| entry.rung.is_none() || blind(entry)) {
            Self::Partial
        } else {
            Self::Full
        }
    }
}

impl Coverage {
    /// Why each signal without a rung has none, a line each.
    pub(crate) fn unwatched(&self) -> String {
        let mut text = String::new();
        for entry in self.signals.iter().filter(|entry| entry.rung.is_none()) {
            for attempt in &entry.attempts {
                text.push_str(&format!(
                    "  {} through {}: {}\n",
                    entry.signal.name(),
                    attempt.rung.name(),
                    attempt.reason
                ));
            }
        }
        text
    }

    /// The entry of a signal.
    pub fn signal(&self, signal: Signal) -> Option<&SignalCoverage> {
        self.signals.iter().find(|entry| entry.signal == signal)
    }
}

fn signal_name<S: Serializer>(signal: &Signal, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(signal.name())
}

fn one_rung_name<S: Serializer>(rung: &Rung, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(rung.name())
}

fn rung_name<S: Serializer>(rung: &Option<Rung>, to: S) -> Result<S::Ok, S::Error> {
    rung.map(Rung::name).serialize(to)
}

fn milliseconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(rung: Option<Rung>, weights: &[GapWeight]) -> SignalCoverage {
        let gap = |weight: &GapWeight| KnownGap {
            name: "gap",
            weight: *weight,
            what: String::new(),
            closes: String::new(),
        };
        SignalCoverage {
            signal: Signal::Open,
            rung,
            attempts: Vec::new(),
            gaps: weights.iter().map(gap).collect(),
        }
    }

    #[test]
    fn coverage_level_is_full_with_details_missing_and_partial_with_a_blind_gap() {
        let seen = signal(Some(Rung::Lsm), &[GapWeight::Detail]);
        let blind = signal(Some(Rung::Tracepoint), &[GapWeight::Blind]);
        let none = signal(None, &[]);
        assert_eq!(Level::of(std::slice::from_ref(&seen)), Level::Full);
        assert_eq!(Level::of(&[seen.clone(), blind]), Level::Partial);
        assert_eq!(Level::of(&[seen, none.clone()]), Level::Partial);
        assert_eq!(Level::of(&[none]), Level::None);
    }
}
