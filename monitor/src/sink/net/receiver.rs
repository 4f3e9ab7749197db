//! A receiver that batches are posted to: its addresses, the client, and how it is logged in to.

use super::halves::{self, Whole};
use super::{Client, Endpoint, Endpoints, NetError};
use crate::alert::MAX_ALERT;
use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome};

/// Logs a client in with what the configuration says. Called again when secrets are read again.
type LogIn = fn(&mut Client, &SinkConfig) -> Result<(), NetError>;

/// A receiver.
pub struct Receiver {
    /// What the sink is told.
    pub config: SinkConfig,
    client: Client,
    endpoints: Endpoints,
    log_in: LogIn,
}

impl Receiver {
    /// The receiver of a configuration, with `suffix` below each of its addresses. Connects when there is something to send.
    ///
    /// # Errors
    /// An address, the headers, the key or the certificates cannot be used.
    pub fn open(config: &SinkConfig, suffix: &str, log_in: LogIn) -> Result<Self, NetError> {
        let endpoints = Endpoints::of(config, suffix)?;
        let mut client = Client::open(config)?;
        log_in(&mut client, config)?;
        Ok(Self { config: config.clone(), client, endpoints, log_in })
    }

    /// Reads certificates and secrets again. On an error the old ones stay.
    ///
    /// # Errors
    /// As for [`open`](Receiver::open), in words.
    pub fn reopen(&mut self) -> Result<(), String> {
        let read = self.client.reload().and_then(|()| (self.log_in)(&mut self.client, &self.config));
        read.map_err(|error| error.to_string())
    }

    /// So many alerts and bytes in a request, and no alert larger than the configuration says.
    pub fn limits(&self, items: usize, bytes: usize) -> Limits {
        let most = self.config.max_bytes.map_or(MAX_ALERT as u64, |bytes| bytes.0);
        Limits { items, bytes, max_bytes: usize::try_from(most).unwrap_or(usize::MAX) }
    }

    /// The size of an alert in its envelope, if a bound was configured. Otherwise its own text counts, which is bounded as every
    /// alert is: nothing of it goes for the sake of the envelope.
    pub fn sent_bytes(&self, item: &Item, with_envelope: impl FnOnce() -> usize) -> usize {
        if self.config.max_bytes.is_some() { with_envelope() } else { item.text.len() }
    }

    /// Its addresses, for logs.
    pub fn shown(&self) -> String {
        self.endpoints.shown()
    }

    /// Sends a batch, in halves where it is refused. `post` sends a part to one address and says what became of it; the
    /// next address is taken when it has to be sent again.
    pub fn send(
        &mut self,
        batch: &[Item],
        mut post: impl FnMut(&Client, &Endpoint, &[Item]) -> Whole,
    ) -> Vec<Outcome> {
        let (client, endpoints) = (&self.client, &mut self.endpoints);
        halves::send(batch, |part| {
            let Some(endpoint) = endpoints.current() else { return Whole::Each(Vec::new()) };
            let whole = post(client, endpoint, part);
            if matches!(whole, Whole::Again { .. }) {
                endpoints.next();
            }
            whole
        })
    }
}
