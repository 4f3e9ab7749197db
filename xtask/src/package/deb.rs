//! The Debian package, put together with dpkg-deb. It holds the static program, so it needs no library and fits every release of Debian and Ubuntu.

use super::program::{self, Architecture};
use super::tree::{Entry, Tree};
use super::{folder, sbom, time};
use crate::build;
use crate::host::{self, Package, checked};
use anyhow::{Context, Result};
use flate2::Compression;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const DPKG: Package = Package { name: "dpkg", proof: "/usr/bin/dpkg-deb" };
/// Files that an administrator may change: dpkg asks before it replaces them.
const CONFFILES: [&str; 2] = ["etc/sandwatch/sandwatch.yaml", "etc/logrotate.d/sandwatch"];
const MAINTAINER: &str = "sandwatch <maintainers@sandwatch.dev>";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the program and the package of this version.
pub(super) fn build(architecture: Architecture, version: &str) -> Result<PathBuf> {
    let program = program::build(architecture)?;
    let program = std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    wrap(architecture, version, program, &pages()?)
}

/// Manual pages and completions, made from the command line of this tree.
pub(super) fn pages() -> Result<PathBuf> {
    let folder = folder()?.join("pages");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let mut command = build::cargo(&["run", "--quiet", "--package", "pages", "--"])?;
    checked(command.arg(&folder))?;
    Ok(folder)
}

/// The changes of the package, as Debian's tools read them; those of the program are in the file beside it.
fn packaged(version: &str) -> Result<String> {
    let date = host::capture(Command::new("date").args(["-u", "-R", "-d", &format!("@{}", time()?)]))?;
    let date = date.trim();
    Ok(format!(
        "sandwatch ({version}) unstable; urgency=medium\n\n  * Made from the release of the same number.\n\n -- {MAINTAINER}  {date}\n"
    ))
}

/// The package around a program of this version; the first package of it.
pub(super) fn wrap(
    architecture: Architecture,
    version: &str,
    program: Vec<u8>,
    pages: &Path,
) -> Result<PathBuf> {
    pack(&folder()?, &["-Zxz"], architecture, version, program, pages)
}

/// The same in this folder and hardly compressed, around a program of this machine: for tests, which have no time to press it small.
pub(super) fn wrap_quickly(folder: &Path, version: &str, program: Vec<u8>, pages: &Path) -> Result<PathBuf> {
    pack(folder, &["-Zgzip", "-z1"], Architecture::native(), version, program, pages)
}

