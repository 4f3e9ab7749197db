//! An HTTP proxy that knows `CONNECT` and nothing else.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::server::lock;

/// A proxy; ends with the test.
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one; with `allow` false it lets nobody through.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(allow: bool) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let inner = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&inner);
                std::thread::spawn(move || pass(stream, allow, &asked));
            }
        });
        Ok(Self { address, asked })
    }

    /// `http://…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where people wanted to go.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

fn pass(stream: TcpStream, allow: bool, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let connect = line.starts_with("CONNECT ");
    while line.trim_end() != "" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
    }
    lock(asked).push(target.clone());
    let mut stream = stream;
    if !connect {
        return stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n");
    }
    if !allow {
        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    }
    let mut peer = TcpStream::connect(&target)?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut back) = (peer.try_clone()?, stream.try_clone()?);
    std::thread::spawn(move || io::copy(&mut from, &mut back));
    io::copy(&mut reader, &mut peer)?;
    Ok(())
}
