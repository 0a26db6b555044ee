//! A profile that does not change any more, in few bytes.

use std::io::Read;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::ZlibDecoder;

use super::{Profile, thrift};

/// The most bytes that a profile unpacks to. A line that claims more is no profile of ours.
const MAX_PROFILE_BYTES: u64 = 1 << 30;

/// A profile, compressed: its Thrift form in zlib's format, as in Impala's profile log. Clones share
/// the bytes.
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
        Self {
            compressed: super::compress::zlib(&thrift::encode(profile)).into(),
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
        let mut bytes = Vec::new();
        ZlibDecoder::new(compressed)
            .take(MAX_PROFILE_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| UnreadableProfile(error.to_string()))?;
        thrift::decode(bytes).map_err(UnreadableProfile)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_profile_is_read_back() {
        let mut deep = Profile::named("leaf");
        for level in 0..500 {
            let mut above = Profile::named(format!("level {level}"));
            above.add_info("place", level.to_string());
            above.children.push(Profile::named("first"));
            above.children.push(deep);
            above.children.push(Profile::named("last"));
            deep = above;
        }
        let frozen = FrozenProfile::of(&deep);
        assert!(frozen.profile() == deep);
        assert!(FrozenProfile::decode(frozen.encode().as_bytes()).unwrap() == deep);
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(FrozenProfile::decode(b"no base64!").is_err());
        assert!(FrozenProfile::read(b"no zlib").is_err());
    }
}
