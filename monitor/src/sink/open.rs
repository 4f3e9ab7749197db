//! From a sink's configuration to the transport that sends its alerts.

use super::elasticsearch::Elasticsearch;
use super::http::Http;
use super::net::NetError;
use super::otlp::Otlp;
use super::splunk::Splunk;
use super::syslog::Syslog;
use super::webhook::Webhook;
use crate::config::{SinkConfig, SinkKind};
use crate::delivery::Transport;

/// The transport of a sink that goes over a network. Connects to nothing yet.
///
/// # Errors
/// A key cannot be used, or a file cannot be read; or the sink is of another kind.
pub fn network(config: &SinkConfig) -> Result<Box<dyn Transport>, NetError> {
    Ok(match config.kind {
        SinkKind::Syslog => Box::new(Syslog::open(config)?),
        SinkKind::Http => Box::new(Http::open(config)?),
        SinkKind::Elasticsearch => Box::new(Elasticsearch::open(config)?),
        SinkKind::Splunk => Box::new(Splunk::open(config)?),
        SinkKind::Otlp => Box::new(Otlp::open(config)?),
        SinkKind::Kafka => kafka(config)?,
        SinkKind::Webhook => Box::new(Webhook::open(config)?),
        SinkKind::Stdout | SinkKind::File => return Err(NetError::key("type", "goes over no network")),
        SinkKind::Pagerduty | SinkKind::Alertmanager | SinkKind::Slack => {
            return Err(NetError::key("type", "is no log: people are told through it"));
        }
    })
}

#[cfg(feature = "kafka")]
fn kafka(config: &SinkConfig) -> Result<Box<dyn Transport>, NetError> {
    Ok(Box::new(super::kafka::Kafka::open(config)?))
}

#[cfg(not(feature = "kafka"))]
fn kafka(_: &SinkConfig) -> Result<Box<dyn Transport>, NetError> {
    Err(NetError::key("type", "this build has no kafka; build with `--features kafka`"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    const PAGE: &str = include_str!("../../../docs/sinks.md");

    fn documented() -> Vec<SinkConfig> {
        let blocks = PAGE.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        blocks
            .flat_map(|block| {
                let config = config::parse(Path::new("sinks.md"), block);
                config.unwrap_or_else(|error| panic!("{error}\n{block}")).sinks
            })
            .collect()
    }

    #[test]
    fn every_configuration_of_the_page_is_understood_and_every_type_has_one() {
        let documented = documented();
        for kind in [
            SinkKind::Syslog,
            SinkKind::Http,
            SinkKind::Elasticsearch,
            SinkKind::Splunk,
            SinkKind::Otlp,
            SinkKind::Kafka,
        ] {
            assert!(documented.iter().any(|sink| sink.kind == kind), "{} has no example", kind.name());
            assert!(PAGE.contains(&format!("\n## {}\n", kind.name())), "{} has no section", kind.name());
        }
    }

    #[test]
    fn every_configuration_of_the_page_opens_once_its_files_are_there() {
        for mut sink in documented() {
            // Files of the reader's machine.
            (sink.key_file, sink.key_env) = (None, sink.key_file.map(|_| "PATH".to_owned()));
            sink.header_files.clear();
            sink.tls = config::TlsConfig::default();
            match network(&sink) {
                Ok(transport) => assert!(!transport.target().is_empty()),
                Err(error) => {
                    assert!(sink.kind == SinkKind::Kafka && cfg!(not(feature = "kafka")), "{error}")
                }
            }
        }
    }

    #[test]
    fn an_alert_is_not_larger_than_the_receivers_of_its_type_take_unless_told_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        std::fs::write(&key, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = key.display();
        let whole = crate::alert::MAX_ALERT;
        for (keys, most) in [
            // With its header: 8000.
            ("type: syslog, address: \"tcp://h:1\"".to_owned(), 7600),
            ("type: syslog, address: \"unix:///dev/log\"".to_owned(), 7600),
            ("type: syslog, address: \"udp://h:1\"".to_owned(), 1250),
            // With its envelope.
            (format!("type: webhook, url: \"http://h/\", key_file: {key}"), 20_000),
            (format!("type: webhook, url: \"http://h/\", key_file: {key}, max_bytes: 1MiB"), 20_000),
            (format!("type: splunk, url: \"http://h/\", key_file: {key}"), whole),
            ("type: http, url: \"http://h/\"".to_owned(), whole),
            ("type: http, url: \"http://h/\", max_bytes: 4KiB".to_owned(), 4096),
            ("type: elasticsearch, url: \"http://h/\"".to_owned(), whole),
            ("type: otlp, url: \"http://h/\"".to_owned(), whole),
            // With its attributes.
            ("type: otlp, url: \"http://h/\", max_bytes: 64KiB".to_owned(), whole - 4096),
            ("type: otlp, url: \"http://h/\", max_bytes: 1400B".to_owned(), 1250),
        ] {
            let text = format!("schema: sandwatch/config/v1\nsinks: [{{ name: a, {keys} }}]\n");
            let config = config::parse(Path::new("t"), &text).unwrap_or_else(|error| panic!("{error}"));
            let limits = network(&config.sinks[0]).unwrap().limits();
            assert_eq!(limits.max_bytes, most, "{keys}");
            assert!(limits.bytes >= limits.max_bytes, "{keys}");
        }
    }

    #[test]
    fn a_sink_without_what_it_needs_is_refused_by_the_configuration() {
        let refused = |sink: &str| {
            let text = format!("schema: sandwatch/config/v1\nsinks: [{{ name: a, {sink} }}]\n");
            config::parse(Path::new("t"), &text).unwrap_err().to_string()
        };
        for (sink, word) in [
            ("type: syslog", "no address"),
            ("type: http", "no url"),
            ("type: elasticsearch", "no url"),
            ("type: splunk, url: \"http://h/\"", "no key_file"),
            ("type: otlp", "no url"),
            ("type: kafka, brokers: [\"h:1\"]", "no topic"),
            ("type: http, url: \"http://h/\", index: a", "takes no `index`"),
            ("type: syslog, address: \"udp://h:1\", gzip: true", "takes no `gzip`"),
            ("type: syslog, address: \"udp://h:1\", max_bytes: 500B", "less than 1400 bytes"),
            ("type: elasticsearch, url: \"http://h/\", max_bytes: 1400B", "less than 4096 bytes"),
        ] {
            assert!(refused(sink).contains(word), "{}", refused(sink));
        }
    }
}
