//! The API server's list of the pods on one node, and what becomes of them (list and watch).
//!
//! Needs `list` and `watch` on pods, which cannot be granted for one node alone: the kubelet is asked by default. The list is
//! taken from the server's cache (`resourceVersion=0`), the watch goes on from there; bookmarks keep its place while nothing
//! happens, and a place that the server has forgotten (410) is found again by another list, after a wait that differs from node
//! to node. What is not needed of a pod is left behind while reading.

use std::io::{BufRead, Read};
use std::time::Duration;

use super::ask::{AskError, Line};
use super::node::{PodStore, Step};
use super::pod::read_page;
use crate::config::PodsConfig;

/// Longer lines of a watch are not read: the server stores no object of more than a few MiB.
const LONGEST_LINE: u64 = 8 << 20;
/// How long one watch goes on, at least and at most. Afterwards another goes on from the same place.
const WATCH: std::ops::Range<u64> = 90..150;
/// How much longer than that an answer may take: the server ends it by itself.
const GRACE: Duration = Duration::from_secs(15);

/// What to do where the address is not known.
const NO_ADDRESS: AskError = AskError::Unset(
    "`pods.url` is not given and the environment has no KUBERNETES_SERVICE_HOST; set one of them (https://ADDRESS:6443)",
);
/// What to do where the node is not known.
const NO_NODE: AskError = AskError::Unset(
    "`pods.node` is not given and the environment has no NODE_NAME; set one of them (`spec.nodeName` of the agent's pod)",
);

/// How a watch ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its time was over, or the connection: another goes on from the same place.
    Here,
    /// The server has forgotten the place: everything is listed again.
    Gone,
}

/// Asks the API server. Opened when it is first asked and after each failure.
pub struct Api {
    config: PodsConfig,
    open: Option<Open>,
}

struct Open {
    line: Line,
    node: String,
}

impl Api {
    /// The API server that the configuration names, or that of the cluster whose pod the agent is.
    pub fn new(config: PodsConfig) -> Self {
        Self { config, open: None }
    }

    /// Everything on the node now.
    pub(super) fn list(&mut self, store: &mut PodStore) -> Result<(), AskError> {
        let mut open = self.take()?;
        open.line.log_in()?;
        let endpoint = open.line.endpoint.with_parameter("resourceVersion", "0");
        let page = open.line.list(&endpoint, read_page)?;
        store.replace(page, &open.node);
        self.open = Some(open);
        Ok(())
    }

    /// What becomes of them from there on; `changed` is called when that is anything, until it says that nobody wants to know.
    pub(super) fn watch(
        &mut self,
        store: &mut PodStore,
        random: u64,
        changed: &mut dyn FnMut(&PodStore) -> bool,
    ) -> Result<Ended, AskError> {
        let mut open = self.take()?;
        open.line.log_in()?;
        let seconds = WATCH.start + random % (WATCH.end - WATCH.start);
        let endpoint = open
            .line
            .endpoint
            .with_parameter("watch", "1")
            .with_parameter("allowWatchBookmarks", "true")
            .with_parameter("resourceVersion", &store.version)
            .with_parameter("timeoutSeconds", &seconds.to_string());
        let url = endpoint.shown();
        let silent = |why| AskError::Silent { url: url.clone(), why };
        let most = Duration::from_secs(seconds) + GRACE;
        let (status, body) = open.line.client.stream(&endpoint.url(), most).map_err(silent)?;
        match status {
            200 => {}
            410 => {
                self.open = Some(open);
                return Ok(Ended::Gone);
            }
            status => return Err(open.line.refused(url, status)),
        }
        let mut body = std::io::BufReader::new(body);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = body.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut line);
            // A connection that breaks off is one that ended: whether the server is there is seen by the next.
            let Ok(length) = read else { break };
            if length as u64 > LONGEST_LINE {
                return Err(silent(format!("a line of the watch is longer than {LONGEST_LINE} bytes")));
            }
            if length == 0 {
                break;
            }
            match store.take(&line, &open.node) {
                Ok(Step::Changed) => {
                    if !changed(store) {
                        break;
                    }
                }
                Ok(Step::Nothing) => {}
                Ok(Step::Gone) => {
                    self.open = Some(open);
                    return Ok(Ended::Gone);
                }
                // Half a line at the end is a connection that broke off.
                Err(_) if line.last() != Some(&b'\n') => break,
                Err(source) => return Err(AskError::List { url: url.clone(), source }),
            }
        }
        self.open = Some(open);
        Ok(Ended::Here)
    }

    fn take(&mut self) -> Result<Open, AskError> {
        match self.open.take() {
            Some(open) => Ok(open),
            None => Open::new(&self.config),
        }
    }
}

impl Open {
    fn new(config: &PodsConfig) -> Result<Self, AskError> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let url = match &config.url {
            Some(url) => url.clone(),
            None => {
                by_service(&variable("KUBERNETES_SERVICE_HOST"), &variable("KUBERNETES_SERVICE_PORT_HTTPS"))
                    .ok_or(NO_ADDRESS)?
            }
        };
        let node = config.node.clone().unwrap_or_else(|| variable("NODE_NAME"));
        // It becomes part of an address.
        if !is_name(&node) {
            return Err(NO_NODE);
        }
        let mut line = Line::open(config, &url, "/api/v1/pods", config.server_name.clone(), hint)?;
        line.endpoint = line.endpoint.with_parameter("fieldSelector", &format!("spec.nodeName%3D{node}"));
        Ok(Self { line, node })
    }
}

/// The name of a node: that of a DNS subdomain.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
}

fn by_service(host: &str, port: &str) -> Option<String> {
    let address: std::net::IpAddr = host.trim().parse().ok()?;
    let port: u16 = if port.trim().is_empty() { 443 } else { port.trim().parse().ok()? };
    Some(match address {
        std::net::IpAddr::V4(v4) => format!("https://{v4}:{port}"),
        std::net::IpAddr::V6(v6) => format!("https://[{v6}]:{port}"),
    })
}

fn hint(status: u16) -> &'static str {
    match status {
        401 => ": it does not know the token; is `token_file` right?",
        403 => ": the service account may not; allow it `list` and `watch` on pods",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_sent_in_the_clear_and_a_node_is_a_name() {
        let config = |url: &str, node: &str| PodsConfig {
            url: Some(url.into()),
            node: Some(node.into()),
            ..PodsConfig::default()
        };
        let asked = |config| Api::new(config).list(&mut PodStore::default()).unwrap_err();
        assert!(matches!(asked(config("http://127.0.0.1:6443", "node-1")), AskError::Clear));
        for node in ["", "a&watch=1", "A", "a/b"] {
            assert!(matches!(asked(config("https://127.0.0.1:6443", node)), AskError::Unset(_)), "{node:?}");
        }
    }

    #[test]
    fn the_clusters_service_is_its_api_server() {
        assert_eq!(by_service("10.96.0.1", "").as_deref(), Some("https://10.96.0.1:443"));
        assert_eq!(by_service("fd00::1", "6443").as_deref(), Some("https://[fd00::1]:6443"));
        assert_eq!(by_service("", "443"), None);
    }
}
