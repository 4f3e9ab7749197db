//! Where alerts go: brokers and topic, checked before anything is read from a file.

use std::net::IpAddr;

use crate::config::{Sasl, SinkConfig, TlsConfig};
use crate::sink::net::NetError;
use crate::sink::net::address::HostPort;

/// Before the address of a broker that speaks TLS.
const TLS: &str = "tls://";

/// Brokers and topic.
pub(super) struct Route {
    /// Those that are asked first, for the rest of them.
    pub(super) brokers: Vec<HostPort>,
    /// Whether they are reached with TLS.
    pub(super) secure: bool,
    pub(super) topic: String,
}

impl Route {
    /// What the configuration says, as far as it can be wrong by itself.
    ///
    /// # Errors
    /// The key, and what to do.
    pub(super) fn of(config: &SinkConfig) -> Result<Self, NetError> {
        let topic = config.topic.clone().unwrap_or_default();
        let legal = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
        if topic.is_empty() || topic.len() > 249 || !topic.chars().all(legal) {
            return Err(NetError::key("topic", format!("{topic:?} is not the name of a topic")));
        }
        let route = Self { brokers: brokers(config)?, secure: secure(config)?, topic };
        route.tls(&config.tls)?;
        route.login(config)?;
        Ok(route)
    }

    fn tls(&self, tls: &TlsConfig) -> Result<(), NetError> {
        if *tls != TlsConfig::default() && !self.secure {
            return Err(NetError::key("tls", "needs brokers that begin with tls://"));
        }
        if tls.server_name.is_some() {
            return Err(NetError::key(
                "tls.server_name",
                "is not for kafka, where each broker has its own name; leave it out, and name brokers as their certificates do",
            ));
        }
        Ok(())
    }

    fn login(&self, config: &SinkConfig) -> Result<(), NetError> {
        let key = config.key_file.is_some() || config.key_env.is_some();
        match (&config.user, config.sasl) {
            (None, None) if !key => Ok(()),
            (None, _) => {
                Err(NetError::key("user", "is missing: `sasl` and the key are for logging in as one"))
            }
            (Some(_), None) => Err(NetError::key(
                "sasl",
                "is missing: write plain, scram-sha-256 or scram-sha-512, as the broker has it for this user",
            )),
            (Some(_), Some(_)) if !key => {
                Err(NetError::key("user", "has no password: give `key_file` or `key_env`"))
            }
            (Some(user), _) if user.is_empty() || user.chars().any(char::is_control) => {
                Err(NetError::key("user", "is not the name of a user"))
            }
            (Some(_), Some(Sasl::Plain)) if !self.secure && !self.on_loopback() => Err(NetError::key(
                "sasl",
                "plain would send the password for everybody on the way to read; write tls:// before the brokers, or use scram-sha-512",
            )),
            (Some(_), Some(_)) => Ok(()),
        }
    }

    fn on_loopback(&self) -> bool {
        let near = |host: &str| {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        self.brokers.iter().all(|broker| near(&broker.host))
    }

    /// The brokers as librdkafka takes them.
    pub(super) fn servers(&self) -> String {
        self.brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// For logs and errors.
    pub(super) fn shown(&self) -> String {
        let before = if self.secure { TLS } else { "" };
        let brokers = self.brokers.iter().map(|broker| format!("{before}{broker}"));
        format!("{} ({})", brokers.collect::<Vec<_>>().join(","), self.topic)
    }
}

fn brokers(config: &SinkConfig) -> Result<Vec<HostPort>, NetError> {
    if config.brokers.is_empty() {
        return Err(NetError::key("brokers", "is missing: a list of HOST:PORT or tls://HOST:PORT"));
    }
    let parse = |broker: &String| {
        HostPort::parse(broker.strip_prefix(TLS).unwrap_or(broker))
            .map_err(|what| NetError::key("brokers", format!("{what} or tls://HOST:PORT")))
    };
    config.brokers.iter().map(parse).collect()
}

fn secure(config: &SinkConfig) -> Result<bool, NetError> {
    let with = config.brokers.iter().filter(|broker| broker.starts_with(TLS)).count();
    if with > 0 && with < config.brokers.len() {
        return Err(NetError::key(
            "brokers",
            "some begin with tls:// and some do not; all of them must, or none",
        ));
    }
    Ok(with > 0)
}
