//! Judging an event that is allowed allocates nothing: what the agent does a million times a second must not.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use monitor::event::{
    AddressStage, Body, Connect, Event, ExeHome, Exec, FileId, MountRelation, Namespaces, Open, Origin,
    Outcome, Path, ProcessKey, Rung, Stdio, Subject, Text,
};
use monitor::profile::{Actor, Image, Pin, RuleSet, Trust};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain thread-local cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the system allocator's too.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from the system allocator through `alloc` above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn path(view: &str) -> Path {
    Path { view: view.into(), ..Path::default() }
}

fn event(body: Body) -> Event {
    let subject = Subject {
        key: ProcessKey { pid: 7, start: 1 },
        tid: 7,
        label: 1,
        cgroup: 1,
        exec_id: 1,
        author_root: 0,
        exe: FileId::default(),
        uid: 1000,
        gid: 1000,
        unknown_history: false,
        coarse_start: false,
        moved: false,
        pending: false,
    };
    Event { time: 10_000_000_000, rung: Rung::Lsm, origin: Origin::default(), subject, body, degraded: false }
}

fn exec(exe: &str, argv: &[&str]) -> Body {
    Body::Exec(Box::new(Exec {
        old_exec_id: 1,
        parent: ProcessKey { pid: 1, start: 1 },
        ns_pid: 7,
        ruid: 1000,
        rgid: 1000,
        uid_before: None,
        gid_before: None,
        secureexec: false,
        exe: path(exe),
        exe_id: FileId { dev: 1, ino: 1 },
        exe_mode: 0o100_755,
        exe_uid: 0,
        exe_nlink: 1,
        exe_magic: 0,
        exe_size: 1,
        exe_ctime: 1,
        home: ExeHome::default(),
        filename: Text { text: exe.into(), ..Text::default() },
        cwd: path("/"),
        argv: argv.iter().map(|a| Arc::from(*a)).collect(),
        argv_truncated: false,
        argc: 3,
        env: Vec::new(),
        env_incomplete: false,
        env_from_kernel: true,
        loader_env: false,
        script: None,
        script_id: None,
        ns: Namespaces::default(),
        stdio: [Stdio::Pipe; 3],
    }))
}

fn open(view: &str) -> Body {
    Body::Open(Box::new(Open {
        path: path(view),
        id: FileId { dev: 1, ino: 2 },
        generation: 0,
        magic: 0,
        flags: 0,
        access: 1,
        outcome: Outcome::Ok,
        errno: 0,
        mode: 0o100_600,
        nlink: 1,
        task_mnt_ns: 1,
        file_mnt_ns: 1,
        mount: MountRelation::Own,
        proc_pid: None,
        matched: 0,
        uring: false,
    }))
}

fn connect(address: [u8; 4], port: u16) -> Body {
    Body::Connect(Connect {
        sock: 1,
        addr: address.into(),
        port,
        protocol: 6,
        send: false,
        fast_open: false,
        user_memory: false,
        stage: AddressStage::Before,
        outcome: Outcome::Attempted,
        errno: 0,
        net_ns: 1,
    })
}

#[test]
fn judging_what_is_allowed_allocates_nothing_with_all_shipped_rules() {
    let rules = RuleSet::load(&[PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rules")]).unwrap();
    let profile = rules.profile("n8n").unwrap();
    let role = |name: &str| rules.role_by_name(profile, name).unwrap();
    let argv: Vec<Arc<str>> = ["node", "/usr/local/bin/n8n"].map(Arc::from).to_vec();
    let image = Image {
        exe: Some("/usr/local/bin/node"),
        given: Some("/usr/local/bin/node"),
        argv: &argv,
        argv_truncated: false,
        cwd: Some("/"),
        trust: Trust::Trusted,
        pin: Pin::None,
    };
    let actor = Actor {
        role: Some(role("engine")),
        role_since: 9_000_000_000,
        image: Some(image),
        ..Actor::unknown(profile)
    };
    let cases = [
        event(exec("/bin/dash", &["sh", "-c", "python3 --version"])),
        event(open("/home/node/.n8n/database.sqlite")),
        event(open("/usr/lib/some/index.js")),
        event(connect([10, 0, 0, 1], 5432)),
        event(connect([93, 184, 216, 34], 443)),
    ];
    for case in &cases {
        assert_eq!(rules.judge(&actor, case), None, "{case:?}");
        let before = ALLOCATIONS.with(Cell::get);
        for _ in 0..100 {
            std::hint::black_box(rules.judge(&actor, std::hint::black_box(case)));
        }
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "{case:?}");
    }
    // The counter counts: a finding does allocate.
    let before = ALLOCATIONS.with(Cell::get);
    assert!(rules.judge(&actor, &event(exec("/bin/dash", &["sh", "-c", "id"]))).is_some());
    assert!(ALLOCATIONS.with(Cell::get) > before);
}
