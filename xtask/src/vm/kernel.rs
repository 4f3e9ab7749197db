//! The kernels of the matrix: Debian's cloud images, fetched once into the cache.

use crate::host::apt::{Apt, Downloaded, Mirror};
use crate::host::{checked, sha256_file};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Raised when what is taken out of the packages, or how, changes; older caches are then fetched anew.
const RECIPE: u32 = 1;

/// A kernel of the matrix and where Debian ships it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// Its name on the command line: the upstream version.
    pub(crate) name: &'static str,
    suite: &'static str,
    mirror: Mirror,
}

/// Oldest first.
pub(crate) const RELEASES: [Release; 4] = [
    Release { name: "5.10", suite: "bullseye-security", mirror: Mirror::Security },
    Release { name: "6.1", suite: "bookworm", mirror: Mirror::Main },
    Release { name: "6.12", suite: "trixie", mirror: Mirror::Main },
    Release { name: "7.2", suite: "forky", mirror: Mirror::Main },
];

/// A kernel on disk.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    /// `/lib/modules/VERSION` of the package.
    pub(crate) modules: PathBuf,
}

/// What the cache knows of a kernel.
#[derive(serde::Serialize, serde::Deserialize)]
struct Index {
    recipe: u32,
    version: String,
    image: String,
    image_sha256: String,
    packages: Vec<Downloaded>,
}

impl Release {
    /// The release of that name.
    ///
    /// # Errors
    /// There is none; the message lists those there are.
    pub(crate) fn named(name: &str) -> Result<Self> {
        RELEASES.into_iter().find(|r| r.name == name).ok_or_else(|| {
            let known: Vec<_> = RELEASES.iter().map(|r| r.name).collect();
            anyhow!("no kernel {name}; there are {}", known.join(", "))
        })
    }

    /// The kernel from the cache, fetched first if it is not there, or if `anew`.
    pub(crate) fn kernel(self, cache: &Path, anew: bool) -> Result<Kernel> {
        let dir = cache.join("kernels").join(self.name);
        if !anew && let Some(kernel) = self.cached(&dir)? {
            return Ok(kernel);
        }
        self.fetch(&dir)
            .with_context(|| format!("cannot fetch kernel {} from Debian {}", self.name, self.suite))?;
        self.cached(&dir)?.ok_or_else(|| anyhow!("kernel {} did not stay in {}", self.name, dir.display()))
    }

    fn cached(self, dir: &Path) -> Result<Option<Kernel>> {
        let Ok(text) = std::fs::read_to_string(dir.join("index.json")) else {
            return Ok(None);
        };
        let Ok(index) = serde_json::from_str::<Index>(&text) else {
            return Ok(None);
        };
        if index.recipe != RECIPE {
            return Ok(None);
        }
        let image = dir.join("root").join(&index.image);
        let found = sha256_file(&image)?;
        if found != index.image_sha256 {
            bail!(
                "{} has hash {found}, the cache says {}: remove {} to fetch it again",
                image.display(),
                index.image_sha256,
                dir.display()
            );
        }
        let modules = modules_dir(&dir.join("root"), &index.version)?;
        Ok(Some(Kernel { image, modules }))
    }

    fn fetch(self, dir: &Path) -> Result<()> {
        eprintln!("xtask: fetching kernel {} from Debian {}", self.name, self.suite);
        let work = dir.with_file_name(format!("{}.new.{}", self.name, std::process::id()));
        let root = work.join("root");
        std::fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let apt = Apt::open(&work.join("apt"), self.mirror, self.suite)?;
        let packages = apt.download("linux-image-cloud-amd64", is_kernel_package)?;
        for package in &packages {
            checked(Command::new("dpkg-deb").arg("-x").arg(&package.file).arg(&root))?;
        }
        let (image, version) = find_image(&root)?;
        let index = Index {
            recipe: RECIPE,
            image_sha256: sha256_file(&root.join(&image))?,
            version,
            image,
            packages,
        };
        std::fs::write(work.join("index.json"), serde_json::to_string_pretty(&index)?)?;
        std::fs::remove_dir_all(work.join("apt"))?;
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| format!("cannot replace {}", dir.display()))?;
        }
        std::fs::rename(&work, dir).with_context(|| format!("cannot move the kernel to {}", dir.display()))
    }
}

/// The meta package leads to the image, and since 7.x that to a binary and a modules package.
fn is_kernel_package(name: &str) -> bool {
    name.ends_with("-cloud-amd64")
        && ["linux-image-", "linux-binary-", "linux-modules-"].iter().any(|prefix| {
            name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
}

/// The kernel image, relative to `root`, and its version: `boot/vmlinuz-VERSION`, since 7.x
/// `usr/lib/modules/VERSION/vmlinuz`.
fn find_image(root: &Path) -> Result<(String, String)> {
    for name in names(&root.join("boot")) {
        if let Some(version) = name.strip_prefix("vmlinuz-") {
            return Ok((format!("boot/{name}"), version.to_owned()));
        }
    }
    for version in names(&root.join("usr/lib/modules")) {
        let image = format!("usr/lib/modules/{version}/vmlinuz");
        if root.join(&image).is_file() {
            return Ok((image, version));
        }
    }
    bail!("the packages hold no kernel image")
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn modules_dir(root: &Path, version: &str) -> Result<PathBuf> {
    [root.join("lib/modules").join(version), root.join("usr/lib/modules").join(version)]
        .into_iter()
        .find(|dir| dir.is_dir())
        .ok_or_else(|| anyhow!("the packages hold no modules of {version}"))
}

#[cfg(test)]
mod tests {
    use super::is_kernel_package;

    #[test]
    fn kernel_packages_are_image_binary_and_modules_of_a_version() {
        assert!(is_kernel_package("linux-image-6.1.0-50-cloud-amd64"));
        assert!(is_kernel_package("linux-binary-7.2.12+deb14-cloud-amd64"));
        assert!(is_kernel_package("linux-modules-7.2.12+deb14-cloud-amd64"));
        assert!(!is_kernel_package("linux-base-cloud-amd64"));
        assert!(!is_kernel_package("kmod"));
    }
}
