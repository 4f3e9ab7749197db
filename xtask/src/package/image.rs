//! The container image, as an OCI archive that is written without Docker: any registry tool, `podman load` and `ctr images import` read it.

use super::program::{self, Architecture};
use super::tree::{Entry, Tree};
use super::{folder, revision, sbom, time};
use crate::host::{self, Package, sha256};
use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// Authorities of the system, for the TLS of sinks: the image has no others.
const AUTHORITIES: Package = Package { name: "ca-certificates", proof: "/etc/ssl/certs/ca-certificates.crt" };
/// What runs, unless told otherwise. The Dockerfile says the same.
pub(super) const ENTRYPOINT: &[&str] = &["/usr/bin/sandwatch"];
pub(super) const COMMAND: &[&str] = &["run"];
/// What the chart calls it, unless told otherwise.
const REPOSITORY: &str = "ghcr.io/sandwatch/sandwatch";

/// What came out.
pub(super) struct Made {
    pub(super) archive: PathBuf,
    /// Of the archive.
    pub(super) bytes: u64,
    /// Of the manifest, or of the index if there are several.
    pub(super) digest: String,
    /// Per architecture: bytes of the program and of its layer.
    pub(super) parts: Vec<(Architecture, u64, u64)>,
}

/// Builds the programs and the archive.
pub(super) fn build(architectures: &[Architecture]) -> Result<Made> {
    let mut programs = Vec::new();
    for architecture in architectures {
        let path = program::build(*architecture)?;
        let program = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        programs.push((*architecture, program));
    }
    let packed = archive(&programs, time()?)?;
    // The usual one is not replaced by one that does not run here.
    let only = match architectures {
        [Architecture::Arm64] => "-arm64",
        _ => "",
    };
    let path = folder()?.join(format!("sandwatch-{}{only}.oci.tar", env!("CARGO_PKG_VERSION")));
    std::fs::write(&path, &packed.bytes).with_context(|| format!("cannot write {}", path.display()))?;
    for (architecture, program) in &programs {
        unpacked(*architecture, &files(*architecture, program)?)?;
    }
    Ok(Made { archive: path, bytes: packed.bytes.len() as u64, digest: packed.digest, parts: packed.parts })
}

/// An archive before it is written.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    digest: String,
    parts: Vec<(Architecture, u64, u64)>,
}

/// Packs it.
pub(super) fn archive(programs: &[(Architecture, Vec<u8>)], time: u64) -> Result<Packed> {
    let mut blobs = Tree::default();
    let mut manifests = Vec::new();
    let mut parts = Vec::new();
    for (architecture, program) in programs {
        let layer = tar(&files(*architecture, program)?, time)?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&layer)?;
        let packed = packed.finish().context("cannot compress the layer")?;
        parts.push((*architecture, program.len() as u64, packed.len() as u64));
        let labels = labels()?;
        let config = json!({
            "architecture": architecture.to_string(), "os": "linux", "created": stamp(time),
            "config": {
                "User": "0:0", "Env": ["PATH=/usr/bin"], "Entrypoint": ENTRYPOINT, "Cmd": COMMAND, "WorkingDir": "/", "Labels": labels,
            },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
            "history": [{ "created": stamp(time), "created_by": "cargo xtask image" }],
        });
        let config = blob(&mut blobs, "config.v1+json", config.to_string().into_bytes());
        let layer = blob(&mut blobs, "layer.v1.tar+gzip", packed);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [layer], "annotations": labels,
        });
        let mut manifest = blob(&mut blobs, "manifest.v1+json", manifest.to_string().into_bytes());
        manifest["platform"] = json!({ "architecture": architecture.to_string(), "os": "linux" });
        manifests.push(manifest);
    }
    let mut top = match manifests.as_slice() {
        [only] => only.clone(),
        several => {
            let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": several });
            blob(&mut blobs, "index.v1+json", index.to_string().into_bytes())
        }
    };
    // A runtime that imports the archive has it under the name that the chart asks for; without a registry's it would be another's.
    let name = format!("{REPOSITORY}:{}", env!("CARGO_PKG_VERSION"));
    top["annotations"] = json!({ "org.opencontainers.image.ref.name": env!("CARGO_PKG_VERSION"), "io.containerd.image.name": name });
    let digest = top["digest"].as_str().unwrap_or_default().to_owned();
    blobs.file("oci-layout", 0o644, r#"{"imageLayoutVersion":"1.0.0"}"#);
    blobs.file("index.json", 0o644, json!({ "schemaVersion": 2, "manifests": [top] }).to_string());
    Ok(Packed { bytes: tar(&blobs, time)?, digest, parts })
}

