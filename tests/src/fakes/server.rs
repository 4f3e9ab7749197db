//! A blocking HTTP/1.1 server on loopback, with TLS if asked for, that does wrong on demand.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::read::GzDecoder;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Any free port.
pub const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// A request, its body decompressed.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST` and the like.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Empty if there is none.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Decompressed.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, v)| v)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Beyond those that the server writes itself.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    /// An answer of text.
    pub fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What the server does wrong, once each, in the order in which they were asked for.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this without looking at the request.
    Answer(Reply),
    /// Answers nothing for so long, then closes. The request is not taken.
    Hang(Duration),
    /// Closes the connection after the request, which is not taken.
    Cut,
    /// Takes the request, and closes the connection instead of answering.
    CutAfter,
    /// Takes the request, and breaks off in the middle of the answer's body.
    HalfAnswer,
    /// Answers properly, then closes without saying so in the answer.
    CloseQuietly,
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    faults: Mutex<VecDeque<Fault>>,
    seen: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    ending: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

/// A running server; ends when it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts on a free port.
    ///
    /// # Errors
    /// There is none.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        Self::start_at(ANY, None, handler)
    }

    /// Starts on a free port, with TLS.
    ///
    /// # Errors
    /// There is none.
    pub fn start_tls(
        tls: Arc<ServerConfig>,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_at(ANY, Some(tls), handler)
    }

    /// Starts on this address, as one that was there before.
    ///
    /// # Errors
    /// It is taken.
    pub fn start_at(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            faults: Mutex::default(),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            tls,
        });
        let accepting = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.ending.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Ok(Self { shared, address, accepting: Some(accepting) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://…` or `https://…`, without a path.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Does this wrong at the next request, after what was asked for before.
    pub fn fail(&self, fault: Fault) {
        lock(&self.shared.faults).push_back(fault);
    }

    /// From now on everything is answered as it should be.
    pub fn mend(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Every request that came, also those that were not taken.
    pub fn seen(&self) -> Vec<Request> {
        lock(&self.shared.seen).clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Server {
    /// Ends as a crash would: nobody listens any more, and what comes on open connections is not taken.
    pub fn stop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // The accepting thread looks up when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.stop();
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        // A connection that nobody uses any more does not keep its thread for ever.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
        let _ = match &self.tls {
            None => self.talk(stream),
            Some(tls) => match ServerConnection::new(Arc::clone(tls)) {
                Ok(session) => self.talk(StreamOwned::new(session, stream)),
                Err(error) => Err(io::Error::other(error)),
            },
        };
    }

    fn talk(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read_request(&mut stream)? {
            if self.ending.load(Ordering::SeqCst) {
                return Ok(());
            }
            lock(&self.seen).push(request.clone());
            let fault = lock(&self.faults).pop_front();
            let out = stream.get_mut();
            match fault {
                None => write_reply(out, &(self.handler)(&request), None)?,
                Some(Fault::Answer(reply)) => write_reply(out, &reply, None)?,
                Some(Fault::Hang(span)) => {
                    std::thread::sleep(span);
                    return Ok(());
                }
                Some(Fault::Cut) => return Ok(()),
                Some(Fault::CutAfter) => {
                    (self.handler)(&request);
                    return Ok(());
                }
                Some(Fault::HalfAnswer) => {
                    let reply = (self.handler)(&request);
                    return write_reply(out, &reply, Some(reply.body.len() / 2));
                }
                Some(Fault::CloseQuietly) => return write_reply(out, &(self.handler)(&request), None),
            }
        }
        Ok(())
    }
}

fn read_request(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request =
        Request { method, path: path.to_owned(), query: query.to_owned(), headers, body: Vec::new() };
    let length: usize = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    stream.read_exact(&mut request.body)?;
    if request.header("content-encoding") == Some("gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(request.body.as_slice()).read_to_end(&mut plain)?;
        request.body = plain;
    }
    Ok(Some(request))
}

fn write_reply(out: &mut impl Write, reply: &Reply, only: Option<usize>) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    out.write_all(head.as_bytes())?;
    out.write_all(reply.body.get(..only.unwrap_or(reply.body.len())).unwrap_or_default())?;
    out.flush()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
