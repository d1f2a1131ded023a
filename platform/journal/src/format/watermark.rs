//! The `watermark` file: two slots of 512 bytes, written in turn, so that a torn write leaves the one before.
//!
//! Slot: magic `ZIZONWMK`, version u32, zero u32, journal uuid (16), generation u64, durable sequence u64, segment u64,
//! oldest retained segment u64, offset u32, zeros, CRC32C in the last 4 bytes.

use super::{FormatError, VERSION, get_u32, get_u64, put};

const MAGIC: &[u8; 8] = b"ZIZONWMK";

/// Size of a slot: one sector, the smallest unit a disk writes as a whole.
pub const SLOT_BYTES: usize = 512;
/// Size of the file.
pub const FILE_BYTES: usize = 2 * SLOT_BYTES;

/// The end of what is known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The journal it belongs to.
    pub uuid: [u8; 16],
    /// Counts the marks; the valid slot with the higher one is in force.
    pub generation: u64,
    /// Sequence of the last durable frame, 0 when there is none.
    pub seq: u64,
    /// Segment in which that frame is.
    pub segment: u64,
    /// Oldest segment that was not given up by retention.
    pub first_segment: u64,
    /// Offset (uncompressed) after that frame.
    pub offset: u32,
}

impl Mark {
    /// Where in the file the mark belongs.
    #[must_use]
    pub fn slot_offset(&self) -> u64 {
        (self.generation % 2) * SLOT_BYTES as u64
    }

    /// The slot's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 16, &self.uuid);
        put(&mut bytes, 32, &self.generation.to_le_bytes());
        put(&mut bytes, 40, &self.seq.to_le_bytes());
        put(&mut bytes, 48, &self.segment.to_le_bytes());
        put(&mut bytes, 56, &self.first_segment.to_le_bytes());
        put(&mut bytes, 64, &self.offset.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..SLOT_BYTES - 4]);
        put(&mut bytes, SLOT_BYTES - 4, &crc.to_le_bytes());
        bytes
    }

    /// Decodes one slot.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some(bytes) = bytes.get(..SLOT_BYTES) else { return Err(FormatError::Short) };
        if &bytes[..8] != MAGIC {
            return Err(FormatError::Magic);
        }
        if crc32c::crc32c(&bytes[..SLOT_BYTES - 4]) != get_u32(bytes, SLOT_BYTES - 4) {
            return Err(FormatError::Checksum);
        }
        let version = get_u32(bytes, 8);
        if version > VERSION {
            return Err(FormatError::Version(version));
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[16..32]);
        Ok(Self {
            uuid,
            generation: get_u64(bytes, 32),
            seq: get_u64(bytes, 40),
            segment: get_u64(bytes, 48),
            first_segment: get_u64(bytes, 56),
            offset: get_u32(bytes, 64),
        })
    }
}

/// Decodes the whole file: the mark in force, and how many slots were unreadable (at most one).
///
/// # Errors
/// `Version` when a slot is of a newer format; what is wrong with the first slot when neither is valid.
pub fn decode_file(bytes: &[u8]) -> Result<(Mark, u32), FormatError> {
    if bytes.len() != FILE_BYTES {
        return Err(FormatError::Short);
    }
    match (Mark::decode(&bytes[..SLOT_BYTES]), Mark::decode(&bytes[SLOT_BYTES..])) {
        (Err(FormatError::Version(version)), _) | (_, Err(FormatError::Version(version))) => {
            Err(FormatError::Version(version))
        }
        (Ok(a), Ok(b)) => Ok((if a.generation > b.generation { a } else { b }, 0)),
        (Ok(mark), Err(_)) | (Err(_), Ok(mark)) => Ok((mark, 1)),
        (Err(error), Err(_)) => Err(error),
    }
}
