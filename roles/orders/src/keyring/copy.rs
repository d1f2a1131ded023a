//! Copying the file of users' keys while the role may be writing it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::slot::{HEADER, SLOT, Slot, header, offset};

/// Slots read at a time.
const STEP: u32 = 1024;
/// Looks at a slot that is no slot, and the pause between two. A write of 96 bytes is over long before.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// Writes the file of users' keys at `path` to `out`, slot by slot as a whole; returns the number of bytes.
///
/// A user's key is durable before the first order that needs it, so a copy made after one of the journal opens every order
/// in that one, but for users who were erased. A slot that was damaged before stays so.
///
/// # Errors
/// `InvalidData` when it is no such file; those of reading and writing.
pub fn copy(path: &Path, out: &mut dyn Write) -> io::Result<u64> {
    let file = File::open(path)?;
    let mut head = [0; HEADER];
    file.read_exact_at(&mut head, 0)?;
    if head != header() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of users' keys that this version knows"));
    }
    out.write_all(&head)?;
    let slots = (file.metadata()?.len() - HEADER as u64) / SLOT as u64;
    let slots = u32::try_from(slots).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "too long"))?;
    let mut bytes = vec![0; STEP as usize * SLOT];
    for from in (0..slots).step_by(STEP as usize) {
        let part = &mut bytes[..(slots - from).min(STEP) as usize * SLOT];
        file.read_exact_at(part, offset(from))?;
        for (slot, bytes) in (from..).zip(part.chunks_exact_mut(SLOT)) {
            settle(&file, slot, bytes)?;
        }
        out.write_all(part)?;
    }
    Ok(offset(slots))
}

/// Reads a slot again that was read in the middle of being written.
fn settle(file: &File, slot: u32, bytes: &mut [u8]) -> io::Result<()> {
    for _ in 0..LOOKS {
        let whole: &[u8; SLOT] = (&*bytes).try_into().map_err(io::Error::other)?;
        if Slot::decode(whole) != Slot::Damaged {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
        file.read_exact_at(bytes, offset(slot))?;
    }
    Ok(())
}
