//! Finds where the journal ends.
//!
//! The watermark may lag behind (it is not synced with every batch), so whole frames may follow it. The first bad frame is
//! the end of the journal if nothing shows that it had been durable. It had been if it lies before the watermark, or if a
//! frame of a later batch exists: that batch was written only after this one was synced.

use std::path::Path;
use std::sync::Arc;

use crate::content::Content;
use crate::error::OpenError;
use crate::fill::Fill;
use crate::format::frame::{FRAME_HEADER_BYTES, Salt, decode_frame, decode_frames, peek_header};
use crate::format::segment::{Footer, Header, Kind};
use crate::format::watermark::Mark;
use crate::format::{FormatError, HEADER_BYTES, first_nonzero, get_u32};
use crate::fs::File;
use crate::journal::{Active, LastFrame};
use crate::recover::{Opening, corrupt, format_error, io_error};
use crate::segment::{Handle, Segment, path_of, read_header};

/// What was found at and after the watermark.
pub(crate) struct Tail {
    /// The incomplete segment with the last frames, if the last frame is not in a complete one.
    pub(crate) active: Option<Active>,
    /// Number of the segment to be begun next.
    pub(crate) next_segment: u64,
    pub(crate) next_seq: u64,
    /// Raw segments with whole frames at or after the watermark: number, end, whether complete.
    pub(crate) raw: Vec<(u64, u32, bool)>,
    /// Numbers of files that hold no frames.
    pub(crate) unused: Vec<u64>,
}

/// The first bad place.
struct Break {
    number: u64,
    offset: u32,
    seq: u64,
    error: FormatError,
}

/// Frames of one raw segment.
struct Walked {
    end: u32,
    next_seq: u64,
    last: LastFrame,
    error: FormatError,
}

pub(crate) fn walk(opening: &mut Opening<'_>, numbers: &[u64], mark: &Mark) -> Result<Tail, OpenError> {
    let mut tail = Tail { active: None, next_segment: 0, next_seq: 1, raw: Vec::new(), unused: Vec::new() };
    let mut broken: Option<Break> = None;
    for &number in numbers {
        let path = path_of(opening.dir, number);
        let file = opening.env.fs.open(&path).map_err(io_error("opening", &path))?;
        let header = read_header(&*file).map_err(opening.segment_io(number))?;
        if let Err(error @ FormatError::Version(_)) = header {
            return Err(format_error(&path, 0, error));
        }
        if let Some(broken) = &broken {
            look_for_later_batch(opening, broken, number, &*file, header.is_ok_and(|h| h.kind == Kind::Compressed))?;
            tail.unused.push(number);
            continue;
        }
        broken = match header {
            Ok(header) if header.kind == Kind::Compressed => {
                opening.add_sealed(number)?;
                None
            }
            Ok(header) => raw_segment(opening, &mut tail, mark, number, &header, &file)?,
            Err(error) => {
                if number <= mark.segment {
                    return Err(corrupt(&path, 0, format!("header: {error}")));
                }
                let seq = opening.next_seq.unwrap_or(1);
                let broken = Break { number, offset: HEADER_BYTES, seq, error };
                look_for_later_batch(opening, &broken, number, &*file, false)?;
                tail.unused.push(number);
                Some(broken)
            }
        };
    }
    tail.next_seq = opening.next_seq.unwrap_or(1);
    tail.next_segment = opening.segments.keys().next_back().map_or(mark.first_segment, |number| number + 1);
    Ok(tail)
}

