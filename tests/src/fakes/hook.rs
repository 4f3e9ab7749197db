//! A receiver of signed webhooks, each verified by an implementation that is not ours.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::server::{Reply, Request, Server, lock};

/// What was taken: the id of each message, and its body.
pub type Received = Arc<Mutex<Vec<(String, Value)>>>;

/// Starts one on this address that takes what is signed with this key (`whsec_…`).
///
/// # Errors
/// The address is taken.
pub fn start_at(address: SocketAddr, key: &'static str) -> io::Result<(Server, Received)> {
    let received = Received::default();
    let inner = Arc::clone(&received);
    let server = Server::start_at(address, None, move |request| answer(request, key, &inner))?;
    Ok((server, received))
}

fn answer(request: &Request, key: &str, received: &Received) -> Reply {
    let Ok(verifier) = standardwebhooks::Webhook::new(key) else { return Reply::text(500, "") };
    if verifier.verify(&request.body, &headers(request)).is_err() {
        return Reply::text(401, "the signature is wrong");
    }
    let Ok(body) = serde_json::from_slice(&request.body) else { return Reply::text(400, "no JSON") };
    let id = request.header("webhook-id").unwrap_or_default().to_owned();
    lock(received).push((id, body));
    Reply::text(204, "")
}

fn headers(request: &Request) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        if let Some(value) = request.header(name).and_then(|value| value.parse().ok()) {
            headers.insert(name, value);
        }
    }
    headers
}
