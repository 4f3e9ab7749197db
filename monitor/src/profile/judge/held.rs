//! Three values: what holds, what does not, and what is not known.

/// Most unknown fields named by a certainty.
const UNKNOWN_MAX: usize = 4;

/// One field of a rule against one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tri {
    /// It does not match.
    No,
    /// It matches.
    Yes,
    /// The event does not say; the field's name.
    Unknown(&'static str),
}

impl From<bool> for Tri {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// All fields of a rule against one event. Without allocation, as most rules do not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    failed: bool,
    known: u8,
    unknown: [Option<&'static str>; UNKNOWN_MAX],
}

impl Held {
    /// Takes a field in; returns whether it is worth looking at more fields.
    pub(crate) fn and(&mut self, field: impl Into<Tri>) -> bool {
        match field.into() {
            Tri::No => self.failed = true,
            Tri::Yes => self.known = self.known.saturating_add(1),
            Tri::Unknown(name) => {
                if let Some(free) = self.unknown.iter_mut().find(|f| f.is_none() || **f == Some(name)) {
                    *free = Some(name);
                }
            }
        }
        !self.failed
    }

    /// Takes a field in that can only speak against the rule: like the role it tells nothing of the event by itself, so
    /// it does not count as a known one.
    pub(crate) fn gate(&mut self, field: impl Into<Tri>) -> bool {
        let known = self.known;
        let go_on = self.and(field);
        self.known = known;
        go_on
    }

    /// Every field is known and matches: what an allow item asks.
    pub(crate) fn holds(&self) -> bool {
        !self.failed && self.unknown[0].is_none()
    }

    /// Every known field matches, and at least one other than the role is known: what a detection asks.
    pub(crate) fn may_hold(&self) -> bool {
        !self.failed && (self.unknown[0].is_none() || self.known > 0)
    }

    /// No field speaks against it, but not all are known.
    pub(crate) fn is_open(&self) -> bool {
        !self.failed && self.unknown[0].is_some()
    }

    /// Names of the unknown fields.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.unknown.iter().copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(fields: &[Tri]) -> Held {
        let mut held = Held::default();
        for field in fields {
            held.and(*field);
        }
        held
    }

    #[test]
    fn unknown_is_not_enough_for_an_allow_and_enough_for_a_detection_with_a_known_field() {
        let h = held(&[Tri::Yes, Tri::Unknown("path")]);
        assert!(!h.holds() && h.may_hold() && h.is_open());
        assert_eq!(h.unknown().collect::<Vec<_>>(), ["path"]);
    }

    #[test]
    fn nothing_known_is_not_enough_for_a_detection() {
        assert!(!held(&[Tri::Unknown("role"), Tri::Unknown("path")]).may_hold());
    }

    #[test]
    fn a_known_mismatch_decides_whatever_else_is_unknown() {
        let h = held(&[Tri::Unknown("path"), Tri::No]);
        assert!(!h.holds() && !h.may_hold() && !h.is_open());
    }
}
