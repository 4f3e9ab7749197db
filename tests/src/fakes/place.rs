//! A folder with an authority in it, and receivers whose certificates it signs.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::authority::{self, Authority, Pair, Valid};
use super::server::{Reply, Server};

/// The folder.
pub struct Place {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Place {
    /// A folder of its own, with an authority `ca`.
    ///
    /// # Errors
    /// The disk takes nothing.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::new(folder.path(), "ca")?;
        Ok(Self { folder, authority })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.authority.file("ca")
    }

    /// A certificate for these names, and its key, in files of this name.
    ///
    /// # Errors
    /// The disk takes nothing, or a name is none.
    pub fn pair(&self, file: &str, names: &[&str], valid: Valid) -> Result<Pair> {
        self.authority.sign(file, names, valid)
    }

    /// A receiver of this certificate that takes anything; with `clients`, it wants a certificate from us too.
    ///
    /// # Errors
    /// No port is free, or the certificate cannot be used.
    pub fn server(&self, pair: &Pair, clients: bool) -> Result<Server> {
        let ca = self.ca();
        let tls = authority::server(pair, clients.then_some(ca.as_path()))?;
        Ok(Server::start_tls(tls, |_| Reply::text(202, "{}"))?)
    }

    /// Keys of `tls`: the authority to trust, and our own certificate.
    pub fn keys(&self, client: Option<&Pair>) -> String {
        let own = client.map(|pair| {
            format!(", cert_file: {}, key_file: {}", pair.certificate.display(), pair.key.display())
        });
        format!("ca_file: {}{}", self.ca().display(), own.unwrap_or_default())
    }
}
