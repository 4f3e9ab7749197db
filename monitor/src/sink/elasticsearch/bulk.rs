//! Bulk requests and their answers.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::SinkConfig;
use crate::delivery::{Item, Outcome};
use crate::sink::net::{Answer, NetError};

const DATASET: &str = "sandwatch.alert";
const NAMESPACE: &str = "default";
/// Characters of an error that are repeated.
const REASON: usize = 300;

/// The data stream.
pub(super) struct Stream {
    dataset: String,
    namespace: String,
}

#[derive(Deserialize)]
struct BulkAnswer {
    items: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct ItemAnswer {
    #[serde(default, rename = "_id")]
    id: Option<String>,
    status: u16,
    #[serde(default)]
    error: Option<Value>,
}

impl Stream {
    pub(super) fn of(config: &SinkConfig) -> Result<Self, NetError> {
        let part = |key, given: &Option<String>, default: &str| {
            let name = given.clone().unwrap_or_else(|| default.to_owned());
            let legal = |c: char| !c.is_uppercase() && !c.is_whitespace() && !r#"-\/*?"<>|,#:"#.contains(c);
            if name.is_empty() || name.len() > 100 || !name.chars().all(legal) {
                let what = format!(
                    "{name:?} is not a part of a data stream's name: lower case, without - and spaces, at most 100 bytes"
                );
                return Err(NetError::key(key, what));
            }
            Ok(name)
        };
        Ok(Self {
            dataset: part("dataset", &config.dataset, DATASET)?,
            namespace: part("namespace", &config.namespace, NAMESPACE)?,
        })
    }

    pub(super) fn name(&self) -> String {
        format!("logs-{}-{}", self.dataset, self.namespace)
    }

    /// Two lines for each item: where it goes under which id, and itself.
    pub(super) fn request(&self, items: &[Item]) -> Vec<u8> {
        let name = self.name();
        let mut body = Vec::with_capacity(items.iter().map(|item| item.text.len() + 256).sum());
        for item in items {
            let action = json!({ "create": { "_index": name, "_id": id(item) } });
            body.extend_from_slice(action.to_string().as_bytes());
            body.push(b'\n');
            body.extend_from_slice(self.document(item).to_string().as_bytes());
            body.push(b'\n');
        }
        body
    }

    /// The alert with what a data stream wants: a time stamp, and the name of the very stream that it goes into.
    fn document(&self, item: &Item) -> Value {
        let parsed = serde_json::from_slice(&item.text);
        let mut document = match parsed {
            Ok(Value::Object(document)) => document,
            // CEF, or text for people.
            _ => Map::from_iter([("message".to_owned(), String::from_utf8_lossy(&item.text).into())]),
        };
        document.entry("@timestamp").or_insert_with(|| item.alert.time.clone().into());
        document.insert(
            "data_stream".to_owned(),
            json!({ "type": "logs", "dataset": self.dataset, "namespace": self.namespace }),
        );
        // ECS: the two are the same.
        let dataset = document.get_mut("event").and_then(|event| event.get_mut("dataset"));
        if let Some(dataset) = dataset {
            *dataset = self.dataset.clone().into();
        }
        Value::Object(document)
    }

