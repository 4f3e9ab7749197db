//! What a worker does, from the record to what is said of it.

use super::*;

#[test]
fn normal_step_gives_no_alert() {
    let mut pipeline = started();
    open(&mut pipeline, ENGINE, 1_100, 3_000, "/etc/toy/key", 0);
    connect(&mut pipeline, ENGINE, 1_100, 3_100, 5432);
    open(&mut pipeline, RUNNER, 2_100, 3_200, "/var/run/secrets/cloud/token", -libc::ENOENT);
    pipeline.finish(4_000);
    assert_eq!(alerts(&mut pipeline), []);
    assert_eq!(pipeline.counts().findings, 0);
}

#[test]
fn shell_then_secret_grow_one_incident() {
    let mut pipeline = started();
    let shell = (102, 3_000);
    fork(&mut pipeline, shell, ENGINE, 1_100);
    exec(&mut pipeline, shell, shell.1, 3_100, ENGINE, "/bin/dash", &["sh", "-c", "id"]);
    pipeline.look_around(3_150);
    open(&mut pipeline, shell, 3_100, 3_200, "/var/run/secrets/cloud/token", 0);
    let said = alerts(&mut pipeline);
    assert_eq!(said.len(), 2);

    let first = &said[0];
    assert_eq!(
        (first.kind, first.state, first.tier),
        (AlertKind::Incident, State::Open, Some(Tier::Boundary))
    );
    assert_eq!(first.severity, Severity::High);
    assert_eq!(first.title, "The engine started a shell");
    let finding = first.finding.as_ref().unwrap();
    assert_eq!((finding.id.as_str(), finding.hook.as_str()), ("shell-from-engine", "tp_btf/exec"));
    let process = first.process.as_ref().unwrap();
    assert_eq!((process.pid, process.role.as_deref()), (102, Some("engine")));
    assert_eq!(process.exe.as_deref(), Some("/bin/dash"));
    assert_eq!(process.argv.as_deref(), Some(&["sh".to_owned(), "-c".to_owned(), "id".to_owned()][..]));
    assert_eq!(process.ancestors[0].exe.as_deref(), Some("/opt/toy-engine"));
    let worker = first.worker.as_ref().unwrap();
    assert_eq!(
        (worker.name.as_str(), worker.profile.as_str(), worker.cgroup.id),
        ("toy.service", "toy", 4711)
    );

    let second = &said[1];
    let (a, b) = (first.incident.as_ref().unwrap(), second.incident.as_ref().unwrap());
    assert_eq!((&a.id, a.revision), (&b.id, b.revision - 1), "one incident that grows");
    assert_ne!(first.id, second.id);
    assert_eq!(
        (second.state, second.tier, second.severity),
        (State::Update, Some(Tier::Identity), Severity::Critical)
    );
    assert!(second.title.starts_with("The engine started a shell, then "), "{}", second.title);
    assert_eq!(b.chain.iter().map(|link| link.tier).collect::<Vec<_>>(), [Tier::Boundary, Tier::Identity]);
    assert_eq!(second.process.as_ref().unwrap().role.as_deref(), Some("stray"));
    let radius = second.blast_radius.as_ref().unwrap();
    assert_eq!(radius.taken[0].identity, "cloud-token");
    assert!(radius.taken[0].respond.contains("Revoke the token."));
    assert_eq!(radius.reachable, ["cloud-token"]);
    assert_eq!(second.file.as_ref().unwrap().identity.as_deref(), Some("cloud-token"));
    let steps: Vec<&str> = second.respond.iter().map(|step| step.split(':').next().unwrap()).collect();
    assert_eq!(steps, ["Contain", "Revoke", "Rotate"], "in the order in which they are done");
}

