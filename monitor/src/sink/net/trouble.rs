//! What went wrong on a connection, in words that say what to do.

use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, ClientConnection, Error as TlsFailure, InvalidMessage};

/// An error of a socket or of TLS on it.
pub fn explain(error: &io::Error) -> String {
    if let Some(inner) = error.get_ref() {
        if let Some(failure) = inner.downcast_ref::<TlsFailure>() {
            return tls(failure);
        }
        if let Some(nested) = inner.downcast_ref::<io::Error>() {
            return explain(nested);
        }
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: nobody listens there".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            format!("the connection was cut ({error})")
        }
        // The standard library has no kind for it.
        _ if error.to_string().starts_with("failed to lookup") => {
            format!("the name does not resolve ({error})")
        }
        _ => error.to_string(),
    }
}

/// What to say of a write that failed: why the peer closed, if it said so before it did. With TLS 1.3 it looks at our
/// certificate while we believe to be through. What TLS itself does not like is said already, and a peer that waits for us would be
/// waited for in vain.
pub(super) fn last_word(
    session: &mut ClientConnection,
    from: &mut impl io::Read,
    error: io::Error,
) -> io::Error {
    if error.get_ref().is_some_and(|inner| inner.is::<TlsFailure>()) {
        return error;
    }
    loop {
        match session.read_tls(from) {
            Ok(count) if count > 0 => {}
            _ => return error,
        }
        if let Err(failure) = session.process_new_packets() {
            return io::Error::new(io::ErrorKind::InvalidData, failure);
        }
    }
}

fn tls(failure: &TlsFailure) -> String {
    match failure {
        TlsFailure::InvalidCertificate(error) => certificate(error),
        TlsFailure::AlertReceived(AlertDescription::CertificateRequired) => {
            "the receiver asks for a client certificate: set `tls.cert_file` and `tls.key_file`".to_owned()
        }
        TlsFailure::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => format!("the receiver refuses our certificate ({alert:?}): see `tls.cert_file`"),
        TlsFailure::AlertReceived(alert) => format!("the receiver ended TLS: {alert:?}"),
        TlsFailure::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the receiver does not speak TLS on this port".to_owned()
        }
        other => format!("TLS: {other}"),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the receiver's certificate expired on {}: it must be renewed there", date(*not_after))
        }
        CertificateError::Expired => {
            "the receiver's certificate has expired: it must be renewed there".to_owned()
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!(
                "the receiver's certificate is not valid before {}: are the clocks right?",
                date(*not_before)
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the receiver's certificate is for {}, not for {:?}: correct the address, or set `tls.server_name`",
            if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") },
            expected.to_str()
        ),
        CertificateError::UnknownIssuer => {
            "the receiver's certificate comes from an authority that is not trusted here: \
             set `tls.ca_file`"
                .to_owned()
        }
        other => format!("the receiver's certificate is not accepted: {other}"),
    }
}

fn date(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| "an unknown date".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, RootCertStore};

    use super::*;

    /// A peer that is asked for another word has been waited for.
    struct Asked(bool);

    impl io::Read for Asked {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0 = true;
            Ok(0)
        }
    }

    #[test]
    fn certificate_that_we_refuse_is_said_at_once_and_a_broken_write_asks_the_peer_why() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = builder.unwrap().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let name = "h.example".try_into().unwrap();
        let mut session = ClientConnection::new(Arc::new(client), name).unwrap();
        let ours = TlsFailure::InvalidCertificate(CertificateError::UnknownIssuer);
        let ours = io::Error::new(io::ErrorKind::InvalidData, ours);
        for (error, asks) in [(ours, false), (io::ErrorKind::BrokenPipe.into(), true)] {
            let mut peer = Asked(false);
            let said = explain(&last_word(&mut session, &mut peer, error));
            assert_eq!(peer.0, asks, "{said}");
        }
    }
}
