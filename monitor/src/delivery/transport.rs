//! What the engine asks of a sink that is a log.

use std::time::Duration;

use crate::alert::SafeAlert;

/// What "sent" means for a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The receiver answers for each item: no holes, duplicates possible.
    Acknowledged,
    /// Nobody answers. After a connection broke, the transport sends again what was sent last over it; loss is possible.
    Unacknowledged,
}

/// How much a transport takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most items of a batch.
    pub items: usize,
    /// Most bytes of a batch, summed over the items' texts.
    pub bytes: usize,
    /// Most bytes of one item as it is sent ([`Transport::sent_bytes`]); larger alerts are cut, and say so.
    pub max_bytes: usize,
}

/// One alert to be sent.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its number in the sink's stream; 0 for heartbeats, which have none.
    pub seq: u64,
    /// The alert: what envelopes are filled from (time, host, severity, id).
    pub alert: SafeAlert,
    /// The alert in the sink's format, without a line end.
    pub text: Vec<u8>,
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it; for a transport without answers: it was handed to the system.
    Accepted,
    /// The receiver will never take it: a dead letter. The reason names no secret.
    Rejected {
        /// What the receiver said.
        reason: String,
    },
    /// Not now: it is sent again. Outcomes behind it still count, so that half a batch may be taken.
    Retry {
        /// What went wrong.
        reason: String,
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
    },
}

/// A sink that is a log. Lives on a thread of its own and may block, bounded by its own timeouts.
pub trait Transport: Send {
    /// What its answers mean.
    fn promise(&self) -> Promise;

    /// What it takes at once.
    fn limits(&self) -> Limits;

    /// How many bytes an item is once it is sent: with what is put around it, and with what has to be escaped for that.
    fn sent_bytes(&self, item: &Item) -> usize {
        item.text.len()
    }

    /// Where it sends to, without secrets: for logs and errors.
    fn target(&self) -> String;

    /// Whether what it needs on this machine (files, keys) is there. Asked before anything is sent; may look for it again.
    ///
    /// # Errors
    /// What is missing: nothing can be sent until it is there, and people are told at once.
    fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Sends the items in order; one outcome for each, in the same order. A missing outcome counts as `Retry`: whoever
    /// stops at the first failure says nothing of the items behind it.
    fn send(&mut self, batch: &[Item]) -> Vec<Outcome>;

    /// Makes what was accepted since the last call last (a file's fsync). The engine calls it, about once a second, before
    /// it forgets anything; what was accepted since is sent again if it fails.
    ///
    /// # Errors
    /// Why it may not last.
    fn commit(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Whether many agents share the receiver, so that what piled up during an outage is sent slowly.
    fn shared(&self) -> bool {
        true
    }

    /// Opens files again (after they were rotated away); reads secrets and certificates again.
    ///
    /// # Errors
    /// Why that failed. The sink goes on with what it had, if it can.
    fn reopen(&mut self) -> Result<(), String> {
        Ok(())
    }
}
