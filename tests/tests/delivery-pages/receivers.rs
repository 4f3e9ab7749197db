//! The receivers that keep a state or a conversation, each of them behind the same questions.

use std::net::SocketAddr;
use std::path::Path;

use integration::fakes::server::ANY;
use integration::fakes::{Channel, Server, Service};

use crate::alertmanager::{self, Alertmanager};
use crate::{channel, pagerduty};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    PagerDuty,
    Slack,
    Alertmanager,
}

/// A receiver.
pub(crate) enum Receiver {
    PagerDuty(Service),
    Slack(Channel),
    Alertmanager(Alertmanager),
}

impl Kind {
    /// Starts one that keeps its files here.
    pub(crate) fn start(self, folder: &Path) -> Receiver {
        self.start_at(folder, ANY)
    }

    /// The same on this address, as one that was there before.
    pub(crate) fn start_at(self, folder: &Path, address: SocketAddr) -> Receiver {
        match self {
            Self::PagerDuty => Receiver::PagerDuty(Service::start_at(address, pagerduty::KEY).unwrap()),
            Self::Slack => Receiver::Slack(Channel::start_at(address, channel::PATH).unwrap()),
            Self::Alertmanager => Receiver::Alertmanager(Alertmanager::start_at(folder, false, address)),
        }
    }

    /// The keys of a sink to one on this address.
    pub(crate) fn sink(self, folder: &Path, address: SocketAddr) -> String {
        let url = format!("http://{address}");
        match self {
            Self::PagerDuty => pagerduty::sink_to(folder, &url),
            Self::Slack => channel::sink_to(folder, &format!("{url}{}", channel::PATH)),
            Self::Alertmanager => alertmanager::sink_to(&url),
        }
    }
}

impl Receiver {
    pub(crate) fn server(&self) -> &Server {
        match self {
            Self::PagerDuty(service) => &service.server,
            Self::Slack(channel) => &channel.server,
            Self::Alertmanager(alertmanager) => &alertmanager.gate,
        }
    }

    pub(crate) fn sink(&self, folder: &Path) -> String {
        match self {
            Self::PagerDuty(service) => pagerduty::sink(folder, service),
            Self::Slack(channel) => channel::sink(folder, channel),
            Self::Alertmanager(alertmanager) => alertmanager.sink(),
        }
    }

    /// The thefts that are open there, of alerts that are [`titled`](crate::agent::titled); of a channel, as somebody knows who has read it.
    pub(crate) fn open(&self) -> Vec<String> {
        match self {
            Self::PagerDuty(service) => {
                let keys = service.open();
                keys.iter().filter_map(|key| key.strip_suffix("/page")).map(str::to_owned).collect()
            }
            Self::Alertmanager(alertmanager) => {
                let active = alertmanager.active();
                active.iter().filter_map(|line| line.strip_prefix("identity ")).map(str::to_owned).collect()
            }
            Self::Slack(channel) => {
                let texts = channel.texts();
                let mut open = Vec::new();
                for text in &texts {
                    let which = text.split_once(": ").map_or(&**text, |(_, which)| which);
                    let which = which.trim_start_matches("Worse: ").split(' ').next().unwrap_or_default();
                    open.retain(|known| known != which);
                    if text.starts_with("CRITICAL") {
                        open.push(which.to_owned());
                    }
                }
                open.sort_unstable();
                open
            }
        }
    }

    /// Summaries of what came and went unseen, as the receiver shows them.
    pub(crate) fn summaries(&self) -> Vec<String> {
        let of = |text: &&String| text.contains("/missed/") || text.starts_with("While you were unreachable");
        match self {
            Self::PagerDuty(service) => service.alerts().keys().filter(of).cloned().collect(),
            Self::Slack(channel) => channel.texts().iter().filter(of).cloned().collect(),
            Self::Alertmanager(alertmanager) => alertmanager.active().iter().filter(of).cloned().collect(),
        }
    }
}
