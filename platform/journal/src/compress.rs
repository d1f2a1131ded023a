//! Turns a complete raw segment into a compressed one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{MaintenanceError, ReadError};
use crate::format::HEADER_BYTES;
use crate::format::compressed::{BlockEntry, Trailer, decode_block, encode_directory};
use crate::format::frame::decode_frames;
use crate::format::len_u32;
use crate::format::segment::{Footer, Header, Kind};
use crate::fs::{File, read_exact_at, write_all_at};
use crate::maintenance::failed;
use crate::segment::{Handle, Segment};
use crate::shared::Shared;

/// Frames of a segment cut into blocks: (first sequence, offset, length).
struct Cut {
    first_seq: u64,
    offset: u32,
    len: u32,
}

pub(crate) fn run(shared: &Shared, segment: &Arc<Segment>) -> Result<(), MaintenanceError> {
    let footer = *segment.footer.get().ok_or_else(|| segment.corrupt(0, "segment is not complete"))?;
    let options = &shared.options;
    let needed = u64::from(footer.end).saturating_add(options.free_reserve_bytes);
    let free = shared.env.fs.free_bytes(&shared.dir).map_err(|e| failed("looking at", shared.dir.clone(), e))?;
    if free < needed {
        return Err(MaintenanceError::NoSpace);
    }
    let source = shared.handle(segment)?;
    let bytes = read_frames(segment, &*source.file, &footer)?;
    let cuts = cut(segment, &footer, &bytes, options.block_bytes)?;

    let temporary = segment.path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let file = shared.env.fs.create(&temporary)?;
        write_file(shared, segment, &footer, &bytes, &cuts, &*file)?;
        file.sync_data()?;
        shared.env.fs.rename(&temporary, &segment.path)?;
        shared.env.fs.sync_dir(&shared.dir)
    };
    if let Err(error) = write() {
        let _ = shared.env.fs.remove(&temporary);
        return Err(failed("compressing", segment.path.clone(), error));
    }
    segment.compressed.store(true, Ordering::Relaxed);
    replace_handle(shared, segment)?;
    Ok(())
}

/// Readers that hold the raw file keep it; the next ones open the file anew.
fn replace_handle(shared: &Shared, segment: &Arc<Segment>) -> Result<(), ReadError> {
    let handle = Arc::new(Handle::open(&shared.env, segment, &shared.uuid)?);
    shared.keep_open(segment, &handle);
    Ok(())
}

fn read_frames(segment: &Segment, file: &dyn File, footer: &Footer) -> Result<Vec<u8>, ReadError> {
    let len = footer.end.checked_sub(HEADER_BYTES).ok_or_else(|| segment.corrupt(0, "segment ends in its header"))?;
    let mut bytes = vec![0; len as usize];
    read_exact_at(file, &mut bytes, HEADER_BYTES.into()).map_err(|e| segment.io(e))?;
    Ok(bytes)
}

/// Verifies every frame and cuts after the frame that fills a block: damage is found here and not wrapped in a valid file.
fn cut(segment: &Segment, footer: &Footer, bytes: &[u8], block_bytes: u32) -> Result<Vec<Cut>, ReadError> {
    let mut cuts: Vec<Cut> = Vec::new();
    let mut expected = segment.first_seq;
    let mut at = HEADER_BYTES;
    for frame in decode_frames(segment.salt, HEADER_BYTES, bytes) {
        let frame = frame.map_err(|error| segment.corrupt(at, error))?;
        if frame.header.seq != expected {
            return Err(segment.corrupt(at, format!("sequence {} instead of {expected}", frame.header.seq)));
        }
        match cuts.last_mut() {
            Some(cut) if cut.len < block_bytes => cut.len += frame.header.len,
            _ => cuts.push(Cut { first_seq: expected, offset: at, len: frame.header.len }),
        }
        at += frame.header.len;
        expected += 1;
    }
    if at != footer.end || expected != footer.last_seq.saturating_add(1) || cuts.is_empty() {
        return Err(segment.corrupt(at, "frames do not reach the footer's end"));
    }
    Ok(cuts)
}

fn write_file(
    shared: &Shared,
    segment: &Segment,
    footer: &Footer,
    bytes: &[u8],
    cuts: &[Cut],
    file: &dyn File,
) -> io::Result<()> {
    let header = Header {
        kind: Kind::Compressed,
        uuid: shared.uuid,
        segment: segment.number,
        first_seq: segment.first_seq,
        capacity: segment.capacity,
    };
    write_all_at(file, &header.encode(), 0)?;
    let mut at = u64::from(HEADER_BYTES);
    let mut entries = Vec::with_capacity(cuts.len());
    for cut in cuts {
        let from = (cut.offset - HEADER_BYTES) as usize;
        let (entry, stored) = block(segment, cut, at, &bytes[from..from + cut.len as usize])?;
        write_all_at(file, &stored, at)?;
        at += stored.len() as u64;
        entries.push(entry);
    }
    let directory = encode_directory(&entries);
    let trailer = Trailer {
        directory_offset: at,
        entries: len_u32(entries.len()),
        directory_crc: segment.salt.checksum(&[&directory]),
        footer: *footer,
    };
    write_all_at(file, &[directory, trailer.encode(segment.salt)].concat(), at)
}

fn block(segment: &Segment, cut: &Cut, file_offset: u64, raw: &[u8]) -> io::Result<(BlockEntry, Vec<u8>)> {
    let packed = lz4_flex::block::compress(raw);
    let lz4 = packed.len() < raw.len();
    let stored = if lz4 { packed } else { raw.to_vec() };
    let entry = BlockEntry {
        file_offset,
        first_seq: cut.first_seq,
        raw_offset: cut.offset,
        raw_len: cut.len,
        stored_len: len_u32(stored.len()),
        lz4,
        crc: segment.salt.checksum(&[&stored]),
    };
    // The raw file goes away after this, so what replaces it is proved to hold the same bytes.
    if decode_block(segment.salt, &entry, &stored).ok().as_deref() != Some(raw) {
        return Err(io::Error::other("compressed block does not give back its bytes"));
    }
    Ok((entry, stored))
}

/// Whether a file name is one of unfinished work.
pub(crate) fn is_temporary(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "tmp")
}
