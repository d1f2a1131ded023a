//! Frames in order.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::ReadError;
use crate::format::FormatError;
use crate::format::HEADER_BYTES;
use crate::format::frame::{FRAME_HEADER_BYTES, RawFrame, decode_frame, peek_header};
use crate::fs::read_exact_at;
use crate::segment::{Compressed, Handle, Layout, Segment};
use crate::shared::Shared;
use crate::types::{Frame, Location, Seq};

/// Bytes read from a raw segment at a time.
const CHUNK: u32 = 256 << 10;

/// Iterator over durable frames.
///
/// `None` means that everything durable was returned; later calls go on when more has become durable. After an error it
/// ends.
pub struct Scan {
    shared: Arc<Shared>,
    next: Seq,
    place: Option<Place>,
    failed: bool,
}

/// Where the scan stands.
struct Place {
    segment: Arc<Segment>,
    handle: Arc<Handle>,
    /// Offset and sequence of the next frame to decode; the sequence may lie before the one asked for.
    offset: u32,
    seq: u64,
    chunk: Bytes,
    chunk_offset: u32,
}

impl Scan {
    pub(crate) fn new(shared: Arc<Shared>, from: Seq) -> Self {
        Self { shared, next: Seq(from.0.max(1)), place: None, failed: false }
    }

    /// Sequence of the frame that comes next.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.next
    }

    fn step(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            if self.next > self.shared.durable() {
                return Ok(None);
            }
            let place = match self.place.take() {
                Some(place) => place,
                None => self.locate()?,
            };
            let limit = self.shared.readable_end(&place.segment);
            if place.offset >= limit {
                self.place = Some(self.following(&place)?);
                continue;
            }
            let (place, frame) = decode(place, limit, self.next)?;
            self.place = Some(place);
            if let Some(frame) = frame {
                self.next = frame.seq.next();
                return Ok(Some(frame));
            }
        }
    }

    /// The place from which `next` is reached.
    fn locate(&self) -> Result<Place, ReadError> {
        let segment = {
            let segments = self.shared.segments.read();
            segments.values().rev().find(|segment| segment.first_seq <= self.next.0).cloned()
        };
        let segment = segment.ok_or_else(|| ReadError::Gone { first: self.shared.first_seq() })?;
        let handle = self.shared.handle(&segment)?;
        let (seq, offset) = match &handle.layout {
            Layout::Raw => segment.nearest(self.next.0),
            Layout::Compressed(compressed) => {
                let directory = compressed.directory(&segment, &*handle.file)?;
                let after = directory.partition_point(|entry| entry.first_seq <= self.next.0);
                let at = after.checked_sub(1).ok_or_else(|| segment.corrupt(0, "directory begins too late"))?;
                (directory[at].first_seq, directory[at].raw_offset)
            }
        };
        Ok(Place { segment, handle, offset, seq, chunk: Bytes::new(), chunk_offset: offset })
    }

    /// The start of the next segment.
    fn following(&self, place: &Place) -> Result<Place, ReadError> {
        let Some(segment) = self.shared.segment(place.segment.number + 1) else {
            // Everything durable lies before; the caller has checked that there is more.
            return Err(ReadError::Gone { first: self.shared.first_seq() });
        };
        if segment.first_seq != place.seq {
            return Err(place.segment.corrupt(place.offset, "segment ends before the next one begins"));
        }
        let handle = self.shared.handle(&segment)?;
        let seq = segment.first_seq;
        Ok(Place { segment, handle, offset: HEADER_BYTES, seq, chunk: Bytes::new(), chunk_offset: HEADER_BYTES })
    }
}

/// Decodes the frame at `place` and moves behind it. `None` for one before `next`.
fn decode(mut place: Place, limit: u32, next: Seq) -> Result<(Place, Option<Frame>), ReadError> {
    fill(&mut place, limit)?;
    let segment = Arc::clone(&place.segment);
    let inside = (place.offset - place.chunk_offset) as usize;
    let raw = decode_frame(segment.salt, place.offset, &place.chunk[inside..])
        .map_err(|error| segment.corrupt(place.offset, error))?;
    if raw.header.seq != place.seq {
        return Err(segment.corrupt(place.offset, format!("sequence {} instead of {}", raw.header.seq, place.seq)));
    }
    if matches!(place.handle.layout, Layout::Raw) {
        segment.note(raw.header.seq, raw.offset);
    }
    let frame = (raw.header.seq >= next.0).then(|| owned(&segment, &raw));
    place.offset += raw.header.len;
    place.seq += 1;
    Ok((place, frame))
}

fn owned(segment: &Segment, raw: &RawFrame<'_>) -> Frame {
    Frame {
        seq: Seq(raw.header.seq),
        epoch: raw.header.epoch,
        at_ms: raw.header.at_ms,
        location: Location { segment: segment.number, frame: raw.offset, start: 0, len: raw.header.payload_len() },
        payload: Bytes::copy_from_slice(raw.payload),
    }
}

/// Makes sure that the chunk holds the whole frame at `place.offset`.
fn fill(place: &mut Place, limit: u32) -> Result<(), ReadError> {
    let inside = (place.offset - place.chunk_offset) as usize;
    let held = place.chunk.len().saturating_sub(inside);
    let wanted = match place.chunk.get(inside..).map(peek_header) {
        Some(Ok(header)) => header.len as usize,
        _ => FRAME_HEADER_BYTES as usize,
    };
    if held >= wanted && held > 0 {
        return Ok(());
    }
    let handle = Arc::clone(&place.handle);
    place.chunk = match &handle.layout {
        Layout::Raw => read_chunk(place, &handle, limit)?,
        Layout::Compressed(compressed) => read_block(place, &handle, compressed)?,
    };
    Ok(())
}

fn read_chunk(place: &mut Place, handle: &Handle, limit: u32) -> Result<Bytes, ReadError> {
    let available = limit - place.offset;
    let mut bytes = vec![0; available.min(CHUNK) as usize];
    let segment = &place.segment;
    read_exact_at(&*handle.file, &mut bytes, place.offset.into()).map_err(|e| segment.io(e))?;
    let header = peek_header(&bytes).map_err(|error| segment.corrupt(place.offset, error))?;
    if header.len > available {
        return Err(segment.corrupt(place.offset, FormatError::Value("frame longer than its segment")));
    }
    let (len, held) = (header.len as usize, bytes.len());
    if len > held {
        bytes.resize(len, 0);
        let rest = u64::from(place.offset) + held as u64;
        read_exact_at(&*handle.file, &mut bytes[held..], rest).map_err(|e| segment.io(e))?;
    }
    place.chunk_offset = place.offset;
    Ok(Bytes::from(bytes))
}

fn read_block(place: &mut Place, handle: &Handle, compressed: &Compressed) -> Result<Bytes, ReadError> {
    let directory = compressed.directory(&place.segment, &*handle.file)?;
    let after = directory.partition_point(|entry| entry.raw_offset <= place.offset);
    let at = after.checked_sub(1).ok_or_else(|| place.segment.corrupt(place.offset, "before the first block"))?;
    place.chunk_offset = directory[at].raw_offset;
    compressed.block(&place.segment, &*handle.file, &directory[at])
}

impl Iterator for Scan {
    type Item = Result<Frame, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.step().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}
