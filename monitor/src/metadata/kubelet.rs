//! The kubelet's list of the pods on its node (`GET /pods`).
//!
//! Needs `get` on `nodes/pods` (Kubernetes 1.33 and newer), else on `nodes/proxy`, for the service account of the token.

use std::path::PathBuf;

use super::pod::{ListError, Pod, read_list};
use crate::config::{PodsConfig, SinkConfig, TlsConfig};
use crate::delivery::Secret;
use crate::sink::net::{Client, Endpoint, NetError};

/// Longer lists are not read: some hundred times what a node's pods need.
const LONGEST: u64 = 64 << 20;

/// Why the kubelet did not tell.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// Where it is is not known.
    #[error(
        "`pods.url` is not given and the environment has no NODE_IP; set one of them (https://ADDRESS:10250)"
    )]
    Where,
    /// Which node this is is not known.
    #[error(
        "`pods.server_name` is $NODE_NAME and the environment has no NODE_NAME; set it to the node's name"
    )]
    Node,
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

/// Asks the kubelet. Opened when it is first asked and after each failure: certificates may come later than the agent, or
/// be made anew.
pub struct Kubelet {
    config: PodsConfig,
    open: Option<Open>,
}

struct Open {
    endpoint: Endpoint,
    client: Client,
    token_file: Option<PathBuf>,
}

impl Kubelet {
    /// The kubelet that the configuration names, or that of the node whose address is in the environment (`NODE_IP`).
    pub fn new(config: PodsConfig) -> Self {
        Self { config, open: None }
    }

    /// The pods on its node now.
    ///
    /// # Errors
    /// It could not be asked, refuses, or its answer cannot be read.
    pub fn pods(&mut self) -> Result<Vec<Pod>, KubeletError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.config)?,
        };
        let pods = open.pods()?;
        self.open = Some(open);
        Ok(pods)
    }
}

impl Open {
    fn new(config: &PodsConfig) -> Result<Self, KubeletError> {
        let url = match &config.url {
            Some(url) => url.clone(),
            None => by_address(&std::env::var("NODE_IP").unwrap_or_default()).ok_or(KubeletError::Where)?,
        };
        if config.token_file.is_some() && !url.starts_with("https://") {
            return Err(KubeletError::Clear);
        }
        let endpoint = Endpoint::parse(&url)?.below("/pods");
        let tls = TlsConfig {
            ca_file: config.ca_file.clone(),
            server_name: server_name(config.server_name.as_deref(), std::env::var("NODE_NAME").ok())?,
            ..TlsConfig::default()
        };
        let settings = SinkConfig { tls, timeout: config.timeout, gzip: false, ..SinkConfig::stdout() };
        Ok(Self { endpoint, client: Client::open(&settings)?, token_file: config.token_file.clone() })
    }

    /// The token is read each time: it is exchanged every hour.
    fn pods(&mut self) -> Result<Vec<Pod>, KubeletError> {
        if let Some(path) = &self.token_file {
            let token = Secret::from_file(path).map_err(NetError::from)?;
            self.client.log_in("authorization", Secret::new(format!("Bearer {}", token.expose())))?;
        }
        let url = self.endpoint.shown();
        let answer = self
            .client
            .get(&self.endpoint.url(), LONGEST)
            .map_err(|why| KubeletError::Silent { url: url.clone(), why })?;
        if answer.status != 200 {
            return Err(KubeletError::Refused { url, status: answer.status, hint: hint(answer.status) });
        }
        read_list(&answer.body).map_err(|source| KubeletError::List { url, source })
    }
}

/// One configuration is for all nodes, but a kubelet that made its own certificate has its node's name in it.
fn server_name(configured: Option<&str>, node: Option<String>) -> Result<Option<String>, KubeletError> {
    match configured {
        Some("$NODE_NAME") => match node.filter(|node| !node.is_empty()) {
            Some(node) => Ok(Some(node)),
            None => Err(KubeletError::Node),
        },
        other => Ok(other.map(str::to_owned)),
    }
}

fn by_address(address: &str) -> Option<String> {
    let address: std::net::IpAddr = address.trim().parse().ok()?;
    Some(match address {
        std::net::IpAddr::V4(v4) => format!("https://{v4}:10250"),
        std::net::IpAddr::V6(v6) => format!("https://[{v6}]:10250"),
    })
}

fn hint(status: u16) -> &'static str {
    match status {
        401 => ": it does not know the token; is webhook authentication on, and `token_file` right?",
        403 => ": the service account may not; allow it `get` on nodes/pods (1.33 and newer) or nodes/proxy",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_sent_in_the_clear() {
        let config = PodsConfig { url: Some("http://127.0.0.1:10255".into()), ..PodsConfig::default() };
        let error = Kubelet::new(config).pods().unwrap_err();
        assert!(matches!(error, KubeletError::Clear), "{error}");
    }

    #[test]
    fn the_name_in_the_certificate_may_be_the_nodes() {
        let node = || Some("node-7".to_owned());
        assert_eq!(server_name(Some("$NODE_NAME"), node()).unwrap().as_deref(), Some("node-7"));
        assert_eq!(server_name(Some("kubelet.example"), node()).unwrap().as_deref(), Some("kubelet.example"));
        assert_eq!(server_name(None, node()).unwrap(), None);
        assert!(matches!(server_name(Some("$NODE_NAME"), None), Err(KubeletError::Node)));
    }

    #[test]
    fn the_nodes_address_is_the_kubelets() {
        assert_eq!(by_address("10.0.0.5").as_deref(), Some("https://10.0.0.5:10250"));
        assert_eq!(by_address("fd00::5").as_deref(), Some("https://[fd00::5]:10250"));
        assert_eq!(by_address(""), None);
        assert_eq!(by_address("node-1"), None);
    }
}
