//! Limits of a journal.

use crate::error::OpenError;
use crate::format::HEADER_BYTES;
use crate::format::frame::FRAME_HEADER_BYTES;
use crate::format::segment::FOOTER_BYTES;

/// Limits and habits of a journal. They may differ from one opening to the next.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of a segment file in bytes, allocated ahead; 16 KiB to 1 GiB.
    pub segment_bytes: u32,
    /// Longest payload in bytes.
    pub max_frame_bytes: u32,
    /// Bytes of frames that may be buffered between two batches.
    pub max_batch_bytes: u32,
    /// `append` answers `Full` while the file system has fewer free bytes than this.
    pub free_reserve_bytes: u64,
    /// Whether maintenance compresses sealed segments.
    pub compress_sealed: bool,
    /// Uncompressed size of a block in a compressed segment, in bytes.
    pub block_bytes: u32,
    /// Memory for decompressed blocks, in bytes.
    pub block_cache_bytes: usize,
    /// Segment files kept open for reading.
    pub open_files: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_frame_bytes: 4 << 20,
            max_batch_bytes: 16 << 20,
            free_reserve_bytes: 64 << 20,
            compress_sealed: true,
            block_bytes: 64 << 10,
            block_cache_bytes: 4 << 20,
            open_files: 128,
        }
    }
}

impl Options {
    /// Refuses combinations that could not work.
    pub(crate) fn validate(&self) -> Result<(), OpenError> {
        let room = self.segment_bytes.saturating_sub(HEADER_BYTES + FOOTER_BYTES + FRAME_HEADER_BYTES);
        let problem = if !(16 << 10..=1 << 30).contains(&self.segment_bytes) {
            "segment_bytes must be between 16 KiB and 1 GiB"
        } else if self.max_frame_bytes > room {
            "max_frame_bytes must fit into a segment"
        } else if self.max_batch_bytes > 1 << 30 {
            "max_batch_bytes must be at most 1 GiB"
        } else if !(1 << 10..=16 << 20).contains(&self.block_bytes) {
            "block_bytes must be between 1 KiB and 16 MiB"
        } else if self.open_files == 0 {
            "open_files must be at least 1"
        } else {
            return Ok(());
        };
        Err(OpenError::Options(problem))
    }
}
