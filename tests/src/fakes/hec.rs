//! Splunk's HTTP Event Collector as its documentation describes it: token, channel, events one after the other, error codes,
//! acknowledgement that comes only once an indexer has the events.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{self, Reply, Request, Server, lock};

/// `max_content_length` of limits.conf.
const MAX_BODY: usize = 1_000_000;

/// How a token is set up.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its value.
    pub value: String,
    /// Whether indexer acknowledgement is on.
    pub ack: bool,
    /// Indexes it may write to; empty: any.
    pub indexes: Vec<String>,
    /// Whether it is enabled.
    pub enabled: bool,
}

#[derive(Default)]
struct State {
    /// Events that indexers have.
    indexed: Vec<Value>,
    /// Read and not indexed yet, by channel and ackId.
    pending: BTreeMap<(String, u64), Vec<Value>>,
    acknowledged: BTreeMap<(String, u64), bool>,
    next: BTreeMap<String, u64>,
    /// Questions for acknowledgement that are still answered with "no".
    patience: u32,
    /// Events read from now on get lost on the way to the indexers.
    losing: bool,
}

/// A collector.
pub struct Collector {
    /// The server, for its faults.
    pub server: Server,
    state: Arc<Mutex<State>>,
    token: Arc<Mutex<Token>>,
}

impl Collector {
    /// Starts one with one token.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(token: Token) -> io::Result<Self> {
        Self::start_at(server::ANY, token)
    }

    /// Starts one on this address, as one that was there before.
    ///
    /// # Errors
    /// It is taken.
    pub fn start_at(address: SocketAddr, token: Token) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let token = Arc::new(Mutex::new(token));
        let (inner, its) = (Arc::clone(&state), Arc::clone(&token));
        let server =
            Server::start_at(address, None, move |request| answer(request, &lock(&its), &mut lock(&inner)))?;
        Ok(Self { server, state, token })
    }

    /// What the indexers have.
    pub fn indexed(&self) -> Vec<Value> {
        lock(&self.state).indexed.clone()
    }

    /// Says "no" to so many questions for acknowledgement.
    pub fn be_slow(&self, questions: u32) {
        lock(&self.state).patience = questions;
    }

    /// From now on an indexer is down behind it: events are read, and lost, until this is called with `false`.
    pub fn lose(&self, losing: bool) {
        lock(&self.state).losing = losing;
    }

    /// Changes the token.
    pub fn change(&self, change: impl FnOnce(&mut Token)) {
        change(&mut lock(&self.token));
    }
}

fn code(status: u16, code: u64, text: &str) -> Reply {
    Reply::json(status, &json!({ "text": text, "code": code }))
}

fn answer(request: &Request, token: &Token, state: &mut State) -> Reply {
    if request.method != "POST" {
        return Reply::text(405, "");
    }
    match request.header("authorization") {
        None => return code(401, 2, "Token is required"),
        Some(value) => match value.strip_prefix("Splunk ") {
            None => return code(401, 3, "Invalid authorization"),
            Some(value) if value != token.value => return code(403, 4, "Invalid token"),
            Some(_) if !token.enabled => return code(403, 1, "Token disabled"),
            Some(_) => {}
        },
    }
    let channel = request.header("x-splunk-request-channel").or_else(|| request.parameter("channel"));
    if let Some(channel) = channel
        && uuid::Uuid::parse_str(channel).is_err()
    {
        return code(400, 11, "Invalid data channel");
    }
    match request.path.as_str() {
        "/services/collector/event" | "/services/collector" => events(request, token, channel, state),
        "/services/collector/ack" => acks(request, token, channel, state),
        _ => Reply::text(404, "The requested URL was not found on this server."),
    }
}

fn events(request: &Request, token: &Token, channel: Option<&str>, state: &mut State) -> Reply {
    if request.body.len() > MAX_BODY {
        return Reply::text(413, "Content-Length of that size is too large");
    }
    if request.body.is_empty() {
        return code(400, 5, "No data");
    }
    if token.ack && channel.is_none() {
        return code(400, 10, "Data channel is missing");
    }
    let mut events = Vec::new();
    for (number, event) in
        serde_json::Deserializer::from_slice(&request.body).into_iter::<Value>().enumerate()
    {
        let wrong = |code: u64, text: &str| {
            Reply::json(400, &json!({ "text": text, "code": code, "invalid-event-number": number }))
        };
        let Ok(event) = event else { return wrong(6, "Invalid data format") };
        match check(&event, token) {
            Ok(()) => events.push(event),
            Err((7, text)) => return wrong(7, text),
            Err((code, text)) => return wrong(code, text),
        }
    }
    if !token.ack {
        if !state.losing {
            state.indexed.append(&mut events);
        }
        return code(200, 0, "Success");
    }
    let channel = channel.unwrap_or_default().to_owned();
    let next = state.next.entry(channel.clone()).or_default();
    let id = *next;
    *next += 1;
    let key = (channel, id);
    if state.losing {
        state.acknowledged.insert(key, false);
    } else {
        state.pending.insert(key, events);
    }
    Reply::json(200, &json!({ "text": "Success", "code": 0, "ackId": id }))
}

fn check(event: &Value, token: &Token) -> Result<(), (u64, &'static str)> {
    const KEYS: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "fields", "event"];
    let Some(object) = event.as_object() else { return Err((6, "Invalid data format")) };
    if object.keys().any(|key| !KEYS.contains(&key.as_str())) {
        return Err((6, "Invalid data format"));
    }
    match object.get("event") {
        None | Some(Value::Null) => return Err((12, "Event field is required")),
        Some(Value::String(text)) if text.is_empty() => return Err((13, "Event field cannot be blank")),
        Some(_) => {}
    }
    // "time" as epoch seconds with milliseconds.
    let now = 1_000_000_000.0..10_000_000_000.0;
    if !object.get("time").and_then(Value::as_f64).is_some_and(|time| now.contains(&time)) {
        return Err((6, "Invalid data format"));
    }
    let fields = object.get("fields").map(|fields| fields.as_object().cloned().unwrap_or_default());
    if fields.is_some_and(|fields| fields.values().any(|value| value.is_object())) {
        return Err((15, "Error in handling indexed fields"));
    }
    match object.get("index").and_then(Value::as_str) {
        Some(index) if !token.indexes.is_empty() && !token.indexes.iter().any(|of| of == index) => {
            Err((7, "Incorrect index"))
        }
        _ => Ok(()),
    }
}

fn acks(request: &Request, token: &Token, channel: Option<&str>, state: &mut State) -> Reply {
    if !token.ack {
        return code(400, 14, "ACK is disabled");
    }
    let Some(channel) = channel else { return code(400, 10, "Data channel is missing") };
    let ids: Option<Vec<u64>> = serde_json::from_slice::<Value>(&request.body).ok().and_then(|body| {
        body.get("acks")?.as_array().map(|ids| ids.iter().filter_map(Value::as_u64).collect())
    });
    let Some(ids) = ids else { return code(400, 6, "Invalid data format") };
    let mut said = serde_json::Map::new();
    for id in ids {
        let key = (channel.to_owned(), id);
        if state.patience > 0 {
            state.patience -= 1;
        } else if let Some(mut events) = state.pending.remove(&key) {
            state.indexed.append(&mut events);
            state.acknowledged.insert(key.clone(), true);
        }
        // Splunk forgets an acknowledgement once it was told.
        let yes = state.acknowledged.remove(&key).unwrap_or(false);
        said.insert(id.to_string(), yes.into());
    }
    Reply::json(200, &json!({ "acks": said }))
}
