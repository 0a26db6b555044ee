//! Passwords are stored as PostgreSQL stores them: `SCRAM-SHA-256$iterations:salt$stored:server`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use forebay_catalog::Role;
use hmac::{Hmac, KeyInit as _, Mac as _};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use sha2::Sha256;

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

    /// The secret of a password that nobody knows. To check it is as much work as to check another.
    pub(crate) fn of_nobody() -> Self {
        Self {
            iterations: 4096,
            salt: vec![0; 16],
            stored_key: vec![0; 32],
            server_key: vec![0; 32],
        }
    }

    /// Whether this is the password's secret. A client with this password is played through the
    /// exchange of RFC 5802, so that the password is prepared as clients prepare it: the secret is
    /// the password's where the server's last word is the one that the client expects.
    pub(crate) fn is_of(&self, password: &str) -> bool {
        let binding = ChannelBinding::unsupported();
        let mut client = ScramSha256::new(password.as_bytes(), binding);
        // Behind the channel binding's header, "n,,".
        let client_first = String::from_utf8_lossy(&client.message()[3..]).into_owned();
        let Some((_, nonce)) = client_first.split_once(",r=") else {
            return false;
        };
        let (salt, iterations) = (BASE64_STANDARD.encode(&self.salt), self.iterations);
        let server_first = format!("r={nonce}0,s={salt},i={iterations}");
        if client.update(server_first.as_bytes()).is_err() {
            return false;
        }
        let client_final = String::from_utf8_lossy(client.message()).into_owned();
        let Some((without_proof, _)) = client_final.rsplit_once(",p=") else {
            return false;
        };
        let exchange = format!("{client_first},{server_first},{without_proof}");
        let mut hmac = Hmac::<Sha256>::new_from_slice(&self.server_key)
            .expect("a key of any length is allowed");
        hmac.update(exchange.as_bytes());
        let signature = BASE64_STANDARD.encode(hmac.finalize().into_bytes());
        client.finish(format!("v={signature}").as_bytes()).is_ok()
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

/// The time in `VALID UNTIL`, in the form that the catalog keeps; `infinity` is no limit.
///
/// # Errors
/// When it is no time.
pub(crate) fn valid_until(text: &str) -> Result<Option<String>> {
    if text.trim().eq_ignore_ascii_case("infinity") {
        return Ok(None);
    }
    let time = parse_time(text.trim()).ok_or_else(|| {
        Error::new(
            "22007",
            format!("invalid input syntax for type timestamp with time zone: \"{text}\""),
        )
    })?;
    Ok(Some(time.to_rfc3339()))
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    const FORMATS: [&str; 3] = [
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M%#z",
        "%Y-%m-%dT%H:%M:%S%.f%#z",
    ];
    const LOCAL_FORMATS: [&str; 3] = [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M:%S%.f",
    ];
    let zoned = FORMATS
        .iter()
        .find_map(|f| DateTime::parse_from_str(text, f).ok());
    if let Some(time) = zoned {
        return Some(time.to_utc());
    }
    let local = LOCAL_FORMATS
        .iter()
        .find_map(|f| NaiveDateTime::parse_from_str(text, f).ok());
    let local = local.or_else(|| {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    });
    local.map(|time| time.and_utc())
}

/// Whether a role's password is no longer valid. A time that cannot be read counts as past.
pub(crate) fn has_expired(role: &Role) -> bool {
    let until = role.valid_until.as_deref();
    until.is_some_and(|text| parse_time(text).is_none_or(|time| time <= Utc::now()))
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
    fn a_secret_is_of_its_password_only() {
        for password in ["s3cret", "", "pässwörd", "a,r=b"] {
            let stored = postgres_protocol::password::scram_sha_256(password.as_bytes());
            let secret = ScramSecret::parse(&stored).unwrap();
            assert!(secret.is_of(password), "{password}");
            assert!(!secret.is_of("other"), "{password}");
        }
        assert!(!ScramSecret::of_nobody().is_of(""));
    }

    #[test]
    fn validity_is_read_in_the_usual_forms() {
        let read = |text| valid_until(text).map_err(|e| e.sqlstate);
        let time = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(read("2001-01-01"), time("2001-01-01T00:00:00+00:00"));
        assert_eq!(
            read("2030-05-01 12:00:00+02"),
            time("2030-05-01T10:00:00+00:00")
        );
        assert_eq!(read("2030-05-01 12:00"), time("2030-05-01T12:00:00+00:00"));
        assert_eq!(read("infinity"), Ok(None));
        assert_eq!(read("soon"), Err("22007"));
        let stored = valid_until("2030-05-01").unwrap().unwrap();
        assert!(parse_time(&stored).is_some());
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
