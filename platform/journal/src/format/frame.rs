//! Frames: what a segment is made of.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | length of the whole frame, 32 bytes of header included; 0 = nothing written here |
//! | 4 | 4 | CRC32C over salt, frame offset, length and everything from byte 8 |
//! | 8 | 8 | sequence |
//! | 16 | 8 | time of appending, ms since the epoch, never less than that of the frame before |
//! | 24 | 4 | epoch of the writer |
//! | 28 | 4 | number of frames of the same batch that stand before this one |
//! | 32 | n | payload |
//!
//! The last header field is how a torn batch is told from damage: batch k+1 is written only after batch k was synced, so a
//! bad frame followed by a valid frame of a *later* batch had been durable, and one followed only by frames of its own batch
//! may simply never have reached the disk.

use super::{FormatError, get_u32, get_u64, len_u32, put};

/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: u32 = 32;
const HEADER: usize = FRAME_HEADER_BYTES as usize;

/// Start value of the checksums of one segment of one journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(u32);

impl Salt {
    /// The salt of segment `segment` of the journal `uuid`.
    #[must_use]
    pub fn of(uuid: &[u8; 16], segment: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(uuid), &segment.to_le_bytes()))
    }

    /// Checksum of `parts` one after the other.
    pub(crate) fn checksum(self, parts: &[&[u8]]) -> u32 {
        parts.iter().fold(self.0, |crc, part| crc32c::crc32c_append(crc, part))
    }
}

/// The fields of a frame besides its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the whole frame in bytes.
    pub len: u32,
    /// Sequence of the frame.
    pub seq: u64,
    /// Milliseconds since the epoch at which it was appended.
    pub at_ms: u64,
    /// Epoch of the writer.
    pub epoch: u32,
    /// Frames of the same batch before this one.
    pub batch_index: u32,
}

impl FrameHeader {
    /// Sequence of the first frame of the batch this frame was written with.
    #[must_use]
    pub fn batch_first(&self) -> u64 {
        self.seq.saturating_sub(u64::from(self.batch_index))
    }

    /// Length of the payload in bytes.
    #[must_use]
    pub fn payload_len(&self) -> u32 {
        self.len.saturating_sub(FRAME_HEADER_BYTES)
    }
}

/// A decoded frame that borrows its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame<'a> {
    /// Offset of the frame in its (uncompressed) segment.
    pub offset: u32,
    /// Everything but the payload.
    pub header: FrameHeader,
    /// The payload.
    pub payload: &'a [u8],
}

/// Appends one frame to `into`. `header.len` is ignored and derived from `payload`. Returns the length of the frame.
pub fn encode_frame(into: &mut Vec<u8>, salt: Salt, offset: u32, header: &FrameHeader, payload: &[u8]) -> u32 {
    let len = len_u32(HEADER + payload.len());
    let mut head = [0; HEADER];
    put(&mut head, 0, &len.to_le_bytes());
    put(&mut head, 8, &header.seq.to_le_bytes());
    put(&mut head, 16, &header.at_ms.to_le_bytes());
    put(&mut head, 24, &header.epoch.to_le_bytes());
    put(&mut head, 28, &header.batch_index.to_le_bytes());
    let crc = frame_checksum(salt, offset, len, &head[8..], payload);
    put(&mut head, 4, &crc.to_le_bytes());
    into.extend_from_slice(&head);
    into.extend_from_slice(payload);
    len
}

fn frame_checksum(salt: Salt, offset: u32, len: u32, head: &[u8], payload: &[u8]) -> u32 {
    let place = (u64::from(len) << 32 | u64::from(offset)).to_le_bytes();
    salt.checksum(&[&place, head, payload])
}

