//! What a site states of a worker and no rule can know: where its engine's database is, whether cloud credentials are
//! meant to be there. Rules use them as `$name`; a fact that nobody stated matches nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::pattern::canonical;

/// Why a fact was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "fact `{name}`: `{value}` is neither true or false nor an address; write `10.0.0.5`, `10.0.0.0/24`, `10.0.0.5:5432` or `[fd00::5]:5432`"
)]
pub struct FactError {
    /// Name of the fact.
    pub name: String,
    /// The value that is no value of a fact.
    pub value: String,
}

/// Where something is: a network, and a port if the site gave one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    network: IpNet,
    port: Option<u16>,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    Truth(bool),
    Places(Box<[Place]>),
}

/// The facts of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(BTreeMap<Arc<str>, Fact>);

impl Facts {
    /// No fact is stated.
    pub const NONE: &'static Self = &Self(BTreeMap::new());

    /// The facts as they are written: `true`, `false`, or addresses.
    ///
    /// # Errors
    /// The first value that is neither.
    pub fn new<'a, V: IntoIterator<Item = &'a String>>(
        stated: impl IntoIterator<Item = (&'a String, V)>,
    ) -> Result<Self, FactError> {
        let mut all = BTreeMap::new();
        for (name, values) in stated {
            let values: Vec<&String> = values.into_iter().collect();
            let fact = match values.as_slice() {
                [one] if *one == "true" => Fact::Truth(true),
                [one] if *one == "false" => Fact::Truth(false),
                many => Fact::Places(
                    many.iter()
                        .map(|value| {
                            place(value)
                                .ok_or_else(|| FactError { name: name.clone(), value: (*value).clone() })
                        })
                        .collect::<Result<_, _>>()?,
                ),
            };
            all.insert(Arc::from(name.as_str()), fact);
        }
        Ok(Self(all))
    }

    /// Whether the fact is stated, and not as false.
    pub fn holds(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Fact::Truth(truth)) => *truth,
            Some(Fact::Places(places)) => !places.is_empty(),
            None => false,
        }
    }

    /// Whether the fact is a place that this (canonical) address and port belong to.
    pub fn is_at(&self, name: &str, address: IpAddr, port: u16) -> bool {
        let Some(Fact::Places(places)) = self.0.get(name) else { return false };
        places.iter().any(|p| p.network.contains(&address) && p.port.is_none_or(|own| own == port))
    }

    /// Whether it is stated at all.
    pub fn states(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The facts as they are written.
    pub fn written(&self) -> BTreeMap<String, Vec<String>> {
        let text = |fact: &Fact| match fact {
            Fact::Truth(truth) => vec![truth.to_string()],
            Fact::Places(places) => places.iter().map(Place::written).collect(),
        };
        self.0.iter().map(|(name, fact)| (name.to_string(), text(fact))).collect()
    }

    /// Names of the facts that are stated.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

impl Place {
    fn written(&self) -> String {
        match self.port {
            None => self.network.to_string(),
            Some(port) => std::net::SocketAddr::new(self.network.addr(), port).to_string(),
        }
    }
}

fn place(text: &str) -> Option<Place> {
    let host = |address: IpAddr| IpNet::from(canonical(address));
    if let Ok(network) = text.parse::<IpNet>() {
        return Some(Place { network, port: None });
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Place { network: host(address), port: None });
    }
    let socket: std::net::SocketAddr = text.parse().ok()?;
    Some(Place { network: host(socket.ip()), port: Some(socket.port()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &[&str])]) -> Result<Facts, FactError> {
        let owned: Vec<(String, Vec<String>)> = pairs
            .iter()
            .map(|(name, values)| ((*name).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()))
            .collect();
        Facts::new(owned.iter().map(|(name, values)| (name, values)))
    }

    #[test]
    fn a_place_is_matched_with_its_port_if_it_has_one() {
        let facts = facts(&[("db", &["10.0.0.5:5432", "fd00::/64"])]).unwrap();
        let at = |address: &str, port| facts.is_at("db", address.parse().unwrap(), port);
        assert!(at("10.0.0.5", 5432) && at("fd00::9", 1));
        assert!(!at("10.0.0.5", 22) && !at("10.0.0.6", 5432));
        assert!(!facts.is_at("other", "10.0.0.5".parse().unwrap(), 5432));
    }

    #[test]
    fn a_fact_holds_when_it_is_stated_and_not_false() {
        let facts = facts(&[("cloud", &["true"]), ("no", &["false"]), ("db", &["10.0.0.5"])]).unwrap();
        assert!(facts.holds("cloud") && facts.holds("db"));
        assert!(!facts.holds("no") && !facts.holds("unset"));
    }

    #[test]
    fn facts_are_written_as_they_are_read() {
        let before = facts(&[("db", &["10.0.0.5:5432", "fd00::/64", "[fd00::1]:9"]), ("cloud", &["true"])]);
        let before = before.unwrap();
        let written = before.written();
        assert_eq!(Facts::new(&written).unwrap(), before);
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        let error = facts(&[("db", &["db.internal"])]).unwrap_err();
        assert!(error.to_string().contains("`db`") && error.to_string().contains("db.internal"));
    }
}
