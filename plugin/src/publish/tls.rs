//! Whom the element believes to be the broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// Why there is nothing to trust.
#[derive(Debug, Error)]
pub(super) enum TlsError {
    #[error("the ca-file {path} cannot be used: {problem}", path = path.display())]
    CaFile { path: PathBuf, problem: String },
    #[error("this machine has no certificate authorities that it trusts: install ca-certificates, or set ca-file")]
    NoAuthorities,
    #[error(transparent)]
    Protocol(#[from] rustls::Error),
}

/// Trusts the authorities of the file, or those of the machine where there is none.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match ca_file {
        Some(path) => authorities_of(path)?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn authorities_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let fail = |problem: String| TlsError::CaFile { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))? {
        let certificate = certificate.map_err(|e| fail(e.to_string()))?;
        roots.add(certificate).map_err(|e| fail(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fail("it holds no certificate in PEM format".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_no_authority_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let problem = |path: &Path| client_config(Some(path)).unwrap_err().to_string();
        assert!(problem(&path).contains("ca.pem"));
        for text in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(problem(&path).starts_with(&format!("the ca-file {}", path.display())), "{text}");
        }
    }
}
