//! Byte layouts of format version 1. Pure functions of bytes: no I/O, nothing panics on any input, so they can be fuzzed.
//!
//! All integers are little-endian. Every structure carries a CRC32C (Castagnoli) over all of its other bytes. Structures that
//! belong to one journal start the CRC from a [`frame::Salt`] of the journal's uuid and the segment number, so that blocks of
//! another journal or another segment never verify.
//!
//! Every version, this one and later ones, keeps three things where they are: the magic bytes and the version at the start of
//! a header or slot, its size, and its CRC32C in the last 4 bytes. So an older binary can tell a newer format from damage.

pub mod compressed;
pub mod frame;
pub mod segment;
pub mod watermark;

/// Version written by this crate. A file with a higher one is refused, because its layout is unknown here.
pub const VERSION: u32 = 1;

/// Bytes before the first frame of a segment: one page, so that a torn write of frames cannot touch the header.
pub const HEADER_BYTES: u32 = 4096;

/// Why bytes were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Nothing was written here: the structure is all zero.
    #[error("nothing written")]
    Empty,
    /// The structure is cut short.
    #[error("cut short")]
    Short,
    /// The first bytes name something else.
    #[error("wrong magic bytes")]
    Magic,
    /// Written by a newer version of this crate.
    #[error("format version {0} is newer than {VERSION}")]
    Version(u32),
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// The checksum matches but a value is impossible.
    #[error("{0}")]
    Value(&'static str),
}

impl From<FormatError> for String {
    fn from(error: FormatError) -> Self {
        error.to_string()
    }
}

/// Reads a little-endian `u32` at `at`; the caller has checked the length.
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

/// Reads a little-endian `u64` at `at`; the caller has checked the length.
pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

/// Index of the first byte from `from` on that is not zero.
pub(crate) fn first_nonzero(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let skipped = rest.chunks(ZERO_STEP).take_while(|chunk| is_zero(chunk)).count() * ZERO_STEP;
    let found = rest.get(skipped..)?.iter().position(|byte| *byte != 0)?;
    Some(from + skipped + found)
}

/// Index of the last byte that is not zero.
pub(crate) fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    let zeros = bytes.rchunks(ZERO_STEP).take_while(|chunk| is_zero(chunk)).count() * ZERO_STEP;
    bytes[..bytes.len().saturating_sub(zeros)].iter().rposition(|byte| *byte != 0)
}

const ZERO_STEP: usize = 1024;

/// Whole segments are looked through at opening; this form compiles to wide instructions.
fn is_zero(chunk: &[u8]) -> bool {
    chunk.iter().fold(0, |seen, byte| seen | byte) == 0
}

/// Writes `bytes` at `at`.
pub(crate) fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    into[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Length of a buffer whose bound (segment size) is below 4 GiB.
pub(crate) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("buffers are bounded by the segment size, which fits u32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_zero_are_found_from_both_ends() {
        for len in [0, 1, 1023, 1024, 1025, 5000] {
            let mut bytes = vec![0; len];
            assert_eq!((first_nonzero(&bytes, 0), last_nonzero(&bytes)), (None, None));
            for at in 0..len {
                bytes[at] = 1;
                assert_eq!((first_nonzero(&bytes, 0), last_nonzero(&bytes)), (Some(at), Some(at)));
                assert_eq!(first_nonzero(&bytes, at + 1), None);
                bytes[at] = 0;
            }
        }
    }
}
