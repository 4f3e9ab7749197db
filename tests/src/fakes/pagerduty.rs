//! PagerDuty's Events API v2 as its documentation describes it: the fields and their limits, one alert per deduplication key,
//! a key that is open already notifies nobody again.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use serde_json::{Value, json};

use super::server::{self, Reply, Request, Server, lock};

/// "The maximum size of an event payload is 512 KB."
const MAX_BODY: usize = 512_000;

/// An alert of the service.
#[derive(Clone, Debug, Default)]
pub struct Alert {
    /// Whether it is open.
    pub open: bool,
    /// How often somebody was notified: each time it was opened.
    pub notified: u32,
    /// The payload of the last trigger.
    pub payload: Value,
}

#[derive(Default)]
struct State {
    alerts: BTreeMap<String, Alert>,
    /// Every event that was taken, in order: `ACTION KEY`.
    log: Vec<String>,
}

/// A service with one integration key.
pub struct Service {
    /// The server, for its faults.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

impl Service {
    /// Starts one.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(key: &str) -> io::Result<Self> {
        Self::start_at(server::ANY, key)
    }

    /// Starts one on this address, as one that was there before.
    ///
    /// # Errors
    /// It is taken.
    pub fn start_at(address: SocketAddr, key: &str) -> io::Result<Self> {
        Self::start_with(address, None, key)
    }

    /// Starts one with TLS.
    ///
    /// # Errors
    /// No port is free.
    pub fn start_tls(tls: Arc<ServerConfig>, key: &str) -> io::Result<Self> {
        Self::start_with(server::ANY, Some(tls), key)
    }

    fn start_with(address: SocketAddr, tls: Option<Arc<ServerConfig>>, key: &str) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (inner, key) = (Arc::clone(&state), key.to_owned());
        let server = Server::start_at(address, tls, move |request| answer(request, &key, &mut lock(&inner)))?;
        Ok(Self { server, state })
    }

    /// Its alerts by deduplication key.
    pub fn alerts(&self) -> BTreeMap<String, Alert> {
        lock(&self.state).alerts.clone()
    }

    /// Keys of those that are open.
    pub fn open(&self) -> Vec<String> {
        self.alerts().into_iter().filter(|(_, alert)| alert.open).map(|(key, _)| key).collect()
    }

    /// Every event that was taken, in order: `ACTION KEY`.
    pub fn log(&self) -> Vec<String> {
        lock(&self.state).log.clone()
    }
}

fn answer(request: &Request, key: &str, state: &mut State) -> Reply {
    if request.path != "/v2/enqueue" {
        return Reply::text(404, "Not Found");
    }
    if request.method != "POST" {
        return Reply::text(405, "");
    }
    if request.body.len() > MAX_BODY {
        return Reply::text(413, "");
    }
    let event: Value = match serde_json::from_slice(&request.body) {
        Ok(event) => event,
        Err(_) => return invalid(&["Event object is invalid JSON".to_owned()]),
    };
    let wrong = check(&event, key);
    if !wrong.is_empty() {
        return invalid(&wrong);
    }
    let action = text(&event, "event_action");
    let dedup = event["dedup_key"].as_str().map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    state.log.push(format!("{action} {dedup}"));
    if action == "trigger" {
        let alert = state.alerts.entry(dedup.clone()).or_default();
        alert.notified += u32::from(!alert.open);
        alert.open = true;
        alert.payload = event["payload"].clone();
    } else if action == "resolve"
        && let Some(alert) = state.alerts.get_mut(&dedup)
    {
        alert.open = false;
    }
    Reply::json(202, &json!({ "status": "success", "message": "Event processed", "dedup_key": dedup }))
}

fn invalid(errors: &[String]) -> Reply {
    let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors });
    Reply::json(400, &body)
}

fn check(event: &Value, key: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let known =
        ["routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"];
    wrong.extend(unknown(event, &known));
    match text(event, "routing_key") {
        given if given.len() != 32 => {
            wrong.push("Length of 'routing_key' is incorrect (should be 32 characters)".to_owned());
        }
        given if given != key => wrong.push("Invalid routing key".to_owned()),
        _ => {}
    }
    let action = text(event, "event_action");
    if !["trigger", "acknowledge", "resolve"].contains(&action) {
        wrong.push("'event_action' is invalid (should be one of the following: 'trigger', …)".to_owned());
    }
    let dedup = text(event, "dedup_key");
    if dedup.len() > 255 || action != "trigger" && dedup.is_empty() {
        wrong.push("'dedup_key' is missing or longer than 255 characters".to_owned());
    }
    if action == "trigger" {
        wrong.extend(check_payload(&event["payload"]));
    }
    for link in event["links"].as_array().into_iter().flatten() {
        if !text(link, "href").starts_with("http") || link["text"].as_str().is_none_or(str::is_empty) {
            wrong.push("'links' holds one without 'href' or 'text'".to_owned());
        }
    }
    wrong
}

fn check_payload(payload: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let known =
        ["summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"];
    wrong.extend(unknown(payload, &known));
    let summary = text(payload, "summary").chars().count();
    if summary == 0 || summary > 1024 {
        wrong.push("'payload.summary' is missing, blank or longer than 1024 characters".to_owned());
    }
    if text(payload, "source").is_empty() {
        wrong.push("'payload.source' is missing or blank".to_owned());
    }
    if !["critical", "error", "warning", "info"].contains(&text(payload, "severity")) {
        wrong.push("'payload.severity' is invalid".to_owned());
    }
    if let Some(time) = payload.get("timestamp")
        && time.as_str().is_none_or(|time| !time.ends_with('Z') || time.len() < 20)
    {
        wrong.push("'payload.timestamp' is invalid".to_owned());
    }
    for name in ["component", "group", "class"] {
        if payload.get(name).is_some_and(|value| !value.is_string()) {
            wrong.push(format!("'payload.{name}' is invalid"));
        }
    }
    wrong
}

fn unknown(object: &Value, known: &[&str]) -> Vec<String> {
    let names = object.as_object().into_iter().flatten().map(|(name, _)| name);
    names
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| format!("'{name}' is not known"))
        .collect()
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}
