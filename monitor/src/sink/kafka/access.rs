//! How brokers let the agent in: certificates, and a user with a password. Read at start and on reload.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use zeroize::Zeroizing;

use crate::config::{Sasl, SinkConfig, TlsConfig};
use crate::delivery::Secret;
use crate::sink::net::address::HostPort;
use crate::sink::net::socket::Connection;
use crate::sink::net::tls::TlsError;
use crate::sink::net::{NetError, Tls, explain};

/// What brokers are shown, and what they have to show.
pub(super) struct Access {
    tls: Option<Files>,
    login: Option<Login>,
}

/// Certificates as librdkafka takes them, which has a TLS of its own (OpenSSL's).
struct Files {
    /// The same files for the TLS of all other sinks: it checks them when they are read, and says what is wrong with a broker's certificate.
    ours: Tls,
    authorities: Option<String>,
    pair: Option<(String, Zeroizing<String>)>,
}

struct Login {
    user: String,
    mechanism: &'static str,
    password: Secret,
}

impl Access {
    /// Reads what the configuration names; `secure` says whether brokers are reached with TLS.
    ///
    /// # Errors
    /// A file is not there or does not hold what it should.
    pub(super) fn read(config: &SinkConfig, secure: bool) -> Result<Self, NetError> {
        let tls = if secure { Some(Files::read(&config.tls)?) } else { None };
        let login = match (&config.user, config.sasl, Secret::of(config)?) {
            (Some(user), Some(sasl), Some(password)) => {
                Some(Login { user: user.clone(), mechanism: mechanism(sasl), password })
            }
            _ => None,
        };
        Ok(Self { tls, login })
    }

    /// Tells librdkafka.
    pub(super) fn apply(&self, settings: &mut ClientConfig) {
        let protocol = match (&self.tls, &self.login) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        settings.set("security.protocol", protocol);
        if let Some(files) = &self.tls {
            settings
                .set("enable.ssl.certificate.verification", "true")
                .set("ssl.endpoint.identification.algorithm", "https");
            if let Some(authorities) = &files.authorities {
                settings.set("ssl.ca.pem", authorities);
            }
            if let Some((certificate, key)) = &files.pair {
                settings.set("ssl.certificate.pem", certificate).set("ssl.key.pem", key.as_str());
            }
        }
        if let Some(login) = &self.login {
            settings
                .set("sasl.mechanism", login.mechanism)
                .set("sasl.username", &login.user)
                .set("sasl.password", login.password.expose());
        }
    }

    /// The password, to be taken out of what others say.
    pub(super) fn hidden(&self) -> Option<Secret> {
        self.login.as_ref().map(|login| login.password.clone())
    }

    /// What is wrong with a broker's certificate, from a look at it; `None` if nothing is.
    pub(super) fn look_at(&self, broker: &HostPort, timeout: Duration) -> Option<String> {
        let files = self.tls.as_ref()?;
        let error = Connection::open(broker, Some(&files.ours), timeout).err()?;
        // A key that this sink does not take.
        Some(explain(&error).replace(", or set `tls.server_name`", ""))
    }
}

impl Files {
    fn read(config: &TlsConfig) -> Result<Self, NetError> {
        let ours = Tls::open(config)?;
        let authorities = config.ca_file.as_deref().map(text).transpose()?;
        let pair = match (&config.cert_file, &config.key_file) {
            (Some(certificate), Some(key)) => Some((text(certificate)?, Zeroizing::new(text(key)?))),
            _ => None,
        };
        Ok(Self { ours, authorities, pair })
    }
}

/// PEM is ASCII; what stands around it need not be.
fn text(path: &Path) -> Result<String, NetError> {
    let failed = |what: String| NetError::from(TlsError::File { path: path.to_owned(), what });
    let bytes = Zeroizing::new(fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?);
    Ok(String::from_utf8_lossy(&bytes).replace('\0', ""))
}

fn mechanism(sasl: Sasl) -> &'static str {
    match sasl {
        Sasl::Plain => "PLAIN",
        Sasl::ScramSha256 => "SCRAM-SHA-256",
        Sasl::ScramSha512 => "SCRAM-SHA-512",
    }
}
