//! The one file that says what a backup consists of.
//!
//! It is one line of JSON: `{"blake3":"...","backup":{...}}`. The checksum is of the bytes of `backup` as this program writes them,
//! and a file that this program would have written in other bytes is refused: no bit of it can change unseen.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use zizon_contracts::catalog::History;
use zizon_journal::backup::SegmentCopy;

/// The only version this program knows.
const VERSION: u32 = 1;

/// What a backup consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form.
    pub version: u32,
    /// Random id of this backup, 32 hexadecimal digits.
    pub id: String,
    /// Version of the program that took it.
    pub zizon: String,
    /// When it began, ms since the epoch: everything acknowledged before is in it.
    pub began_at_ms: u64,
    /// When it was complete.
    pub ended_at_ms: u64,
    /// The history of a platform that had been restored itself.
    pub history: Option<History>,
    /// Journals in it.
    pub stores: Vec<Store>,
    /// Files in it, of the journals and others.
    pub files: Vec<Entry>,
}

/// A journal in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Whose journal.
    pub role: String,
    /// The journal's id, 32 hexadecimal digits.
    pub journal: History,
    /// First sequence in it.
    pub first_seq: u64,
    /// Last sequence in it, 0 when it is empty.
    pub last_seq: u64,
    /// Last sequence that was durable when the backup began.
    pub durable_at_begin: u64,
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it belongs in a data directory.
    pub path: String,
    /// Where it is in the backup.
    pub stored: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content, 64 hexadecimal digits.
    pub blake3: String,
    /// What is known of a segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
}

/// See [`SegmentCopy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    pub number: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    pub last_at_ms: u64,
    pub end: u32,
    pub capacity: u32,
    pub complete: bool,
    pub compressed: bool,
}

impl From<SegmentCopy> for Segment {
    fn from(copy: SegmentCopy) -> Self {
        let SegmentCopy { number, first_seq, last_seq, last_at_ms, end, capacity, complete, compressed } = copy;
        Self { number, first_seq, last_seq, last_at_ms, end, capacity, complete, compressed }
    }
}

impl From<Segment> for SegmentCopy {
    fn from(segment: Segment) -> Self {
        let Segment { number, first_seq, last_seq, last_at_ms, end, capacity, complete, compressed } = segment;
        Self { number, first_seq, last_seq, last_at_ms, end, capacity, complete, compressed }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    blake3: String,
    backup: Manifest,
}

#[derive(Deserialize)]
struct Versioned {
    backup: VersionOnly,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

/// Why a manifest is not used.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A later program wrote it.
    Version(u64),
    /// It is damaged.
    Damaged(String),
}

impl Manifest {
    /// The version this program writes.
    pub const VERSION: u32 = VERSION;

    /// The file's bytes.
    pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let blake3 = blake3::hash(&serde_json::to_vec(self)?).to_hex().to_string();
        let mut bytes = serde_json::to_vec(&Document { blake3, backup: self.clone() })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |reason: &dyn ToString| Unreadable::Damaged(reason.to_string());
        if let Ok(Versioned { backup: VersionOnly { version } }) = serde_json::from_slice(bytes)
            && version > u64::from(VERSION)
        {
            return Err(Unreadable::Version(version));
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|error| damaged(&error))?;
        let manifest = document.backup;
        if manifest.encode().map_err(|error| damaged(&error))? != bytes {
            return Err(damaged(&"its checksum differs"));
        }
        for entry in &manifest.files {
            for path in [&entry.path, &entry.stored] {
                relative(path).ok_or_else(|| damaged(&format!("{path} leads out of the directory")))?;
            }
        }
        Ok(manifest)
    }

    /// The journal of a role.
    pub fn store(&self, role: &str) -> Option<&Store> {
        self.stores.iter().find(|store| store.role == role)
    }

    /// The segments of a role's journal.
    pub fn segments<'a>(&'a self, role: &'a str) -> impl Iterator<Item = (&'a Entry, Segment)> {
        let of_role =
            move |entry: &&Entry| entry.path.strip_prefix(role).is_some_and(|rest| rest.starts_with("/journal/"));
        self.files.iter().filter(of_role).filter_map(|entry| Some((entry, entry.segment?)))
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|entry| entry.bytes).sum()
    }
}

/// A path that stays where it is joined to.
fn relative(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let stays = path.components().all(|part| matches!(part, Component::Normal(_)));
    (stays && path.components().next().is_some()).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let segment = Segment {
            number: 1,
            first_seq: 1,
            last_seq: 9,
            last_at_ms: 7,
            end: 5000,
            capacity: 16 << 10,
            complete: false,
            compressed: false,
        };
        let entry = Entry {
            path: "orders/journal/1.seg".to_owned(),
            stored: "orders/journal/1.seg.00".to_owned(),
            bytes: 5000,
            blake3: "00".to_owned(),
            segment: Some(segment),
        };
        let journal = History::of_journal([3; 16]);
        let store = Store { role: "orders".to_owned(), journal, first_seq: 1, last_seq: 9, durable_at_begin: 8 };
        Manifest {
            version: VERSION,
            id: "ab".to_owned(),
            zizon: "0.1.0".to_owned(),
            began_at_ms: 1,
            ended_at_ms: 2,
            history: None,
            stores: vec![store],
            files: vec![entry],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_no_bit_of_it_may_differ() {
        let manifest = manifest();
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest.clone()));
        assert_eq!(manifest.segments("orders").count(), 1);
        assert_eq!(manifest.segments("order").count(), 0);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(Manifest::decode(&flipped).is_err(), "byte {at}, bit {bit}");
            }
        }
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage_and_a_path_that_leads_out_is_refused() {
        let text = String::from_utf8(manifest().encode().unwrap()).unwrap();
        let later = text.replace("\"version\":1", "\"version\":2,\"more\":true");
        assert_eq!(Manifest::decode(later.as_bytes()), Err(Unreadable::Version(2)));
        for path in ["../x", "/etc/passwd", "", "a/../../b", "./a"] {
            let mut outside = manifest();
            path.clone_into(&mut outside.files[0].path);
            assert!(Manifest::decode(&outside.encode().unwrap()).is_err(), "{path}");
        }
    }
}
