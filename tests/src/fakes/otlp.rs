//! An OTLP/HTTP receiver of logs: decodes with the published definitions, so that what the agent writes by its own is held
//! against them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::Value;

use super::server::{self, Reply, Request, Server, lock};

#[derive(Default)]
struct State {
    requests: Vec<ExportLogsServiceRequest>,
    partial: Option<i64>,
}

/// A receiver.
pub struct Receiver {
    /// The server, for its faults.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// Starts one.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> io::Result<Self> {
        Self::start_at(server::ANY)
    }

    /// Starts one on this address, as one that was there before.
    ///
    /// # Errors
    /// It is taken.
    pub fn start_at(address: SocketAddr) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let inner = Arc::clone(&state);
        let server = Server::start_at(address, None, move |request| answer(request, &mut lock(&inner)))?;
        Ok(Self { server, state })
    }

    /// What was taken.
    pub fn requests(&self) -> Vec<ExportLogsServiceRequest> {
        lock(&self.state).requests.clone()
    }

    /// The records among it.
    pub fn records(&self) -> Vec<LogRecord> {
        let requests = self.requests().into_iter().flat_map(|request| request.resource_logs);
        requests.flat_map(|of| of.scope_logs).flat_map(|of| of.log_records).collect()
    }

    /// The alerts in the bodies of those.
    ///
    /// # Errors
    /// A body is not one as JSON text.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        let alert = |record: LogRecord| match record.body.and_then(|body| body.value) {
            Some(Any::StringValue(text)) => Ok(serde_json::from_str(&text)?),
            other => bail!("the body is no text: {other:?}"),
        };
        self.records().into_iter().map(alert).collect()
    }

    /// Refuses so many records of the next request, without saying which.
    pub fn refuse(&self, records: i64) {
        lock(&self.state).partial = Some(records);
    }
}

fn answer(request: &Request, state: &mut State) -> Reply {
    if request.path != "/v1/logs" || request.method != "POST" {
        return Reply::text(404, "");
    }
    if request.header("content-type") != Some("application/x-protobuf") {
        return Reply::text(415, "");
    }
    let Ok(decoded) = ExportLogsServiceRequest::decode(request.body.as_slice()) else {
        return Reply::text(400, "");
    };
    let rejected = state.partial.take();
    if rejected.is_none() {
        state.requests.push(decoded);
    }
    let partial_success = rejected.map(|rejected_log_records| ExportLogsPartialSuccess {
        rejected_log_records,
        error_message: "as asked for".to_owned(),
    });
    let body = ExportLogsServiceResponse { partial_success }.encode_to_vec();
    let headers = vec![("content-type".to_owned(), "application/x-protobuf".to_owned())];
    Reply { status: 200, headers, body }
}
