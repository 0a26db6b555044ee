//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, with channel binding where TLS has one
//! (`tls-server-end-point`, RFC 5929).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use forebay_server::ScramSecret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The mechanism's name on the wire.
const MECHANISM: &str = "SCRAM-SHA-256";

/// The same, bound to the channel.
const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The mechanisms to offer, the best first.
pub(crate) fn mechanisms(can_bind: bool) -> &'static [&'static str] {
    match can_bind {
        true => &[MECHANISM_PLUS, MECHANISM],
        false => &[MECHANISM],
    }
}

/// How an exchange is bound to its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// There is nothing to bind to.
    Impossible,
    /// The client has chosen not to.
    Declined,
    /// To this certificate's hash.
    EndPoint(Vec<u8>),
}

impl Binding {
    /// What a client has chosen by naming a mechanism, `end_point` being what it could bind to.
    pub(crate) fn chosen(mechanism: &str, end_point: Option<Vec<u8>>) -> Result<Self, ScramError> {
        match (mechanism, end_point) {
            (MECHANISM_PLUS, Some(hash)) => Ok(Self::EndPoint(hash)),
            (MECHANISM, Some(_)) => Ok(Self::Declined),
            (MECHANISM, None) => Ok(Self::Impossible),
            _ => Err(ScramError::Malformed),
        }
    }

    /// Whether the client's flag goes with it. `y` says that the client would bind and thinks that
    /// it cannot be done: where it can, somebody has come between.
    fn allows(&self, flag: &str) -> bool {
        match self {
            Self::Impossible => matches!(flag, "n" | "y"),
            Self::Declined => flag == "n",
            Self::EndPoint(_) => flag == "p=tls-server-end-point",
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::EndPoint(hash) => hash,
            Self::Impossible | Self::Declined => &[],
        }
    }
}

/// Rounds that a secret made up for an unknown role claims: PostgreSQL's default.
const MOCK_ITERATIONS: u32 = 4096;

/// Why an exchange failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ScramError {
    /// The message does not follow the protocol.
    Malformed,
    /// The proof is wrong.
    WrongPassword,
}

/// An exchange after the client's first message.
#[derive(Debug)]
pub(crate) struct Exchange {
    secret: ScramSecret,
    /// The header of the client's first message, and what the channel is bound to.
    bound: Vec<u8>,
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

impl Exchange {
    /// Takes the client's first message.
    pub(crate) fn start(
        secret: ScramSecret,
        binding: Binding,
        client_first: &[u8],
        server_nonce: &str,
    ) -> Result<Self, ScramError> {
        let message = str::from_utf8(client_first).map_err(|_| ScramError::Malformed)?;
        // `n,,`, `y,,` or `p=…,,`, possibly with an authorization identity between the commas.
        let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed)?;
        let (identity, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        if !binding.allows(flag) {
            return Err(ScramError::Malformed);
        }
        let client_nonce = attribute(bare, "r").ok_or(ScramError::Malformed)?;
        let nonce = format!("{client_nonce}{server_nonce}");
        let server_first = format!(
            "r={nonce},s={},i={}",
            BASE64_STANDARD.encode(&secret.salt),
            secret.iterations
        );
        Ok(Self {
            secret,
            bound: [format!("{flag},{identity},").as_bytes(), binding.data()].concat(),
            nonce,
            client_first_bare: bare.to_owned(),
            server_first,
        })
    }

    /// The server's first message.
    pub(crate) fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Checks the client's final message; gives the server's.
    pub(crate) fn finish(&self, client_final: &[u8]) -> Result<String, ScramError> {
        let message = str::from_utf8(client_final).map_err(|_| ScramError::Malformed)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let binding = attribute(without_proof, "c").ok_or(ScramError::Malformed)?;
        let sound = attribute(without_proof, "r") == Some(self.nonce.as_str())
            && BASE64_STANDARD.decode(binding).ok().as_ref() == Some(&self.bound);
        if !sound {
            return Err(ScramError::Malformed);
        }
        let signed = format!(
            "{},{},{without_proof}",
            self.client_first_bare, self.server_first
        );
        let proof = BASE64_STANDARD
            .decode(proof)
            .map_err(|_| ScramError::Malformed)?;
        self.check(&proof, signed.as_bytes())?;
        let signature = hmac(&self.secret.server_key, signed.as_bytes());
        Ok(format!("v={}", BASE64_STANDARD.encode(signature)))
    }

