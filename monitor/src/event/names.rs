//! How values of the wire crate, which knows no serde, are written in recordings: by the name users see.

/// Whether a field can be left out of a recording.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A rung by its name.
pub(super) mod rung {
    use monitor_common::hook::Rung;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::event) fn serialize<S: Serializer>(rung: &Rung, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(rung.name())
    }

    pub(in crate::event) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Rung, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Rung::ALL.iter().copied().find(|rung| rung.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Rung::ALL.iter().map(|rung| rung.name()).collect();
            de::Error::custom(format!("unknown rung `{name}`; there are: {}", known.join(", ")))
        })
    }
}
