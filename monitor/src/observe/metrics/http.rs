//! The scrape: one thread, one request at a time, every wait bounded.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::families::{Text, render};
use crate::control::Board;

/// A longer head of a request is refused.
const LONGEST: usize = 8192;
/// How long a request may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why nobody can scrape.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics: {source}; give another address (`listen:`), or none: `listen: \"\"`"
)]
pub struct ListenError {
    /// Where.
    pub address: String,
    /// Why.
    pub source: io::Error,
}

/// Answers scrapes until it is dropped.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on this address.
    ///
    /// # Errors
    /// The address is somebody else's, or not this host's.
    pub fn start(address: &str, board: Arc<Board>) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address: address.to_owned(), source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let serve = move || serve(&listener, &board, &end);
        let thread = crate::observe::start_thread("metrics", serve).map_err(failed)?;
        Ok(Self { address: bound, ends, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        // It waits for somebody to come.
        let woken = TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken)
            && thread.join().is_err()
        {
            tracing::error!("the thread that serves metrics has panicked");
        }
    }
}

fn serve(listener: &TcpListener, board: &Arc<Board>, ends: &AtomicBool) {
    for stream in listener.incoming() {
        if ends.load(Relaxed) {
            return;
        }
        match stream {
            Ok(stream) => {
                if let Err(error) = answer(stream, board) {
                    tracing::debug!(%error, "a scrape was not answered");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "nobody is let in to scrape");
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

fn answer(mut stream: TcpStream, board: &Arc<Board>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = read_head(&mut stream)?;
    let (status, kind, body) = match request(&head) {
        Ok(Request { is_metrics: false, .. }) => {
            ("404 Not Found", "text/plain; charset=utf-8", "only /metrics is here\n".to_owned())
        }
        Ok(request) => {
            let text = render(board, request.text).map_err(io::Error::other)?;
            ("200 OK", request.text.content_type(), text)
        }
        Err(status) => (status, "text/plain; charset=utf-8", format!("{status}\n")),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    if !head.starts_with(b"HEAD ") {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

/// What comes until the empty line.
fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < LONGEST {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            length => head.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
    Ok(head)
}

struct Request {
    is_metrics: bool,
    text: Text,
}

fn request(head: &[u8]) -> Result<Request, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err("400 Bad Request"),
    }
    if !matches!(request.method, Some("GET" | "HEAD")) {
        return Err("405 Method Not Allowed");
    }
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    let accepts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
    let open = accepts
        .filter_map(|header| std::str::from_utf8(header.value).ok())
        .any(|value| value.contains("application/openmetrics-text"));
    Ok(Request { is_metrics: path == "/metrics", text: if open { Text::Open } else { Text::Prometheus } })
}

impl Text {
    fn content_type(self) -> &'static str {
        match self {
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}
