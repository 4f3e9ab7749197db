use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

const LONG: Duration = Duration::from_secs(60);

struct Root(tempfile::TempDir);

impl Root {
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = Self(dir);
        for file in files {
            root.file(file, 0o644);
        }
        root
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn file(&self, path: &str, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn reach(&self, who: &Credentials, patterns: &[&str]) -> Vec<String> {
        let root = File::open(self.0.path()).unwrap();
        let secrets: Vec<SecretPath> =
            patterns.iter().map(|pattern| SecretPath::new(pattern, &Arc::from(*pattern)).unwrap()).collect();
        let (found, cut) = readable_within((LONG, LOOKS_MAX), &root, who, &secrets);
        assert!(!cut);
        found.iter().map(|id| id.to_string()).collect()
    }
}

/// Somebody who is neither the owner of the files nor in their group.
fn stranger() -> Credentials {
    Credentials { uid: 4_000_000, groups: vec![4_000_000], capabilities: 0 }
}

#[test]
fn patterns_of_every_sort_are_found_in_the_root() {
    let root = Root::new(&[
        "/var/run/secrets/kubernetes.io/serviceaccount/..data/token",
        "/home/node/.aws/credentials",
        "/srv/keys/a.pem",
        "/etc/toy/key",
    ]);
    let patterns = [
        "/var/run/secrets/kubernetes.io/serviceaccount/**/token",
        "~/.aws/credentials",
        "/srv/keys/*.pem",
        "/etc/toy/key",
        "/etc/toy/**",
        "/srv/keys/*.key",
        "/etc/other",
        "~/.netrc",
    ];
    assert_eq!(root.reach(&stranger(), &patterns), &patterns[..5]);
}

#[test]
fn file_that_the_user_may_not_read_is_not_reachable() {
    let root = Root::new(&[]);
    root.file("/etc/own", 0o400);
    root.file("/etc/group", 0o040);
    root.file("/etc/other", 0o004);
    let patterns = ["/etc/own", "/etc/group", "/etc/other"];
    let meta = fs::metadata(root.path("/etc/own")).unwrap();
    assert_eq!(root.reach(&stranger(), &patterns), ["/etc/other"]);
    let owner = Credentials { uid: meta.uid(), groups: vec![], capabilities: 0 };
    assert_eq!(root.reach(&owner, &patterns), ["/etc/own"], "an owner is judged by the owner's bits alone");
    let member = Credentials { uid: 1, groups: vec![7, meta.gid()], capabilities: 0 };
    assert_eq!(root.reach(&member, &patterns), ["/etc/group"]);
    let capable = Credentials { capabilities: 1 << 2, ..stranger() };
    assert_eq!(root.reach(&capable, &patterns), patterns);
}

#[test]
fn file_in_a_closed_folder_is_not_reachable() {
    let root = Root::new(&["/root/.ssh/id_rsa", "/srv/x/key"]);
    fs::set_permissions(root.path("/root"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(root.path("/srv/x"), fs::Permissions::from_mode(0o711)).unwrap();
    let patterns = ["~/.ssh/id_rsa", "/srv/x/key", "/srv/x/k*"];
    assert_eq!(root.reach(&stranger(), &patterns), ["/srv/x/key"], "a folder may be passed but not listed");
}

#[test]
fn link_out_of_the_root_leads_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    let root = Root::new(&["/etc/passwd"]);
    for (link, target) in [
        ("/etc/a", outside.path().join("secret")),
        (
            "/etc/b",
            Path::new("../../../../../../../..")
                .join(outside.path().strip_prefix("/").unwrap())
                .join("secret"),
        ),
        ("/etc/c", "/proc/self/root/etc/passwd".into()),
    ] {
        std::os::unix::fs::symlink(target, root.path(link)).unwrap();
    }
    assert_eq!(root.reach(&stranger(), &["/etc/a", "/etc/b", "/etc/c"]), [] as [&str; 0]);
}

#[test]
fn home_of_the_user_is_taken_from_the_roots_own_passwd() {
    let root = Root::new(&["/opt/airflow/.netrc", "/data/.netrc"]);
    root.file("/etc/passwd", 0o644);
    let passwd = "root:x:0:0::/root:/bin/sh\nairflow:x:4000000:0::/opt/airflow:/bin/sh\n";
    fs::write(root.path("/etc/passwd"), passwd).unwrap();
    assert_eq!(root.reach(&stranger(), &["~/.netrc"]), ["~/.netrc"]);
}

#[test]
fn huge_folders_end_the_look_and_it_says_so() {
    let root = Root::new(&[]);
    for outer in 0..10 {
        for inner in 0..10 {
            fs::create_dir_all(root.path(&format!("/big/{outer}/{inner}"))).unwrap();
        }
    }
    let secrets = [SecretPath::new("/big/**/nothing", &Arc::from("x")).unwrap()];
    let (found, cut) =
        readable_within((LONG, 50), &File::open(root.0.path()).unwrap(), &stranger(), &secrets);
    assert!(found.is_empty() && cut);
}

#[test]
fn names_of_credentials_are_told_from_names_of_other_things() {
    for name in [
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "npm_token",
        "PGPASSWORD",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "N8N_ENCRYPTION_KEY",
        "DOCKER_AUTH",
        "SENTRY_DSN",
    ] {
        assert!(is_credential_name(name), "{name}");
    }
    for name in [
        "PATH",
        "PWD",
        "OLDPWD",
        "HOME",
        "N8N_ENCRYPTION_KEY_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "KEYBOARD",
        "TOKEN_TTL",
    ] {
        assert!(!is_credential_name(name), "{name}");
    }
}

#[test]
fn wildcard_in_a_folders_name_leads_into_no_other_folder() {
    let root = Root::new(&["/tmp/cc_1/key"]);
    for number in 0..50 {
        fs::create_dir_all(root.path(&format!("/tmp/other-{number}/below"))).unwrap();
    }
    let secrets = [SecretPath::new("/tmp/cc_*/**", &Arc::from("x")).unwrap()];
    let (found, cut) =
        readable_within((LONG, 70), &File::open(root.0.path()).unwrap(), &stranger(), &secrets);
    assert_eq!((found.len(), cut), (1, false));
}
