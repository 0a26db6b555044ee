//! A profile that does not change any more, in few bytes.

use std::io::Read;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::ZlibDecoder;

use serde::{Deserialize, Serialize};

use super::{Counter, EventSequence, Profile};

/// A profile, compressed: its nodes as JSON in zlib's format. Clones share the bytes.
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
        let json = serde_json::to_vec(&nodes_of(profile)).expect("texts and numbers");
        Self {
            compressed: super::compress::zlib(&json).into(),
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
        let nodes: Vec<Node<Profile>> =
            serde_json::from_str(&json).map_err(|error| UnreadableProfile(error.to_string()))?;
        tree_of(nodes).ok_or_else(|| UnreadableProfile("its nodes are no tree".to_owned()))
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

/// A node with its place: borrowed to write it, owned to read it. The tree is kept as a list,
/// because readers of JSON refuse what is nested as deeply as plans may be.
#[derive(Serialize, Deserialize)]
struct Node<P> {
    /// Nodes above it.
    depth: usize,
    /// The node; its children follow.
    node: P,
}

/// A node without its children.
#[derive(Serialize)]
struct Childless<'a> {
    name: &'a str,
    info: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<&'a EventSequence>,
    counters: &'a [Counter],
}

/// The nodes of a tree, each before its children.
fn nodes_of(profile: &Profile) -> Vec<Node<Childless<'_>>> {
    let mut nodes = Vec::new();
    let mut open = vec![(0, profile)];
    while let Some((depth, profile)) = open.pop() {
        open.extend(
            profile
                .children
                .iter()
                .rev()
                .map(|child| (depth + 1, child)),
        );
        let node = Childless {
            name: &profile.name,
            info: &profile.info,
            events: profile.events.as_ref(),
            counters: &profile.counters,
        };
        nodes.push(Node { depth, node });
    }
    nodes
}

/// The tree of nodes that come each before their children; `None` if they are none.
fn tree_of(nodes: Vec<Node<Profile>>) -> Option<Profile> {
    // The last node that was read and those above it, the root first.
    let mut open: Vec<Profile> = Vec::new();
    for Node { depth, node } in nodes {
        if depth > open.len() || (depth == 0 && !open.is_empty()) {
            return None;
        }
        while open.len() > depth {
            close(&mut open)?;
        }
        open.push(node);
    }
    while open.len() > 1 {
        close(&mut open)?;
    }
    open.pop()
}

/// Gives the last open node to the one above it.
fn close(open: &mut Vec<Profile>) -> Option<()> {
    let child = open.pop()?;
    open.last_mut()?.children.push(child);
    Some(())
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
        for nodes in [vec![], vec![1], vec![0, 2], vec![0, 0], vec![0, 1, 0]] {
            let node = |depth| Node {
                depth,
                node: Profile::named("a"),
            };
            let text = format!("{nodes:?}");
            let tree = tree_of(nodes.into_iter().map(node).collect());
            assert!(tree.is_none(), "{text}");
        }
        assert!(FrozenProfile::decode(b"no base64!").is_err());
        assert!(FrozenProfile::read(b"no zlib").is_err());
    }
}
