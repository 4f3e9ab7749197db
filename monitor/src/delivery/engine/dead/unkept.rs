//! Dead letters that could not be written, because the disk is full or refuses: they wait, a few of them, until it takes them.
//!
//! Their places in the spool are held meanwhile, so that an agent that ends before that meets them again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Lost;
use crate::delivery::Class;
use crate::delivery::spool::Entry;

/// Most letters that wait; the oldest is lost beyond that, and named.
const MOST: usize = 64;
/// Wait before the next attempt, doubled up to a minute.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Losses are said at most this often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A letter that waits.
pub(crate) struct Waiting {
    pub(crate) time: String,
    pub(crate) seq: u64,
    pub(crate) reason: String,
    pub(crate) entry: Arc<Entry>,
}

/// Those that wait.
#[derive(Default)]
pub(crate) struct Unkept {
    letters: VecDeque<Waiting>,
    wait: Duration,
    not_before: Duration,
    lost: Lost,
    /// An alert that is not itself about lost letters is among them.
    worth_saying: bool,
    said: Option<Duration>,
}

impl Unkept {
    /// Adds one that could not be written. The one that has to go for it.
    pub(crate) fn add(&mut self, letter: Waiting) -> Option<Waiting> {
        self.letters.push_back(letter);
        if self.letters.len() > MOST { self.letters.pop_front() } else { None }
    }

    /// Puts back what could not be written again, and waits longer.
    pub(crate) fn back(&mut self, letters: Vec<Waiting>, now: Duration) {
        letters.into_iter().rev().for_each(|letter| self.letters.push_front(letter));
        self.failed(now);
    }

    /// An attempt failed.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.wait = (self.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        self.not_before = now.saturating_add(self.wait);
    }

    /// All of them, if it is time to try.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<Waiting> {
        if now < self.not_before { Vec::new() } else { self.letters.drain(..).collect() }
    }

    /// They were written.
    pub(crate) fn wrote(&mut self) {
        self.wait = Duration::ZERO;
        self.not_before = Duration::ZERO;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// When there is something to do: a letter to be tried, or a loss to be said.
    pub(crate) fn next(&self) -> Option<Duration> {
        let letter = (!self.letters.is_empty()).then_some(self.not_before);
        let said = self.said.map_or(Duration::ZERO, |said| said.saturating_add(SAY_EVERY));
        letter.into_iter().chain(self.worth_saying.then_some(said)).min()
    }

    /// The places that are held, by class.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Class, u64)> {
        self.letters.iter().map(|letter| (letter.entry.record.class, letter.entry.number))
    }

    /// Everything comes again.
    pub(crate) fn clear(&mut self) {
        self.letters.clear();
    }

    /// These are lost; `about_letters`: it was an alert that names such losses, which must not lead to another one.
    pub(crate) fn lose(&mut self, lost: &Lost, about_letters: bool) {
        self.lost.join(lost);
        self.worth_saying |= lost.count > 0 && !about_letters;
    }

    /// What is to be said of losses now; `taken`: the receiver takes what it is told, so that it makes no further ones.
    pub(crate) fn say(&mut self, now: Duration, taken: bool) -> Option<Lost> {
        let early = self.said.is_some_and(|said| now.saturating_sub(said) < SAY_EVERY);
        let worth = self.worth_saying || (taken && self.lost.count > 0);
        if early || !worth {
            return None;
        }
        self.worth_saying = false;
        self.said = Some(now);
        Some(std::mem::take(&mut self.lost))
    }
}
