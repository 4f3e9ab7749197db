//! Any sequence of alerts, answers, lost answers, failures and restarts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// An incident begins.
    Begin(Tier),
    /// One goes on, perhaps further out.
    Grow(usize, Tier),
    /// One has ended.
    End(usize),
    /// One is closed.
    Close(usize),
    /// Old alerts are handed out again.
    Again(usize),
    /// Time passes, s.
    Pass(u64),
    /// The receiver takes what is due.
    Accept,
    /// It takes it, but the answer is lost.
    Lose,
    /// It takes nothing.
    Fail,
    /// The agent is killed and started again; what the receiver answered last is forgotten.
    Crash,
}

fn tier() -> impl Strategy<Value = Tier> {
    prop_oneof![4 => Just(Tier::Boundary), 2 => Just(Tier::Identity), 1 => Just(Tier::Deviation), 1 => Just(Tier::Objective)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => tier().prop_map(Step::Begin),
        3 => (any::<usize>(), tier()).prop_map(|(which, tier)| Step::Grow(which, tier)),
        1 => any::<usize>().prop_map(Step::End),
        2 => any::<usize>().prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::Again),
        3 => (1_u64..120).prop_map(Step::Pass),
        5 => Just(Step::Accept),
        1 => Just(Step::Lose),
        2 => Just(Step::Fail),
        1 => Just(Step::Crash),
    ]
}

/// An incident as it really is.
struct Truth {
    revision: u64,
    tier: Tier,
    closed: bool,
}

/// A receiver that minds.
#[derive(Default)]
struct Receiver {
    open: BTreeMap<String, String>,
    revisions: BTreeMap<String, u64>,
    closed: BTreeSet<String>,
    /// How often each key was opened that was not open.
    opened: BTreeMap<String, u32>,
    told_of: BTreeSet<String>,
    /// Key of a summary → how many it is about.
    summaries: BTreeMap<String, u64>,
}

impl Receiver {
    fn take(&mut self, action: &Action) {
        match action {
            Action::Open { id, key, revision, .. } => {
                let last = self.revisions.entry(id.clone()).or_default();
                assert!(*revision >= *last, "{id} went back from {last} to {revision}");
                *last = *revision;
                assert!(!self.closed.contains(id), "{id} was opened after it was closed");
                if self.open.insert(key.clone(), id.clone()).is_none() {
                    *self.opened.entry(key.clone()).or_default() += 1;
                }
                self.told_of.insert(id.clone());
            }
            Action::Resolve { id, key, why, .. } => {
                self.open.remove(key);
                if *why == Why::Closed {
                    self.closed.insert(id.clone());
                }
            }
            Action::Summary(Summary { key, count, lines, unnamed, .. }) => {
                assert!(*count > 0 && lines.len() as u64 + unnamed == *count);
                let before = self.summaries.entry(key.clone()).or_default();
                *before = (*before).max(*count);
            }
        }
    }
}

struct World {
    truth: Vec<Truth>,
    history: Vec<SafeAlert>,
    desk: Desk,
    saved: String,
    receiver: Receiver,
    now: Now,
    policy: Policy,
    keyer: fn() -> Keyer,
}

impl World {
    fn new(policy: Policy, keyer: fn() -> Keyer) -> Self {
        let desk = Desk::new("desk".into(), "receiver".into(), policy, keyer());
        let saved = serde_json::to_string(desk.state()).unwrap();
        let receiver = Receiver::default();
        Self { truth: Vec::new(), history: Vec::new(), desk, saved, receiver, now: at(0), policy, keyer }
    }

    fn say(&mut self, which: usize, state: State) {
        let truth = &mut self.truth[which];
        truth.revision += 1;
        truth.closed = state == State::Closed;
        let alert = incident(&format!("i{which}"), truth.revision, truth.tier, state);
        self.history.push(alert.clone());
        self.take(&alert);
    }

    /// As the driver does: written down before it is acted on.
    fn take(&mut self, alert: &SafeAlert) {
        self.desk.take(alert, 0, self.now);
        self.save();
    }

