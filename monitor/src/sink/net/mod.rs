//! What the sinks that go over a network share.
//!
//! `address` splits `HOST:PORT`, `endpoint` is an address of HTTP, `tls` and `trouble` are certificates and what goes wrong with them, `socket` a TCP
//! connection that notices when its peer is gone, `http` the client of everything that speaks HTTP (with `answer`, what an
//! answer means, and `tunnel`, how it gets its TLS), `halves` how the one bad alert of a refused batch is found, `receiver` what batches
//! are posted to.
//!
//! Everything blocks, bounded by the sink's `timeout`: each sink has a thread of its own. TLS is set up when it is first
//! needed, so that an agent without such a sink does not pay for it.

pub mod address;
pub mod answer;
pub mod endpoint;
pub mod halves;
pub mod http;
pub mod receiver;
pub mod socket;
pub mod tls;
mod trouble;
mod tunnel;

pub use answer::{Answer, Verdict};
pub use endpoint::{Endpoint, Endpoints};
pub use http::{Call, Client};
pub use receiver::Receiver;
pub use tls::Tls;
pub use trouble::explain;

/// Why a sink that goes over a network could not be opened. Names no secret.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Certificates or keys.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] crate::delivery::SecretError),
    /// What the file that a key names holds.
    #[error("`{key}`: {what}")]
    Content {
        /// Which.
        key: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
    /// A key of the configuration that cannot work.
    #[error("`{key}`: {what}")]
    Key {
        /// Which.
        key: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
}

impl NetError {
    /// A key of the configuration that cannot work.
    pub(crate) fn key(key: &'static str, what: impl Into<String>) -> Self {
        Self::Key { key, what: what.into() }
    }

    /// What the file that a key names holds.
    pub(crate) fn content(key: &'static str, what: impl Into<String>) -> Self {
        Self::Content { key, what: what.into() }
    }

    /// Whether it can end without a change of the configuration.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Tls(error) => error.may_pass(),
            Self::Secret(error) => error.may_pass(),
            Self::Content { .. } => true,
            Self::Key { .. } => false,
        }
    }
}
