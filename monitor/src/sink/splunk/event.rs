//! Alerts in the envelope that the collector wants.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::SinkConfig;
use crate::delivery::Item;
use crate::sink::net::NetError;

const SOURCE: &str = "sandwatch";
const SOURCETYPE: &str = "sandwatch:alert";
/// Of an index or a source type, bytes. Splunk's indexes have fewer.
const LONGEST_NAME: usize = 100;
/// As DNS has it, bytes.
const LONGEST_HOST: usize = 255;

pub(super) struct Envelope {
    index: Option<String>,
    sourcetype: String,
}

#[derive(Serialize)]
struct Event<'a> {
    time: Box<RawValue>,
    host: &'a str,
    source: &'a str,
    sourcetype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    event: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Json(&'a RawValue),
    Text(std::borrow::Cow<'a, str>),
}

impl Envelope {
    /// What is configured of it.
    ///
    /// # Errors
    /// A name is longer than Splunk's can be.
    pub(super) fn of(config: &SinkConfig) -> Result<Self, NetError> {
        for (key, name) in [("index", &config.index), ("sourcetype", &config.sourcetype)] {
            if name.as_ref().is_some_and(|name| name.len() > LONGEST_NAME) {
                return Err(NetError::key(key, format!("is longer than {LONGEST_NAME} bytes")));
            }
        }
        Ok(Self {
            index: config.index.clone(),
            sourcetype: config.sourcetype.clone().unwrap_or_else(|| SOURCETYPE.to_owned()),
        })
    }

    /// The events one after the other; the collector wants no list.
    pub(super) fn request(&self, items: &[Item]) -> Vec<u8> {
        let mut body = Vec::with_capacity(items.iter().map(|item| item.text.len() + 256).sum());
        for item in items {
            let json = std::str::from_utf8(&item.text).ok().filter(|text| text.starts_with('{'));
            let json = json.and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
            let host = crate::alert::escape::for_terminal(&item.alert.host.name);
            let event = Event {
                time: seconds(&item.alert.time),
                host: host.get(..host.floor_char_boundary(LONGEST_HOST)).unwrap_or_default(),
                source: SOURCE,
                sourcetype: &self.sourcetype,
                index: self.index.as_deref(),
                event: json.map_or_else(|| Body::Text(String::from_utf8_lossy(&item.text)), Body::Json),
            };
            // Writing to a vector does not fail, and all keys are text.
            let _ = serde_json::to_writer(&mut body, &event);
            body.push(b'\n');
        }
        body
    }
}

/// Seconds since the epoch with milliseconds, as a JSON number that no float has touched.
fn seconds(time: &str) -> Box<RawValue> {
    let milliseconds = time.parse::<Timestamp>().map_or(0, |time| time.as_millisecond().max(0));
    let text = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    RawValue::from_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::alert::{SafeAlert, fixture};

    fn request(config: &SinkConfig, text: &str) -> (String, Value) {
        let item =
            Item { seq: 1, alert: SafeAlert::new(fixture::incident()), text: text.as_bytes().to_vec() };
        let body = String::from_utf8(Envelope::of(config).unwrap().request(&[item])).unwrap();
        let value = serde_json::from_str(&body).unwrap();
        (body, value)
    }

    #[test]
    fn an_event_has_the_alerts_time_and_host() {
        let config = SinkConfig { index: Some("security".into()), ..SinkConfig::stdout() };
        let (body, event) = request(&config, r#"{"a":1}"#);
        assert!(body.contains(r#""time":1795466401.123,"#), "{body}");
        assert_eq!(event["host"], fixture::incident().host.name);
        assert_eq!(event["index"], "security");
        assert_eq!(event["sourcetype"], "sandwatch:alert");
        assert_eq!(event["event"]["a"], 1);
    }

    #[test]
    fn text_that_is_not_json_is_sent_as_text() {
        let (_, event) = request(&SinkConfig::stdout(), "CEF:0|a\nb");
        assert_eq!(event["event"], "CEF:0|a\nb");
        assert!(event.get("index").is_none());
    }
}
