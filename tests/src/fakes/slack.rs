//! An incoming webhook of Slack as its documentation describes it: the blocks and their limits, about one message a second,
//! errors as words.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::{self, Reply, Request, Server, lock};

/// "1 per second. Short bursts >1 allowed": none here.
const EACH: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    messages: Vec<Value>,
    last: Option<Instant>,
    /// Messages that came too soon after another.
    hurried: u32,
}

/// A channel with one webhook.
pub struct Channel {
    /// The server, for its faults.
    pub server: Server,
    path: String,
    state: Arc<Mutex<State>>,
}

impl Channel {
    /// Starts one whose webhook has this path.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(path: &str) -> io::Result<Self> {
        Self::start_at(server::ANY, path)
    }

    /// Starts one on this address, as one that was there before.
    ///
    /// # Errors
    /// It is taken.
    pub fn start_at(address: SocketAddr, path: &str) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (inner, its) = (Arc::clone(&state), path.to_owned());
        let server =
            Server::start_at(address, None, move |request| answer(request, &its, &mut lock(&inner)))?;
        Ok(Self { server, path: path.to_owned(), state })
    }

    /// The webhook's whole address: the secret.
    pub fn address(&self) -> String {
        format!("{}{}", self.server.url(), self.path)
    }

    /// What was posted, in order.
    pub fn messages(&self) -> Vec<Value> {
        lock(&self.state).messages.clone()
    }

    /// What notifications of the messages said.
    pub fn texts(&self) -> Vec<String> {
        self.messages()
            .iter()
            .map(|message| message["text"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// How many messages came too soon after another.
    pub fn hurried(&self) -> u32 {
        lock(&self.state).hurried
    }
}

fn answer(request: &Request, path: &str, state: &mut State) -> Reply {
    if request.path != path {
        return Reply::text(404, "no_service");
    }
    if request.method != "POST" {
        return Reply::text(400, "invalid_payload");
    }
    if state.last.is_some_and(|last| last.elapsed() < EACH) {
        state.hurried += 1;
        return Reply::text(429, "rate_limited").with("retry-after", "1");
    }
    let Ok(message) = serde_json::from_slice::<Value>(&request.body) else {
        return Reply::text(400, "invalid_payload");
    };
    if let Err(word) = check(&message) {
        return Reply::text(400, word);
    }
    state.last = Some(Instant::now());
    state.messages.push(message);
    Reply::text(200, "ok")
}

fn check(message: &Value) -> Result<(), &'static str> {
    let fields = message.as_object().ok_or("invalid_payload")?;
    if fields.keys().any(|name| !["text", "blocks", "mrkdwn"].contains(&name.as_str())) {
        return Err("invalid_payload");
    }
    if message["text"].as_str().is_none_or(str::is_empty) {
        return Err("no_text");
    }
    let blocks = message["blocks"].as_array().ok_or("invalid_blocks")?;
    if blocks.len() > 50 {
        return Err("invalid_blocks");
    }
    for block in blocks {
        match block["type"].as_str() {
            Some("header") => check_text(&block["text"], 150, &["plain_text"])?,
            Some("section") => check_text(&block["text"], 3000, &["plain_text", "mrkdwn"])?,
            Some("context") => {
                let elements = block["elements"].as_array().ok_or("invalid_blocks")?;
                if elements.is_empty() || elements.len() > 10 {
                    return Err("invalid_blocks");
                }
                elements.iter().try_for_each(|text| check_text(text, 3000, &["plain_text", "mrkdwn"]))?;
            }
            _ => return Err("invalid_blocks"),
        }
    }
    Ok(())
}

fn check_text(object: &Value, most: usize, types: &[&str]) -> Result<(), &'static str> {
    let kind = object["type"].as_str().unwrap_or_default();
    let length = object["text"].as_str().map_or(0, |text| text.chars().count());
    // `emoji` is of plain text only.
    let fits = types.contains(&kind)
        && (1..=most).contains(&length)
        && (kind == "plain_text" || object.get("emoji").is_none());
    if fits { Ok(()) } else { Err("invalid_blocks") }
}
