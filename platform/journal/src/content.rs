//! What was written into a segment file, without the allocated zeros behind it.

use std::io;
use std::path::Path;

use crate::error::OpenError;
use crate::format::HEADER_BYTES;
use crate::format::segment::FOOTER_BYTES;
use crate::fs::{File, read_exact_at};
use crate::recover::{corrupt, io_error};

/// Largest file that can be a segment, in bytes.
const LEN_MAX: u64 = 1 << 30;

pub(crate) struct Content {
    /// The file up to the last byte that may not be zero.
    pub(crate) bytes: Vec<u8>,
    /// Length of the file.
    pub(crate) len: usize,
}

impl Content {
    pub(crate) fn read(file: &dyn File, path: &Path) -> Result<Self, OpenError> {
        let len = file.len().map_err(io_error("reading", path))?;
        if len > LEN_MAX {
            return Err(corrupt(path, 0, "file is longer than a segment can be"));
        }
        let bytes = read_written(file, len).map_err(io_error("reading", path))?;
        let len = usize::try_from(len).map_err(|_| corrupt(path, 0, "file does not fit into memory"))?;
        Ok(Self { bytes, len })
    }

    /// The part that holds frames.
    pub(crate) fn frames(&self) -> &[u8] {
        let end = self.bytes.len().min(self.len.saturating_sub(FOOTER_BYTES as usize));
        self.bytes.get(HEADER_BYTES as usize..end).unwrap_or_default()
    }

    /// The last 64 bytes of the file.
    pub(crate) fn footer(&self) -> [u8; FOOTER_BYTES as usize] {
        let mut footer = [0; FOOTER_BYTES as usize];
        let written = self.bytes.get(self.len.saturating_sub(footer.len())..).unwrap_or_default();
        footer[..written.len()].copy_from_slice(written);
        footer
    }
}

fn read_written(file: &dyn File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(range) = file.written(at)? {
        let (start, end) = (range.start.max(at), range.end.min(len));
        if start >= end {
            break;
        }
        let [from, to] = [start, end].map(|offset| usize::try_from(offset).unwrap_or(usize::MAX));
        bytes.resize(to, 0);
        read_exact_at(file, &mut bytes[from..to], start)?;
        at = end;
    }
    Ok(bytes)
}
