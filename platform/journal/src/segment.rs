//! One segment as readers see it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::env::Env;
use crate::error::ReadError;
use crate::format::compressed::{BlockEntry, ENTRY_BYTES, TRAILER_BYTES, Trailer, decode_block, decode_directory};
use crate::format::frame::Salt;
use crate::format::segment::{FOOTER_BYTES, Footer, Header, Kind};
use crate::format::{FormatError, HEADER_BYTES};
use crate::fs::{File, read_exact_at};

const SUFFIX: &str = ".seg";
/// Distance between entries of the in-memory index of a raw segment, in bytes.
const INDEX_STEP: u32 = 64 << 10;

pub(crate) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}{SUFFIX}"))
}

/// The number in a segment's file name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first_seq: u64,
    pub(crate) salt: Salt,
    pub(crate) path: PathBuf,
    /// Size of the raw file.
    pub(crate) capacity: u32,
    /// Set once the segment is complete.
    pub(crate) footer: OnceLock<Footer>,
    pub(crate) compressed: AtomicBool,
    handle: Mutex<Option<Arc<Handle>>>,
    /// Ascending (sequence, offset), sparse.
    index: Mutex<Vec<(u64, u32)>>,
}

impl Segment {
    pub(crate) fn new(dir: &Path, uuid: &[u8; 16], number: u64, first_seq: u64, capacity: u32) -> Self {
        Self {
            number,
            first_seq,
            salt: Salt::of(uuid, number),
            path: path_of(dir, number),
            capacity,
            footer: OnceLock::new(),
            compressed: AtomicBool::new(false),
            handle: Mutex::new(None),
            index: Mutex::new(Vec::new()),
        }
    }

    /// A complete segment.
    pub(crate) fn sealed(dir: &Path, uuid: &[u8; 16], header: &Header, footer: Footer) -> Self {
        let segment = Self::new(dir, uuid, header.segment, header.first_seq, header.capacity);
        segment.compressed.store(header.kind == Kind::Compressed, Ordering::Relaxed);
        segment.footer.get_or_init(|| footer);
        segment
    }

    /// Remembers where a frame is, if the last remembered one is far enough away.
    pub(crate) fn note(&self, seq: u64, offset: u32) {
        let mut index = self.index.lock();
        if index.last().is_none_or(|(s, o)| *s < seq && offset - *o >= INDEX_STEP) {
            index.push((seq, offset));
        }
    }

    /// The last remembered frame at or before `seq`.
    pub(crate) fn nearest(&self, seq: u64) -> (u64, u32) {
        let index = self.index.lock();
        let after = index.partition_point(|(s, _)| *s <= seq);
        after.checked_sub(1).map_or((self.first_seq, HEADER_BYTES), |at| index[at])
    }

    /// The open handle, if there is one.
    pub(crate) fn cached_handle(&self) -> Option<Arc<Handle>> {
        self.handle.lock().clone()
    }

    pub(crate) fn set_handle(&self, handle: Option<Arc<Handle>>) {
        *self.handle.lock() = handle;
    }

    pub(crate) fn corrupt(&self, offset: u32, reason: impl Into<String>) -> ReadError {
        ReadError::Corrupt { file: self.path.clone(), offset: offset.into(), reason: reason.into() }
    }

    pub(crate) fn io(&self, source: io::Error) -> ReadError {
        ReadError::Io { file: self.path.clone(), source }
    }
}

/// An open segment file. Whoever holds one can go on reading after the file was replaced or removed.
pub(crate) struct Handle {
    pub(crate) file: Arc<dyn File>,
    pub(crate) layout: Layout,
}

pub(crate) enum Layout {
    Raw,
    Compressed(Compressed),
}

pub(crate) struct Compressed {
    pub(crate) trailer: Trailer,
    directory: OnceLock<Vec<BlockEntry>>,
}

impl Handle {
    pub(crate) fn raw(file: Arc<dyn File>) -> Self {
        Self { file, layout: Layout::Raw }
    }