fn pack(
    folder: &Path,
    compression: &[&str],
    architecture: Architecture,
    version: &str,
    program: Vec<u8>,
    pages: &Path,
) -> Result<PathBuf> {
    host::ensure(&[DPKG])?;
    let version = &format!("{version}-1");
    let mut tree = files(architecture, version, program, pages)?;
    let installed: usize = tree.entries().map(|(_, entry)| size(entry)).sum();
    tree.file("DEBIAN/control", 0o644, control(architecture, version, installed / 1024));
    tree.file("DEBIAN/conffiles", 0o644, CONFFILES.map(|path| format!("/{path}\n")).concat());
    for script in SCRIPTS {
        tree.copy(&format!("DEBIAN/{script}"), 0o755, &format!("deploy/debian/{script}"))?;
    }
    tree.file("DEBIAN/md5sums", 0o644, "");
    let name = format!("sandwatch_{version}_{architecture}");
    let root = folder.join(&name);
    if root.exists() {
        std::fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    lay_out(&tree, &root)?;
    sums(&root)?;
    let path = folder.join(format!("{name}.deb"));
    let mut command = Command::new("dpkg-deb");
    command.args(["--build", "--root-owner-group"]).args(compression).arg(&root).arg(&path);
    command.env("SOURCE_DATE_EPOCH", time()?.to_string());
    host::capture(&mut command)?;
    std::fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    Ok(path)
}

fn files(architecture: Architecture, version: &str, program: Vec<u8>, pages: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.file("usr/bin/sandwatch", 0o755, program);
    tree.rules("usr/lib/sandwatch/rules")?;
    tree.copy("lib/systemd/system/sandwatch.service", 0o644, "deploy/systemd/sandwatch.service")?;
    tree.copy("etc/sandwatch/sandwatch.yaml", 0o644, "deploy/debian/sandwatch.yaml")?;
    tree.folder("etc/sandwatch/rules.d", 0o755);
    tree.copy("etc/logrotate.d/sandwatch", 0o644, "deploy/debian/logrotate")?;
    for (name, text) in read(&pages.join("man1"))? {
        tree.file(&format!("usr/share/man/man1/{name}.gz"), 0o644, gzip(&text)?);
    }
    for (name, text) in read(&pages.join("completions"))? {
        let folder = match name.as_str() {
            "_sandwatch" => "zsh/vendor-completions",
            "sandwatch.fish" => "fish/vendor_completions.d",
            _ => "bash-completion/completions",
        };
        tree.file(&format!("usr/share/{folder}/{name}"), 0o644, text);
    }
    let about = "usr/share/doc/sandwatch";
    tree.copy(&format!("{about}/copyright"), 0o644, "deploy/debian/copyright")?;
    tree.file(&format!("{about}/sbom.cdx.json.gz"), 0o644, gzip(sbom::text(architecture)?.as_bytes())?);
    let changes = std::fs::read(host::repo()?.join("CHANGELOG.md")).context("cannot read CHANGELOG.md")?;
    tree.file(&format!("{about}/changelog.gz"), 0o644, gzip(&changes)?);
    tree.file(&format!("{about}/changelog.Debian.gz"), 0o644, gzip(packaged(version)?.as_bytes())?);
    tree.copy("usr/share/lintian/overrides/sandwatch", 0o644, "deploy/debian/lintian-overrides")?;
    Ok(tree)
}

fn control(architecture: Architecture, version: &str, kilobytes: usize) -> String {
    format!(
        "Package: sandwatch\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {kilobytes}\nPre-Depends: init-system-helpers (>= 1.54~)\nRecommends: ca-certificates\nSuggests: logrotate\nSection: admin\n\
         Priority: optional\nHomepage: https://github.com/sandwatch/sandwatch\n\
         Description: watches workflow workers from the kernel for escapes\n \
         Workflow engines and CI runners execute what other people author. This agent\n \
         sees from the kernel what happens inside their workers, holds it against what\n \
         each worker is expected to do, and raises an alert when code leaves its\n \
         sandbox: which run it was, which credentials it took, what to rotate.\n"
    )
}

/// A tree on disk, as it is to be packed.
pub(super) fn lay_out(tree: &Tree, root: &Path) -> Result<()> {
    std::fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
    for (path, entry) in tree.entries() {
        let path = root.join(path);
        let written = match entry {
            Entry::Folder { .. } => std::fs::create_dir(&path),
            Entry::File { content, .. } => std::fs::write(&path, content),
            Entry::Link { to } => symlink(to, &path),
        };
        written.with_context(|| format!("cannot make {}", path.display()))?;
        if let Entry::Folder { mode } | Entry::File { mode, .. } = entry {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode))
                .with_context(|| format!("cannot change {}", path.display()))?;
        }
    }
    Ok(())
}

/// What dpkg --verify compares with.
fn sums(root: &Path) -> Result<()> {
    let script =
        "find . -path ./DEBIAN -prune -o -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 md5sum";
    let text = host::capture(Command::new("sh").args(["-c", script]).current_dir(root))?;
    std::fs::write(root.join("DEBIAN/md5sums"), text).context("cannot write the sums")
}

fn read(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?));
    }
    files.sort();
    Ok(files)
}

/// As `gzip -9n` has it: no name, no time.
fn gzip(text: &[u8]) -> Result<Vec<u8>> {
    let mut packed =
        flate2::GzBuilder::new().mtime(0).operating_system(3).write(Vec::new(), Compression::best());
    packed.write_all(text)?;
    packed.finish().context("cannot compress")
}

fn size(entry: &Entry) -> usize {
    match entry {
        Entry::File { content, .. } => content.len(),
        _ => 0,
    }
}
