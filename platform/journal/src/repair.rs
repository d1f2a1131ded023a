//! Makes what was found durable and everything after it zero, before the first frame is appended.
//!
//! An interrupted repair is repeated by the next opening with the same result: only bytes behind the end are changed.

use std::io;
use std::path::Path;

use crate::content::Content;
use crate::error::OpenError;
use crate::fill::Fill;
use crate::format::last_nonzero;
use crate::format::segment::FOOTER_BYTES;
use crate::fs::{File, read_exact_at, write_all_at};
use crate::recover::{Opening, io_error};
use crate::segment::path_of;
use crate::shared::End;
use crate::spare::Spares;
use crate::tail::Tail;
use crate::watermark::{self, WatermarkFile};

/// Bytes looked through or overwritten at a time.
const STEP: usize = 1 << 20;

/// Returns how many bytes were cut off.
pub(crate) fn run(
    opening: &Opening<'_>,
    tail: &Tail,
    watermark: &mut WatermarkFile,
    spares: &Spares,
    slot_lost: bool,
) -> Result<u64, OpenError> {
    let mark = *watermark.mark();
    for (number, end, complete) in &tail.raw {
        let from = if *number == mark.segment { mark.offset } else { 0 };
        rewrite(opening, *number, from, *end, *complete)?;
    }
    let mut cut_off = 0;
    if let Some(active) = &tail.active {
        cut_off += zero(&*active.file, &active.segment.path, active.offset.into())?;
    }
    cut_off += reuse_or_remove(opening, tail, spares)?;

    let end = end_of(opening, tail);
    let seq = tail.next_seq - 1;
    if slot_lost || (seq, end) != (mark.seq, End { segment: mark.segment, offset: mark.offset }) {
        let path = watermark::path_in(opening.dir);
        watermark.advance(seq, end.segment, end.offset).map_err(io_error("writing", &path))?;
        watermark.rewrite().map_err(io_error("writing", &path))?;
    }
    Ok(cut_off)
}

/// Writes frames behind the watermark once more, then syncs. They were read from the page cache, and after a failed sync of
/// the process before, the cache can call pages clean that the disk never got: only pages written again are synced.
fn rewrite(opening: &Opening<'_>, number: u64, from: u32, end: u32, complete: bool) -> Result<(), OpenError> {
    if from >= end && !complete {
        return Ok(());
    }
    let path = path_of(opening.dir, number);
    let file = opening.env.fs.open(&path).map_err(io_error("opening", &path))?;
    let content = Content::read(&*file, &path)?;
    let frames = content.bytes.get(from as usize..end as usize).unwrap_or_default();
    write_all_at(&*file, frames, from.into()).map_err(io_error("writing", &path))?;
    if complete {
        let at = content.len - FOOTER_BYTES as usize;
        write_all_at(&*file, &content.footer(), at as u64).map_err(io_error("writing", &path))?;
    }
    file.sync_data().map_err(io_error("syncing", &path))
}

/// Overwrites everything from `from` on that is not zero, durably; what stood there must never be found behind frames that
/// take its place. Returns how many bytes that were.
fn zero(file: &dyn File, path: &Path, from: u64) -> Result<u64, OpenError> {
    let Some(end) = written_end(file, from).map_err(io_error("reading", path))? else { return Ok(0) };
    let zeros = vec![0; STEP];
    let mut at = from;
    while at < end {
        let part = usize::try_from(end - at).map_or(STEP, |left| left.min(STEP));
        write_all_at(file, &zeros[..part], at).map_err(io_error("cutting off the tail of", path))?;
        at += part as u64;
    }
    file.sync_data().map_err(io_error("syncing", path))?;
    Ok(end - from)
}

/// End of the bytes at or after `from` that are not zero.
fn written_end(file: &dyn File, from: u64) -> io::Result<Option<u64>> {
    let mut bytes = vec![0; STEP];
    let (mut at, mut end) = (from, None);
    while let Some(range) = file.written(at)? {
        at = at.max(range.start);
        while at < range.end {
            let part = usize::try_from(range.end - at).map_or(STEP, |left| left.min(STEP));
            read_exact_at(file, &mut bytes[..part], at)?;
            end = last_nonzero(&bytes[..part]).map(|last| at + last as u64 + 1).or(end);
            at += part as u64;
        }
    }
    Ok(end)
}

/// Segments without frames become spares again. One of another size goes, and those after it with it, highest first, so
/// that there is never a gap in the numbers.
fn reuse_or_remove(opening: &Opening<'_>, tail: &Tail, spares: &Spares) -> Result<u64, OpenError> {
    let mut cut_off = 0;
    let mut kept = 0;
    for number in &tail.unused {
        let path = path_of(opening.dir, *number);
        let file = opening.env.fs.open(&path).map_err(io_error("opening", &path))?;
        if file.len().map_err(io_error("reading", &path))? != u64::from(opening.options.segment_bytes) {
            break;
        }
        cut_off += zero(&*file, &path, 0)?;
        let fill = Fill::reopened(path, opening.options.segment_bytes.into(), 0);
        spares.put(*number, file, fill);
        kept += 1;
    }
    for number in tail.unused[kept..].iter().rev() {
        let path = path_of(opening.dir, *number);
        cut_off += written_bytes(opening, &path)?;
        opening.env.fs.remove(&path).map_err(io_error("removing", &path))?;
    }
    if kept < tail.unused.len() {
        opening.env.fs.sync_dir(opening.dir).map_err(io_error("syncing", opening.dir))?;
    }
    Ok(cut_off)
}

fn written_bytes(opening: &Opening<'_>, path: &Path) -> Result<u64, OpenError> {
    let file = opening.env.fs.open(path).map_err(io_error("opening", path))?;
    Ok(written_end(&*file, 0).map_err(io_error("reading", path))?.unwrap_or(0))
}

fn end_of(opening: &Opening<'_>, tail: &Tail) -> End {
    if let Some(active) = &tail.active {
        return End { segment: active.segment.number, offset: active.offset };
    }
    let last = opening.segments.values().next_back();
    let complete = last.and_then(|segment| Some(End { segment: segment.number, offset: segment.footer.get()?.end }));
    complete.unwrap_or(End { segment: 0, offset: 0 })
}
