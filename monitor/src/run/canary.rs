//! The canary while the agent runs: asked to act now and then, and missed when what it did is not seen.
//!
//! An open and a connect every 30 s, a fork with an exec every 5 min. What is not seen is asked for again at the next round, and
//! missed only then: a lost record, which is said as a gap, is no reason to wake anybody for a second cause.

use std::collections::BTreeMap;

use monitor_common::hook::Signal;

use super::{Agent, SECOND};
use crate::alert::{Severity, State};
use crate::control::CanaryAge;
use crate::event::BootNs;
use crate::kernel::{Act, Probes};

/// How often it opens and connects.
const TOUCH_EVERY: BootNs = 30 * SECOND;
/// How often it forks and executes.
const EXECUTE_EVERY: BootNs = 300 * SECOND;
/// How long after a round its signs may take.
const PATIENCE: BootNs = 10 * SECOND;

/// One signal that the canary gives.
#[derive(Clone, Copy, Debug)]
struct Expected {
    act: Act,
    seen: Option<BootNs>,
    /// The first round since it was seen last.
    asked: Option<BootNs>,
    said: bool,
}

/// What is expected of the canary, and when it acts next.
pub(super) struct Watch {
    signals: BTreeMap<Signal, Expected>,
    touch: BootNs,
    execute: BootNs,
    failing: bool,
}

impl Watch {
    /// Signals that are not watched on this host give no sign.
    fn new(watched: impl Fn(Signal) -> bool, now: BootNs) -> Self {
        let all = [
            (Signal::Open, Act::Touch),
            (Signal::Connect, Act::Touch),
            (Signal::Fork, Act::Execute),
            (Signal::Exec, Act::Execute),
            (Signal::Exit, Act::Execute),
        ];
        let signals = all
            .into_iter()
            .filter(|(signal, _)| watched(*signal))
            .map(|(signal, act)| (signal, Expected { act, seen: None, asked: None, said: false }))
            .collect();
        Self { signals, touch: now, execute: now, failing: false }
    }

    fn seen(&mut self, signal: Signal, time: BootNs) {
        if let Some(expected) = self.signals.get_mut(&signal) {
            expected.seen = Some(time);
            expected.asked = None;
        }
    }

    /// The acts whose time has come.
    fn due(&mut self, now: BootNs) -> Vec<Act> {
        let mut due = Vec::new();
        if now >= self.touch {
            self.touch = now.saturating_add(TOUCH_EVERY);
            due.push(Act::Touch);
        }
        // One that was not seen is asked for again with the next touch.
        let again = due.contains(&Act::Touch)
            && self.signals.values().any(|expected| expected.act == Act::Execute && expected.asked.is_some());
        if now >= self.execute || again {
            self.execute = now.saturating_add(EXECUTE_EVERY);
            due.push(Act::Execute);
        }
        for expected in self.signals.values_mut().filter(|expected| due.contains(&expected.act)) {
            expected.asked.get_or_insert(now);
        }
        due
    }

    /// Signals that have become missing (`true`) or are seen again.
    fn changes(&mut self, now: BootNs) -> Vec<(Signal, bool)> {
        let mut changes = Vec::new();
        for (signal, expected) in &mut self.signals {
            let missing = expected.is_missing(now);
            if std::mem::replace(&mut expected.said, missing) != missing {
                changes.push((*signal, missing));
            }
        }
        changes
    }

    pub(super) fn ages(&self, now: BootNs) -> BTreeMap<String, CanaryAge> {
        let age = |expected: &Expected| CanaryAge {
            seen: expected.seen,
            within: expected.every() + TOUCH_EVERY + PATIENCE,
            fresh: expected.seen.is_some() && !expected.is_missing(now),
        };
        self.signals.iter().map(|(signal, expected)| (signal.name().to_owned(), age(expected))).collect()
    }
}

impl Expected {
    fn every(&self) -> BootNs {
        match self.act {
            Act::Touch => TOUCH_EVERY,
            Act::Execute => EXECUTE_EVERY,
        }
    }

    /// It was asked for twice, and the second had its time.
    fn is_missing(&self, now: BootNs) -> bool {
        self.asked.is_some_and(|asked| now.saturating_sub(asked) >= TOUCH_EVERY + PATIENCE)
    }
}

impl<P: Probes> Agent<P> {
    /// From now on the canary acts, if the probes have one. `label` is the one it carries, `watched` tells which signals have a
    /// hook.
    pub fn watch_canary(&mut self, label: u32, watched: impl Fn(Signal) -> bool) {
        let now = crate::detect::boot_now();
        self.wants_canary = true;
        let Some(port) = self.probes.canary_port() else {
            let title = "There is no canary: nothing shows that the probes still fire";
            let detail =
                "its process could not be started; the warnings of `sandwatch doctor` say why".to_owned();
            return self.say_health(State::Open, Severity::High, "canary", title, detail);
        };
        if let Err(error) = self.pipeline.watch_canary(label, port) {
            tracing::error!(%error, "the canary's own rules");
            return;
        }
        self.canary = Some(Watch::new(watched, now));
        // The marker is watched from the first act on.
        if let Err(error) = self.set_filter() {
            self.say_filter_failed(&error);
        }
        self.canary_second(now);
    }

