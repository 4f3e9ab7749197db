//! Connects whose outcome is not known yet: a non-blocking connect says later what became of it.

use std::collections::HashMap;

use crate::event::{BootNs, Outcome};

/// After this long no outcome comes any more (SYN retries end after about two minutes). ns.
const KEEP: BootNs = 150 * 1_000_000_000;
/// Most connects waited for.
const WAITING_MAX: usize = 2048;

/// A connect that a finding was about.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Cgroup and scope of its incident.
    pub(super) place: (u64, String),
    /// Key of its link in the chain.
    pub(super) link: u64,
    /// As the blast radius lists it.
    pub(super) contact: String,
    since: BootNs,
}

impl Waiting {
    pub(super) fn new(place: (u64, String), link: u64, contact: String, since: BootNs) -> Self {
        Self { place, link, contact, since }
    }
}

/// The connects that are waited for, by socket.
#[derive(Default)]
pub(super) struct Connects(HashMap<u64, Waiting>);

impl Connects {
    /// Waits for what becomes of a socket's connect. When too many are waited for, new ones stay without an outcome.
    pub(super) fn wait(&mut self, sock: u64, waiting: Waiting) {
        if sock == 0 {
            return;
        }
        if self.0.len() >= WAITING_MAX {
            self.expire(waiting.since);
        }
        if self.0.len() < WAITING_MAX || self.0.contains_key(&sock) {
            self.0.insert(sock, waiting);
        }
    }

    /// The connect of a socket whose outcome came.
    pub(super) fn take(&mut self, sock: u64) -> Option<Waiting> {
        self.0.remove(&sock)
    }

    /// Forgets those without an outcome.
    pub(super) fn expire(&mut self, now: BootNs) {
        self.0.retain(|_, waiting| now.saturating_sub(waiting.since) < KEEP);
    }
}

/// What became of a connect.
pub(super) struct Settled {
    pub(super) what: Outcome,
    pub(super) in_words: String,
}

impl Settled {
    /// The outcome as findings have it.
    pub(super) fn outcome(&self) -> &'static str {
        match (self.what, &*self.in_words) {
            (_, "established") => "ok",
            (_, "denied") => "denied",
            _ => "failed",
        }
    }
}

/// What became of a connect, in a word.
pub(super) fn result(outcome: Outcome, errno: i32) -> String {
    match (outcome, errno.abs()) {
        (Outcome::Ok, 0) => "established".to_owned(),
        (_, libc::ECONNREFUSED) => "refused".to_owned(),
        (_, libc::ETIMEDOUT) => "timeout".to_owned(),
        (_, libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN) => {
            "unreachable".to_owned()
        }
        (_, libc::ECONNRESET | libc::EPIPE) => "reset".to_owned(),
        (Outcome::Denied, _) => "denied".to_owned(),
        (Outcome::Ok, _) => "established".to_owned(),
        (_, 0) => "given up".to_owned(),
        (_, errno) => format!("failed (error {errno})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(since: BootNs) -> Waiting {
        Waiting::new((1, "s".into()), 7, "x".into(), since)
    }

    #[test]
    fn outcome_is_joined_once_and_only_while_it_is_waited_for() {
        let mut connects = Connects::default();
        connects.wait(1, waiting(0));
        connects.wait(0, waiting(0));
        assert_eq!(connects.take(1).map(|waiting| waiting.link), Some(7));
        assert!(connects.take(1).is_none() && connects.take(0).is_none());
        connects.wait(2, waiting(0));
        connects.expire(KEEP);
        assert!(connects.take(2).is_none());
    }

    #[test]
    fn memory_stays_bounded() {
        let mut connects = Connects::default();
        for sock in 1..3 * WAITING_MAX as u64 {
            connects.wait(sock, waiting(1));
        }
        assert_eq!(connects.0.len(), WAITING_MAX);
    }

    #[test]
    fn outcomes_have_words() {
        let words = |outcome, errno| result(outcome, errno);
        assert_eq!(words(Outcome::Ok, 0), "established");
        assert_eq!(words(Outcome::Attempted, libc::ECONNREFUSED), "refused");
        assert_eq!(words(Outcome::Denied, libc::ECONNREFUSED), "refused");
        assert_eq!(words(Outcome::Attempted, libc::ETIMEDOUT), "timeout");
        assert_eq!(words(Outcome::Attempted, libc::EHOSTUNREACH), "unreachable");
        assert_eq!(words(Outcome::Denied, libc::EPERM), "denied");
        assert_eq!(words(Outcome::Attempted, libc::EINVAL), "failed (error 22)");
    }
}
