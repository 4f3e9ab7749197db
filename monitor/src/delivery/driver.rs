//! What the engine asks of a sink with a state of its own.

use super::{Consumer, Meter};

/// A sink with a state of its own. Lives on a thread of its own and may block, bounded by its own timeouts.
pub trait Driver: Send {
    /// Where it sends to, without secrets: for logs and errors.
    fn target(&self) -> String;

    /// Reads records and does what they ask for, until the consumer says that the agent is ending. What it sends and what
    /// becomes of it is counted with `meter`.
    fn run(&mut self, consumer: &mut dyn Consumer, meter: &Meter);
}
