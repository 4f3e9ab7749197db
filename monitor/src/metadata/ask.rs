//! A line to who tells about pods: the kubelet and the API server are asked in the same way, with the same token and certificates.

use std::path::PathBuf;

use super::pod::ListError;
use crate::config::{PodsConfig, SinkConfig, TlsConfig};
use crate::delivery::Secret;
use crate::sink::net::{Client, Endpoint, NetError};

/// Longer lists are not read: some hundred times what a node's pods need.
const LONGEST_LIST: u64 = 64 << 20;

/// Why nothing was told of pods.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Where to ask, or which node this is, is not known: what to set.
    #[error("{0}")]
    Unset(&'static str),
    /// A token would be sent for everybody to read.
    #[error(
        "`pods.url` is not https, and a token does not go over anything else; without one write `token_file: null`"
    )]
    Clear,
    /// Address, certificates or token.
    #[error("pods: {0}")]
    Net(#[from] NetError),
    /// No answer.
    #[error("{url}: {why}")]
    Silent {
        /// Whom was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// An answer that is none.
    #[error("{url}: answered {status}{hint}")]
    Refused {
        /// Whom was asked.
        url: String,
        /// Status of HTTP.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// An answer that cannot be read.
    #[error("{url}: {source}")]
    List {
        /// Whom was asked.
        url: String,
        /// What is wrong.
        source: ListError,
    },
}

/// What a status means for who asks.
pub(super) type Hint = fn(u16) -> &'static str;

/// An open line.
pub(super) struct Line {
    pub(super) endpoint: Endpoint,
    pub(super) client: Client,
    token_file: Option<PathBuf>,
    hint: Hint,
}

impl Line {
    /// A line to `path` at this address, with the certificates of the configuration.
    pub(super) fn open(
        config: &PodsConfig,
        url: &str,
        path: &str,
        server_name: Option<String>,
        hint: Hint,
    ) -> Result<Self, AskError> {
        if config.token_file.is_some() && !url.starts_with("https://") {
            return Err(AskError::Clear);
        }
        let tls = TlsConfig { ca_file: config.ca_file.clone(), server_name, ..TlsConfig::default() };
        let settings = SinkConfig { tls, timeout: config.timeout, gzip: false, ..SinkConfig::stdout() };
        Ok(Self {
            endpoint: Endpoint::parse(url)?.below(path),
            client: Client::open(&settings)?,
            token_file: config.token_file.clone(),
            hint,
        })
    }

    /// The token is read each time: it is exchanged every hour.
    pub(super) fn log_in(&mut self) -> Result<(), AskError> {
        if let Some(path) = &self.token_file {
            let token = Secret::from_file(path).map_err(NetError::from)?;
            self.client.log_in("authorization", Secret::new(format!("Bearer {}", token.expose())))?;
        }
        Ok(())
    }

    /// A list, read by `read`.
    pub(super) fn list<T>(
        &self,
        endpoint: &Endpoint,
        read: impl FnOnce(&[u8]) -> Result<T, ListError>,
    ) -> Result<T, AskError> {
        let url = endpoint.shown();
        let answer = self
            .client
            .get(&endpoint.url(), LONGEST_LIST)
            .map_err(|why| AskError::Silent { url: url.clone(), why })?;
        if answer.status != 200 {
            return Err(self.refused(url, answer.status));
        }
        read(&answer.body).map_err(|source| AskError::List { url, source })
    }

    /// An answer with this status.
    pub(super) fn refused(&self, url: String, status: u16) -> AskError {
        AskError::Refused { url, status, hint: (self.hint)(status) }
    }
}
