//! What a changed configuration does to the ways out and in besides rules: sinks and spool, the metrics' address, who is asked
//! about pods, where container engines are.

use super::Agent;
use super::reload::Loaded;
use crate::alert::Severity;
use crate::config::{Config, SinkConfig, SpoolConfig};
use crate::delivery::{Look, Wanted};
use crate::detect::{Envelope, boot_now};
use crate::kernel::Probes;
use crate::ledger::What;
use crate::metadata::HostEngines;

/// Where the sinks and the spool stand when the configuration changes.
#[derive(Default)]
pub(super) struct Outlets {
    /// Digest of the configuration whose sinks and spool are in force.
    pub(super) digest: String,
    /// Why these are not, or not yet, those of the configuration that the rest is of.
    pub(super) why: Option<String>,
    /// What was loaded and why, while it is looked at whether its sinks can work.
    waits: Option<(Look, Loaded, String)>,
    /// Sinks and spool of before, while others are put in their place.
    before: Option<(Vec<SinkConfig>, SpoolConfig)>,
    /// A change came meanwhile.
    again: Option<String>,
}

#[cfg(test)]
impl Outlets {
    pub(super) fn is_looking(&self) -> bool {
        self.waits.is_some()
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.waits.is_none() && self.again.is_none()
    }
}

impl<P: Probes> Agent<P> {
    /// Whether sinks are being changed: another change has to wait, and is not forgotten.
    pub(super) fn outlets_change(&mut self, why: &str) -> bool {
        let change = self.outlets.waits.is_some() || self.sinks.is_exchanging();
        if change {
            // What is in the files by then is taken.
            self.outlets.again = Some(why.to_owned());
        }
        change
    }

    /// Takes what was loaded, once it is known that its sinks can work: they may name files where nobody answers, and the agent
    /// waits for none.
    pub(super) fn take_if_sinks_can(&mut self, loaded: Loaded, why: &str) {
        match loaded.config.as_ref().filter(|new| self.changes_sinks(&new.config)) {
            None => self.take(loaded, why),
            Some(new) => {
                let look = self.sinks.look_at(&self.wanted(&new.config));
                self.outlets.waits = Some((look, loaded, why.to_owned()));
            }
        }
    }

    /// Puts what is new of a configuration in the place of what was.
    ///
    /// # Errors
    /// In words: the sinks stay as they are.
    pub(super) fn exchange_outlets(&mut self, new: &Config) -> Result<(), String> {
        let Some(old) = self.config.clone() else { return Ok(()) };
        let wanted = self.wanted(new);
        let exchange = if self.changes_sinks(new) {
            self.outlets.before = Some((old.sinks.clone(), old.spool.clone()));
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

    /// Goes on with a change of sinks, if there is one.
    pub(super) fn follow_outlets(&mut self) {
        if let Some((look, ..)) = &self.outlets.waits {
            let Some(found) = look.result() else { return };
            let Some((_, loaded, why)) = self.outlets.waits.take() else { return };
            match found {
                Ok(()) => self.take(loaded, &why),
                Err(error) => self.refuse_config(&why, error),
            }
        }
        if let Some(why) = self.sinks.stands_still() {
            self.outlets_stand(&why);
        }
        match self.sinks.exchanged() {
            Some(Ok(())) => self.outlets_exchanged(),
            Some(Err(why)) => self.outlets_stay(&why),
            None => {}
        }
        if !self.sinks.is_exchanging()
            && let Some(why) = self.outlets.again.take()
        {
            self.reload(&why);
        }
    }

    fn outlets_exchanged(&mut self) {
        tracing::info!("other sinks are in place");
        self.outlets.before = None;
        let to = self.config_digest.clone();
        self.outlets_are_of(to.clone());
        self.log(What::SinksChanged { to });
        self.config_is_good();
    }

    /// Sinks and spool in force are those of this configuration.
    pub(super) fn outlets_are_of(&mut self, digest: String) {
        (self.outlets.digest, self.outlets.why) = (digest, None);
    }

    /// The sinks are those that were before, although the configuration was found good. The next reload tries them again.
    pub(super) fn outlets_stay(&mut self, why: &str) {
        if let (Some((sinks, spool)), Some(config)) = (self.outlets.before.take(), &mut self.config) {
            (config.sinks, config.spool) = (sinks, spool);
        }
        let (stay, refused) = (self.outlets.digest.clone(), self.config_digest.clone());
        self.log(What::sinks_stay(&stay, &refused, why));
        self.outlets.why = Some(why.to_owned());
        let title = "The changed sinks could not be put in place; those from before stay";
        let detail =
            format!("sinks and spool are those of {stay}, the rest is in force as in {refused}: {why}");
        self.say_refused("an exchange of sinks", Severity::Medium, title, detail);
    }

    /// The sinks of before have ended, and those that are to come cannot begin.
    fn outlets_stand(&mut self, why: &str) {
        let words = format!("nothing is delivered, and it is tried again: {why}");
        // Asked at every turn.
        if self.outlets.why.as_ref() == Some(&words) {
            return;
        }
        self.outlets.why = Some(words);
        let title = "Nothing is delivered: the changed sinks do not begin; it is tried again";
        self.say_refused("an exchange of sinks", Severity::High, title, why.to_owned());
    }

    /// What delivery is to be like.
    fn wanted(&self, new: &Config) -> Wanted {
        let mut envelope = self.pipeline.detector.envelope.clone();
        follow(&mut envelope, new);
        Wanted { sinks: new.sinks.clone(), spool: new.spool.clone(), drain: new.drain.0, envelope }
    }

    /// Whether a configuration has other sinks, or another spool.
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
