//! Full verification: every durable byte is read and checked.

use std::sync::Arc;

use crate::error::ReadError;
use crate::format::HEADER_BYTES;
use crate::format::frame::decode_frames;
use crate::format::segment::{FOOTER_BYTES, Footer};
use crate::fs::read_exact_at;
use crate::segment::{Compressed, Handle, Layout, Segment, read_footer, read_header};
use crate::shared::Shared;

/// Frames are decoded in pieces of about this many bytes.
const STEP: u64 = 1 << 20;

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes of frames checked, uncompressed.
    pub done_bytes: u64,
    /// Bytes of frames in all.
    pub total_bytes: u64,
}

/// What a verification saw; it found no damage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Number of segments.
    pub segments: u64,
    /// Of these, compressed.
    pub compressed: u64,
    /// Number of frames.
    pub frames: u64,
    /// Bytes of frames, uncompressed.
    pub bytes: u64,
}

struct Walk<'a> {
    shared: &'a Shared,
    progress: &'a mut dyn FnMut(VerifyProgress),
    total_bytes: u64,
    reported: u64,
    report: VerifyReport,
    expected: Option<u64>,
    at_ms: u64,
}

pub(crate) fn run(shared: &Shared, progress: &mut dyn FnMut(VerifyProgress)) -> Result<VerifyReport, ReadError> {
    let end = shared.end();
    let segments: Vec<Arc<Segment>> =
        shared.segments.read().range(..=end.segment).map(|(_, s)| Arc::clone(s)).collect();
    let limit = |segment: &Segment| {
        if segment.number < end.segment { shared.readable_end(segment) } else { end.offset }
    };
    let total_bytes = segments.iter().map(|s| u64::from(limit(s).saturating_sub(HEADER_BYTES))).sum();
    let mut walk =
        Walk { shared, progress, total_bytes, reported: 0, report: VerifyReport::default(), expected: None, at_ms: 0 };
    for segment in &segments {
        walk.segment(segment, limit(segment), segment.number < end.segment)?;
    }
    walk.tell(true);
    Ok(walk.report)
}

impl Walk<'_> {
    fn segment(&mut self, segment: &Arc<Segment>, end: u32, complete: bool) -> Result<(), ReadError> {
        if self.expected.is_some_and(|expected| expected != segment.first_seq) {
            return Err(segment.corrupt(0, "segment does not follow the one before"));
        }
        // Always from the file: an open handle has not looked at the header again since it was opened.
        let fresh = match Handle::open(&self.shared.env, segment, &self.shared.uuid) {
            // Retention was faster.
            Err(_) if self.shared.segment(segment.number).is_none() => return Ok(()),
            other => other?,
        };
        self.expected = Some(segment.first_seq);
        match &fresh.layout {
            Layout::Raw => self.raw(segment, &fresh, end, complete)?,
            Layout::Compressed(compressed) => self.compressed(segment, &fresh, compressed)?,
        }
        self.report.segments += 1;
        Ok(())
    }

    fn raw(&mut self, segment: &Segment, handle: &Handle, end: u32, complete: bool) -> Result<(), ReadError> {
        let file = &*handle.file;
        let header = read_header(file).map_err(|e| segment.io(e))?.map_err(|e| segment.corrupt(0, e))?;
        let mut bytes = vec![0; end.saturating_sub(HEADER_BYTES) as usize];
        read_exact_at(file, &mut bytes, HEADER_BYTES.into()).map_err(|e| segment.io(e))?;
        self.frames(segment, HEADER_BYTES, &bytes)?;
        if complete {
            let footer = read_footer(file, segment.salt, header.capacity).map_err(|e| segment.io(e))?;
            let at = header.capacity.saturating_sub(FOOTER_BYTES);
            let footer = footer.map_err(|e| segment.corrupt(at, format!("footer: {e}")))?;
            self.footer(segment, &footer)?;
            let mut rest = vec![0; at.saturating_sub(end) as usize];
            read_exact_at(file, &mut rest, end.into()).map_err(|e| segment.io(e))?;
            if rest.iter().any(|byte| *byte != 0) {
                return Err(segment.corrupt(end, "bytes between the last frame and the footer"));
            }
        }
        Ok(())
    }

    fn compressed(&mut self, segment: &Segment, handle: &Handle, compressed: &Compressed) -> Result<(), ReadError> {
        for entry in compressed.directory(segment, &*handle.file)? {
            if self.expected != Some(entry.first_seq) {
                return Err(segment.corrupt(entry.raw_offset, "block does not follow the one before"));
            }
            let block = compressed.block(segment, &*handle.file, entry)?;
            self.frames(segment, entry.raw_offset, &block)?;
        }
        self.footer(segment, &compressed.trailer.footer)?;
        self.report.compressed += 1;
        Ok(())
    }

    fn footer(&self, segment: &Segment, footer: &Footer) -> Result<(), ReadError> {
        if Some(footer) != segment.footer.get() || self.expected != Some(footer.last_seq.saturating_add(1)) {
            return Err(segment.corrupt(footer.end, "footer contradicts the frames"));
        }
        Ok(())
    }

    fn frames(&mut self, segment: &Segment, offset: u32, bytes: &[u8]) -> Result<(), ReadError> {
        let mut at = offset;
        for frame in decode_frames(segment.salt, offset, bytes) {
            let frame = frame.map_err(|error| segment.corrupt(at, error))?;
            if self.expected != Some(frame.header.seq) {
                return Err(segment.corrupt(at, format!("sequence {} is out of order", frame.header.seq)));
            }
            if frame.header.at_ms < self.at_ms {
                return Err(segment.corrupt(at, "time runs backwards"));
            }
            self.at_ms = frame.header.at_ms;
            self.expected = Some(frame.header.seq + 1);
            at = frame.offset + frame.header.len;
            self.report.frames += 1;
            self.report.bytes += u64::from(frame.header.len);
            self.tell(false);
        }
        Ok(())
    }

    fn tell(&mut self, last: bool) {
        if last || self.report.bytes - self.reported >= STEP {
            self.reported = self.report.bytes;
            (self.progress)(VerifyProgress { done_bytes: self.report.bytes, total_bytes: self.total_bytes });
        }
    }
}
