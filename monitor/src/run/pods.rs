//! Learning which pods the workers are.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Agent;
use crate::alert::{ClosedBy, Severity, State};
use crate::config::{PodsConfig, PodsFrom};
use crate::control::PodsState;
use crate::detect::boot_now;
use crate::event::BootNs;
use crate::kernel::Probes;
use crate::metadata::{Api, Fetcher, Kubelet, Pods};

/// Name of the condition on health alerts.
const CONDITION: &str = "pods-unknown";

/// The API server tells of what has changed within this. ns.
const TOLD_WITHIN: BootNs = 5_000_000_000;

/// Who is asked about pods, and what is known.
pub(super) struct Learning {
    fetcher: Fetcher,
    pods: Pods,
    /// It is told what changes, and asks nothing.
    follows: bool,
    /// It was said that nobody answers.
    pub(super) said: bool,
    /// How it went.
    state: PodsState,
}

impl Learning {
    /// The thread that asks whom the configuration names; in words why it cannot be.
    pub(super) fn start(config: &PodsConfig) -> Result<Option<Self>, String> {
        let (source, fetcher) = match config.from {
            PodsFrom::None => return Ok(None),
            PodsFrom::Kubelet => ("kubelet", Fetcher::start(Kubelet::new(config.clone()))),
            PodsFrom::Api => ("api", Fetcher::follow(Api::new(config.clone()))),
        };
        let fetcher = fetcher.map_err(|error| format!("no thread to ask for pods: {error}"))?;
        let state = PodsState { source: source.to_owned(), ..PodsState::default() };
        Ok(Some(Self {
            fetcher,
            pods: Pods::default(),
            follows: config.from == PodsFrom::Api,
            said: false,
            state,
        }))
    }

    /// Readable when an answer came.
    pub(super) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fetcher.fd()
    }
}

/// An answer came, or none did, at this time of the host's clock.
fn count(state: &mut PodsState, is_answer: bool, time: SystemTime) {
    state.attempts += 1;
    state.failures += u64::from(!is_answer);
    state.failing = !is_answer;
    if is_answer {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        state.last_success = i64::try_from(since.as_nanos()).ok();
    }
}

impl<P: Probes> Agent<P> {
    /// Asks, if a worker is in a pod that is not known.
    pub(super) fn ask_for_pods(&self) {
        if let Some(learning) = &self.learning
            // Once it was said that nobody answers, it is to be said when that is over.
            && (learning.said || self.pipeline.wants_pods(boot_now()))
        {
            learning.fetcher.ask();
        }
    }

    /// What the API server told so far is how things are, until it tells something else: nothing comes of who is not there.
    pub(super) fn pods_followed(&mut self, now: BootNs) {
        if let Some(learning) = &self.learning
            && learning.follows
            && learning.state.last_success.is_some()
            && !learning.state.failing
            && self.pipeline.wants_pods(now)
        {
            self.pipeline.pods_known(&learning.pods, now.saturating_sub(TOLD_WITHIN), now);
        }
    }

    /// Takes the answers that came.
    pub(super) fn pods_answered(&mut self) {
        let now = boot_now();
        while let Some((asked, answer)) =
            self.learning.as_ref().and_then(|learning| learning.fetcher.answer())
        {
            if let Some(learning) = &mut self.learning {
                count(&mut learning.state, answer.is_ok(), SystemTime::now());
            }
            match answer {
                Ok(list) => {
                    self.say_pods(None, now);
                    if let Some(learning) = &mut self.learning {
                        learning.pods.update(list);
                        self.pipeline.pods_known(&learning.pods, asked, now);
                    }
                }
                Err(why) => {
                    self.pipeline.pods_unknown();
                    self.say_pods(Some(&why), now);
                }
            }
        }
    }

    /// How it goes with what is asked.
    pub(super) fn pods_state(&self, now: u64) -> Option<PodsState> {
        let learning = self.learning.as_ref()?;
        let (unknown, oldest_unknown) = self.pipeline.unknown_pods(now);
        Some(PodsState { unknown, oldest_unknown, ..learning.state.clone() })
    }

    /// Says once that pods cannot be learnt, and once that they can again.
    pub(super) fn say_pods(&mut self, why_not: Option<&str>, now: u64) {
        let Some(learning) = &mut self.learning else { return };
        if learning.said == why_not.is_some() {
            return;
        }
        learning.said = why_not.is_some();
        self.pods_notice(why_not, now);
    }

    pub(super) fn pods_notice(&mut self, why_not: Option<&str>, now: u64) {
        let (state, title) = match why_not {
            Some(_) => (
                State::Open,
                "The pods of this node cannot be learnt: profiles are chosen without their labels and images",
            ),
            None => (State::Closed, "The pods of this node are known again"),
        };
        tracing::warn!(why = why_not, "{title}");
        let envelope = &self.pipeline.detector.envelope;
        let detail = why_not.unwrap_or_default().to_owned();
        let mut alert = envelope.health(Severity::Medium, state, now, CONDITION, title.to_owned(), detail);
        if state == State::Closed {
            alert.closed_by = Some(ClosedBy::Recovered);
        }
        self.pipeline.say(alert);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn failures_are_attempts_too_and_the_last_success_stays_over_them() {
        let mut state = PodsState::default();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        count(&mut state, false, at(1));
        assert_eq!((state.attempts, state.failures, state.failing, state.last_success), (1, 1, true, None));
        count(&mut state, true, at(2));
        assert!(!state.failing);
        count(&mut state, false, at(3));
        let last = Some(2_000_000_000);
        assert_eq!((state.attempts, state.failures, state.failing, state.last_success), (3, 2, true, last));
    }
}
