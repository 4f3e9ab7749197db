//! Questions that only the agent's thread can answer: one at a time, answered in its next turn.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Its workers.
    Workers,
    /// The incidents it knows.
    Incidents,
}

/// Where questions and answers lie.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    asked: AtomicBool,
    slip: Mutex<Slip>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Slip {
    question: Option<Question>,
    answer: Option<String>,
}

impl Desk {
    /// Asks, and waits so long. `None`: the agent's thread did not answer.
    pub(crate) fn ask(&self, question: Question, most: Duration) -> Option<String> {
        let mut slip = self.slip.lock().unwrap_or_else(PoisonError::into_inner);
        *slip = Slip { question: Some(question), answer: None };
        self.asked.store(true, Relaxed);
        let (mut slip, _) = self
            .answered
            .wait_timeout_while(slip, most, |slip| slip.answer.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        slip.question = None;
        slip.answer.take()
    }

    /// The question that waits, if there is one. Costs next to nothing if not.
    pub(crate) fn question(&self) -> Option<Question> {
        if !self.asked.swap(false, Relaxed) {
            return None;
        }
        self.slip.lock().unwrap_or_else(PoisonError::into_inner).question
    }

    /// The answer, as JSON.
    pub(crate) fn answer(&self, answer: String) {
        self.slip.lock().unwrap_or_else(PoisonError::into_inner).answer = Some(answer);
        self.answered.notify_all();
    }
}
