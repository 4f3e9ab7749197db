//! Certificates for tests: an authority, and what it signs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// An authority whose certificate and those it signs lie in a folder.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Certificate, PEM.
    pub certificate: PathBuf,
    /// Key, PEM.
    pub key: PathBuf,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valid {
    /// From yesterday until tomorrow.
    Now,
    /// Until yesterday.
    Expired,
}

impl Authority {
    /// A new authority; its certificate is `FOLDER/NAME.pem`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        std::fs::write(folder.join(format!("{name}.pem")), issuer.pem())?;
        Ok(Self { folder: folder.to_owned(), issuer })
    }

    /// A certificate for these host names and addresses, for servers and clients alike, as `FOLDER/FILE.pem` and `.key`.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn sign(&self, file: &str, names: &[&str], valid: Valid) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate = self.certificate(names, valid, &key)?;
        let pair = Pair {
            certificate: self.folder.join(format!("{file}.pem")),
            key: self.folder.join(format!("{file}.key")),
        };
        std::fs::write(&pair.certificate, certificate.pem())?;
        std::fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }

    fn certificate(&self, names: &[&str], valid: Valid, key: &KeyPair) -> Result<Certificate> {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        let day = Duration::from_secs(86_400);
        let now = std::time::SystemTime::now();
        let (from, to) = match valid {
            Valid::Now => (now - day, now + day),
            Valid::Expired => (now - day * 3, now - day),
        };
        (params.not_before, params.not_after) = (from.into(), to.into());
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("none"));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params.signed_by(key, &self.issuer)?)
    }

    /// The authority's own certificate.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }
}

/// A server's side of TLS; with `clients`, it wants a certificate from that authority.
///
/// # Errors
/// A file cannot be read.
pub fn server(pair: &Pair, clients: Option<&Path>) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority)?)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_file(&pair.certificate).context("the server's certificate")?];
    let key = PrivateKeyDer::from_pem_file(&pair.key).context("the server's key")?;
    Ok(Arc::new(builder.with_single_cert(chain, key)?))
}
