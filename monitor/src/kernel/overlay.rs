//! Where overlayfs keeps its upper layer: asked of the module's own BTF, which may appear long after the probes were loaded.

use std::path::Path;

use monitor_common::map::OverlayOffsets;

use super::btf::{Btf, BtfError};
use super::error::KernelError;
use super::maps::{Maps, failed};

/// BTF of the overlay module; absent while it is not loaded, or built into the kernel.
pub(crate) const OVERLAY: &str = "/sys/kernel/btf/overlay";

/// The offsets, if this BTF has them.
pub(crate) fn offsets(btf: &Btf<'_>) -> Result<OverlayOffsets, BtfError> {
    Ok(OverlayOffsets {
        known: 1,
        vfs_inode: btf.offset("ovl_inode", "vfs_inode")?,
        upperdentry: btf.offset("ovl_inode", "__upperdentry")?,
        pad: 0,
    })
}

/// What the kernel's BTF and, when loaded, the module's say.
pub(crate) fn find(vmlinux: &Btf<'_>) -> Option<OverlayOffsets> {
    if let Ok(found) = offsets(vmlinux) {
        return Some(found);
    }
    let module = std::fs::read(OVERLAY).ok()?;
    offsets(&Btf::parse_split(&module, vmlinux).ok()?).ok()
}

/// Whether the module's BTF has appeared.
pub(crate) fn has_module() -> bool {
    Path::new(OVERLAY).exists()
}

impl Maps {
    /// Tells the probes; until then the layer of an overlay file is unknown.
    pub(crate) fn set_overlay(&mut self, offsets: OverlayOffsets) -> Result<(), KernelError> {
        self.overlay.set(0, offsets, 0).map_err(|error| failed("OVERLAY", "write", &error))
    }
}
