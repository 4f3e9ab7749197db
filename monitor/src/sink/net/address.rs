//! `HOST:PORT`.

use std::fmt;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl HostPort {
    /// Reads `HOST:PORT`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} {what}; write HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(wrong("has an IPv6 address without brackets"));
        }
        let host = bare.unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', '[', ']', ' ', '?', '#']) {
            return Err(wrong("has no valid host"));
        }
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("has no valid port"))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read() {
        for (text, host, port) in [
            ("siem.example:6514", "siem.example", 6514),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:514", "::1", 514),
        ] {
            let read = HostPort::parse(text).unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port));
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_to_write() {
        for text in ["siem", "siem:", "siem:0", "siem:70000", "::1:514", ":514", "a/b:1", "user@host:1"] {
            assert!(HostPort::parse(text).unwrap_err().contains("write HOST:PORT"), "{text}");
        }
    }
}
