//! Whether a restore has room on the disk.

use std::path::Path;

use anyhow::Result;
use zizon_journal::{Fs, RealFs};
use zizon_table::EngineOptions;

use super::{
    file_failure,
    manifest::{Entry, Manifest},
};
use crate::exit::Failure;

/// Segments that a journal allocates when it is opened: the next one to write, and the one after it.
const SEGMENTS_OPENED: u64 = 2;
/// An index is at least this many times smaller than the journal it follows from, before that is compressed.
const INDEX_SHARE: u64 = 2;

/// Said before gigabytes are copied, not after.
pub fn enough_room(manifest: &Manifest, dir: &Path) -> Result<()> {
    let needed = room(manifest, EngineOptions::default().journal.segment_bytes.into());
    let free = RealFs.free_bytes(dir).map_err(|error| file_failure("look at", dir, &error))?;
    if free >= needed {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!(
        "the restored platform and its check take about {} MiB, and {} MiB are free at {}",
        mib(needed),
        free >> 20,
        dir.display()
    );
    Err(Failure::unknown(message, "free some space, or restore to another disk").into())
}

/// Bytes that a restore takes: the files, the segments that each journal allocates when it is opened, and two indexes: the platform's
/// and that of the check.
fn room(manifest: &Manifest, segment_bytes: u64) -> u64 {
    let file =
        |entry: &Entry| entry.segment.map_or(entry.bytes, |s| if s.complete { entry.bytes } else { s.capacity.into() });
    let indexed = |entry: &Entry| entry.segment.map_or(0, |s| u64::from(s.end) / INDEX_SHARE);
    let files: u64 = manifest.files.iter().map(file).sum();
    let index: u64 = manifest.files.iter().map(indexed).sum();
    files + 2 * index + manifest.stores.len() as u64 * SEGMENTS_OPENED * segment_bytes
}

#[cfg(test)]
mod tests {
    use zizon_contracts::catalog::History;

    use super::*;
    use crate::backup::manifest::{Segment, Store};

    #[test]
    fn room_is_asked_for_all_that_a_restore_makes() {
        let segment = Segment {
            number: 1,
            first_seq: 1,
            last_seq: 9,
            last_at_ms: 7,
            end: 40_000,
            capacity: 65_536,
            complete: true,
            compressed: true,
        };
        let entry = |segment| Entry {
            path: "orders/journal/1.seg".to_owned(),
            stored: "s".to_owned(),
            bytes: 10_000,
            blake3: String::new(),
            segment,
        };
        let journal = History::of_journal([3; 16]);
        let store = Store { role: "orders".to_owned(), journal, first_seq: 1, last_seq: 9, durable_at_begin: 8 };
        let mut manifest = Manifest {
            version: Manifest::VERSION,
            id: String::new(),
            zizon: String::new(),
            began_at_ms: 1,
            ended_at_ms: 2,
            history: None,
            stores: vec![store],
            files: vec![entry(Some(segment)), entry(None)],
        };
        let of_the_index = 2 * 40_000 / INDEX_SHARE;
        assert_eq!(room(&manifest, 65_536), 10_000 + 10_000 + of_the_index + 2 * 65_536);
        // The one that is written is allocated as a whole.
        manifest.files[0].segment = Some(Segment { complete: false, compressed: false, ..segment });
        assert_eq!(room(&manifest, 65_536), 65_536 + 10_000 + of_the_index + 2 * 65_536);
    }
}
