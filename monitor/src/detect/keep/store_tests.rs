use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::detect::incident::Incident;
use crate::detect::keep::saved::is_id;

/// An incident with this id, as little as there can be of one.
fn saved(id: &str, state: State) -> Saved {
    let mut incident: Incident = Incident::for_tests(id);
    incident.state = state;
    Saved::new("boot", &incident, 1, false)
}

fn id(number: u32) -> String {
    let id = format!("{number:032x}");
    assert!(is_id(&id));
    id
}

#[test]
fn incident_is_read_back_and_a_closed_one_is_kept_for_the_record_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.save(&saved(&id(1), State::Open)).unwrap();
    store.save(&saved(&id(2), State::Closed)).unwrap();
    store.save(&saved(&id(1), State::Ended)).unwrap();
    let (incidents, problems) = store.load();
    assert_eq!(problems, [] as [&str; 0]);
    assert_eq!(incidents.iter().map(|i| (i.id(), i.state())).collect::<Vec<_>>(), [(&*id(1), State::Ended)]);
    assert_eq!(read_incidents(dir.path()).unwrap().0.len(), 2);
}

#[test]
fn only_root_may_read_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.save(&saved(&id(1), State::Open)).unwrap();
    let folder = dir.path().join("incidents");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(format!("{}.json", id(1))))), (0o700, 0o600));
}

#[test]
fn torn_foreign_and_newer_files_are_set_aside_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let folder = dir.path().join("incidents");
    let good = saved(&id(1), State::Open).text().unwrap();
    fs::write(folder.join("torn.json"), &good[..good.len() / 2]).unwrap();
    fs::write(folder.join("empty.json"), "").unwrap();
    fs::write(folder.join("other-name.json"), &good).unwrap();
    fs::write(folder.join("newer.json"), good.replace("incident-state/v1", "incident-state/v2")).unwrap();
    fs::write(folder.join("binary.json"), [0xff, 0xfe, 0]).unwrap();
    File::create(folder.join("huge.json")).unwrap().set_len(FILE_MAX + 1).unwrap();
    fs::create_dir(folder.join("folder.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link.json")).unwrap();
    let (incidents, problems) = store.load();
    assert!(incidents.is_empty());
    assert_eq!(problems.len(), 8, "{problems:#?}");
    assert!(problems.iter().any(|p| p.contains("newer.json") && p.contains("incident-state/v2")));
    assert!(folder.join("torn.aside").exists() && !folder.join("torn.json").exists());
    assert_eq!(store.load().1, [] as [&str; 0], "once");
}

#[test]
fn second_agent_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse { .. })));
    drop(first);
    assert!(Store::open(dir.path()).is_ok());
}

#[test]
fn directory_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let Err(error) = Store::open(dir.path()) else { panic!("it was opened") };
    assert!(
        matches!(error, StoreError::Unsafe { .. }) && error.to_string().contains("chmod go-w"),
        "{error}"
    );
}

#[test]
fn state_directory_that_is_a_file_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let Err(error) = Store::open(&path) else { panic!("it was opened") };
    assert!(error.to_string().contains("file/incidents"), "{error}");
}

#[test]
fn request_is_taken_once_and_nonsense_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let request = CloseRequest { id: id(1), by: "ops".into(), reason: "done".into(), time: "t".into() };
    leave_request(dir.path(), &request).unwrap();
    fs::write(dir.path().join("incidents/close/x.json"), "{}").unwrap();
    assert!(request_waits(dir.path(), &id(1)));
    let (requests, problems) = store.requests();
    assert_eq!((requests, problems.len()), (vec![request.clone()], 1));
    store.done(&request);
    assert!(!request_waits(dir.path(), &id(1)));
    assert_eq!(store.requests(), (vec![], vec![]));
}

#[test]
fn half_written_and_too_many_closed_files_are_removed_and_open_ones_never() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for number in 0..300 {
        store.save(&saved(&id(number), State::Closed)).unwrap();
    }
    store.save(&saved(&id(1000), State::Open)).unwrap();
    fs::write(dir.path().join("incidents/.x.tmp"), "").unwrap();
    store.prune();
    let (all, _) = read_incidents(dir.path()).unwrap();
    assert_eq!(all.len(), CLOSED_MAX + 1);
    assert!(all.iter().any(|saved| saved.state() == State::Open));
    assert!(!dir.path().join("incidents/.x.tmp").exists());
}