/// Everything in the image. No shell, no package manager: nothing to run but the agent.
fn files(architecture: Architecture, program: &[u8]) -> Result<Tree> {
    host::ensure(&[AUTHORITIES])?;
    let mut tree = Tree::default();
    tree.file("usr/bin/sandwatch", 0o755, program);
    tree.rules("usr/lib/sandwatch/rules")?;
    let authorities =
        std::fs::read(AUTHORITIES.proof).with_context(|| format!("cannot read {}", AUTHORITIES.proof))?;
    tree.file("etc/ssl/certs/ca-certificates.crt", 0o644, authorities);
    tree.file(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    );
    tree.file("etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n");
    // Mount points; a ConfigMap is mounted as a folder, and commands without --config find what is in it.
    tree.link("etc/sandwatch/sandwatch.yaml", "config/sandwatch.yaml");
    for folder in ["etc/sandwatch/config", "etc/sandwatch/credentials", "etc/sandwatch/rules.d"] {
        tree.folder(folder, 0o755);
    }
    for (folder, mode) in [
        ("var/lib/sandwatch", 0o700),
        ("var/log/sandwatch", 0o750),
        ("run/sandwatch", 0o700),
        ("tmp", 0o1777),
    ] {
        tree.folder(folder, mode);
    }
    let about = "usr/share/doc/sandwatch";
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        tree.copy(&format!("{about}/{licence}"), 0o644, licence)?;
    }
    tree.file(&format!("{about}/sbom.cdx.json"), 0o644, sbom::text(architecture)?);
    Ok(tree)
}

fn labels() -> Result<Value> {
    Ok(json!({
        "org.opencontainers.image.title": "sandwatch",
        "org.opencontainers.image.description": "Watches workflow workers from the kernel and raises an alert when code leaves its sandbox",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.revision": revision()?,
        "org.opencontainers.image.source": "https://github.com/sandwatch/sandwatch",
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
    }))
}

/// The files as a folder, for the Dockerfile.
fn unpacked(architecture: Architecture, tree: &Tree) -> Result<()> {
    let root = folder()?.join(format!("root-{architecture}"));
    if root.exists() {
        std::fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    super::deb::lay_out(tree, &root)
}

fn blob(blobs: &mut Tree, kind: &str, bytes: Vec<u8>) -> Value {
    let hash = sha256(&bytes);
    let described = json!({
        "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{hash}"), "size": bytes.len(),
    });
    blobs.file(&format!("blobs/sha256/{hash}"), 0o644, bytes);
    described
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

fn tar(tree: &Tree, time: u64) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, entry) in tree.entries() {
        let mut header = tar::Header::new_ustar();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(time);
        match entry {
            Entry::Folder { mode } => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                header.set_size(0);
                archive.append_data(&mut header, format!("{path}/"), std::io::empty())
            }
            Entry::File { mode, content } => {
                header.set_mode(*mode);
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, path, content.as_slice())
            }
            Entry::Link { to } => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                archive.append_link(&mut header, path, to)
            }
        }
        .with_context(|| format!("cannot put {path} into an archive"))?;
    }
    archive.into_inner().context("cannot finish an archive")
}

/// Seconds since 1970 as RFC 3339.
fn stamp(time: u64) -> String {
    let (days, seconds) = (time / 86_400, time % 86_400);
    // Days since 1 March of the year 0, in eras of 400 years (Howard Hinnant, civil_from_days).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::{COMMAND, ENTRYPOINT, REPOSITORY, archive, stamp};
    use crate::host;
    use crate::package::program::Architecture;

    #[test]
    fn time_is_written_as_rfc_3339_has_it() {
        assert_eq!(stamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(stamp(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(stamp(1_798_761_599), "2026-12-31T23:59:59Z");
    }

    #[test]
    fn same_program_gives_the_same_archive_and_another_a_different_one() {
        let program = |text: &str| vec![(Architecture::Amd64, text.as_bytes().to_vec())];
        let first = archive(&program("a"), 5).unwrap();
        let again = archive(&program("a"), 5).unwrap();
        assert_eq!((&first.bytes, &first.digest), (&again.bytes, &again.digest));
        assert_ne!(archive(&program("b"), 5).unwrap().digest, first.digest);
    }

    #[test]
    fn its_name_is_the_charts() {
        let values = host::repo().unwrap().join("deploy/helm/sandwatch/values.yaml");
        let text = std::fs::read_to_string(values).unwrap();
        let (registry, repository) = REPOSITORY.split_once('/').unwrap();
        for line in [format!("  registry: {registry}"), format!("  repository: {repository}")] {
            assert!(text.lines().any(|l| l == line), "no line {line}");
        }
        let name = format!("{REPOSITORY}:{}", env!("CARGO_PKG_VERSION"));
        let packed = archive(&[(Architecture::Amd64, b"a".to_vec())], 5).unwrap();
        assert!(packed.bytes.windows(name.len()).any(|part| part == name.as_bytes()));
    }

    #[test]
    fn dockerfile_runs_the_same() {
        let text = std::fs::read_to_string(host::repo().unwrap().join("deploy/image/Dockerfile")).unwrap();
        for (word, value) in [("ENTRYPOINT", ENTRYPOINT), ("CMD", COMMAND)] {
            let line = format!("{word} {}", serde_json::to_string(value).unwrap());
            assert!(text.lines().any(|l| l == line), "no line {line}");
        }
    }
}
