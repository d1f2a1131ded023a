//! Reading and checking one segment of a journal that somebody else may be writing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Original, SegmentCopy};
use crate::content::Content;
use crate::error::OpenError;
use crate::format::compressed::{ENTRY_BYTES, Trailer, decode_block, decode_directory};
use crate::format::frame::{Salt, decode_frames};
use crate::format::segment::{FOOTER_BYTES, Footer, Header, Kind};
use crate::format::{FormatError, HEADER_BYTES, first_nonzero};
use crate::fs::{File, read_exact_at};
use crate::recover::{corrupt, format_error, io_error};
use crate::segment::{path_of, read_footer, read_header, read_trailer};

/// Largest file that can be a segment, in bytes: a block that does not compress is stored as it is, with 40 bytes more.
const LEN_MAX: u64 = 2 << 30;

/// What is at a number.
pub(super) enum Found {
    /// A segment.
    Part(Part),
    /// A file that holds no whole frame yet.
    Nothing,
    /// No file.
    Gone,
}

/// A segment, held open: whatever becomes of its name, this is what it was.
pub(super) struct Part {
    pub(super) segment: SegmentCopy,
    path: PathBuf,
    salt: Salt,
    file: Arc<dyn File>,
    /// The frames, where they had to be walked to find the segment's end.
    walked: Option<Vec<u8>>,
}

/// Looks at segment `number`. Reads its frames only where it may still be written.
pub(super) fn part(original: &Original, number: u64) -> Result<Found, OpenError> {
    let path = path_of(&original.dir, number);
    let file = match original.env.fs.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
        Err(error) => return Err(io_error("opening", &path)(error)),
    };
    let header = match read_header(&*file).map_err(io_error("reading", &path))? {
        Ok(header) => header,
        Err(error @ FormatError::Version(_)) => return Err(format_error(&path, 0, error)),
        // Allocated ahead, or about to be begun.
        Err(_) if number > original.mark.segment => return Ok(Found::Nothing),
        Err(error) => return Err(corrupt(&path, 0, format!("header: {error}"))),
    };
    if header.uuid != original.mark.uuid || header.segment != number {
        return Err(corrupt(&path, 0, "header of another segment"));
    }
    let salt = Salt::of(&header.uuid, number);
    if header.kind == Kind::Raw && number >= original.mark.segment {
        return walk(original, path, &header, salt, file);
    }
    let footer = match header.kind {
        Kind::Raw => read_footer(&*file, salt, header.capacity),
        Kind::Compressed => read_trailer(&*file, salt).map(|trailer| trailer.map(|trailer| trailer.footer)),
    };
    let footer = footer.map_err(io_error("reading", &path))?;
    let footer = footer.map_err(|error| corrupt(&path, header.capacity.into(), format!("not complete: {error}")))?;
    Ok(Found::Part(Part { segment: complete(&header, &footer), path, salt, file, walked: None }))
}

fn complete(header: &Header, footer: &Footer) -> SegmentCopy {
    SegmentCopy {
        number: header.segment,
        first_seq: header.first_seq,
        last_seq: footer.last_seq,
        last_at_ms: footer.last_at_ms,
        end: footer.end,
        capacity: header.capacity,
        complete: true,
        compressed: header.kind == Kind::Compressed,
    }
}

/// A raw segment at or after the watermark: its frames say where it ends.
fn walk(
    original: &Original,
    path: PathBuf,
    header: &Header,
    salt: Salt,
    file: Arc<dyn File>,
) -> Result<Found, OpenError> {
    let content = Content::read(&*file, &path)?;
    if content.len != header.capacity as usize {
        return Err(corrupt(&path, 0, format!("{} bytes instead of {}", content.len, header.capacity)));
    }
    let mark = &original.mark;
    let mut segment = SegmentCopy { complete: false, ..complete(header, &BEGUN) };
    segment.last_seq = header.first_seq.saturating_sub(1);
    let mut mark_seen = header.segment != mark.segment;
    for frame in decode_frames(salt, HEADER_BYTES, content.frames()) {
        // Being written, or nothing yet.
        let Ok(frame) = frame else { break };
        if frame.header.seq != segment.last_seq.saturating_add(1) {
            break;
        }
        segment.end = frame.offset + frame.header.len;
        (segment.last_seq, segment.last_at_ms) = (frame.header.seq, frame.header.at_ms);
        mark_seen |= segment.end == mark.offset && segment.last_seq == mark.seq;
    }
    if !mark_seen {
        let reason = format!("frame {} was durable and is not whole", segment.last_seq.saturating_add(1));
        return Err(corrupt(&path, segment.end.into(), reason));
    }
    if segment.end == HEADER_BYTES {
        return Ok(Found::Nothing);
    }
    let footer = Footer::decode(salt, &content.footer());
    let whole = footer.is_ok_and(|footer| (footer.end, footer.last_seq) == (segment.end, segment.last_seq));
    segment.complete = whole;
    let mut bytes = content.bytes;
    bytes.truncate(if whole { content.len } else { segment.end as usize });
    Ok(Found::Part(Part { segment, path, salt, file, walked: Some(bytes) }))
}

