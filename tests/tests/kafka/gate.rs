//! What stands before the broker: passes on one request and its answer after the other, with TLS if told so, and does to what alerts
//! come with as told.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::login::Users;

/// `Produce` of Kafka's protocol.
const PRODUCE: i16 = 0;
/// Longer than any test waits.
const FOR_EVER: Duration = Duration::from_secs(120);

/// What happens to the next request with alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is cut before the broker has any of it.
    CutBefore,
    /// The broker has half of it when both connections are cut.
    CutMidway,
    /// The broker took it and said so; the connection is cut before the sink hears that.
    CutAfter,
    /// Nothing happens any more on that connection.
    Hang,
    /// The broker took it; the sink never hears of that.
    HangAfter,
}

/// A gate; ends with the test.
pub(crate) struct Gate {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    tls: Option<Arc<ServerConfig>>,
    users: Option<Users>,
    broker: OnceLock<SocketAddr>,
    faults: Mutex<VecDeque<Fault>>,
}

impl Gate {
    pub(crate) fn new(tls: Option<Arc<ServerConfig>>, users: Option<Users>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (broker, faults) = (OnceLock::new(), Mutex::default());
        let state = Arc::new(State { tls, users, broker, faults });
        let inner = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&inner);
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lets requests through to this broker, from now on.
    pub(crate) fn open_to(&self, broker: SocketAddr) {
        self.state.broker.set(broker).unwrap();
    }

    /// Of the next requests with alerts, each has one.
    pub(crate) fn fail(&self, faults: &[Fault]) {
        self.state.faults.lock().unwrap().extend(faults);
    }

    /// Faults that no request has had yet.
    pub(crate) fn left(&self) -> usize {
        self.state.faults.lock().unwrap().len()
    }

    /// How many connections logged in, and how many did not get in.
    pub(crate) fn logins(&self) -> (usize, usize) {
        self.state.users.as_ref().unwrap().counts()
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.pass(stream),
            Some(tls) => {
                let session = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
                self.pass(StreamOwned::new(session, stream))
            }
        }
    }

    fn pass(&self, mut client: impl Read + Write) -> io::Result<()> {
        let mut visitor = self.users.as_ref().map(Users::visitor);
        let mut broker: Option<TcpStream> = None;
        loop {
            let request = frame(&mut client)?;
            if let Some(answer) = visitor.as_mut().and_then(|visitor| visitor.answer(&request)) {
                client.write_all(&framed(&answer?))?;
                client.flush()?;
                continue;
            }
            let broker = match &mut broker {
                Some(broker) => broker,
                none => none.insert(self.connect()?),
            };
            let fault = match request.first_chunk() {
                Some(kind) if i16::from_be_bytes(*kind) == PRODUCE => self.faults.lock().unwrap().pop_front(),
                _ => None,
            };
            match fault {
                Some(Fault::CutBefore) => return Ok(()),
                Some(Fault::Hang) => std::thread::sleep(FOR_EVER),
                Some(Fault::CutMidway) => {
                    let request = framed(&request);
                    return broker.write_all(&request[..request.len() / 2]);
                }
                Some(Fault::CutAfter | Fault::HangAfter) | None => {}
            }
            broker.write_all(&framed(&request))?;
            let answer = frame(broker)?;
            match fault {
                Some(Fault::CutAfter) => return Ok(()),
                Some(Fault::HangAfter) => std::thread::sleep(FOR_EVER),
                _ => {}
            }
            client.write_all(&framed(&answer))?;
            client.flush()?;
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let broker = self.broker.get().ok_or(io::ErrorKind::NotConnected)?;
        let stream = TcpStream::connect(broker)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn frame(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut content = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut content)?;
    Ok(content)
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut all = (content.len() as u32).to_be_bytes().to_vec();
    all.extend_from_slice(content);
    all
}
