//! Syslog, RFC 5424: to a unix socket, over UDP, TCP, or TLS (RFC 5425), with octet counting on streams (RFC 6587).
//!
//! Nobody answers, so loss is possible. What can be done against it: the connection is looked at before each batch, and
//! after it broke, what was sent last (5 s, 1 MiB) is sent again on the next one. `message` is the text, `line` the
//! connection, `recent` what is kept for sending again.

mod line;
mod message;
mod recent;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::alert::LEAST_TEXT;
use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::net::address::HostPort;
use crate::sink::net::{NetError, Tls, explain};
use line::{Line, Way};
use message::{Facility, Style};
use recent::Recent;

/// A message where the configuration says nothing; larger ones are cut or dropped by common receivers.
const MAX_BYTES: usize = 8000;
/// Of which this is for the header.
const HEADER: usize = 400;
/// The same over UDP, where every byte is needed: it fits into one packet of an Ethernet.
const MAX_BYTES_UDP: usize = 1400;
const HEADER_UDP: usize = message::LEAST_HEADER;
/// Of a batch.
const ITEMS: usize = 200;
const BYTES: usize = 256 << 10;

/// How long a fresh connection with TLS is watched: with TLS 1.3 the receiver looks at our certificate after the handshake,
/// and says "no" by closing.
const FRESH: Duration = Duration::from_millis(300);
/// The same after a connection that did not live for [`PROVEN`].
const WARY: Duration = Duration::from_secs(1);
/// A connection that still stands after this belongs to a receiver that wants what we send.
const PROVEN: Duration = Duration::from_secs(1);

/// A sink to a syslog receiver.
pub struct Syslog {
    way: Way,
    style: Style,
    max_bytes: usize,
    line: Option<Line>,
    recent: Recent,
    timeout: Duration,
    trust: Trust,
    /// [`WARY`], but in tests.
    wary: Duration,
}

/// Whether the receiver takes what we send: one that does not can only say so by closing, connection after connection.
enum Trust {
    /// Nothing speaks against it.
    Fresh(Instant),
    /// A connection was seen alive after a while.
    Proven,
    /// The last one was never seen alive again.
    Wary,
}

impl Syslog {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// The address, facility or certificates cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let facility = config.facility.as_deref().map_or(Ok(Facility::AUTHPRIV), Facility::parse);
        let facility = facility.map_err(|what| NetError::key("facility", what))?;
        let way = way(config)?;
        if config.tls != crate::config::TlsConfig::default()
            && !matches!(way, Way::Stream { tls: Some(_), .. })
        {
            return Err(NetError::key("tls", "needs an address that begins with tls://"));
        }
        let default = if matches!(way, Way::Udp(_)) { MAX_BYTES_UDP } else { MAX_BYTES };
        let max_bytes =
            config.max_bytes.map_or(default, |bytes| usize::try_from(bytes.0).unwrap_or(usize::MAX));
        let short = matches!(way, Way::Udp(_));
        // An alert cannot be made shorter than that; the header can.
        let most = max_bytes.saturating_sub(LEAST_TEXT);
        let header = if short { HEADER_UDP } else { HEADER }.min(most);
        Ok(Self {
            style: Style {
                facility,
                bom: config.bom,
                short,
                octets: matches!(way, Way::Stream { .. }),
                header,
            },
            way,
            max_bytes: max_bytes.saturating_sub(header),
            line: None,
            recent: Recent::default(),
            timeout: config.timeout.0,
            trust: Trust::Fresh(Instant::now()),
            wary: WARY,
        })
    }

    /// A line that stood a moment ago: the open one, or a new one on which what was sent last goes first.
    fn ready(&mut self) -> Result<&mut Line, String> {
        match self.line.as_mut().map(Line::check) {
            None => {}
            Some(Ok(())) => {
                if matches!(self.trust, Trust::Fresh(since) if since.elapsed() > PROVEN) {
                    self.trust = Trust::Proven;
                }
            }
            Some(Err(error)) => {
                tracing::debug!(target = %self.way, "the syslog connection ended: {}", explain(&error));
                self.lost();
            }
        }
        if self.line.as_ref().is_some_and(Line::is_stale) {
            // Nothing was lost with it.
            let line = Line::open(&self.way, self.timeout).map_err(|error| self.why(&error))?;
            self.line = Some(line);
        }
        if self.line.is_none() {
            let line = self.reconnect()?;
            self.line = Some(line);
        }
        self.line.as_mut().ok_or_else(|| "there is no connection".to_owned())
    }

    fn reconnect(&mut self) -> Result<Line, String> {
        let mut line = Line::open(&self.way, self.timeout).map_err(|error| self.why(&error))?;
        for frame in self.recent.frames() {
            line.send(frame).map_err(|error| explain(&error))?;
        }
        let (watch, trust) = match (&self.trust, &self.way) {
            (Trust::Wary, _) => (self.wary, Trust::Proven),
            (_, Way::Stream { tls: Some(_), .. }) => (FRESH, Trust::Fresh(Instant::now())),
            _ => (Duration::ZERO, Trust::Fresh(Instant::now())),
        };
        if let Err(error) = line.watch(watch) {
            self.trust = Trust::Wary;
            return Err(format!("it ends connections as soon as they are made: {}", explain(&error)));
        }
        self.trust = trust;
        Ok(line)
    }

    /// The line is gone.
    fn lost(&mut self) {
        self.line = None;
        if matches!(self.trust, Trust::Fresh(_)) {
            self.trust = Trust::Wary;
        }
    }

    fn why(&self, error: &std::io::Error) -> String {
        match &self.way {
            Way::Unix(path) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                format!("{} is a stream socket; give one for datagrams, or a tcp:// address", path.display())
            }
            _ => explain(error),
        }
    }
}