/// A segment without frames.
const BEGUN: Footer = Footer { last_seq: 0, last_at_ms: 0, batch_first: 0, end: HEADER_BYTES, epoch: 0 };

/// The content of the segment's file, every byte of it checked.
pub(super) fn verified(part: &mut Part) -> Result<Vec<u8>, OpenError> {
    if let Some(walked) = part.walked.take() {
        if part.segment.complete {
            check_gap(part, &walked)?;
        }
        return Ok(walked);
    }
    let bytes = read_all(&*part.file, &part.path)?;
    if part.segment.compressed {
        check_compressed(part, &bytes)?;
    } else {
        let frames = bytes.get(HEADER_BYTES as usize..part.segment.end as usize);
        let frames = frames.ok_or_else(|| corrupt(&part.path, 0, "file is shorter than its footer says"))?;
        let next = check_frames(part, HEADER_BYTES, frames, part.segment.first_seq)?;
        check_end(part, next)?;
        check_gap(part, &bytes)?;
    }
    Ok(bytes)
}

fn read_all(file: &dyn File, path: &Path) -> Result<Vec<u8>, OpenError> {
    let len = file.len().map_err(io_error("reading", path))?;
    if len > LEN_MAX {
        return Err(corrupt(path, 0, "file is longer than a segment can be"));
    }
    let len = usize::try_from(len).map_err(|_| corrupt(path, 0, "file does not fit into memory"))?;
    let mut bytes = vec![0; len];
    read_exact_at(file, &mut bytes, 0).map_err(io_error("reading", path))?;
    Ok(bytes)
}

fn check_compressed(part: &Part, bytes: &[u8]) -> Result<(), OpenError> {
    let path = &part.path;
    let bad = |error: FormatError| corrupt(path, 0, format!("trailer: {error}"));
    let trailer = bytes.len().checked_sub(crate::format::compressed::TRAILER_BYTES);
    let trailer =
        trailer.ok_or(FormatError::Short).and_then(|at| Trailer::decode(part.salt, &bytes[at..], bytes.len() as u64));
    let trailer = trailer.map_err(bad)?;
    let directory = slice(bytes, trailer.directory_offset, u64::from(trailer.entries) * ENTRY_BYTES as u64);
    let entries = directory.ok_or(FormatError::Short).and_then(|d| decode_directory(part.salt, &trailer, d));
    let mut next = part.segment.first_seq;
    for entry in entries.map_err(bad)? {
        let damaged = |error: FormatError| corrupt(path, entry.raw_offset.into(), error);
        let stored = slice(bytes, entry.file_offset, entry.stored_len.into()).ok_or(FormatError::Short);
        let block = stored.and_then(|stored| decode_block(part.salt, &entry, stored)).map_err(damaged)?;
        next = check_frames(part, entry.raw_offset, &block, next)?;
    }
    check_end(part, next)
}

fn slice(bytes: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let (at, len) = (usize::try_from(at).ok()?, usize::try_from(len).ok()?);
    bytes.get(at..at.checked_add(len)?)
}

/// Checks that `frames` are whole and go on with `next`; returns the sequence that has to follow.
fn check_frames(part: &Part, offset: u32, frames: &[u8], mut next: u64) -> Result<u64, OpenError> {
    let mut at = offset;
    for frame in decode_frames(part.salt, offset, frames) {
        let frame = frame.map_err(|error| corrupt(&part.path, at.into(), error))?;
        if frame.header.seq != next {
            return Err(corrupt(&part.path, at.into(), format!("sequence {} instead of {next}", frame.header.seq)));
        }
        at = frame.offset + frame.header.len;
        next = next.saturating_add(1);
    }
    Ok(next)
}

fn check_end(part: &Part, next: u64) -> Result<(), OpenError> {
    if next == part.segment.last_seq.saturating_add(1) {
        return Ok(());
    }
    Err(corrupt(&part.path, part.segment.end.into(), "frames do not reach the footer's end"))
}

/// Nothing stands between the last frame and the footer of a raw segment.
fn check_gap(part: &Part, bytes: &[u8]) -> Result<(), OpenError> {
    let footer = bytes.len().saturating_sub(FOOTER_BYTES as usize);
    match first_nonzero(&bytes[..footer], part.segment.end as usize) {
        None => Ok(()),
        Some(at) => Err(corrupt(&part.path, at as u64, "bytes between the last frame and the footer")),
    }
}
