//! The kubelet's list of the pods on its node (`GET /pods`).
//!
//! Needs `get` on `nodes/pods` (Kubernetes 1.33 and newer), else on `nodes/proxy`, for the service account of the token.

use super::ask::{AskError, Line};
use super::pod::{Pod, read_list};
use crate::config::PodsConfig;

/// What to do where the address is not known.
const NO_ADDRESS: AskError = AskError::Unset(
    "`pods.url` is not given and the environment has no NODE_IP; set one of them (https://ADDRESS:10250)",
);
/// What to do where the node's name is not known and wanted.
const NO_NODE: AskError = AskError::Unset(
    "`pods.server_name` is $NODE_NAME and the environment has no NODE_NAME; set it to the node's name",
);

/// Asks the kubelet. Opened when it is first asked and after each failure: certificates may come later than the agent, or
/// be made anew.
pub struct Kubelet {
    config: PodsConfig,
    open: Option<Line>,
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
    pub fn pods(&mut self) -> Result<Vec<Pod>, AskError> {
        let mut line = match self.open.take() {
            Some(line) => line,
            None => open(&self.config)?,
        };
        line.log_in()?;
        let pods = line.list(&line.endpoint, read_list)?;
        self.open = Some(line);
        Ok(pods)
    }
}

fn open(config: &PodsConfig) -> Result<Line, AskError> {
    let url = match &config.url {
        Some(url) => url.clone(),
        None => by_address(&std::env::var("NODE_IP").unwrap_or_default()).ok_or(NO_ADDRESS)?,
    };
    let name = server_name(config.server_name.as_deref(), std::env::var("NODE_NAME").ok())?;
    Line::open(config, &url, "/pods", name, hint)
}

/// One configuration is for all nodes, but a kubelet that made its own certificate has its node's name in it.
fn server_name(configured: Option<&str>, node: Option<String>) -> Result<Option<String>, AskError> {
    match configured {
        Some("$NODE_NAME") => match node.filter(|node| !node.is_empty()) {
            Some(node) => Ok(Some(node)),
            None => Err(NO_NODE),
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
        assert!(matches!(error, AskError::Clear), "{error}");
    }

    #[test]
    fn the_name_in_the_certificate_may_be_the_nodes() {
        let node = || Some("node-7".to_owned());
        assert_eq!(server_name(Some("$NODE_NAME"), node()).unwrap().as_deref(), Some("node-7"));
        assert_eq!(server_name(Some("kubelet.example"), node()).unwrap().as_deref(), Some("kubelet.example"));
        assert_eq!(server_name(None, node()).unwrap(), None);
        assert!(matches!(server_name(Some("$NODE_NAME"), None), Err(AskError::Unset(_))));
    }

    #[test]
    fn the_nodes_address_is_the_kubelets() {
        assert_eq!(by_address("10.0.0.5").as_deref(), Some("https://10.0.0.5:10250"));
        assert_eq!(by_address("fd00::5").as_deref(), Some("https://[fd00::5]:10250"));
        assert_eq!(by_address(""), None);
        assert_eq!(by_address("node-1"), None);
    }
}