    /// The duties of a second.
    pub(super) fn canary_second(&mut self, now: BootNs) {
        let signs = self.pipeline.take_canary_signs();
        let Some(watch) = &mut self.canary else { return };
        for (signal, time) in signs {
            watch.seen(signal, time);
        }
        let (due, changes) = (watch.due(now), watch.changes(now));
        for act in due {
            let result = self.probes.canary_acts(act);
            let Some(watch) = &mut self.canary else { return };
            let was_failing = std::mem::replace(&mut watch.failing, result.is_err());
            if let Err(error) = result
                && !was_failing
            {
                tracing::error!(%error, "the canary does not act");
            }
        }
        for (signal, missing) in changes {
            self.say_canary(signal, missing);
        }
    }

    /// Whether every signal of the canary was seen in time; in words, why not.
    pub(super) fn canary_reasons(&self, now: BootNs) -> Vec<String> {
        let Some(watch) = &self.canary else { return Vec::new() };
        let reason = |(signal, expected): (&Signal, &Expected)| match expected.seen {
            None => Some(format!("the canary's {} was not seen yet", signal.name())),
            Some(seen) if expected.is_missing(now) => Some(format!(
                "the canary's {} was last seen {} s ago: its probe does not fire, or its records do not arrive",
                signal.name(),
                now.saturating_sub(seen) / SECOND
            )),
            Some(_) => None,
        };
        watch.signals.iter().filter_map(reason).collect()
    }

    fn say_canary(&mut self, signal: Signal, missing: bool) {
        let name = signal.name();
        let condition = format!("canary-{name}");
        if missing {
            tracing::error!(signal = name, "the canary is not seen");
            let title = format!("Blind? The agent's own {name} is not seen any more");
            let detail = format!(
                "The canary did what the probes of signal {name} have to see, twice, and no event of it came through the pipeline. \
                 Until it does, assume that the same of workers is not seen. `sandwatch status` says more; restart the agent, and \
                 look with `sandwatch doctor --fresh` whether the hook still fires."
            );
            self.say_health(State::Open, Severity::High, &condition, &title, detail);
        } else {
            tracing::info!(signal = name, "the canary is seen again");
            let title = format!("The agent's own {name} is seen again");
            self.say_health(State::Closed, Severity::Info, &condition, &title, String::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touch_comes_every_30_s_and_execute_every_5_min_from_the_first_second() {
        let mut watch = Watch::new(|_| true, 0);
        let mut acts = BTreeMap::from([('t', Vec::new()), ('x', Vec::new())]);
        for second in 0..=600 {
            for act in watch.due(second * SECOND) {
                acts.entry(char::from(act.byte())).or_default().push(second);
            }
            for signal in [Signal::Open, Signal::Connect, Signal::Fork, Signal::Exec, Signal::Exit] {
                watch.seen(signal, second * SECOND);
            }
            assert!(watch.changes(second * SECOND).is_empty());
        }
        assert_eq!(acts[&'t'][..4], [0, 30, 60, 90]);
        assert_eq!(acts[&'x'], [0, 300, 600]);
    }

    #[test]
    fn sign_that_fails_twice_is_missing_and_seen_again_once_it_comes() {
        let mut watch = Watch::new(|signal| signal != Signal::Exit, 0);
        let mut said = Vec::new();
        for second in 0..=120 {
            let now = second * SECOND;
            watch.due(now);
            watch.seen(Signal::Connect, now);
            if second >= 100 {
                watch.seen(Signal::Open, now);
            }
            said.extend(watch.changes(now).into_iter().map(|(signal, missing)| (second, signal, missing)));
        }
        assert_eq!(
            said,
            [
                (40, Signal::Fork, true),
                (40, Signal::Exec, true),
                (40, Signal::Open, true),
                (100, Signal::Open, false)
            ]
        );
        let ages = watch.ages(120 * SECOND);
        assert!(ages["open"].fresh && ages["connect"].fresh && !ages["exec"].fresh);
        assert!(!ages.contains_key("exit"), "not watched here, so nothing is expected");
    }

    #[test]
    fn one_lost_sign_is_not_missing() {
        let mut watch = Watch::new(|signal| signal == Signal::Open, 0);
        for second in 0..=200 {
            let now = second * SECOND;
            watch.due(now);
            // That of second 60 is lost.
            if [0, 30, 90, 120, 150, 180].contains(&second) {
                watch.seen(Signal::Open, now);
            }
            assert!(watch.changes(now).is_empty(), "second {second}");
        }
    }
}
