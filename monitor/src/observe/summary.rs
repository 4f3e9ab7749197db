//! The line a run ends with.

use std::fmt;

use crate::kernel::Counters;

/// What became of the events of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events of workers that the probes saw.
    pub seen: u64,
    /// Sent to the agent.
    pub sent: u64,
    /// Of no interest (paths nobody watches, …), and the second halves of double reports.
    pub filtered: u64,
    /// Lost: the ring buffer was full, the worker was over its budget, or a probe could not finish.
    pub lost: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Alerts that a sink had to drop.
    pub dropped: u64,
}

impl Summary {
    /// From the probes' counters.
    pub fn of(counters: &Counters) -> Self {
        let total = counters.total();
        Self {
            seen: total.hits,
            sent: total.sent,
            filtered: total.filtered + total.folded,
            lost: total.lost + total.throttled + total.error,
            ..Self::default()
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seen, sent, filtered, lost, alerts, dropped } = self;
        write!(
            f,
            "events: {seen} seen, {sent} sent, {filtered} filtered, {lost} lost; alerts: {alerts} raised"
        )?;
        if *dropped > 0 { write!(f, ", {dropped} dropped") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_every_fate() {
        let summary = Summary { seen: 10, sent: 4, filtered: 5, lost: 1, alerts: 2, dropped: 0 };
        assert_eq!(summary.to_string(), "events: 10 seen, 4 sent, 5 filtered, 1 lost; alerts: 2 raised");
        let summary = Summary { dropped: 3, ..summary };
        assert!(summary.to_string().ends_with("2 raised, 3 dropped"));
    }
}
