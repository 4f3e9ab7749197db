//! Asking for pods from a thread of its own: the kubelet when somebody wants to know, and not too often; the API server once, and
//! then it tells what changes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::api::{Api, Ended};
use super::ask::AskError;
use super::kubelet::Kubelet;
use super::node::PodStore;
use super::pod::Pod;
use crate::detect::boot_now;
use crate::event::BootNs;

/// Shortest time between two questions.
const BETWEEN: Duration = Duration::from_secs(2);
/// Longest time between two, while it does not answer.
const LONGEST: Duration = Duration::from_secs(30);

/// Who is asked.
pub trait PodSource: Send {
    /// The pods on this node now; in words why not.
    ///
    /// # Errors
    /// It could not be asked, or its answer cannot be read.
    fn pods(&mut self) -> Result<Vec<Pod>, String>;
}

impl PodSource for Kubelet {
    fn pods(&mut self) -> Result<Vec<Pod>, String> {
        Self::pods(self).map_err(|error: AskError| error.to_string())
    }
}

/// What came back.
pub type Answer = Result<Vec<Pod>, String>;

/// An answer, and when it was asked for, boot-time ns: what began later may be missing in it.
type Dated = (BootNs, Answer);

/// The thread that asks. It ends once this was dropped, when it would ask again.
pub struct Fetcher {
    ask: SyncSender<()>,
    answers: Receiver<Dated>,
    ready: Arc<EventFd>,
}

impl Fetcher {
    /// Starts it.
    ///
    /// # Errors
    /// The system gives no thread or descriptor.
    pub fn start(source: impl PodSource + 'static) -> io::Result<Self> {
        Self::with_pause(source, BETWEEN)
    }

    fn with_pause(source: impl PodSource + 'static, between: Duration) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        // Few answers wait: a question is only asked once the last one was answered.
        let (answer, answers) = sync_channel(2);
        let ready = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let bell = ready.clone();
        crate::observe::start_thread("pods", move || {
            turn(source, between, (&asked, &answer, &bell), &std::thread::sleep);
        })?;
        Ok(Self { ask, answers, ready })
    }

    /// Starts one that is told by the API server what changes, and need not be asked.
    ///
    /// # Errors
    /// The system gives no thread or descriptor.
    pub fn follow(api: Api) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let (answer, answers) = sync_channel(2);
        let ready = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let bell = ready.clone();
        // Nobody reads the questions: one that waits is enough.
        crate::observe::start_thread("pods", move || {
            let _asked = asked;
            follow(api, &|asked, got| answer.send((asked, got)).is_ok() && bell.write(1).is_ok());
        })?;
        Ok(Self { ask, answers, ready })
    }

    /// Wants to know, as soon as it may be asked. Wanting twice is wanting once.
    pub fn ask(&self) {
        let _ = self.ask.try_send(());
    }

    /// Readable when an answer is there.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// The next answer, if one is there, and when it was asked for, boot-time ns.
    pub fn answer(&self) -> Option<(BootNs, Answer)> {
        let _ = self.ready.read();
        self.answers.try_recv().ok()
    }
}

fn turn(
    mut source: impl PodSource,
    between: Duration,
    (asked, answer, bell): (&Receiver<()>, &SyncSender<Dated>, &EventFd),
    rest: &dyn Fn(Duration),
) {
    let mut failed = 0u32;
    while asked.recv().is_ok() {
        let began = boot_now();
        let got = source.pods();
        failed = if got.is_ok() { 0 } else { failed.saturating_add(1) };
        if answer.send((began, got)).is_err() {
            return;
        }
        let _ = bell.write(1);
        // Who asks meanwhile is heard afterwards.
        rest(pause_after(failed, between));
    }
}

