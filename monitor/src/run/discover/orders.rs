//! What the kernel's label map is told: at once, or once its rings are let go of.

use monitor_common::map::{Label, label_state};

use crate::kernel::Probes;
use crate::worker::LabelMap;

/// The kernel's label map.
pub(super) struct ProbeLabels<'a, P>(pub(super) &'a mut P);

impl<P: Probes> LabelMap for ProbeLabels<'_, P> {
    fn label(&mut self, cgroup: u64, label: Label) -> Result<(), String> {
        self.0.label_cgroup(cgroup, label).map_err(|error| error.to_string())
    }

    fn unlabel(&mut self, cgroup: u64) -> Result<(), String> {
        self.0.unlabel_cgroup(cgroup).map_err(|error| error.to_string())
    }

    fn hand_down(&mut self, cgroup: u64) -> Result<(), String> {
        self.0.hand_down(cgroup).map_err(|error| error.to_string())
    }

    fn hand_down_no_more(&mut self, cgroup: u64) -> Result<(), String> {
        self.0.hand_down_no_more(cgroup).map_err(|error| error.to_string())
    }

    fn is_pending(&self, cgroup: u64) -> bool {
        let label = self.0.cgroup_label(cgroup).ok().flatten();
        label.is_some_and(|label| label.state & label_state::KIND == label_state::PENDING)
    }

    fn settle(&mut self, cgroup: u64) -> Result<(), String> {
        self.0.settle_cgroup(cgroup).map_err(|error| error.to_string())
    }
}

/// What the kernel's label map has to be told once its rings are let go of.
#[derive(Default)]
pub(super) struct Orders(Vec<(u64, Order)>);

enum Order {
    Label(Label),
    Unlabel,
    HandDown,
    HandDownNoMore,
    Settle,
}

impl LabelMap for Orders {
    fn label(&mut self, cgroup: u64, label: Label) -> Result<(), String> {
        self.0.push((cgroup, Order::Label(label)));
        Ok(())
    }

    fn unlabel(&mut self, cgroup: u64) -> Result<(), String> {
        self.0.push((cgroup, Order::Unlabel));
        Ok(())
    }

    fn hand_down(&mut self, cgroup: u64) -> Result<(), String> {
        self.0.push((cgroup, Order::HandDown));
        Ok(())
    }

    fn hand_down_no_more(&mut self, cgroup: u64) -> Result<(), String> {
        self.0.push((cgroup, Order::HandDownNoMore));
        Ok(())
    }

    fn is_pending(&self, _: u64) -> bool {
        // They are known by their announcements.
        true
    }

    fn settle(&mut self, cgroup: u64) -> Result<(), String> {
        self.0.push((cgroup, Order::Settle));
        Ok(())
    }
}

impl Orders {
    /// Gives them; what was refused, and why.
    pub(super) fn carry_out(self, map: &mut dyn LabelMap) -> Vec<(u64, String)> {
        let mut refused = Vec::new();
        for (cgroup, order) in self.0 {
            let done = match order {
                Order::Label(label) => map.label(cgroup, label),
                Order::Unlabel => map.unlabel(cgroup),
                Order::HandDown => map.hand_down(cgroup),
                Order::HandDownNoMore => map.hand_down_no_more(cgroup),
                Order::Settle => map.settle(cgroup),
            };
            if let Err(reason) = done {
                refused.push((cgroup, reason));
            }
        }
        refused
    }
}
