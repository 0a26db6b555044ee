//! Passwords are stored as PostgreSQL stores them: `SCRAM-SHA-256$iterations:salt$stored:server`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::{Error, Result};

const PREFIX: &str = "SCRAM-SHA-256$";

/// What the server knows of a password: enough to check a proof, too little to log in with.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// Rounds of the key derivation.
    pub iterations: u32,
    /// Salt of the key derivation.
    pub salt: Vec<u8>,
    /// Hash of the client's key (RFC 5802, `StoredKey`).
    pub stored_key: Vec<u8>,
    /// The key that the server proves itself with (RFC 5802, `ServerKey`).
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramSecret(…)")
    }
}

impl ScramSecret {
    /// Reads a stored secret; `None` when it has another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (head, keys) = text.strip_prefix(PREFIX)?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let secret = Self {
            iterations: iterations.parse().ok()?,
            salt: BASE64_STANDARD.decode(salt).ok()?,
            stored_key: BASE64_STANDARD.decode(stored_key).ok()?,
            server_key: BASE64_STANDARD.decode(server_key).ok()?,
        };
        let sound =
            secret.iterations > 0 && secret.stored_key.len() == 32 && secret.server_key.len() == 32;
        sound.then_some(secret)
    }
}

/// What to store for a password that a client sent: a secret already in stored form (as
/// `psql`'s `\password` sends it) is kept, a plain one is hashed.
///
/// # Errors
/// An empty password (nobody could use it), or one hashed with MD5.
pub(crate) fn to_store(password: &str) -> Result<String> {
    if password.is_empty() {
        return Err(Error::new("22023", "the password must not be empty"));
    }
    if ScramSecret::parse(password).is_some() {
        return Ok(password.to_owned());
    }
    if is_md5(password) {
        return Err(Error::new("0A000", "MD5 passwords are not supported")
            .with_hint("Send the password itself or a SCRAM-SHA-256 secret."));
    }
    Ok(postgres_protocol::password::scram_sha_256(
        password.as_bytes(),
    ))
}

fn is_md5(text: &str) -> bool {
    text.len() == 35 && text.starts_with("md5") && text[3..].bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_secret_is_read_back_and_kept() {
        let stored = to_store("s3cret").unwrap();
        let secret = ScramSecret::parse(&stored).unwrap();
        assert_eq!(secret.iterations, 4096);
        assert_eq!(to_store(&stored).unwrap(), stored);
        assert!(!stored.contains("s3cret"));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        assert!(ScramSecret::parse("SCRAM-SHA-256$0:AA==$AA==:AA==").is_none());
        assert!(ScramSecret::parse("plain").is_none());
        assert_eq!(to_store("").unwrap_err().sqlstate, "22023");
        let md5 = "md500000000000000000000000000000000";
        assert_eq!(to_store(md5).unwrap_err().sqlstate, "0A000");
    }
}