    fn save(&mut self) {
        self.saved = serde_json::to_string(self.desk.state()).unwrap();
    }

    fn send(&mut self, taken: bool, answered: bool) -> bool {
        let next = self.desk.next(self.now);
        self.save();
        let Next::Send(actions) = next else { return false };
        for action in &actions {
            if taken {
                self.receiver.take(action);
            }
            if answered {
                self.desk.answered(action, Answer::Accepted, self.now);
            }
        }
        true
    }

    fn step(&mut self, step: &Step) {
        let live: Vec<usize> = (0..self.truth.len()).filter(|which| !self.truth[*which].closed).collect();
        let pick = |number: usize| live.get(number % live.len().max(1)).copied();
        match step {
            Step::Begin(tier) => {
                self.truth.push(Truth { revision: 0, tier: *tier, closed: false });
                self.say(self.truth.len() - 1, State::Open);
            }
            Step::Grow(number, tier) => {
                if let Some(which) = pick(*number) {
                    self.truth[which].tier = self.truth[which].tier.max(*tier);
                    self.say(which, State::Update);
                }
            }
            Step::End(number) => pick(*number).into_iter().for_each(|which| self.say(which, State::Ended)),
            Step::Close(number) => pick(*number).into_iter().for_each(|which| self.say(which, State::Closed)),
            Step::Again(number) => {
                let from = number % self.history.len().max(1);
                let again = self.history.get(from..).unwrap_or_default().to_vec();
                again.iter().for_each(|alert| self.take(alert));
            }
            Step::Pass(seconds) => {
                self.now.monotonic += Duration::from_secs(*seconds);
                self.now.wall += i64::try_from(*seconds).unwrap() * 1000;
            }
            Step::Accept => drop(self.send(true, true)),
            Step::Lose => drop(self.send(true, false)),
            Step::Fail => drop(self.send(false, false)),
            Step::Crash => {
                let state = serde_json::from_str(&self.saved).unwrap();
                self.desk =
                    Desk::restored(state, "receiver".into(), self.policy, (self.keyer)(), self.now, false);
            }
        }
    }

    /// The receiver is well for an hour.
    fn settle(&mut self) {
        for _ in 0..60 {
            while self.send(true, true) {}
            self.step(&Step::Pass(60));
        }
    }

    fn check_end(&self) {
        let mut untold = 0;
        for (which, truth) in self.truth.iter().enumerate() {
            let id = format!("i{which}");
            let open: Vec<&String> =
                self.receiver.open.iter().filter(|(_, of)| **of == id).map(|(key, _)| key).collect();
            let pages = truth.tier >= Tier::Identity;
            let told = self.receiver.told_of.contains(&id);
            if truth.closed || !told {
                assert!(open.is_empty(), "{id} is still open: {open:?}");
            } else {
                assert_eq!(open.len(), 1, "{id}");
                assert_eq!(self.receiver.revisions[&id] > 0, told);
            }
            assert!(told || !pages, "{id} never paged");
            untold += u64::from(!told);
        }
        let summarised: u64 = self.receiver.summaries.values().sum();
        assert!(summarised >= untold, "{untold} were never told, {summarised} are in summaries");
    }
}

fn play(steps: &[Step], policy: Policy, keyer: fn() -> Keyer) -> World {
    let mut world = World::new(policy, keyer);
    steps.iter().for_each(|step| world.step(step));
    world.settle();
    world.check_end();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_pages_once_and_ends_right(steps in prop::collection::vec(step(), 0..80), capped in any::<bool>()) {
        let world = play(&steps, pager(capped.then_some(CAP)), by_level);
        for (which, truth) in world.truth.iter().enumerate() {
            let times = world.receiver.opened.get(&format!("i{which}/page")).copied().unwrap_or(0);
            prop_assert_eq!(times, u32::from(truth.tier >= Tier::Identity), "i{}", which);
        }
    }

    #[test]
    fn whatever_comes_is_refreshed_and_ends_right(steps in prop::collection::vec(step(), 0..80)) {
        play(&steps, refreshed(), by_tier);
    }
}
