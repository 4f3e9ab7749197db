//! What librdkafka says, in words that say what to do. Its messages only say that they took too long; what goes wrong on the way to
//! the brokers it tells beside them, in texts.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::delivery::Secret;
use crate::sink::net::address::HostPort;
use crate::sink::net::answer::excerpt;

/// A connection that a broker cuts so soon (ms) never was to its liking.
const FRESH: u32 = 2000;

/// Something that went wrong, without secrets.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) code: Code,
    pub(super) text: String,
}

impl Trouble {
    /// Whether no message can have been on that connection.
    pub(super) fn is_before_anything_was_sent(&self) -> bool {
        matches!(self.code, Code::Resolve | Code::SSL | Code::Authentication)
            || self.text.contains("Connect to ")
            || self.text.contains("Failed to connect to broker")
            || self.text.contains("in state SSL_HANDSHAKE")
            || self.text.contains("SSL alert")
    }

    /// Whether a broker was reached, and it or we want nothing of the other: that does not change by trying again.
    pub(super) fn is_final(&self) -> bool {
        // One and the same refusal of a certificate is told with either code, as it was noticed.
        matches!(self.code, Code::SSL | Code::Authentication)
            || self.is_certificate()
            || self.text.contains("SSL alert")
    }

    /// Whether it is the broker's certificate that is not accepted.
    pub(super) fn is_certificate(&self) -> bool {
        self.text.contains("certificate verify failed") || self.text.contains("Failed to verify broker")
    }

    /// The broker that it is about: `ssl://HOST:PORT/NUMBER: …`, without TLS and login `HOST:PORT/NUMBER: …`.
    pub(super) fn broker(&self) -> Option<HostPort> {
        let (name, _) = self.text.split_once(": ")?;
        let name = name.split_once("://").map_or(name, |(_, rest)| rest);
        HostPort::parse(name.split('/').next()?).ok()
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        let what = excerpt(&self.what());
        match self.broker() {
            Some(broker) => format!("{broker}: {what}"),
            None => what,
        }
    }

    /// Without the broker before it and how long it took behind it.
    fn bare(&self) -> &str {
        let named = self.text.split_once(": ").filter(|_| self.broker().is_some());
        let text = named.map_or(&*self.text, |(_, rest)| rest);
        text.rsplit_once(" (after ").map_or(text, |(before, _)| before)
    }

    fn what(&self) -> String {
        let text = self.bare();
        let has = |part: &str| text.contains(part);
        if self.code == Code::Resolve || has("Failed to resolve") {
            let why = text.rsplit(": ").next().unwrap_or_default();
            return format!("the name does not resolve ({why})");
        }
        if has("Connection refused") {
            return "connection refused: nobody listens there".to_owned();
        }
        if let Some((_, why)) =
            text.split_once("Connect to ").or_else(|| text.split_once("Failed to connect to broker"))
        {
            return format!("cannot be connected to: {}", why.rsplit(": ").next().unwrap_or_default());
        }
        if has("alert certificate required") {
            return "the broker asks for a client certificate: set `tls.cert_file` and `tls.key_file`"
                .to_owned();
        }
        if let Some((_, alert)) = text.split_once(" alert ").filter(|_| has("SSL alert number")) {
            let alert = alert.split(':').next().unwrap_or_default();
            // A signature that does not fit is how an authority of the same name is found out.
            let ours = ["certificate", "unknown ca", "decrypt error", "access denied"];
            return if ours.iter().any(|part| alert.contains(part)) {
                format!("the broker refuses our certificate ({alert}): see `tls.cert_file`")
            } else {
                format!("the broker ended TLS: {alert}")
            };
        }
        if has("wrong version number")
            || has("connecting to a PLAINTEXT broker")
            || has("packet length too long")
        {
            return "the broker does not speak TLS on this port".to_owned();
        }
        if has("Unsupported SASL mechanism") {
            return format!("the broker has no login of that kind: see `sasl` ({})", last(text));
        }
        if self.code == Code::Authentication {
            return format!(
                "the broker does not accept the login: see `user`, `sasl` and the key ({})",
                last(text)
            );
        }
        if has("setup timed out in state SSL_HANDSHAKE") {
            return "no answer in time: does it speak TLS on this port?".to_owned();
        }
        if has("timed out: disconnect")
            || has("setup timed out")
            || has("ApiVersionRequest failed: Local: Timed out")
        {
            return "no answer in time: it accepts connections, and says nothing".to_owned();
        }
        if has("Disconnected") || has("Receive failed") || has("Send failed") {
            return format!("the connection was cut{} ({text})", self.wanted());
        }
        text.to_owned()
    }
}

impl Trouble {
    /// What a broker may want that cuts connections: it has no other way to say so.
    fn wanted(&self) -> &'static str {
        let protocol = self.text.split_once("://").map_or("plaintext", |(protocol, _)| protocol);
        let age = self.text.split_once(" (after ").and_then(|(_, rest)| rest.split_once("ms in state UP"));
        let fresh = age.and_then(|(age, _)| age.parse::<u32>().ok()).is_some_and(|age| age < FRESH);
        if self.text.contains("in state APIVERSION_QUERY") && !protocol.ends_with("ssl") {
            ": if it wants TLS, write tls:// before its address"
        } else if fresh && !protocol.starts_with("sasl") {
            ": if it wants a login, set `user`, `sasl` and `key_file`"
        } else {
            ""
        }
    }
}

/// What a message was not taken for.
pub(super) fn of_code(code: Code, topic: &str) -> String {
    let said = said(code);
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            format!("the topic {topic} does not exist: create it, or correct `topic` ({said})")
        }
        Code::TopicAuthorizationFailed => format!(
            "the agent may not write to the topic {topic}: allow its user Write and Describe there ({said})"
        ),
        Code::ClusterAuthorizationFailed => format!(
            "the agent may not be an idempotent producer: allow its user IdempotentWrite on the cluster ({said})"
        ),
        Code::MessageSizeTooLarge => format!(
            "larger than the broker takes: lower `max_bytes`, or raise the topic's max.message.bytes ({said})"
        ),
        _ => said,
    }
}

/// The description that librdkafka has of an error, without the name before it.
pub(super) fn said(code: Code) -> String {
    let text = code.to_string();
    let description = text.split_once(" (").and_then(|(_, rest)| rest.strip_suffix(')'));
    description.map(str::to_owned).unwrap_or(text)
}

/// A text of a stranger without our secret.
pub(super) fn without_secret(text: &str, hidden: Option<&Secret>) -> String {
    let hidden = hidden.map(Secret::expose).filter(|secret| secret.len() >= 4);
    hidden.map_or_else(|| text.to_owned(), |secret| text.replace(secret, "…"))
}

/// Its beginning, and harmless to print.
pub(super) fn harmless(text: &str, hidden: Option<&Secret>) -> String {
    excerpt(&without_secret(text, hidden))
}

fn last(text: &str) -> &str {
    text.splitn(3, ": ").last().unwrap_or_default()
}
