//! Certificates and keys: read from files, checked at once, read again on reload.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::config::TlsConfig;
use crate::delivery::keep_out_of_core_dumps;

/// Why TLS cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{}: {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Only one of two that belong together.
    #[error("`tls` has `{given}` but no `{missing}`; a client certificate needs both")]
    Half {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// Nothing to check the receiver's certificate with.
    #[error(
        "this system has no certificate authorities ({0}); install ca-certificates, or set `tls.ca_file`"
    )]
    NoRoots(String),
    /// A name that no certificate can carry.
    #[error("{0:?} is neither a host name nor an IP address; set `tls.server_name`")]
    Name(String),
    /// The certificate and key do not work together.
    #[error("the certificate {} and the key {} cannot be used: {what}", certificate.display(), key.display())]
    Pair {
        /// Certificate.
        certificate: PathBuf,
        /// Key.
        key: PathBuf,
        /// Why.
        what: String,
    },
    /// The TLS library refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

impl TlsError {
    /// Whether it can end without a change of the configuration.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::File { .. } | Self::NoRoots(_) | Self::Pair { .. })
    }
}

/// How one sink speaks TLS.
pub struct Tls {
    files: TlsConfig,
    /// Built when it is first needed.
    current: Mutex<Option<Arc<ClientConfig>>>,
}

impl Tls {
    /// TLS with the configured files. They are read now, so that a wrong one is told at start; the system's authorities
    /// only when a connection needs them.
    ///
    /// # Errors
    /// A file cannot be read, or what it holds cannot be used.
    pub fn open(files: &TlsConfig) -> Result<Self, TlsError> {
        let tls = Self { files: files.clone(), current: Mutex::new(None) };
        // What is wrong in the configuration first: a file that is not there may come.
        if let Some(name) = &files.server_name {
            tls.name_for(name)?;
        }
        match (&files.cert_file, &files.key_file) {
            (Some(_), None) => return Err(TlsError::Half { given: "cert_file", missing: "key_file" }),
            (None, Some(_)) => return Err(TlsError::Half { given: "key_file", missing: "cert_file" }),
            _ => {}
        }
        if files.ca_file.is_some() || files.cert_file.is_some() || files.key_file.is_some() {
            tls.reload()?;
        }
        Ok(tls)
    }

    /// Reads the files again. On an error the old ones stay in use.
    ///
    /// # Errors
    /// As for [`open`](Tls::open).
    pub fn reload(&self) -> Result<(), TlsError> {
        let TlsConfig { ca_file, cert_file, key_file, .. } = &self.files;
        if ca_file.is_none() && cert_file.is_none() && key_file.is_none() {
            // The system's authorities are read when they are needed, which over plain HTTP is never.
            *self.lock() = None;
            return Ok(());
        }
        let built = build(&self.files)?;
        *self.lock() = Some(built);
        Ok(())
    }

    /// The client's settings.
    ///
    /// # Errors
    /// The system's authorities cannot be read.
    pub fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut current = self.lock();
        if let Some(built) = &*current {
            return Ok(Arc::clone(built));
        }
        let built = build(&self.files)?;
        *current = Some(Arc::clone(&built));
        Ok(built)
    }

    /// The name that the receiver's certificate must carry.
    ///
    /// # Errors
    /// It is neither a host name nor an address.
    pub fn name_for(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.files.server_name.as_deref().unwrap_or(host);
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<ClientConfig>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn build(files: &TlsConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let builder = builder.with_root_certificates(roots(files.ca_file.as_deref())?);
    let mut client = match files.cert_file.as_ref().zip(files.key_file.as_ref()) {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            keep_out_of_core_dumps();
            let private =
                PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, &pem(&error, "private key")))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| TlsError::Pair {
                certificate: certificate.clone(),
                key: key.clone(),
                what: match error {
                    rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
                    other => other.to_string(),
                },
            })?
        }
    };
    // One receiver, seldom a new connection: a large cache of sessions would only cost memory.
    client.resumption = Resumption::in_memory_sessions(4);
    Ok(Arc::new(client))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            store
                .add(certificate)
                .map_err(|error| file(path, &format!("holds a certificate that cannot be used: {error}")))?;
        }
        return Ok(store);
    }
    let system = rustls_native_certs::load_native_certs();
    let (added, _) = store.add_parsable_certificates(system.certs);
    if added == 0 {
        let why = system.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TlsError::NoRoots(why));
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |error: &rustls::pki_types::pem::Error| file(path, &pem(error, "certificate"));
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?.collect();
    let found = found.map_err(|error| wrong(&error))?;
    if found.is_empty() {
        return Err(file(path, "holds no certificate in PEM form"));
    }
    Ok(found)
}

fn file(path: &Path, what: &str) -> TlsError {
    TlsError::File { path: path.to_owned(), what: what.to_owned() }
}

fn pem(error: &rustls::pki_types::pem::Error, what: &str) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => format!("cannot be read: {error}"),
        Error::NoItemsFound => format!("holds no {what} in PEM form"),
        // The library's text for the others may quote the file.
        _ => format!("is not a {what} in PEM form"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_a_private_key_the_process_leaves_no_core_dump() {
        if !alone("with_a_private_key_the_process_leaves_no_core_dump") {
            return;
        }
        assert!(nix::sys::prctl::get_dumpable().unwrap(), "before any secret");
        let dir = tempfile::tempdir().unwrap();
        let pem = |name: &str, what: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("-----BEGIN {what}-----\nbm9uZQ==\n-----END {what}-----\n"))
                .unwrap();
            Some(path)
        };
        let (cert_file, ca_file) = (pem("agent.pem", "CERTIFICATE"), None);
        let files =
            TlsConfig { ca_file, cert_file, key_file: pem("agent.key", "PRIVATE KEY"), server_name: None };
        // Neither is of any use, but the key was read.
        let wrong = Tls::open(&files).unwrap_err();
        assert!(matches!(wrong, TlsError::Pair { .. }), "{wrong}");
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
    }

    /// Runs this test again in a process in which no other test reads a secret. `true`: this is that run.
    fn alone(test: &str) -> bool {
        const INNER: &str = "SANDWATCH_TEST_ALONE";
        if std::env::var_os(INNER).is_some() {
            return true;
        }
        let (_, room) = module_path!().split_once("::").unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{room}::{test}"), "--nocapture", "--test-threads=1"])
            .env(INNER, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
        false
    }
}