    /// Opens a complete segment. The file says itself whether it is raw or compressed.
    pub(crate) fn open(env: &Env, segment: &Segment, uuid: &[u8; 16]) -> Result<Self, ReadError> {
        let file = env.fs.open(&segment.path).map_err(|e| segment.io(e))?;
        let bad = |offset: u64, reason: &dyn ToString| ReadError::Corrupt {
            file: segment.path.clone(),
            offset,
            reason: reason.to_string(),
        };
        let header = read_header(&*file).map_err(|e| segment.io(e))?.map_err(|e| bad(0, &e))?;
        if header.uuid != *uuid || header.segment != segment.number || header.first_seq != segment.first_seq {
            return Err(bad(0, &"header of another segment"));
        }
        let layout = match header.kind {
            Kind::Raw => Layout::Raw,
            Kind::Compressed => {
                let trailer = read_trailer(&*file, segment.salt).map_err(|e| segment.io(e))?;
                let trailer = trailer.map_err(|e| bad(0, &format!("trailer: {e}")))?;
                Layout::Compressed(Compressed { trailer, directory: OnceLock::new() })
            }
        };
        Ok(Self { file, layout })
    }
}

impl Compressed {
    /// The directory, read on first use.
    pub(crate) fn directory(&self, segment: &Segment, file: &dyn File) -> Result<&[BlockEntry], ReadError> {
        if let Some(directory) = self.directory.get() {
            return Ok(directory);
        }
        let mut bytes = vec![0; self.trailer.entries as usize * ENTRY_BYTES];
        read_exact_at(file, &mut bytes, self.trailer.directory_offset).map_err(|e| segment.io(e))?;
        let entries = decode_directory(segment.salt, &self.trailer, &bytes)
            .map_err(|error| segment.corrupt(0, format!("directory: {error}")))?;
        Ok(self.directory.get_or_init(|| entries))
    }

    /// Reads and verifies one block.
    pub(crate) fn block(&self, segment: &Segment, file: &dyn File, entry: &BlockEntry) -> Result<Bytes, ReadError> {
        let mut stored = vec![0; entry.stored_len as usize];
        read_exact_at(file, &mut stored, entry.file_offset).map_err(|e| segment.io(e))?;
        let raw =
            decode_block(segment.salt, entry, &stored).map_err(|error| segment.corrupt(entry.raw_offset, error))?;
        Ok(Bytes::from(raw))
    }
}

/// Reads the header; the outer error is the file system's.
pub(crate) fn read_header(file: &dyn File) -> io::Result<Result<Header, FormatError>> {
    let mut bytes = vec![0; HEADER_BYTES as usize];
    match read_exact_at(file, &mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(FormatError::Short)),
        Err(error) => Err(error),
        Ok(()) => Ok(Header::decode(&bytes)),
    }
}

/// Reads the footer of a raw segment of `capacity` bytes.
pub(crate) fn read_footer(file: &dyn File, salt: Salt, capacity: u32) -> io::Result<Result<Footer, FormatError>> {
    let mut bytes = [0; FOOTER_BYTES as usize];
    match read_exact_at(file, &mut bytes, u64::from(capacity.saturating_sub(FOOTER_BYTES))) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(FormatError::Short)),
        Err(error) => Err(error),
        Ok(()) => Ok(Footer::decode(salt, &bytes)),
    }
}

/// Reads the trailer of a compressed segment.
pub(crate) fn read_trailer(file: &dyn File, salt: Salt) -> io::Result<Result<Trailer, FormatError>> {
    let len = file.len()?;
    let Some(at) = len.checked_sub(TRAILER_BYTES as u64) else { return Ok(Err(FormatError::Short)) };
    let mut bytes = [0; TRAILER_BYTES];
    read_exact_at(file, &mut bytes, at)?;
    Ok(Trailer::decode(salt, &bytes, len))
}
