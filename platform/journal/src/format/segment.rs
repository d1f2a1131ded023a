//! Header and footer of a segment file.
//!
//! Header (4,096 bytes, both kinds of segment): magic `ZIZONSEG`, version u32, kind u32 (1 raw, 2 compressed), journal uuid
//! (16), segment number u64, first sequence u64, capacity u32 (size of the raw file), zeros, CRC32C in the last 4 bytes.
//!
//! Footer (the last 64 bytes of a raw segment, written by the batch that leaves it): magic `ZIZONEND`, last sequence u64,
//! time of the last frame u64, first sequence of the batch that wrote the footer u64, end of the frames u32, epoch u32,
//! zeros (20), CRC32C u32 from the segment's salt.

use super::frame::Salt;
use super::{FormatError, HEADER_BYTES, VERSION, get_u32, get_u64, put};

const HEADER: usize = HEADER_BYTES as usize;
const HEADER_MAGIC: &[u8; 8] = b"ZIZONSEG";
const FOOTER_MAGIC: &[u8; 8] = b"ZIZONEND";

/// Size of the footer in bytes.
pub const FOOTER_BYTES: u32 = 64;
const FOOTER: usize = FOOTER_BYTES as usize;

/// How the frames of a segment are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Frames one after the other at their own offsets.
    Raw,
    /// Frames in LZ4 blocks with a directory.
    Compressed,
}

/// The header of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How the frames are stored.
    pub kind: Kind,
    /// The journal it belongs to.
    pub uuid: [u8; 16],
    /// Number of the segment, from 1.
    pub segment: u64,
    /// Sequence of its first frame.
    pub first_seq: u64,
    /// Size of the raw file in bytes.
    pub capacity: u32,
}

impl Header {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let kind: u32 = match self.kind {
            Kind::Raw => 1,
            Kind::Compressed => 2,
        };
        put(&mut bytes, 0, HEADER_MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &kind.to_le_bytes());
        put(&mut bytes, 16, &self.uuid);
        put(&mut bytes, 32, &self.segment.to_le_bytes());
        put(&mut bytes, 40, &self.first_seq.to_le_bytes());
        put(&mut bytes, 48, &self.capacity.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..HEADER - 4]);
        put(&mut bytes, HEADER - 4, &crc.to_le_bytes());
        bytes
    }

    /// Decodes the first 4,096 bytes of a segment file.
    ///
    /// # Errors
    /// `Empty` for a preallocated segment, `Version` for one of a newer format, otherwise what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some(bytes) = bytes.get(..HEADER) else { return Err(FormatError::Short) };
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(FormatError::Empty);
        }
        if &bytes[..8] != HEADER_MAGIC {
            return Err(FormatError::Magic);
        }
        if crc32c::crc32c(&bytes[..HEADER - 4]) != get_u32(bytes, HEADER - 4) {
            return Err(FormatError::Checksum);
        }
        let version = get_u32(bytes, 8);
        if version > VERSION {
            return Err(FormatError::Version(version));
        }
        let kind = match get_u32(bytes, 12) {
            1 => Kind::Raw,
            2 => Kind::Compressed,
            _ => return Err(FormatError::Value("unknown kind of segment")),
        };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[16..32]);
        Ok(Self {
            kind,
            uuid,
            segment: get_u64(bytes, 32),
            first_seq: get_u64(bytes, 40),
            capacity: get_u32(bytes, 48),
        })
    }
}

/// What is known of a segment once it is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Sequence of the last frame.
    pub last_seq: u64,
    /// Time of the last frame, ms since the epoch.
    pub last_at_ms: u64,
    /// First sequence of the batch that completed the segment.
    pub batch_first: u64,
    /// Offset (uncompressed) after the last frame.
    pub end: u32,
    /// Epoch of the last frame.
    pub epoch: u32,
}

impl Footer {
    /// The footer's bytes.
    #[must_use]
    pub fn encode(&self, salt: Salt) -> Vec<u8> {
        let mut bytes = vec![0; FOOTER];
        put(&mut bytes, 0, FOOTER_MAGIC);
        put(&mut bytes, 8, &self.last_seq.to_le_bytes());
        put(&mut bytes, 16, &self.last_at_ms.to_le_bytes());
        put(&mut bytes, 24, &self.batch_first.to_le_bytes());
        put(&mut bytes, 32, &self.end.to_le_bytes());
        put(&mut bytes, 36, &self.epoch.to_le_bytes());
        let crc = salt.checksum(&[&bytes[..FOOTER - 4]]);
        put(&mut bytes, FOOTER - 4, &crc.to_le_bytes());
        bytes
    }

    /// Decodes the last 64 bytes of a raw segment.
    ///
    /// # Errors
    /// `Empty` while the segment is not complete, otherwise what is wrong.
    pub fn decode(salt: Salt, bytes: &[u8]) -> Result<Self, FormatError> {
        let Some(bytes) = bytes.get(..FOOTER) else { return Err(FormatError::Short) };
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(FormatError::Empty);
        }
        if &bytes[..8] != FOOTER_MAGIC {
            return Err(FormatError::Magic);
        }
        if salt.checksum(&[&bytes[..FOOTER - 4]]) != get_u32(bytes, FOOTER - 4) {
            return Err(FormatError::Checksum);
        }
        Ok(Self {
            last_seq: get_u64(bytes, 8),
            last_at_ms: get_u64(bytes, 16),
            batch_first: get_u64(bytes, 24),
            end: get_u32(bytes, 32),
            epoch: get_u32(bytes, 36),
        })
    }
}
