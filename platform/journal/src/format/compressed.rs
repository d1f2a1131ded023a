//! A compressed segment: header, blocks, directory, trailer, and not one byte else.
//!
//! A block holds whole frames (about `block_bytes` of them, more when one frame is longer), LZ4-compressed, or as they are
//! when that is not smaller. A directory entry (40 bytes) has: file offset u64, first sequence u64, uncompressed offset u32,
//! uncompressed length u32, stored length u32, flags u32 (1 = LZ4), CRC32C of the stored bytes from the segment's salt u32,
//! zero u32. The trailer (the last 96 bytes of the file): magic `ZIZONDIR`, directory offset u64, entries u32, CRC32C of the
//! directory u32, the 64 bytes of the segment's footer, zero u32, CRC32C of the trailer u32.

use super::frame::Salt;
use super::segment::{FOOTER_BYTES, Footer};
use super::{FormatError, HEADER_BYTES, get_u32, get_u64, put};

const MAGIC: &[u8; 8] = b"ZIZONDIR";
const FOOTER: usize = FOOTER_BYTES as usize;

/// Size of a directory entry in bytes.
pub const ENTRY_BYTES: usize = 40;
/// Size of the trailer in bytes.
pub const TRAILER_BYTES: usize = 96;

/// Where one block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEntry {
    /// Offset of the stored bytes in the file.
    pub file_offset: u64,
    /// Sequence of the first frame in the block.
    pub first_seq: u64,
    /// Offset of that frame in the uncompressed segment.
    pub raw_offset: u32,
    /// Length of the frames.
    pub raw_len: u32,
    /// Length of the stored bytes.
    pub stored_len: u32,
    /// Whether the stored bytes are LZ4.
    pub lz4: bool,
    /// CRC32C of the stored bytes.
    pub crc: u32,
}

/// The end of a compressed segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Offset of the directory in the file.
    pub directory_offset: u64,
    /// Number of its entries.
    pub entries: u32,
    /// CRC32C of its bytes.
    pub directory_crc: u32,
    /// The footer of the raw segment.
    pub footer: Footer,
}

impl Trailer {
    /// The trailer's bytes.
    #[must_use]
    pub fn encode(&self, salt: Salt) -> Vec<u8> {
        let mut bytes = vec![0; TRAILER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &self.directory_offset.to_le_bytes());
        put(&mut bytes, 16, &self.entries.to_le_bytes());
        put(&mut bytes, 20, &self.directory_crc.to_le_bytes());
        put(&mut bytes, 24, &self.footer.encode(salt));
        let crc = salt.checksum(&[&bytes[..TRAILER_BYTES - 4]]);
        put(&mut bytes, TRAILER_BYTES - 4, &crc.to_le_bytes());
        bytes
    }

    /// Decodes the last 96 bytes of a file of `file_len` bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(salt: Salt, bytes: &[u8], file_len: u64) -> Result<Self, FormatError> {
        let Some(bytes) = bytes.get(..TRAILER_BYTES) else { return Err(FormatError::Short) };
        if &bytes[..8] != MAGIC {
            return Err(FormatError::Magic);
        }
        if salt.checksum(&[&bytes[..TRAILER_BYTES - 4]]) != get_u32(bytes, TRAILER_BYTES - 4) {
            return Err(FormatError::Checksum);
        }
        let footer = Footer::decode(salt, &bytes[24..24 + FOOTER])?;
        let (directory_offset, entries) = (get_u64(bytes, 8), get_u32(bytes, 16));
        let directory_len = u64::from(entries) * ENTRY_BYTES as u64;
        let end = directory_offset.checked_add(directory_len + TRAILER_BYTES as u64);
        if directory_offset < u64::from(HEADER_BYTES) || entries == 0 || end != Some(file_len) {
            return Err(FormatError::Value("directory does not fill the file"));
        }
        Ok(Self { directory_offset, entries, directory_crc: get_u32(bytes, 20), footer })
    }
}

/// The bytes of a directory.
#[must_use]
pub fn encode_directory(entries: &[BlockEntry]) -> Vec<u8> {
    let mut bytes = vec![0; entries.len() * ENTRY_BYTES];
    for (chunk, entry) in bytes.chunks_exact_mut(ENTRY_BYTES).zip(entries) {
        put(chunk, 0, &entry.file_offset.to_le_bytes());
        put(chunk, 8, &entry.first_seq.to_le_bytes());
        put(chunk, 16, &entry.raw_offset.to_le_bytes());
        put(chunk, 20, &entry.raw_len.to_le_bytes());
        put(chunk, 24, &entry.stored_len.to_le_bytes());
        put(chunk, 28, &u32::from(entry.lz4).to_le_bytes());
        put(chunk, 32, &entry.crc.to_le_bytes());
    }
    bytes
}

/// Decodes and checks a directory: its CRC, and that blocks follow one another without a gap up to the end of the segment.
///
/// # Errors
/// What is wrong with it.
pub fn decode_directory(salt: Salt, trailer: &Trailer, bytes: &[u8]) -> Result<Vec<BlockEntry>, FormatError> {
    if bytes.len() != trailer.entries as usize * ENTRY_BYTES {
        return Err(FormatError::Short);
    }
    if salt.checksum(&[bytes]) != trailer.directory_crc {
        return Err(FormatError::Checksum);
    }
    let mut entries = Vec::with_capacity(trailer.entries as usize);
    let (mut file_offset, mut raw_offset) = (u64::from(HEADER_BYTES), HEADER_BYTES);
    for chunk in bytes.chunks_exact(ENTRY_BYTES) {
        let entry = BlockEntry {
            file_offset: get_u64(chunk, 0),
            first_seq: get_u64(chunk, 8),
            raw_offset: get_u32(chunk, 16),
            raw_len: get_u32(chunk, 20),
            stored_len: get_u32(chunk, 24),
            lz4: get_u32(chunk, 28) == 1,
            crc: get_u32(chunk, 32),
        };
        if entry.file_offset != file_offset || entry.raw_offset != raw_offset || entry.raw_len == 0 {
            return Err(FormatError::Value("blocks do not follow one another"));
        }
        file_offset += u64::from(entry.stored_len);
        raw_offset = raw_offset.checked_add(entry.raw_len).ok_or(FormatError::Value("segment beyond 4 GiB"))?;
        entries.push(entry);
    }
    if file_offset != trailer.directory_offset || raw_offset != trailer.footer.end {
        return Err(FormatError::Value("blocks do not fill the segment"));
    }
    Ok(entries)
}

/// Restores the frames of one block from its stored bytes.
///
/// # Errors
/// `Checksum` when the stored bytes were altered, `Value` when they do not decompress to the length in the directory.
pub fn decode_block(salt: Salt, entry: &BlockEntry, stored: &[u8]) -> Result<Vec<u8>, FormatError> {
    if stored.len() != entry.stored_len as usize {
        return Err(FormatError::Short);
    }
    if salt.checksum(&[stored]) != entry.crc {
        return Err(FormatError::Checksum);
    }
    let raw_len = entry.raw_len as usize;
    let raw = if entry.lz4 {
        lz4_flex::block::decompress(stored, raw_len).map_err(|_| FormatError::Value("block does not decompress"))?
    } else {
        stored.to_vec()
    };
    if raw.len() != raw_len {
        return Err(FormatError::Value("block has another length than its directory entry"));
    }
    Ok(raw)
}