    /// What an answer of status 200 says of each item.
    ///
    /// # Errors
    /// It says nothing that can be understood: a proxy's login page has that status too.
    pub(super) fn read_answer(
        &self,
        items: &[Item],
        answer: &Answer,
        without_secrets: impl Fn(&str) -> String,
    ) -> Result<Vec<Outcome>, String> {
        let bulk: BulkAnswer = serde_json::from_slice(&answer.body)
            .map_err(|_| answer.reason("the answer is not that of a bulk request"))?;
        if bulk.items.len() != items.len() {
            return Err(format!("{} alerts were sent, the answer is for {}", items.len(), bulk.items.len()));
        }
        let each = items.iter().zip(bulk.items).map(|(item, mut result)| {
            let result = result.remove("create").and_then(|value| serde_json::from_value(value).ok());
            outcome(item, result, answer, &without_secrets)
        });
        Ok(each.collect())
    }
}

/// The same for the same alert in the same place of the stream, however often it is sent.
pub(super) fn id(item: &Item) -> String {
    format!("{}-{}", item.alert.id, item.seq)
}

fn outcome(
    item: &Item,
    result: Option<ItemAnswer>,
    answer: &Answer,
    without_secrets: &impl Fn(&str) -> String,
) -> Outcome {
    let again = |reason: String| Outcome::Retry { reason, after: answer.retry_after };
    let Some(result) = result else {
        return again("the answer to an alert cannot be read".to_owned());
    };
    if result.id.as_ref().is_some_and(|answered| *answered != id(item)) {
        return again("the answer is for another alert".to_owned());
    }
    let (of_the_stream, text) = describe(result.error.as_ref());
    let reason = || {
        let text: String = without_secrets(&text).chars().take(REASON).collect();
        format!("status {}: {}", result.status, crate::alert::escape::for_terminal(&text))
    };
    match result.status {
        // 409: it is there already, under this very id.
        200..=299 | 409 => Outcome::Accepted,
        408 | 429 | 500 | 502..=599 => again(reason()),
        // The stream or its disk, not the alert.
        401 | 403 | 404 if of_the_stream => again(reason()),
        _ => Outcome::Rejected { reason: reason() },
    }
}

/// Whether an error is one of the stream as a whole, and the error in words.
fn describe(error: Option<&Value>) -> (bool, String) {
    const OF_THE_STREAM: [&str; 3] =
        ["cluster_block_exception", "index_not_found_exception", "security_exception"];
    let Some(error) = error else { return (false, String::new()) };
    if let Some(text) = error.as_str() {
        return (false, text.to_owned());
    }
    let field =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = field(error, "type");
    let mut text = format!("{kind}: {}", field(error, "reason"));
    if let Some(cause) = error.get("caused_by") {
        text.push_str(&format!(" ({})", field(cause, "reason")));
    }
    (OF_THE_STREAM.contains(&kind.as_str()), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{SafeAlert, fixture};

    fn item(seq: u64, text: &str) -> Item {
        Item { seq, alert: SafeAlert::new(fixture::incident()), text: text.as_bytes().to_vec() }
    }

    fn stream() -> Stream {
        Stream::of(&SinkConfig::stdout()).unwrap()
    }

    fn lines(body: &[u8]) -> Vec<Value> {
        std::str::from_utf8(body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn answer(body: &str) -> Answer {
        Answer::of(200, body.as_bytes())
    }

    fn read(items: &[Item], body: &str) -> Result<Vec<Outcome>, String> {
        stream().read_answer(items, &answer(body), str::to_owned)
    }

    fn each(items: &[Item], results: &[&str]) -> Vec<Outcome> {
        let all: Vec<String> = results.iter().map(|result| format!("{{\"create\":{result}}}")).collect();
        let body = format!("{{\"took\":3,\"errors\":true,\"items\":[{}]}}", all.join(","));
        read(items, &body).unwrap()
    }

    #[test]
    fn a_request_creates_each_document_under_its_own_id() {
        let lines = lines(&stream().request(&[item(7, r#"{"a":1}"#), item(8, r#"{"@timestamp":"t"}"#)]));
        let id = fixture::incident().id;
        assert_eq!(
            lines[0],
            json!({"create": {"_index": "logs-sandwatch.alert-default", "_id": format!("{id}-7")}})
        );
        assert_eq!(lines[1]["a"], 1);
        assert_eq!(lines[1]["@timestamp"], fixture::incident().time);
        assert_eq!(lines[1]["data_stream"]["dataset"], "sandwatch.alert");
        assert_eq!(lines[2]["create"]["_id"], format!("{id}-8"));
        assert_eq!(lines[3]["@timestamp"], "t", "the format's own time stays");
    }

    #[test]
    fn a_document_of_ecs_names_the_data_set_that_it_goes_into_in_both_places() {
        let config = SinkConfig { dataset: Some("sandwatch.lab".into()), ..SinkConfig::stdout() };
        let text = crate::alert::ecs::line(&SafeAlert::new(fixture::incident()));
        let lines = lines(&Stream::of(&config).unwrap().request(&[item(1, &text)]));
        assert_eq!(lines[1]["data_stream"]["dataset"], "sandwatch.lab");
        assert_eq!(lines[1]["event"]["dataset"], "sandwatch.lab");
    }

    #[test]
    fn text_that_is_not_json_becomes_a_message() {
        let lines = lines(&stream().request(&[item(1, "CEF:0|x\ny")]));
        assert_eq!(lines[1]["message"], "CEF:0|x\ny");
    }

    #[test]
    fn names_of_streams_are_checked() {
        let with = |dataset: &str| SinkConfig { dataset: Some(dataset.into()), ..SinkConfig::stdout() };
        for wrong in ["Sandwatch", "a-b", "", "a b", "a*"] {
            assert!(Stream::of(&with(wrong)).err().unwrap().to_string().contains("data stream"), "{wrong}");
        }
        assert_eq!(Stream::of(&with("sandwatch.test")).unwrap().name(), "logs-sandwatch.test-default");
    }

    #[test]
    fn each_item_has_its_own_fate() {
        let items: Vec<Item> = (1..=7).map(|seq| item(seq, "{}")).collect();
        let outcomes = each(
            &items,
            &[
                r#"{"status":201}"#,
                r#"{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"exists"}}"#,
                r#"{"status":400,"error":{"type":"document_parsing_exception","reason":"field [a]","caused_by":{"reason":"no date"}}}"#,
                r#"{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}"#,
                r#"{"status":503,"error":{"type":"unavailable_shards_exception","reason":"gone"}}"#,
                r#"{"status":403,"error":{"type":"cluster_block_exception","reason":"read-only"}}"#,
                r#"{"status":403,"error":{"type":"something_else","reason":"no"}}"#,
            ],
        );
        assert_eq!(outcomes[0], Outcome::Accepted);
        assert_eq!(outcomes[1], Outcome::Accepted, "409: it is there already");
        let Outcome::Rejected { reason } = &outcomes[2] else { panic!("{outcomes:?}") };
        assert!(reason.contains("document_parsing_exception: field [a] (no date)"), "{reason}");
        for index in [3, 4, 5] {
            assert!(matches!(outcomes[index], Outcome::Retry { .. }), "{index}: {outcomes:?}");
        }
        assert!(matches!(outcomes[6], Outcome::Rejected { .. }));
    }

    #[test]
    fn an_answer_for_another_alert_is_no_answer() {
        let outcomes = each(&[item(1, "{}")], &[r#"{"status":201,"_id":"other"}"#]);
        assert!(matches!(outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");
        let outcomes = each(&[item(1, "{}")], &[r#"{"_id":"other"}"#]);
        assert!(matches!(outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");
    }

    #[test]
    fn status_200_without_an_answer_for_each_is_no_success() {
        for body in ["", "<html>", "{}", r#"{"items":[]}"#, r#"{"errors":false}"#] {
            read(&[item(1, "{}")], body).expect_err(body);
        }
    }
}
