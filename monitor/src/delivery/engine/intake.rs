//! Between the agent's thread and the one that appends: bounded, and never in the agent's way.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::filter::Filter;
use crate::alert::Alert;
use crate::delivery::Class;
use crate::delivery::spool::LeftOut;
use crate::ledger::What;

/// Most bytes, roughly, that wait to be appended.
const MOST: usize = 8 << 20;

/// Most alerts that were left out and are told of only once that was said.
const UNTOLD: usize = 10_000;

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
    /// Somebody waits for something to append.
    idle: bool,
    /// Being appended.
    busy: bool,
    /// What each sink takes.
    filters: Vec<Filter>,
    /// Left out because too much waited: at most one for each sink and class.
    left_out: Vec<LeftOut>,
    /// Of these alerts: told of once that they were left out is on its way itself.
    untold: Vec<Ticket>,
    closed: bool,
    /// Who appends is to leave what waits to the next one.
    handed_over: bool,
    appended: Vec<Ticket>,
    /// Entries of the local log; `None`: there is none.
    logged: Option<Vec<What>>,
}

impl Queue {
    /// It goes no further: each sink that would have had it is told.
    fn leave_out(
        &mut self,
        alert: &Alert,
        class: Class,
        accepted: i64,
        only: Option<usize>,
        ticket: Option<Ticket>,
    ) {
        let told = if self.untold.len() < UNTOLD { &mut self.untold } else { &mut self.appended };
        told.extend(ticket);
        for (sink, filter) in self.filters.iter().enumerate() {
            if only.map_or_else(|| filter.takes(alert), |only| only == sink) {
                match self.left_out.iter_mut().find(|left| (left.sink, left.class) == (sink, class)) {
                    Some(left) => left.add(accepted),
                    None => self.left_out.push(LeftOut::new(sink, class, accepted)),
                }
            }
        }
    }
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
                queue.leave_out(&alert, class, accepted, only, ticket);
                return;
            };
            queue.weight -= gone.weight;
            queue.leave_out(&gone.alert, gone.class, gone.accepted, gone.only, gone.ticket);
        }
        queue.weight += weight;
        queue.waiting.push_back(Arrival { class, accepted, alert, only, ticket, weight });
        // A call of the system each time, otherwise.
        if queue.idle {
            self.changed.notify_all();
        }
    }

    /// Everything that waits; waits for something at most so long. `None`: nothing more will come, or another is to take it.
    pub(crate) fn take(&self, most: Duration) -> Option<Vec<Arrival>> {
        let mut queue = self.lock();
        queue.busy = false;
        self.changed.notify_all();
        let empty = |queue: &mut Queue| queue.waiting.is_empty() && !queue.closed && !queue.handed_over;
        queue.idle = true;
        let (mut queue, _) =
            self.changed.wait_timeout_while(queue, most, empty).unwrap_or_else(PoisonError::into_inner);
        queue.idle = false;
        if queue.handed_over || (queue.waiting.is_empty() && queue.closed) {
            return None;
        }
        let all: Vec<Arrival> = queue.waiting.drain(..).collect();
        queue.weight = 0;
        queue.busy = !all.is_empty();
        Some(all)
    }

    /// Records were appended.
    pub(crate) fn appended(&self, tickets: impl IntoIterator<Item = Ticket>) {
        self.lock().appended.extend(tickets);
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

    /// Alerts were appended.
    pub(crate) fn logged(&self, entries: impl IntoIterator<Item = What>) {
        if let Some(logged) = &mut self.lock().logged {
            logged.extend(entries);
        }
    }

    /// Entries of alerts that were appended since the last call.
    pub(crate) fn take_logged(&self) -> Vec<What> {
        self.lock().logged.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What was left out since the last call; and to be told of once that is on its way.
    pub(crate) fn take_left_out(&self) -> (Vec<LeftOut>, Vec<Ticket>) {
        let mut queue = self.lock();
        (std::mem::take(&mut queue.left_out), std::mem::take(&mut queue.untold))
    }

    /// From now on nobody is given anything (`true`), or whoever asks again (`false`): what comes meanwhile waits.
    pub(crate) fn hand_over(&self, begins: bool) {
        self.lock().handed_over = begins;
        self.changed.notify_all();
    }

    /// What each sink takes, in their order.
    pub(crate) fn set_filters(&self, filters: Vec<Filter>) {
        self.lock().filters = filters;
    }

    /// Sinks have other places now (`None`: they are none any more), and take this: what is for one of them alone goes with it.
    pub(crate) fn name_anew(&self, places: &[Option<usize>], filters: Vec<Filter>) {
        let mut queue = self.lock();
        let queue = &mut *queue;
        queue.filters = filters;
        queue.left_out.retain_mut(|left| {
            let place = places.get(left.sink).copied().flatten();
            left.sink = place.unwrap_or(left.sink);
            place.is_some()
        });
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
    use crate::alert::Tier;
    use crate::config::SinkConfig;
    use crate::delivery::spool::testing::alert;

    fn put(intake: &Intake, class: Class, ticket: Option<Ticket>) {
        intake.put(alert(class, 1), 0, None, ticket);
    }

    /// One whose sinks take everything, and incidents of the highest tier alone.
    fn intake() -> Intake {
        let all = SinkConfig { min_tier: Tier::Deviation, ..SinkConfig::stdout() };
        let most = SinkConfig { min_tier: Tier::Identity, ..SinkConfig::stdout() };
        let intake = Intake::default();
        intake.set_filters(vec![Filter::new(&all).unwrap(), Filter::new(&most).unwrap()]);
        intake
    }

    #[test]
    fn too_much_leaves_out_the_lowest_class_and_says_how_much_for_each_sink() {
        let intake = intake();
        let one = weight(&alert(Class::Low, 1));
        for _ in 0..MOST / one {
            put(&intake, Class::Low, None);
        }
        put(&intake, Class::Low, Some(("low".to_owned(), 1)));
        put(&intake, Class::High, Some(("i".into(), 1)));
        assert!(intake.take_appended().is_empty(), "not before it is said");
        let (left, told) = intake.take_left_out();
        assert_eq!(told, [("low".to_owned(), 1)]);
        assert_eq!(left.len(), 1, "the second sink takes nothing of that class: {left:?}");
        assert_eq!((left[0].sink, left[0].class, left[0].count), (0, Class::Low, 2));
        assert!(intake.take_left_out().0.is_empty());
        let taken = intake.take(Duration::ZERO).unwrap();
        assert_eq!(taken.len(), MOST / one);
        assert_eq!(taken.last().unwrap().class, Class::High);
        assert!(!intake.wait_empty(Duration::ZERO), "they are being appended");
        assert!(intake.take(Duration::ZERO).unwrap().is_empty());
        assert!(intake.wait_empty(Duration::ZERO));
    }

    #[test]
    fn left_out_of_the_highest_class_is_said_to_all_that_take_it_and_follows_their_places() {
        let intake = intake();
        let one = weight(&alert(Class::High, 1));
        for at in 0..=i64::try_from(MOST / one).unwrap() + 1 {
            intake.put(alert(Class::High, 1), at, None, None);
        }
        intake.put(alert(Class::High, 1), 9000, Some(1), None);
        intake.name_anew(&[None, Some(0)], Vec::new());
        let (left, _) = intake.take_left_out();
        assert_eq!(left.len(), 1, "the first sink is none any more: {left:?}");
        let from = i64::try_from(MOST / one).unwrap();
        assert_eq!((left[0].sink, left[0].count, left[0].span), (0, 3, (from, 9000)));
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
