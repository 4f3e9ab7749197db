//! Between the agent's thread and the one that appends: bounded, and never in the agent's way.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::alert::Alert;
use crate::delivery::Class;
use crate::ledger::What;

/// Most bytes, roughly, that wait to be appended.
const MOST: usize = 8 << 20;

/// What waits to be appended.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) class: Class,
    /// When it was accepted, ns since the epoch.
    pub(crate) accepted: i64,
    /// As it was raised. Redacted by the thread that appends: that costs more than anything else here, and the agent's own
    /// thread has rings to empty.
    pub(crate) alert: Box<Alert>,
    /// Which sink alone gets it; all whose filter takes it, if none is named.
    pub(crate) only: Option<usize>,
    /// Told when it was appended.
    pub(crate) ticket: Option<Ticket>,
    weight: usize,
}

/// An incident's revision; an alert of no incident.
pub(crate) type Ticket = (String, u64);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arrival>,
    weight: usize,
    /// Being appended.
    busy: bool,
    /// Left out because too much waited, by class.
    refused: [u64; 3],
    closed: bool,
    /// Who appends is to leave what waits to the next one.
    handed_over: bool,
    appended: Vec<Ticket>,
    /// Entries of the local log; `None`: there is none.
    logged: Option<Vec<What>>,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Intake {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an alert; the lowest class is left out first when too much waits.
    pub(crate) fn put(&self, alert: Alert, accepted: i64, only: Option<usize>, ticket: Option<Ticket>) {
        let weight = weight(&alert);
        let class = Class::of(&alert);
        let alert = Box::new(alert);
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        while queue.weight + weight > MOST {
            let lower = queue.waiting.iter().rposition(|waiting| waiting.class < class);
            let gone = match lower {
                Some(at) => queue.waiting.remove(at),
                None => None,
            };
            let Some(gone) = gone else {
                queue.refused[class.order()] += 1;
                queue.appended.extend(ticket);
                return;
            };
            queue.weight -= gone.weight;
            queue.refused[gone.class.order()] += 1;
            queue.appended.extend(gone.ticket);
        }
        queue.weight += weight;
        queue.waiting.push_back(Arrival { class, accepted, alert, only, ticket, weight });
        self.changed.notify_all();
    }

    /// Everything that waits; waits for something at most so long. `None`: nothing more will come, or another is to take it.
    pub(crate) fn take(&self, most: Duration) -> Option<Vec<Arrival>> {
        let mut queue = self.lock();
        queue.busy = false;
        self.changed.notify_all();
        let empty = |queue: &mut Queue| queue.waiting.is_empty() && !queue.closed && !queue.handed_over;
        let (mut queue, _) =
            self.changed.wait_timeout_while(queue, most, empty).unwrap_or_else(PoisonError::into_inner);
        if queue.handed_over || (queue.waiting.is_empty() && queue.closed) {
            return None;
        }
        let all: Vec<Arrival> = queue.waiting.drain(..).collect();
        queue.weight = 0;
        queue.busy = !all.is_empty();
        Some(all)
    }

    /// A record was appended.
    pub(crate) fn appended(&self, ticket: Ticket) {
        self.lock().appended.push(ticket);
    }

    /// Alerts that were appended since the last call.
    pub(crate) fn take_appended(&self) -> Vec<Ticket> {
        std::mem::take(&mut self.lock().appended)
    }

    /// From now on [`take_logged`](Self::take_logged) has something to give.
    pub(crate) fn log_alerts(&self) {
        self.lock().logged.get_or_insert_default();
    }

    /// Whether there is a local log.
    pub(crate) fn is_logged(&self) -> bool {
        self.lock().logged.is_some()
    }

    /// An alert was appended.
    pub(crate) fn logged(&self, entry: What) {
        if let Some(logged) = &mut self.lock().logged {
            logged.push(entry);
        }
    }

    /// Entries of alerts that were appended since the last call.
    pub(crate) fn take_logged(&self) -> Vec<What> {
        self.lock().logged.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many of each class were left out since the last call.
    pub(crate) fn take_refused(&self) -> [u64; 3] {
        std::mem::take(&mut self.lock().refused)
    }

    /// From now on nobody is given anything (`true`), or whoever asks again (`false`): what comes meanwhile waits.
    pub(crate) fn hand_over(&self, begins: bool) {
        self.lock().handed_over = begins;
        self.changed.notify_all();
    }

    /// Sinks have other places now (`None`: they are none any more): what is for one of them alone goes with it.
    pub(crate) fn name_anew(&self, places: &[Option<usize>]) {
        let mut queue = self.lock();
        let queue = &mut *queue;
        queue.waiting.retain_mut(|arrival| {
            let Some(place) = arrival.only else { return true };
            arrival.only = places.get(place).copied().flatten();
            if arrival.only.is_none() {
                queue.weight -= arrival.weight;
                queue.appended.extend(arrival.ticket.take());
            }
            arrival.only.is_some()
        });
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until everything that came was appended. `false`: not within that time.
    pub(crate) fn wait_empty(&self, most: Duration) -> bool {
        let full = |queue: &mut Queue| queue.busy || !queue.waiting.is_empty();
        let (queue, _) =
            self.changed.wait_timeout_while(self.lock(), most, full).unwrap_or_else(PoisonError::into_inner);
        !queue.busy && queue.waiting.is_empty()
    }
}

/// About how many bytes of memory an alert takes: its parts, and the texts that a worker can make long.
fn weight(alert: &Alert) -> usize {
    let long = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let list = |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
    let argv = |argv: &Option<Vec<String>>| argv.as_deref().map_or(0, list);
    let mut weight =
        size_of::<Alert>() + 2048 + alert.title.len() + list(&alert.respond) + long(&alert.allow_with);
    if let Some(evidence) = &alert.evidence {
        weight += evidence.events.iter().map(|e| 256 + e.object.len() + argv(&e.argv)).sum::<usize>();
        weight += evidence.tree.iter().map(|p| 256 + long(&p.exe) + argv(&p.argv)).sum::<usize>();
    }
    if let Some(incident) = &alert.incident {
        weight +=
            incident.chain.iter().map(|link| 256 + long(&link.title) + long(&link.object)).sum::<usize>();
    }
    if let Some(radius) = &alert.blast_radius {
        weight += 256 * (radius.taken.len() + radius.rotation.len());
        weight += [&radius.used, &radius.reachable, &radius.environment, &radius.contacted]
            .map(|all| list(all))
            .iter()
            .sum::<usize>();
    }
    if let Some(process) = &alert.process {
        weight += long(&process.exe) + long(&process.cwd) + argv(&process.argv);
        weight += process.ancestors.iter().map(|ancestor| 128 + long(&ancestor.exe)).sum::<usize>();
    }
    if let Some(file) = &alert.file {
        weight += long(&file.path) + long(&file.host_path);
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::spool::testing::alert;

    fn put(intake: &Intake, class: Class, ticket: Option<Ticket>) {
        intake.put(alert(class, 1), 0, None, ticket);
    }

    #[test]
    fn too_much_leaves_out_the_lowest_class_and_says_how_much() {
        let intake = Intake::default();
        let one = weight(&alert(Class::Low, 1));
        for _ in 0..MOST / one {
            put(&intake, Class::Low, None);
        }
        put(&intake, Class::Low, None);
        put(&intake, Class::High, Some(("i".into(), 1)));
        assert_eq!(intake.take_refused(), [0, 0, 2]);
        let taken = intake.take(Duration::ZERO).unwrap();
        assert_eq!(taken.len(), MOST / one);
        assert_eq!(taken.last().unwrap().class, Class::High);
        assert!(!intake.wait_empty(Duration::ZERO), "they are being appended");
        assert!(intake.take(Duration::ZERO).unwrap().is_empty());
        assert!(intake.wait_empty(Duration::ZERO));
    }

    #[test]
    fn long_texts_weigh_what_they_are() {
        let mut alert = alert(Class::Low, 1);
        let before = weight(&alert);
        alert.evidence.as_mut().unwrap().events[0].argv = Some(vec!["x".repeat(100_000)]);
        alert.title = "y".repeat(1000);
        assert!((100_500..102_000).contains(&(weight(&alert) - before)));
    }

    #[test]
    fn handed_over_gives_nothing_until_another_asks_and_keeps_what_comes() {
        let intake = Intake::default();
        put(&intake, Class::Low, None);
        intake.hand_over(true);
        put(&intake, Class::High, None);
        assert!(intake.take(Duration::ZERO).is_none());
        intake.hand_over(false);
        assert_eq!(intake.take(Duration::ZERO).unwrap().len(), 2);
    }

    #[test]
    fn closed_gives_what_waits_and_then_nothing() {
        let intake = Intake::default();
        put(&intake, Class::Low, None);
        intake.close();
        put(&intake, Class::Low, None);
        assert_eq!(intake.take(Duration::ZERO).unwrap().len(), 1);
        assert!(intake.take(Duration::ZERO).is_none());
    }
}