    fn check(&self, proof: &[u8], signed: &[u8]) -> Result<(), ScramError> {
        let signature = hmac(&self.secret.stored_key, signed);
        if proof.len() != signature.len() {
            return Err(ScramError::Malformed);
        }
        let key: Vec<u8> = proof.iter().zip(&signature).map(|(p, s)| p ^ s).collect();
        let found = Sha256::digest(&key);
        // Every byte is compared, so that the time tells nothing.
        let differences = found
            .iter()
            .zip(&self.secret.stored_key)
            .fold(0, |d, (a, b)| d | (a ^ b));
        if differences == 0 {
            Ok(())
        } else {
            Err(ScramError::WrongPassword)
        }
    }
}

/// A secret that no password fits. The same role always gets the same salt, as a real one would.
pub(crate) fn mock_secret(server_key: &[u8], user: &str) -> ScramSecret {
    ScramSecret {
        iterations: MOCK_ITERATIONS,
        salt: hmac(server_key, user.as_bytes())[..16].to_vec(),
        stored_key: hmac(server_key, format!("{user} stored").as_bytes()),
        server_key: hmac(server_key, format!("{user} server").as_bytes()),
    }
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message
        .split(',')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    /// The exchange with an independent client.
    fn log_in(stored: &str, password: &str) -> Result<(), ScramError> {
        bound(
            stored,
            password,
            ChannelBinding::unsupported(),
            Binding::Impossible,
        )
    }

    fn bound(
        stored: &str,
        password: &str,
        client: ChannelBinding,
        server: Binding,
    ) -> Result<(), ScramError> {
        let secret = ScramSecret::parse(stored).unwrap();
        let mut client = ScramSha256::new(password.as_bytes(), client);
        let exchange = Exchange::start(secret, server, client.message(), "server-nonce")?;
        client.update(exchange.server_first().as_bytes()).unwrap();
        let last = exchange.finish(client.message())?;
        client
            .finish(last.as_bytes())
            .expect("the client trusts the server");
        Ok(())
    }

    #[test]
    fn the_right_password_opens_and_others_do_not() {
        let stored = postgres_protocol::password::scram_sha_256(b"s3cret");
        assert_eq!(log_in(&stored, "s3cret"), Ok(()));
        assert_eq!(log_in(&stored, "guess"), Err(ScramError::WrongPassword));
    }

    #[test]
    fn a_password_is_bound_to_its_channel() {
        let stored = postgres_protocol::password::scram_sha_256(b"s3cret");
        let to = |hash: &[u8]| ChannelBinding::tls_server_end_point(hash.to_vec());
        let ours = || Binding::EndPoint(b"hash".to_vec());
        let cases = [
            (to(b"hash"), ours(), Ok(())),
            // Somebody between the two shows a certificate of his own.
            (to(b"other"), ours(), Err(ScramError::Malformed)),
            (to(b"hash"), Binding::Declined, Err(ScramError::Malformed)),
            (to(b"hash"), Binding::Impossible, Err(ScramError::Malformed)),
            (
                ChannelBinding::unsupported(),
                ours(),
                Err(ScramError::Malformed),
            ),
            (ChannelBinding::unsupported(), Binding::Declined, Ok(())),
            // Somebody between the two hides that the channel can be bound.
            (
                ChannelBinding::unrequested(),
                Binding::Declined,
                Err(ScramError::Malformed),
            ),
            (ChannelBinding::unrequested(), Binding::Impossible, Ok(())),
        ];
        for (i, (client, server, expected)) in cases.into_iter().enumerate() {
            assert_eq!(
                bound(&stored, "s3cret", client, server),
                expected,
                "case {i}"
            );
        }
        let chosen = |name, hash: Option<&[u8]>| Binding::chosen(name, hash.map(<[u8]>::to_vec));
        assert_eq!(chosen(MECHANISM_PLUS, Some(b"hash")), Ok(ours()));
        assert_eq!(chosen(MECHANISM, Some(b"hash")), Ok(Binding::Declined));
        assert_eq!(chosen(MECHANISM, None), Ok(Binding::Impossible));
        assert_eq!(chosen(MECHANISM_PLUS, None), Err(ScramError::Malformed));
        assert_eq!(chosen("PLAIN", None), Err(ScramError::Malformed));
    }

    #[test]
    fn garbage_is_malformed() {
        let secret = || mock_secret(b"key", "nobody");
        for first in [
            &b""[..],
            b"n",
            b"n,,",
            b"p=tls-unique,,n=,r=x",
            b"\xff,,r=x",
        ] {
            let started = Exchange::start(secret(), Binding::Impossible, first, "s").map(|_| ());
            assert_eq!(started, Err(ScramError::Malformed), "{first:?}");
        }
        let exchange =
            Exchange::start(secret(), Binding::Impossible, b"n,,n=,r=abc", "def").unwrap();
        for last in [
            &b""[..],
            b"c=biws,r=abc,p=AA==",
            b"c=biws,r=abcdef,p=!",
            b"c=biws,r=abcdef,p=AA==",
        ] {
            assert_eq!(
                exchange.finish(last),
                Err(ScramError::Malformed),
                "{last:?}"
            );
        }
    }

    #[test]
    fn an_unknown_role_keeps_its_salt() {
        assert_eq!(mock_secret(b"k", "a").salt, mock_secret(b"k", "a").salt);
        assert_ne!(mock_secret(b"k", "a").salt, mock_secret(b"k", "b").salt);
    }
}