/// Walks a raw segment and adds it. Returns where it breaks off, if it is not complete.
fn raw_segment(
    opening: &mut Opening<'_>,
    tail: &mut Tail,
    mark: &Mark,
    number: u64,
    header: &Header,
    file: &Arc<dyn File>,
) -> Result<Option<Break>, OpenError> {
    let path = path_of(opening.dir, number);
    opening.check_header(number, &path, header.uuid, header.segment, header.first_seq)?;
    let content = Content::read(&**file, &path)?;
    if content.len != header.capacity as usize {
        return Err(corrupt(&path, 0, format!("{} bytes instead of {}", content.len, header.capacity)));
    }
    let salt = Salt::of(&opening.uuid, number);
    let walked = walk_frames(salt, header.first_seq, content.frames(), mark, number, &path)?;
    let footer = Footer::decode(salt, &content.footer());
    if let Ok(footer) = &footer {
        if footer.end == walked.end && footer.last_seq.saturating_add(1) == walked.next_seq {
            opening.add_complete(Segment::sealed(opening.dir, &opening.uuid, header, *footer), footer);
            tail.raw.push((number, walked.end, true));
            return Ok(None);
        }
        if footer.batch_first > walked.next_seq || footer.end <= walked.end {
            return Err(corrupt(&path, walked.end.into(), format!("frame {}: {}", walked.next_seq, walked.error)));
        }
    }
    let broken = Break { number, offset: walked.end, seq: walked.next_seq, error: walked.error };
    if later_batch(salt, &content.bytes, walked.end, walked.next_seq) {
        return Err(had_been_durable(opening.dir, &broken));
    }
    if walked.end == HEADER_BYTES {
        tail.unused.push(number);
        return Ok(Some(broken));
    }
    let segment = Segment::new(opening.dir, &opening.uuid, number, header.first_seq, header.capacity);
    segment.set_handle(Some(Arc::new(Handle::raw(Arc::clone(file)))));
    let segment = Arc::new(segment);
    opening.segments.insert(number, Arc::clone(&segment));
    opening.next_seq = Some(walked.next_seq);
    opening.last = walked.last;
    let fill = Arc::new(Fill::reopened(path, header.capacity.into(), walked.end.into()));
    tail.active = Some(Active { segment, file: Arc::clone(file), fill, offset: walked.end });
    tail.raw.push((number, walked.end, false));
    Ok(Some(broken))
}

fn walk_frames(
    salt: Salt,
    first_seq: u64,
    frames: &[u8],
    mark: &Mark,
    number: u64,
    path: &Path,
) -> Result<Walked, OpenError> {
    let mut walked =
        Walked { end: HEADER_BYTES, next_seq: first_seq, last: LastFrame::default(), error: FormatError::Empty };
    let mut mark_seen = number != mark.segment;
    for frame in decode_frames(salt, HEADER_BYTES, frames) {
        let frame = match frame {
            Ok(frame) if frame.header.seq == walked.next_seq => frame,
            Ok(_) => {
                walked.error = FormatError::Value("sequence out of order");
                break;
            }
            Err(error) => {
                walked.error = error;
                break;
            }
        };
        walked.end = frame.offset + frame.header.len;
        walked.next_seq += 1;
        walked.last = LastFrame { at_ms: frame.header.at_ms, epoch: frame.header.epoch };
        mark_seen |= walked.end == mark.offset && frame.header.seq == mark.seq;
    }
    if !mark_seen {
        let reason = format!("frame {} was durable: {}", walked.next_seq, walked.error);
        return Err(corrupt(path, walked.end.into(), reason));
    }
    Ok(walked)
}

fn look_for_later_batch(
    opening: &Opening<'_>,
    broken: &Break,
    number: u64,
    file: &dyn File,
    compressed: bool,
) -> Result<(), OpenError> {
    let content = Content::read(file, &path_of(opening.dir, number))?;
    let salt = Salt::of(&opening.uuid, number);
    // A compressed segment was durable as a whole.
    if compressed || later_batch(salt, &content.bytes, HEADER_BYTES, broken.seq) {
        return Err(had_been_durable(opening.dir, broken));
    }
    Ok(())
}

fn had_been_durable(dir: &Path, broken: &Break) -> OpenError {
    let reason = format!("frame {}: {}, yet later batches are there", broken.seq, broken.error);
    corrupt(&path_of(dir, broken.number), broken.offset.into(), reason)
}

/// Whether a whole frame of a batch that begins after `seq` stands anywhere in `bytes` from offset `from` on.
fn later_batch(salt: Salt, bytes: &[u8], from: u32, seq: u64) -> bool {
    let header = FRAME_HEADER_BYTES as usize;
    let mut at = from as usize;
    while at + header <= bytes.len() {
        if get_u32(bytes, at) == 0 {
            // Skip zeros: the next frame's length ends at the earliest with the next byte that is not zero.
            let Some(nonzero) = first_nonzero(bytes, at) else { return false };
            at = nonzero - 3;
            continue;
        }
        let plausible = peek_header(&bytes[at..]).is_ok_and(|h| {
            h.len as usize <= bytes.len() - at && h.batch_first() > seq && h.seq - seq <= u64::from(u32::MAX)
        });
        let offset = u32::try_from(at).unwrap_or(u32::MAX);
        if plausible && decode_frame(salt, offset, &bytes[at..]).is_ok() {
            return true;
        }
        at += 1;
    }
    false
}