/// Lists and watches until `tell` says that nobody wants to know.
fn follow(mut api: Api, tell: &dyn Fn(BootNs, Answer) -> bool) {
    let mut store = PodStore::default();
    let mut failed = 0u32;
    let mut listed = false;
    loop {
        let (began, asked) = (Instant::now(), boot_now());
        let outcome = if listed {
            api.watch(&mut store, fastrand::u64(..), &mut |store| tell(boot_now(), Ok(store.all())))
        } else {
            api.list(&mut store).map(|()| Ended::Here)
        };
        let pause = match outcome {
            Ok(Ended::Here) => {
                failed = 0;
                // Also when nothing changed: that somebody answers is worth knowing.
                if !tell(asked, Ok(store.all())) {
                    return;
                }
                let watched = std::mem::replace(&mut listed, !store.version.is_empty());
                // A list is watched on from at once; a watch that ends at once, or a list without a place, is no way to hurry.
                (watched || !listed).then_some(BETWEEN).filter(|_| began.elapsed() < BETWEEN)
            }
            Ok(Ended::Gone) => {
                listed = false;
                Some(BETWEEN)
            }
            Err(error) => {
                failed = failed.saturating_add(1);
                if !tell(asked, Err(error.to_string())) {
                    return;
                }
                Some(pause_after(failed, BETWEEN))
            }
        };
        if let Some(most) = pause {
            // A whole cluster's agents come back at different times.
            std::thread::sleep(jittered(most));
        }
    }
}

/// Between half of it and all of it.
fn jittered(most: Duration) -> Duration {
    most.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Longer each time while it does not answer.
fn pause_after(failed: u32, between: Duration) -> Duration {
    between.saturating_mul(1 << failed.min(5)).min(LONGEST.max(between))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counting(Arc<AtomicUsize>);

    impl PodSource for Counting {
        fn pods(&mut self) -> Answer {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            if number == 0 { Err("not yet".to_owned()) } else { Ok(vec![Pod::default()]) }
        }
    }

    fn next(fetcher: &Fetcher, from: BootNs) -> Answer {
        for _ in 0..500 {
            if let Some((asked, answer)) = fetcher.answer() {
                assert!((from..=boot_now()).contains(&asked));
                return answer;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no answer");
    }

    #[test]
    fn it_asks_when_somebody_wants_to_know_and_a_failure_is_an_answer_too() {
        let asked = Arc::new(AtomicUsize::new(0));
        let fetcher = Fetcher::with_pause(Counting(asked.clone()), Duration::from_millis(1)).unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody wants to know");
        let from = boot_now();
        fetcher.ask();
        assert_eq!(next(&fetcher, from), Err("not yet".to_owned()));
        let from = boot_now();
        fetcher.ask();
        assert_eq!(next(&fetcher, from), Ok(vec![Pod::default()]));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    /// What happened, in its order.
    #[derive(Clone, Debug, PartialEq)]
    enum Did {
        Ask,
        Rest(Duration),
    }

    struct Logging(Arc<Mutex<Vec<Did>>>);

    impl PodSource for Logging {
        fn pods(&mut self) -> Answer {
            self.0.lock().unwrap().push(Did::Ask);
            Ok(Vec::new())
        }
    }

    #[test]
    fn who_answers_is_asked_again_after_two_seconds_and_no_sooner() {
        let (ask, asked) = sync_channel(3);
        let (answer, answers) = sync_channel(3);
        let bell = EventFd::new().unwrap();
        (0..3).for_each(|_| ask.send(()).unwrap());
        drop(ask);
        let log = Arc::<Mutex<Vec<Did>>>::default();
        let rest = |pause| log.lock().unwrap().push(Did::Rest(pause));
        turn(Logging(log.clone()), BETWEEN, (&asked, &answer, &bell), &rest);
        let once = [Did::Ask, Did::Rest(Duration::from_secs(2))];
        assert_eq!(*log.lock().unwrap(), [once.clone(), once.clone(), once].concat());
        assert_eq!(answers.try_iter().count(), 3);
    }

    #[test]
    fn nodes_come_back_at_different_times_and_none_much_sooner_or_later() {
        let waits: Vec<Duration> = (0..200).map(|_| jittered(BETWEEN)).collect();
        assert!(waits.iter().all(|wait| (BETWEEN / 2..=BETWEEN).contains(wait)), "{waits:?}");
        let in_quarter = |quarter: u32| {
            let from = BETWEEN / 2 + BETWEEN / 8 * quarter;
            waits.iter().any(|wait| (from..=from + BETWEEN / 8).contains(wait))
        };
        assert!((0..4).all(in_quarter), "they spread over the whole time: {waits:?}");
    }

    #[test]
    fn who_does_not_answer_is_asked_ever_more_seldom() {
        let seconds: Vec<u64> = (0..7).map(|failed| pause_after(failed, BETWEEN).as_secs()).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 30, 30, 30]);
    }
}
