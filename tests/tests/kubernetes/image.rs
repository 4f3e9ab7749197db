//! Container images of static programs, as OCI archives: there is no registry on a test machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

/// Names that busybox answers to.
const APPLETS: [&str; 8] = ["sh", "sleep", "cat", "ls", "id", "true", "echo", "nc"];

/// An archive of an image with these files, that runs `command`. If busybox is among them, it has its names.
pub(crate) fn archive(folder: &Path, name: &str, files: &[(&str, &Path)], command: &str) -> PathBuf {
    let work = folder.join(name.replace(['/', ':'], "-"));
    let root = work.join("root");
    for folder in ["bin", "tmp", "etc", "proc", "sys", "dev", "run"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (at, file) in files {
        fs::copy(file, root.join(at)).unwrap();
    }
    if root.join("bin/busybox").exists() {
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
    }
    let blobs = work.join("image/blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let layer = work.join("layer.tar");
    run(Command::new("tar").arg("-cf").arg(&layer).arg("-C").arg(&root).arg("."));
    let layer = blob(&blobs, fs::read(layer).unwrap());
    let config = blob(
        &blobs,
        serde_json::to_vec(&json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Cmd": [command], "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [layer.0] },
        }))
        .unwrap(),
    );
    let part = |kind: &str, (digest, size): &(String, usize)| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size });
    let manifest = blob(
        &blobs,
        serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": part("config.v1+json", &config), "layers": [part("layer.v1.tar", &layer)],
        }))
        .unwrap(),
    );
    let mut entry = part("manifest.v1+json", &manifest);
    entry["annotations"] = json!({ "io.containerd.image.name": name });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(work.join("image/index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    fs::write(work.join("image/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let archive = work.join("image.tar");
    run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(work.join("image")).arg("."));
    archive
}

/// Writes a blob; its digest and size.
fn blob(blobs: &Path, bytes: Vec<u8>) -> (String, usize) {
    let draft = blobs.join("draft");
    fs::write(&draft, &bytes).unwrap();
    let output = Command::new("sha256sum").arg(&draft).output().unwrap();
    let hash: String = String::from_utf8(output.stdout).unwrap().chars().take(64).collect();
    fs::rename(&draft, blobs.join(&hash)).unwrap();
    (format!("sha256:{hash}"), bytes.len())
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}
