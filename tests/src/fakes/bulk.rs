//! The bulk interface of Elasticsearch for one data stream: only `create`, ids that exist already are conflicts, a mapping
//! that refuses what does not fit it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{self, Reply, Request, Server, lock};

#[derive(Default)]
struct State {
    documents: BTreeMap<String, Value>,
    /// Status for the item of this number in the next request, once.
    refuse: Vec<(usize, u16, &'static str)>,
    conflicts: usize,
}

/// A data stream.
pub struct DataStream {
    /// The server, for its faults.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

impl DataStream {
    /// Starts the stream of this name.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(name: &str) -> io::Result<Self> {
        Self::start_at(server::ANY, name)
    }

    /// Starts it on this address, as one that was there before.
    ///
    /// # Errors
    /// It is taken.
    pub fn start_at(address: SocketAddr, name: &str) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (inner, name) = (Arc::clone(&state), name.to_owned());
        let server =
            Server::start_at(address, None, move |request| answer(request, &name, &mut lock(&inner)))?;
        Ok(Self { server, state })
    }

    /// Its documents, by id.
    pub fn documents(&self) -> BTreeMap<String, Value> {
        lock(&self.state).documents.clone()
    }

    /// How often an id was there already.
    pub fn conflicts(&self) -> usize {
        lock(&self.state).conflicts
    }

    /// Refuses the item of this number in the next request with this status and type of error.
    pub fn refuse(&self, item: usize, status: u16, kind: &'static str) {
        lock(&self.state).refuse.push((item, status, kind));
    }
}

fn answer(request: &Request, stream: &str, state: &mut State) -> Reply {
    if request.path != "/_bulk" || request.method != "POST" {
        return Reply::text(404, "no such route");
    }
    if request.header("content-type") != Some("application/x-ndjson") {
        return Reply::text(406, "Content-Type header is not supported");
    }
    // "The final line of data must end with a newline character."
    if request.body.last() != Some(&b'\n') {
        return Reply::json(
            400,
            &json!({ "error": { "type": "illegal_argument_exception" }, "status": 400 }),
        );
    }
    let text = request.text();
    let lines: Vec<Option<Value>> = text.lines().map(|line| serde_json::from_str(line).ok()).collect();
    let refuse = std::mem::take(&mut state.refuse);
    let mut items = Vec::new();
    for (number, pair) in lines.chunks(2).enumerate() {
        let [Some(action), Some(document)] = pair else {
            return Reply::json(400, &json!({ "error": { "type": "parse_exception" }, "status": 400 }));
        };
        let create = &action["create"];
        let id = create["_id"].as_str().unwrap_or_default().to_owned();
        let failed = |status: u16, kind: &str| {
            json!({ "create": { "_index": stream, "_id": id, "status": status,
                "error": { "type": kind, "reason": "as asked for" } } })
        };
        let result = if let Some((_, status, kind)) = refuse.iter().find(|(item, _, _)| *item == number) {
            failed(*status, kind)
        } else if create["_index"] != stream {
            failed(404, "index_not_found_exception")
        } else if document["@timestamp"].as_str().is_none() {
            failed(400, "document_parsing_exception")
        } else if stream != data_stream(document) {
            // Its fields are constant keywords of the stream.
            failed(400, "document_parsing_exception")
        } else if state.documents.contains_key(&id) {
            state.conflicts += 1;
            failed(409, "version_conflict_engine_exception")
        } else {
            state.documents.insert(id.clone(), document.clone());
            json!({ "create": { "_index": stream, "_id": id, "status": 201, "result": "created" } })
        };
        items.push(result);
    }
    let errors = items.iter().any(|item| item["create"].get("error").is_some());
    Reply::json(200, &json!({ "took": 1, "errors": errors, "items": items }))
}

fn data_stream(document: &Value) -> String {
    let part = |name: &str| document["data_stream"][name].as_str().unwrap_or_default().to_owned();
    format!("{}-{}-{}", part("type"), part("dataset"), part("namespace"))
}
