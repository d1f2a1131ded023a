//! Reading one payload at a known place.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Poisoned, ReadError};
use crate::format::FormatError;
use crate::format::frame::{FRAME_HEADER_BYTES, decode_frame, peek_header};
use crate::fs::read_exact_at;
use crate::scan::Scan;
use crate::segment::{Compressed, Handle, Layout, Segment};
use crate::shared::Shared;
use crate::types::{Location, Seq};
use crate::verify::{self, VerifyProgress, VerifyReport};

/// Read beyond what a location asks for: the rest of a short frame, which its checksum needs, in one call.
const READ_AHEAD: u32 = 512;
const HEADER: usize = FRAME_HEADER_BYTES as usize;

/// Reads what is durable, and nothing else. Clones share files and cache.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Last durable sequence.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.shared.durable()
    }

    /// First sequence that retention has left.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.shared.first_seq()
    }

    /// Why the journal stopped writing, if it did.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poisoned> {
        self.shared.poisoned().cloned()
    }

    /// The payload, or the slice of one, at `location`. The whole frame is verified every time.
    ///
    /// # Errors
    /// `NotDurable`, `Gone`, `BadLocation`, `Corrupt` when a bit of the frame changed, `Io`.
    pub fn read(&self, location: Location) -> Result<Bytes, ReadError> {
        let wanted = needed(&location).ok_or(ReadError::BadLocation)?;
        let Some(segment) = self.shared.segment(location.segment) else { return Err(self.absent(location.segment)) };
        let limit = self.shared.readable_end(&segment);
        if location.frame.checked_add(wanted).ok_or(ReadError::BadLocation)? > limit {
            let sealed = segment.number < self.shared.end().segment;
            return Err(if sealed { ReadError::BadLocation } else { ReadError::NotDurable });
        }
        let handle = self.shared.handle(&segment)?;
        match &handle.layout {
            Layout::Raw => read_raw(&segment, &handle, &location, wanted, limit),
            Layout::Compressed(compressed) => self.read_compressed(&segment, &handle, compressed, &location),
        }
    }

    /// Frames from `from` on, in order, up to what is durable at each step.
    #[must_use]
    pub fn scan(&self, from: Seq) -> Scan {
        Scan::new(Arc::clone(&self.shared), from)
    }

    /// Walks every durable byte and checks everything that can be checked. `progress` is called about every MiB.
    ///
    /// # Errors
    /// The first damage found.
    pub fn verify(&self, progress: &mut dyn FnMut(VerifyProgress)) -> Result<VerifyReport, ReadError> {
        verify::run(&self.shared, progress)
    }

    fn absent(&self, segment: u64) -> ReadError {
        if segment <= self.shared.end().segment {
            ReadError::Gone { first: self.shared.first_seq() }
        } else {
            ReadError::NotDurable
        }
    }

    fn read_compressed(
        &self,
        segment: &Segment,
        handle: &Handle,
        compressed: &Compressed,
        location: &Location,
    ) -> Result<Bytes, ReadError> {
        let directory = compressed.directory(segment, &*handle.file)?;
        let after = directory.partition_point(|entry| entry.raw_offset <= location.frame);
        let at = after.checked_sub(1).ok_or(ReadError::BadLocation)?;
        let entry = &directory[at];
        let key = (segment.number, at);
        let block = if let Some(block) = self.shared.cache.get(key) {
            block
        } else {
            let block = compressed.block(segment, &*handle.file, entry)?;
            self.shared.cache.put(key, block.clone());
            block
        };
        let inside = (location.frame - entry.raw_offset) as usize;
        let bytes = block.get(inside..).ok_or(ReadError::BadLocation)?;
        let frame =
            decode_frame(segment.salt, location.frame, bytes).map_err(|e| segment.corrupt(location.frame, e))?;
        let range = range_in(location, frame.payload.len())?;
        // A copy: a few hundred bytes must not keep a whole block in memory.
        Ok(Bytes::copy_from_slice(&frame.payload[range]))
    }
}

/// Bytes from the start of the frame to the end of the slice.
fn needed(location: &Location) -> Option<u32> {
    location.start.checked_add(location.len)?.checked_add(FRAME_HEADER_BYTES)
}

fn range_in(location: &Location, payload_len: usize) -> Result<std::ops::Range<usize>, ReadError> {
    let (start, end) = (location.start as usize, (location.start + location.len) as usize);
    if end <= payload_len { Ok(start..end) } else { Err(ReadError::BadLocation) }
}

fn read_raw(
    segment: &Segment,
    handle: &Handle,
    location: &Location,
    wanted: u32,
    limit: u32,
) -> Result<Bytes, ReadError> {
    let available = limit - location.frame;
    let first = wanted.saturating_add(READ_AHEAD).min(available);
    let mut bytes = vec![0; first as usize];
    read_exact_at(&*handle.file, &mut bytes, location.frame.into()).map_err(|e| segment.io(e))?;
    let header = peek_header(&bytes).map_err(|e| segment.corrupt(location.frame, e))?;
    if header.len > available {
        return Err(segment.corrupt(location.frame, FormatError::Value("frame longer than its segment")));
    }
    if header.len > first {
        bytes.resize(header.len as usize, 0);
        let rest = u64::from(location.frame) + u64::from(first);
        read_exact_at(&*handle.file, &mut bytes[first as usize..], rest).map_err(|e| segment.io(e))?;
    }
    let frame = decode_frame(segment.salt, location.frame, &bytes).map_err(|e| segment.corrupt(location.frame, e))?;
    let range = range_in(location, frame.payload.len())?;
    Ok(Bytes::from(bytes).slice(HEADER + range.start..HEADER + range.end))
}
