//! A profile that does not change any more, in few bytes.

use std::io::{Read, Write};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::Profile;

/// A profile, compressed: JSON in zlib's format. Clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenProfile {
    compressed: Arc<[u8]>,
}

/// The bytes are no profile.
#[derive(Debug, thiserror::Error)]
#[error("not a profile: {0}")]
pub struct UnreadableProfile(String);

impl FrozenProfile {
    pub(crate) fn of(profile: &Profile) -> Self {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(profile.to_json().as_bytes())
            .expect("memory takes everything");
        let compressed = encoder.finish().expect("memory takes everything");
        Self {
            compressed: compressed.into(),
        }
    }

    /// The compressed bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.compressed
    }

    /// Reads what [`FrozenProfile::as_bytes`] gave.
    ///
    /// # Errors
    /// [`UnreadableProfile`] for other bytes.
    pub fn read(compressed: &[u8]) -> Result<Profile, UnreadableProfile> {
        let mut json = String::new();
        ZlibDecoder::new(compressed)
            .read_to_string(&mut json)
            .map_err(|error| UnreadableProfile(error.to_string()))?;
        serde_json::from_str(&json).map_err(|error| UnreadableProfile(error.to_string()))
    }

    /// The profile as a line of text: base64, as the profile log has it.
    #[must_use]
    pub fn encode(&self) -> String {
        BASE64_STANDARD.encode(&self.compressed)
    }

    /// Reads what [`FrozenProfile::encode`] wrote.
    ///
    /// # Errors
    /// [`UnreadableProfile`] for another text.
    pub fn decode(text: &[u8]) -> Result<Profile, UnreadableProfile> {
        let compressed = BASE64_STANDARD.decode(text);
        Self::read(&compressed.map_err(|error| UnreadableProfile(error.to_string()))?)
    }

    pub(crate) fn profile(&self) -> Profile {
        Self::read(&self.compressed).expect("it was compressed here")
    }
}
