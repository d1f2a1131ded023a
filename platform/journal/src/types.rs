//! Values a user of the journal handles.

use bytes::Bytes;

/// Position of a frame in the total order of the journal, from 1 without gaps. 0 stands before every frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The sequence after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Where a payload, or a slice of one, is.
///
/// It names the frame as well as the slice, so that every read verifies the frame's checksum. All offsets are those of the
/// uncompressed segment: a location stays valid when its segment is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Number of the segment.
    pub segment: u64,
    /// Offset of the frame (its header) in the segment.
    pub frame: u32,
    /// Offset of the first byte in the frame's payload.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Location {
    /// Length of [`Self::to_bytes`].
    pub const ENCODED_BYTES: usize = 20;

    /// The part of this location that begins `start` bytes in and is `len` bytes long; `None` when it is not inside.
    #[must_use]
    pub fn slice(&self, start: u32, len: u32) -> Option<Self> {
        let inside = start.checked_add(len).is_some_and(|end| end <= self.len);
        inside.then(|| Self { start: self.start + start, len, ..*self })
    }

    /// A fixed encoding for indexes: segment (8), frame, start, length (4 each), little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..8].copy_from_slice(&self.segment.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.frame.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.start.to_le_bytes());
        bytes[16..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// Reads [`Self::to_bytes`]; `None` when the length is another.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        use crate::format::{get_u32, get_u64};
        (bytes.len() == Self::ENCODED_BYTES).then(|| Self {
            segment: get_u64(bytes, 0),
            frame: get_u32(bytes, 8),
            start: get_u32(bytes, 12),
            len: get_u32(bytes, 16),
        })
    }
}

/// What `append` assigned to a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its sequence.
    pub seq: Seq,
    /// Where it will be once its batch is durable.
    pub location: Location,
    /// Milliseconds since the epoch, never less than that of the frame before.
    pub at_ms: u64,
}

/// A frame as a scan returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its sequence.
    pub seq: Seq,
    /// Epoch of the writer.
    pub epoch: u32,
    /// Milliseconds since the epoch at which it was appended, never less than that of the frame before.
    pub at_ms: u64,
    /// Where its payload is.
    pub location: Location,
    /// The payload, in memory of its own.
    pub payload: Bytes,
}

/// What `open` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// First sequence that is still there (1 for an empty journal).
    pub first: Seq,
    /// Last durable sequence, 0 when there is none.
    pub last: Seq,
    /// Bytes that had been written after the last whole frame and were cut off. They were never acknowledged.
    pub truncated_bytes: u64,
    /// Frames after the watermark that were found whole, and made durable.
    pub recovered_frames: u64,
    /// Watermark slots that were unreadable and were rewritten (at most one).
    pub repaired_slots: u32,
    /// Whether the journal did not exist before.
    pub created: bool,
}

/// Whether a frame could be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// There is room.
    Ok,
    /// The disk is full, or the free space is below the reserve.
    Full,
}
