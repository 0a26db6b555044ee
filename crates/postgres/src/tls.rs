//! TLS: the certificate, and how it is read anew while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use x509_certificate::{SignatureAlgorithm, X509Certificate};

/// The protocol's name in TLS (ALPN).
pub(crate) const ALPN: &[u8] = b"postgresql";

/// Why the certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, or is not what it should be.
    #[error("cannot read {what} from {}: {source}", path.display())]
    File {
        /// The certificate or the key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The key is of no use, or is another certificate's.
    #[error("cannot use the certificate {} with the key {}: {source}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// A certificate with its key, from two files in PEM.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<Current>>,
}

/// What came of the two files.
pub(crate) struct Current {
    config: Arc<ServerConfig>,
    /// The certificate's hash, to which a password can be bound; `None` where nobody has said
    /// which hash.
    pub(crate) end_point: Option<Vec<u8>>,
}

impl Current {
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config).into()
    }
}

impl Tls {
    /// Reads the certificate, with those that vouch for it behind it, and its private key.
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not go together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            current: RwLock::new(read(certificate, key)?),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Reads both files again, for the connections to come.
    ///
    /// # Errors
    /// As [`Tls::load`]; what was there stays in use then.
    pub fn reload(&self) -> Result<(), TlsError> {
        let current = read(&self.certificate, &self.key)?;
        *self.current.write() = current;
        Ok(())
    }

    /// Accepts encrypted connections of other protocols with the certificate as it is now.
    #[must_use]
    pub fn acceptor_for(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        let mut config = ServerConfig::clone(&self.current().config);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config).into()
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read())
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<Current>, TlsError> {
    let file = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { what, path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(file("the certificate", certificate))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(file("the private key", key))?;
    let unusable = |source| TlsError::Unusable {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    };
    let end_point = chain.first().and_then(|c| end_point(c));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(Current {
        config: Arc::new(config),
        end_point,
    }))
}

/// The channel binding `tls-server-end-point` (RFC 5929, section 4): the certificate's hash, with
/// the function that it is signed with, or SHA-256 instead of an older one.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = X509Certificate::from_der(certificate).ok()?;
    Some(match parsed.signature_signature_algorithm()? {
        SignatureAlgorithm::RsaSha1
        | SignatureAlgorithm::RsaSha256
        | SignatureAlgorithm::EcdsaSha256 => Sha256::digest(certificate).to_vec(),
        SignatureAlgorithm::RsaSha384 | SignatureAlgorithm::EcdsaSha384 => {
            Sha384::digest(certificate).to_vec()
        }
        SignatureAlgorithm::RsaSha512 => Sha512::digest(certificate).to_vec(),
        SignatureAlgorithm::Ed25519 | SignatureAlgorithm::NoSignature(_) => return None,
    })
}
