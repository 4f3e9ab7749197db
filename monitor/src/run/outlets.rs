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
        match self.wanted(new) {
            Some(wanted) if self.changes_sinks(new) => self.sinks.check(&wanted),
            _ => Ok(()),
        }
    }

    /// Puts what is new of a configuration in the place of what was.
    pub(super) fn exchange_outlets(&mut self, new: &Config) {
        if let Some(wanted) = self.wanted(new)
            // Words that delivery's own alerts carry are not worth the loss of what waits in memory.
            && self.sinks.check(&wanted).is_ok()
            && let Err(error) = self.sinks.exchange(wanted)
        {
            self.outlets_stay(&format!("no thread to exchange the sinks: {error}"));
        }
        let Some(old) = self.config.clone() else { return };
        if old.listen != new.listen {
            self.serve_metrics(new.listen.as_deref());
        }
        if old.containers != new.containers {
            self.engines = HostEngines::new(&new.containers);
        }
        if old.pods != new.pods {
            self.learn_pods_anew(new);
        }
    }

    /// Takes the sinks that an exchange has made.
    pub(super) fn outlets_exchanged(&mut self) {
        match self.sinks.exchanged() {
            None => return,
            Some(Ok(())) => tracing::info!("other sinks are in place"),
            Some(Err(why)) => self.outlets_stay(&why),
        }
        if let Some(why) = self.reload_again.take() {
            self.reload(&why);
        }
    }

    /// The sinks are those that were before, although the configuration was found good.
    fn outlets_stay(&mut self, why: &str) {
        let detail = format!("the sinks are those from before, the rest of it is in force: {why}");
        self.refuse_config("an exchange of sinks", detail);
    }

    /// What delivery is to be like, if a configuration changes it.
    fn wanted(&self, new: &Config) -> Option<Wanted> {
        let old = self.config.as_ref()?;
        let says_other =
            (&old.cluster, &old.environment, &old.labels) != (&new.cluster, &new.environment, &new.labels);
        if !self.changes_sinks(new) && old.drain == new.drain && !says_other {
            return None;
        }
        let mut envelope = self.pipeline.detector.envelope.clone();
        follow(&mut envelope, new);
        Some(Wanted { sinks: new.sinks.clone(), spool: new.spool.clone(), drain: new.drain.0, envelope })
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
