//! What a changed configuration does to the ways out and in besides rules: sinks and spool, the metrics' address, who is asked
//! about pods, where container engines are.

use super::Agent;
use crate::config::Config;
use crate::delivery::Wanted;
use crate::detect::{Envelope, boot_now};
use crate::kernel::Probes;
use crate::metadata::HostEngines;

impl<P: Probes> Agent<P> {
    /// Whether the sinks and the spool of a configuration can take the place of those there are; in words why not.
    pub(super) fn check_outlets(&self, new: &Config) -> Result<(), String> {
        if self.changes_sinks(new) { self.sinks.check(&self.wanted(new)) } else { Ok(()) }
    }

    /// Puts what is new of a configuration in the place of what was.
    ///
    /// # Errors
    /// In words: the sinks stay as they are.
    pub(super) fn exchange_outlets(&mut self, new: &Config) -> Result<(), String> {
        let Some(old) = self.config.clone() else { return Ok(()) };
        let wanted = self.wanted(new);
        let exchange = if self.changes_sinks(new) {
            self.sinks_before = Some((old.sinks.clone(), old.spool.clone()));
            self.sinks.exchange(wanted)
        } else {
            self.sinks.follow(wanted.drain, wanted.envelope);
            Ok(())
        };
        if old.listen != new.listen {
            self.serve_metrics(new.listen.as_deref());
        }
        if old.containers != new.containers {
            self.engines = HostEngines::new(&new.containers);
        }
        if old.pods != new.pods {
            self.learn_pods_anew(new);
        }
        exchange.map_err(|error| format!("no thread to exchange the sinks: {error}"))
    }

    /// Takes the sinks that an exchange has made.
    pub(super) fn outlets_exchanged(&mut self) {
        match self.sinks.exchanged() {
            None => return,
            Some(Ok(())) => {
                tracing::info!("other sinks are in place");
                self.sinks_before = None;
                self.config_is_good();
            }
            Some(Err(why)) => self.outlets_stay(&why),
        }
        if let Some(why) = self.reload_again.take() {
            self.reload(&why);
        }
    }

    /// The sinks are those that were before, although the configuration was found good. The next reload tries them again.
    pub(super) fn outlets_stay(&mut self, why: &str) {
        if let (Some((sinks, spool)), Some(config)) = (self.sinks_before.take(), &mut self.config) {
            (config.sinks, config.spool) = (sinks, spool);
        }
        let detail = format!("the sinks are those from before, the rest of it is in force: {why}");
        self.refuse_config("an exchange of sinks", detail);
    }

    /// What delivery is to be like.
    fn wanted(&self, new: &Config) -> Wanted {
        let mut envelope = self.pipeline.detector.envelope.clone();
        follow(&mut envelope, new);
        Wanted { sinks: new.sinks.clone(), spool: new.spool.clone(), drain: new.drain.0, envelope }
    }

    fn changes_sinks(&self, new: &Config) -> bool {
        self.config.as_ref().is_some_and(|old| old.sinks != new.sinks || old.spool != new.spool)
    }

    /// Asks somebody else about pods from now on, or nobody. What is known stays until the answer comes.
    fn learn_pods_anew(&mut self, config: &Config) {
        let said = match self.learning.take() {
            None => false,
            Some(learning) => {
                if let Err(error) = self.epoll.delete(learning.fd()) {
                    tracing::warn!(%error, "who was asked about pods is listened to for ever");
                }
                learning.said
            }
        };
        if let Err(error) = self.learn_pods(config) {
            return self.pods_notice(Some(&error.to_string()), boot_now());
        }
        match &mut self.learning {
            // It is to be said when somebody answers again.
            Some(learning) => learning.said = said,
            // Nobody is asked any more, so nobody is missed.
            None if said => self.pods_notice(None, boot_now()),
            None => {}
        }
        self.pipeline.pods_unknown();
        self.ask_for_pods();
    }
}

/// What a changed configuration puts on every alert.
pub(super) fn follow(envelope: &mut Envelope, config: &Config) {
    envelope.cluster.clone_from(&config.cluster);
    envelope.environment.clone_from(&config.environment);
    envelope.labels.clone_from(&config.labels);
}
