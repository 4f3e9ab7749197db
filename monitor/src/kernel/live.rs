//! Tests of the sensor on the running kernel. They need root, and say so where they are skipped.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use monitor_common::hook::{Kind, Signal};
use monitor_common::map::{Label, ProcState, label_state, proc_flags};
use monitor_common::record::Header;
use zerocopy::FromBytes;

use super::{InodeFilter, KernelFilter, MapSizes, Probes, Rates, Sensor, SensorOptions};

/// Attach points and the canary's cgroup are shared: one test at a time.
static SERIAL: Mutex<()> = Mutex::new(());

/// A cgroup of its own, removed at the end.
struct Lab(PathBuf);

impl Lab {
    fn make(root: &std::path::Path, name: &str) -> Self {
        let path = root.join(format!("sw-loader-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn id(&self) -> u64 {
        fs::metadata(&self.0).unwrap().ino()
    }

    /// Runs `/bin/true` in it so many times.
    fn run(&self, times: u32) {
        let procs = self.0.join("cgroup.procs");
        for _ in 0..times {
            let procs = std::ffi::CString::new(procs.to_str().unwrap()).unwrap();
            let mut command = Command::new("/bin/true");
            // SAFETY: open, write and close only.
            let command = unsafe {
                command.pre_exec(move || {
                    let fd = libc::open(procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                    if libc::write(fd, b"0".as_ptr().cast(), 1) != 1 {
                        return Err(std::io::Error::last_os_error());
                    }
                    libc::close(fd);
                    Ok(())
                })
            };
            assert!(command.status().unwrap().success());
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn start(options: &SensorOptions) -> Option<Sensor> {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root");
        return None;
    }
    Some(Sensor::start(options).unwrap())
}

fn worker(id: u32) -> Label {
    Label { id, state: label_state::WORKER }
}

/// Everything in the rings: how many records of each kind carry this label.
fn received(sensor: &mut Sensor, label: u32) -> BTreeMap<u16, u64> {
    let mut kinds = BTreeMap::new();
    let mut note = |record: &[u8]| {
        let (header, _) = Header::read_from_prefix(record).unwrap();
        assert_eq!(header.len as usize, record.len());
        if header.label == label {
            *kinds.entry(header.kind).or_default() += 1;
        }
    };
    while !sensor.poll(Duration::ZERO, &mut note).unwrap().drained {}
    kinds
}

#[test]
fn live_sensor_receives_a_labelled_cgroup_and_nothing_once_unlabelled() {
    let _one = SERIAL.lock();
    let Some(mut sensor) = start(&SensorOptions::default()) else { return };
    let lab = Lab::make(sensor.cgroup_root(), "labelled");
    sensor.label_cgroup(lab.id(), worker(7)).unwrap();
    assert_eq!(sensor.cgroup_label(lab.id()).unwrap(), Some(worker(7)));
    lab.run(3);
    let kinds = received(&mut sensor, 7);
    assert_eq!(kinds.get(&(Kind::Exit as u16)), Some(&3), "{kinds:?}");
    let counters = sensor.counters().unwrap();
    let exits =
        counters.workers.iter().find(|entry| entry.label == 7 && entry.signal == Signal::Exit).unwrap();
    assert_eq!((exits.tally.hits, exits.tally.sent), (3, 3));

    sensor.unlabel_cgroup(lab.id()).unwrap();
    sensor.unlabel_cgroup(lab.id()).unwrap();
    lab.run(2);
    assert_eq!(received(&mut sensor, 7), BTreeMap::new());
}

#[test]
fn live_sensor_leaves_no_cgroup_behind() {
    let _one = SERIAL.lock();
    let Some(sensor) = start(&SensorOptions::default()) else { return };
    let canary = sensor.cgroup_root().join(format!("sandwatch-canary-{}", std::process::id()));
    assert!(!canary.exists());
}

#[test]
fn live_loss_of_a_full_ring_is_known_exactly_and_the_law_holds() {
    let _one = SERIAL.lock();
    let sizes = MapSizes { lifecycle_ring: 4096, ..MapSizes::default() };
    // Rate 0: no budget, so that all loss is the ring's.
    let rates = Rates { priority: 0, lifecycle: 0, burst_seconds: 1 };
    let Some(mut sensor) = start(&SensorOptions { sizes, rates, ..SensorOptions::default() }) else { return };
    let lab = Lab::make(sensor.cgroup_root(), "loss");
    sensor.label_cgroup(lab.id(), worker(3)).unwrap();
    lab.run(100);
    let first = sensor.check_law().unwrap();
    let got: u64 = received(&mut sensor, 3).values().sum();
    // The second check knows that the rings were empty after the first.
    let second = sensor.check_law().unwrap();
    assert!(first.holds() && second.holds(), "{first:?} {second:?}");
    std::thread::sleep(Duration::from_millis(150));
    let missing: u64 = sensor.gaps().iter().map(|gap| gap.count).sum();
    let counters = sensor.counters().unwrap();
    let total = counters.total();
    assert!(counters.lost() > 0, "100 exits fit into one page?");
    assert_eq!(missing, counters.lost());
    assert_eq!(got + missing, total.hits - total.filtered - total.folded);
    assert_eq!(total.lost, counters.lost());
}

#[test]
fn live_throttled_worker_is_a_named_loss_and_no_hole() {
    let _one = SERIAL.lock();
    let rates = Rates { priority: 1, lifecycle: 1, burst_seconds: 1 };
    let Some(mut sensor) = start(&SensorOptions { rates, ..SensorOptions::default() }) else { return };
    let lab = Lab::make(sensor.cgroup_root(), "flood");
    sensor.label_cgroup(lab.id(), worker(4)).unwrap();
    lab.run(30);
    let got: u64 = received(&mut sensor, 4).values().sum();
    assert!(sensor.check_law().unwrap().holds());
    assert!(sensor.check_law().unwrap().holds());
    let counters = sensor.counters().unwrap();
    let refused: u64 =
        counters.refusals.iter().filter(|entry| entry.label == 4).map(|entry| entry.count).sum();
    assert!(refused > 0);
    let total = counters.total();
    assert_eq!(got + refused, total.hits - total.filtered - total.folded);
    assert_eq!(counters.lost(), 0);
}

#[test]
fn live_process_put_in_does_not_overwrite_and_author_mark_wants_the_same_image() {
    let _one = SERIAL.lock();
    let Some(mut sensor) = start(&SensorOptions::default()) else { return };
    // Above every pid (PID_MAX_LIMIT is 4,194,304), so that no process is meant.
    let pid = 4_200_000;
    let state = ProcState { start: 5, exec_id: 6, label: 1, flags: proc_flags::SCANNED, ..ProcState::ZERO };
    assert!(sensor.put_process(pid, &state).unwrap());
    assert!(!sensor.put_process(pid, &ProcState { exec_id: 9, ..state }).unwrap());
    assert_eq!(sensor.process(pid).unwrap(), Some(state));
    assert!(!sensor.mark_author(pid, 9, 6).unwrap());
    assert!(sensor.mark_author(pid, 6, 6).unwrap());
    let marked = sensor.process(pid).unwrap().unwrap();
    assert_eq!((marked.author_root, marked.flags), (6, proc_flags::SCANNED | proc_flags::AUTHOR));
    assert!(!sensor.mark_author(pid + 1, 6, 6).unwrap());
}

#[test]
fn live_filter_is_replaced_again_and_again() {
    let _one = SERIAL.lock();
    let Some(mut sensor) = start(&SensorOptions::default()) else { return };
    for round in 0..4u32 {
        let name = |text: &str| (format!("{text}{round}").into_bytes(), 1);
        let filter = KernelFilter {
            prefixes: vec![name("/etc/"), name("/etc/x/"), (vec![b'p'; 300], 2)],
            names: vec![name("token")],
            parents: vec![name(".ssh")],
            inodes: vec![InodeFilter { dev: 1, ino: u64::from(round) + 1, generation: 0, access: 1 }],
        };
        sensor.set_filter(&filter).unwrap();
        sensor.set_env_names(&[format!("RUN_{round}")]).unwrap();
    }
    sensor.set_filter(&KernelFilter::default()).unwrap();
}