#[test]
fn author_code_is_marked_in_the_kernel_and_its_findings_share_a_scope() {
    let mut pipeline = started();
    assert!(pipeline.take_effects().contains(&Effect::MarkAuthor {
        pid: RUNNER.0,
        exec_id: 2_100,
        root: 2_100
    }));
    connect(&mut pipeline, RUNNER, 2_100, 3_000, 443);
    let child = (103, 3_100);
    fork(&mut pipeline, child, RUNNER, 2_100);
    open(&mut pipeline, child, child.1, 3_200, "/var/run/secrets/cloud/token", 0);
    let said = alerts(&mut pipeline);
    assert_eq!(said.len(), 2, "{said:#?}");
    let (a, b) = (said[0].incident.as_ref().unwrap(), said[1].incident.as_ref().unwrap());
    assert_eq!(a.id, b.id);
    assert!(a.run_key.starts_with("author:"), "{}", a.run_key);
    assert_eq!(said[1].blast_radius.as_ref().unwrap().contacted, ["10.0.0.9:443"]);
}

#[test]
fn run_of_the_author_root_is_on_what_its_descendants_do() {
    let mut pipeline = started();
    let child = (103, 3_100);
    fork(&mut pipeline, child, RUNNER, 2_100);
    exec(&mut pipeline, child, child.1, 3_200, RUNNER, "/bin/ls", &["ls"]);
    let attribution = alerts(&mut pipeline).remove(0).attribution.unwrap();
    let run = attribution.run.unwrap();
    assert_eq!((run.value.as_str(), run.source.as_str()), ("4242", "env RUN_ID"));
    assert_eq!(run.trust, "scan", "the kernel did not take it at the exec");
    let shell = (104, 4_000);
    fork(&mut pipeline, shell, ENGINE, 1_100);
    exec(&mut pipeline, shell, shell.1, 4_100, ENGINE, "/bin/dash", &["sh"]);
    assert_eq!(alerts(&mut pipeline).remove(0).attribution, None, "the engine is in no run");
}

#[test]
fn denied_read_is_one_tier_lower_and_nothing_is_taken() {
    let mut pipeline = started();
    open(&mut pipeline, RUNNER, 2_100, 3_000, "/var/run/secrets/cloud/token", -libc::EACCES);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!(alert.tier, Some(Tier::Boundary));
    assert!(alert.blast_radius.is_none_or(|radius| radius.taken.is_empty()));
}

#[test]
fn secret_under_another_name_is_known_by_its_inode() {
    let mut pipeline = started();
    let mut record = fixture::open(head(Kind::Open, RUNNER, 2_100, 3_000), "/tmp/harmless", access::READ, 0);
    let at = std::mem::offset_of!(monitor_common::record::Open, ino);
    record[at..at + 8].copy_from_slice(&TOKEN.ino.to_ne_bytes());
    pipeline.handle(&record, 3_000);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!(alert.file.unwrap().identity.as_deref(), Some("cloud-token"));
    assert!(pipeline.kernel_filter().inodes.iter().any(|file| file.ino == TOKEN.ino));
}

#[test]
fn secret_opened_by_path_is_learnt_for_the_kernel_filter() {
    let mut pipeline = started();
    pipeline.take_effects();
    open(&mut pipeline, ENGINE, 1_100, 3_000, "/etc/toy/key", 0);
    assert!(pipeline.take_effects().contains(&Effect::Filter));
    assert!(pipeline.kernel_filter().inodes.iter().any(|file| file.ino == 4242));
}

#[test]
fn reload_chooses_profiles_and_roles_again() {
    let mut pipeline = started();
    let changed = RULES[0].1.replace(
        "identities: { allow: [], else: identity }",
        "identities: { allow: [{ id: cloud-token }], else: identity }",
    );
    pipeline.reload(rules(&[("profiles/toy.yaml", &changed), RULES[1], RULES[2]]), 4_000);
    assert!(pipeline.take_effects().contains(&Effect::Filter));
    open(&mut pipeline, RUNNER, 2_100, 5_000, "/var/run/secrets/cloud/token", 0);
    assert_eq!(alerts(&mut pipeline), [], "allowed by the new rules, and the runner is still the runner");
    open(&mut pipeline, RUNNER, 2_100, 5_100, "/etc/toy/key", 0);
    let alert = alerts(&mut pipeline).remove(0);
    assert_eq!(alert.process.unwrap().role.as_deref(), Some("runner"));
    assert_eq!(alert.agent.rules, pipeline.rules().digest());
}
