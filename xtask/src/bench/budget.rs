//! The measured things, what they may cost, and what was measured.

use serde::{Deserialize, Serialize};

/// Which hooks carry the measured signals: budgets differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RungClass {
    /// Tracepoints on system calls.
    Tracepoint,
    /// LSM, fentry, kprobe.
    Function,
}

/// Above or below.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Budget {
    /// Whether a value keeps to it.
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    /// As it stands in the table.
    pub(crate) fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

/// A ratio of times with and without the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) what: String,
    /// Median nanoseconds an operation takes without the agent, and with it.
    pub(crate) off_ns: f64,
    pub(crate) on_ns: f64,
    /// Median over median.
    pub(crate) ratio: f64,
    /// Lowest and highest ratio of a single alternation.
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) budget: Option<Budget>,
}

/// A number with a unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) budget: Option<Budget>,
}

/// Cost of one hook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hook {
    pub(crate) program: String,
    pub(crate) runs: u64,
    pub(crate) ns_each: f64,
}

/// A measurement that could not be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) kernel: String,
    pub(crate) cpus: usize,
    pub(crate) cpu_model: String,
    pub(crate) memory_mib: u64,
    pub(crate) virtual_machine: bool,
    pub(crate) hooks: String,
    /// `signal: rung` as the agent took them.
    pub(crate) rungs: Vec<(String, String)>,
    pub(crate) class: RungClass,
    pub(crate) alternations: usize,
    /// Load of the machine before the first measurement: above 0.5 others were busy too.
    pub(crate) load_before: f64,
}

/// Everything that one bench run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) place: Place,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) values: Vec<Value>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) missing: Vec<Missing>,
}

impl Report {
    /// Budgets that were not met, in words.
    pub(crate) fn missed(&self) -> Vec<String> {
        let ratios = self.ratios.iter().filter_map(|r| missed(&r.what, r.ratio, r.budget));
        let values = self.values.iter().filter_map(|v| missed(&v.what, v.value, v.budget));
        ratios.chain(values).collect()
    }
}

fn missed(what: &str, value: f64, budget: Option<Budget>) -> Option<String> {
    let budget = budget.filter(|budget| !budget.holds(value))?;
    let (Budget::AtMost(limit) | Budget::AtLeast(limit)) = budget;
    let by = (value / limit - 1.0).abs() * 100.0;
    Some(format!("{what}: {} is missed by {by:.0} % ({value:.2})", budget.text()))
}

#[cfg(test)]
mod tests {
    use super::{Budget, missed};

    #[test]
    fn budgets_hold_on_their_edge_and_misses_say_by_how_much() {
        assert!(Budget::AtMost(1.1).holds(1.1));
        assert!(!Budget::AtLeast(600.0).holds(599.0));
        assert_eq!(missed("x", 1.0, Some(Budget::AtMost(1.1))), None);
        assert_eq!(
            missed("x", 2.2, Some(Budget::AtMost(1.1))).as_deref(),
            Some("x: ≤ 1.1 is missed by 100 % (2.20)")
        );
        assert_eq!(missed("x", 2.2, None), None);
    }
}