impl Transport for Syslog {
    fn promise(&self) -> Promise {
        Promise::Unacknowledged
    }

    fn limits(&self) -> Limits {
        Limits { items: ITEMS, bytes: BYTES, max_bytes: self.max_bytes }
    }

    fn target(&self) -> String {
        self.way.to_string()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(batch.len());
        if let Err(reason) = self.ready() {
            outcomes.push(Outcome::Retry { reason, after: None });
            return outcomes;
        }
        for item in batch {
            let frame = self.style.frame(item);
            let sent = match &mut self.line {
                Some(line) => line.send(&frame),
                None => break,
            };
            match sent {
                Ok(()) => {
                    self.recent.push(Instant::now(), frame);
                    outcomes.push(Outcome::Accepted);
                }
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    let reason =
                        format!("{} bytes do not fit into one datagram: lower `max_bytes`", frame.len());
                    outcomes.push(Outcome::Rejected { reason });
                }
                Err(error) => {
                    self.lost();
                    outcomes.push(Outcome::Retry { reason: explain(&error), after: None });
                    break;
                }
            }
        }
        outcomes
    }

    /// Certificates are read again and the connection made anew, so that the new ones count.
    fn reopen(&mut self) -> Result<(), String> {
        if let Way::Stream { tls: Some(tls), .. } = &self.way {
            tls.reload().map_err(|error| error.to_string())?;
        }
        self.line = None;
        Ok(())
    }
}

fn way(config: &SinkConfig) -> Result<Way, NetError> {
    let wrong = |what: String| {
        NetError::key(
            "address",
            format!("{what}; write unix:///dev/log, udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT"),
        )
    };
    let address = config.address.as_deref().ok_or_else(|| wrong("is missing".to_owned()))?;
    let (scheme, rest) =
        address.split_once("://").ok_or_else(|| wrong(format!("{address:?} has no scheme")))?;
    let host_port = || HostPort::parse(rest).map_err(wrong);
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Way::Unix(PathBuf::from(rest))),
        "unix" => Err(wrong(format!("{address:?} has no absolute path"))),
        "udp" => Ok(Way::Udp(host_port()?)),
        "tcp" => Ok(Way::Stream { to: host_port()?, tls: None }),
        "tls" => Ok(Way::Stream { to: host_port()?, tls: Some(Box::new(Tls::open(&config.tls)?)) }),
        other => Err(wrong(format!("{other:?} is no scheme of syslog"))),
    }
}

#[cfg(test)]
mod tests;
