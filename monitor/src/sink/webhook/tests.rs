use super::*;
use crate::alert::{SafeAlert, fixture, json};
use crate::config::Bytes;
use crate::profile::doc::OneOrMany;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD1vGxlfXvYTg=";

fn webhook(keys: &str) -> Result<Webhook, NetError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, keys).unwrap();
    let url = Some(OneOrMany(vec!["http://127.0.0.1:1/hook".into()]));
    Webhook::open(&SinkConfig { key_file: Some(path), url, ..SinkConfig::stdout() })
}

fn item() -> Item {
    let alert = SafeAlert::new(fixture::incident());
    Item { seq: 1, text: json::line(&alert, None).into_bytes(), alert }
}

#[test]
fn body_is_the_alert_in_its_envelope() {
    let item = item();
    let body: serde_json::Value = serde_json::from_slice(&body(&item)).unwrap();
    assert_eq!(body["type"], "sandwatch.incident");
    assert_eq!(body["timestamp"], "2026-11-23T20:40:01.123456789Z");
    assert_eq!(body["data"]["incident"]["id"], "8f3ac2d4e5f60718");
    let text = Item { text: b"CEF:0|a \"b\"".to_vec(), ..item };
    let body: serde_json::Value = serde_json::from_slice(&super::body(&text)).unwrap();
    assert_eq!(body["data"], "CEF:0|a \"b\"");
}

#[test]
fn body_is_never_larger_than_the_specification_advises_whatever_was_configured() {
    let webhook = webhook(OLD).unwrap();
    assert_eq!(webhook.limits().max_bytes, BODY);
    let larger = SinkConfig { max_bytes: Some(Bytes(1 << 20)), ..webhook.config.clone() };
    assert_eq!(Webhook { config: larger, ..webhook }.limits().max_bytes, BODY);
}

#[test]
fn independent_verifier_takes_the_signature_of_either_key_and_no_other() {
    let webhook = webhook(&format!("{NEW} {OLD}")).unwrap();
    let body = body(&item());
    let now = Timestamp::now().as_second().to_string();
    let signature = webhook.keys.sign("msg_1", &now, &body);
    let headers = |id: &str, signature: &str| {
        let mut headers = ureq::http::HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", now.parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    };
    for key in [OLD, NEW] {
        let verifier = standardwebhooks::Webhook::new(key).unwrap();
        verifier.verify(&body, &headers("msg_1", &signature)).unwrap();
        assert!(verifier.verify(&body, &headers("msg_2", &signature)).is_err(), "another id");
        assert!(verifier.verify(b"{}", &headers("msg_1", &signature)).is_err(), "another body");
    }
    let stranger = standardwebhooks::Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    assert!(stranger.verify(&body, &headers("msg_1", &signature)).is_err());
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    for (key, word) in
        [("whsec_s3cret!", "base64"), ("whsec_c2hvcnQ=", "24 to 64"), ("a b c d e", "more than 4")]
    {
        let error = webhook(key).err().unwrap().to_string();
        assert!(error.contains(word) && !error.contains("s3cret"), "{error}");
    }
    let url = Some(OneOrMany(vec!["http://127.0.0.1:1/hook".into()]));
    let error = Webhook::open(&SinkConfig { url, ..SinkConfig::stdout() }).err().unwrap().to_string();
    assert!(error.contains("key_file"), "{error}");
}
