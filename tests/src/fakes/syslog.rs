//! A syslog receiver over TCP: counts octets as RFC 6587 has it, and takes nothing that is not RFC 5424 with JSON in it.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::server::lock;

#[derive(Default)]
struct State {
    alerts: Vec<Value>,
    wrong: Vec<String>,
}

/// A receiver; ends with the test.
pub struct Collector {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let inner = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&inner);
                std::thread::spawn(move || listen(stream, &state));
            }
        });
        Ok(Self { address, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The alerts that came, in order.
    pub fn alerts(&self) -> Vec<Value> {
        lock(&self.state).alerts.clone()
    }

    /// What came and is none. The end of a connection in the middle of a message is not among it.
    pub fn wrong(&self) -> Vec<String> {
        lock(&self.state).wrong.clone()
    }
}

fn listen(stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut count = Vec::new();
        if stream.read_until(b' ', &mut count)? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&count);
        let Ok(length) = text.trim_end().parse::<usize>() else {
            // A count may be torn too.
            if count.last() == Some(&b' ') {
                lock(state).wrong.push(text.into_owned());
            }
            return Ok(());
        };
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame)?;
        let frame = String::from_utf8_lossy(&frame);
        let mut state = lock(state);
        match alert(&frame) {
            Some(alert) => state.alerts.push(alert),
            None => state.wrong.push(frame.into_owned()),
        }
    }
}

/// `<PRI>1 TIME HOST APP PROCID MSGID DATA MSG`.
fn alert(frame: &str) -> Option<Value> {
    let (first, rest) = frame.split_once(' ')?;
    let priority = first.strip_prefix('<')?.strip_suffix(">1")?.parse::<u8>().ok()?;
    let data = rest.splitn(6, ' ').nth(5)?;
    let message = after_data(data)?;
    (priority < 192).then_some(())?;
    serde_json::from_str(message).ok()
}

/// What comes after the structured data: elements in brackets, each value in quotes with `\` before `"`, `\` and `]`.
fn after_data(text: &str) -> Option<&str> {
    let (mut quoted, mut escaped, mut inside) = (false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if std::mem::take(&mut escaped) => {}
            '\\' if quoted => escaped = true,
            '"' if inside => quoted = !quoted,
            '[' if !quoted => inside = true,
            ']' if !quoted => inside = false,
            ' ' if !inside => return text.get(at + 1..),
            _ => {}
        }
    }
    None
}