/// Reads the fields of a frame without checking anything but that they are there and that the length is possible.
///
/// # Errors
/// `Empty` for a zero length, `Short` when fewer than 32 bytes are given, `Value` for a length below 32.
pub fn peek_header(bytes: &[u8]) -> Result<FrameHeader, FormatError> {
    if bytes.len() >= 4 && get_u32(bytes, 0) == 0 {
        return Err(FormatError::Empty);
    }
    if bytes.len() < HEADER {
        return Err(FormatError::Short);
    }
    let len = get_u32(bytes, 0);
    if len < FRAME_HEADER_BYTES {
        return Err(FormatError::Value("frame length below the header's"));
    }
    Ok(FrameHeader {
        len,
        seq: get_u64(bytes, 8),
        at_ms: get_u64(bytes, 16),
        epoch: get_u32(bytes, 24),
        batch_index: get_u32(bytes, 28),
    })
}

/// Decodes and verifies the frame at the start of `bytes`, which stands at `offset` of its segment.
///
/// # Errors
/// `Empty` where nothing was written, `Short` when `bytes` ends inside the frame, `Checksum` when it was altered.
pub fn decode_frame(salt: Salt, offset: u32, bytes: &[u8]) -> Result<RawFrame<'_>, FormatError> {
    let header = peek_header(bytes)?;
    let len = header.len as usize;
    if bytes.len() < len {
        return Err(FormatError::Short);
    }
    let payload = &bytes[HEADER..len];
    if frame_checksum(salt, offset, header.len, &bytes[8..HEADER], payload) != get_u32(bytes, 4) {
        return Err(FormatError::Checksum);
    }
    if u64::from(header.batch_index) >= header.seq {
        return Err(FormatError::Value("batch begins before sequence 1"));
    }
    Ok(RawFrame { offset, header, payload })
}

/// Decodes the frames that follow one another in `bytes`, the first of which stands at `offset` of its segment.
///
/// The iterator yields each verified frame, then at most one error for what stopped it (`Empty` at unwritten space, nothing
/// when `bytes` ends exactly after a frame). Consecutive frames must have consecutive sequences. Any input is allowed.
///
/// ```
/// use zizon_journal::{Salt, decode_frames, format::frame::{FrameHeader, encode_frame}};
/// let salt = Salt::of(&[7; 16], 1);
/// let header = FrameHeader { len: 0, seq: 1, at_ms: 0, epoch: 0, batch_index: 0 };
/// let mut bytes = Vec::new();
/// encode_frame(&mut bytes, salt, 4096, &header, b"payload");
/// let frames: Vec<_> = decode_frames(salt, 4096, &bytes).collect();
/// assert_eq!(frames[0].unwrap().payload, b"payload");
/// ```
#[must_use]
pub fn decode_frames(salt: Salt, offset: u32, bytes: &[u8]) -> Frames<'_> {
    Frames { salt, offset, rest: bytes, expected: None, done: false }
}

/// Iterator of [`decode_frames`].
#[derive(Debug)]
pub struct Frames<'a> {
    salt: Salt,
    offset: u32,
    rest: &'a [u8],
    expected: Option<u64>,
    done: bool,
}

impl Frames<'_> {
    /// Offset in the segment up to which frames were accepted.
    #[must_use]
    pub fn offset(&self) -> u32 {
        self.offset
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<RawFrame<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done || self.rest.is_empty() {
            return None;
        }
        let result = decode_frame(self.salt, self.offset, self.rest).and_then(|frame| {
            let end = self.offset.checked_add(frame.header.len).ok_or(FormatError::Value("offset beyond 4 GiB"))?;
            if self.expected.is_some_and(|seq| seq != frame.header.seq) {
                return Err(FormatError::Value("sequence out of order"));
            }
            let next = frame.header.seq.checked_add(1).ok_or(FormatError::Value("sequence exhausted"))?;
            Ok((frame, end, next))
        });
        match result {
            Ok((frame, end, next)) => {
                self.rest = &self.rest[frame.header.len as usize..];
                self.offset = end;
                self.expected = Some(next);
                Some(Ok(frame))
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}
