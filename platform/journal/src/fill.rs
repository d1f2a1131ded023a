//! Writing zeros ahead of the writer.
//!
//! `fallocate` reserves blocks but marks them as unwritten. The first write to one changes the file's extents, so each
//! `fdatasync` of a log that only appends also writes metadata: a second write to the disk, and with a file system that
//! has a journal a commit of that. Blocks that hold zeros already cost neither. Measured on ext4, 16 KiB per sync: 200 us
//! and 57 us of CPU on allocated blocks, 130 us and 41 us on zeroed ones.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::env::Env;
use crate::fs::{File, write_all_at};

/// Written under the lock at once; a batch waits for one of these at most.
const CHUNK: usize = 256 << 10;
/// Chunks between two syncs.
const CHUNKS_PER_STEP: usize = 4;
/// How far ahead of the writer it begins.
const LEAD: u64 = 1 << 20;

/// The zeroing of one segment file.
pub(crate) struct Fill {
    path: PathBuf,
    len: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A handle of its own: a failed sync is told once per handle, and must be told to the writer.
    file: Option<Arc<dyn File>>,
    /// Zeroed up to here.
    next: u64,
    /// The writer's, never touched again.
    claimed: u64,
    /// All of it may be zeroed already.
    unsure: bool,
    done: bool,
}

impl Fill {
    /// Of the file at `path`, `len` bytes long, of which nothing was ever written.
    pub(crate) fn fresh(path: PathBuf, len: u64) -> Self {
        Self { path, len, state: Mutex::default() }
    }

    /// Of a file that holds frames up to `claimed` and may have been zeroed by an earlier process.
    pub(crate) fn reopened(path: PathBuf, len: u64, claimed: u64) -> Self {
        Self { path, len, state: Mutex::new(State { claimed, unsure: true, ..State::default() }) }
    }

    /// The writer is about to write up to `end`. Zeros are never written below it from here on.
    pub(crate) fn claim(&self, end: u64) {
        let mut state = self.state.lock();
        state.claimed = state.claimed.max(end);
    }

    /// Zeroes a piece, durably. `false` when nothing is left to do.
    pub(crate) fn step(&self, env: &Env) -> io::Result<bool> {
        let Some(file) = self.file(env)? else { return Ok(false) };
        let zeros = vec![0; CHUNK];
        for _ in 0..CHUNKS_PER_STEP {
            let mut state = self.state.lock();
            let from = state.next.max(state.claimed.saturating_add(if state.claimed == 0 { 0 } else { LEAD }));
            let part = usize::try_from(self.len.saturating_sub(from)).map_or(CHUNK, |left| left.min(CHUNK));
            if part == 0 {
                state.done = true;
                break;
            }
            write_all_at(&*file, &zeros[..part], from)?;
            state.next = from + part as u64;
        }
        file.sync_data()?;
        Ok(!self.state.lock().done)
    }

    fn file(&self, env: &Env) -> io::Result<Option<Arc<dyn File>>> {
        let mut state = self.state.lock();
        if state.done {
            return Ok(None);
        }
        if let Some(file) = &state.file {
            return Ok(Some(Arc::clone(file)));
        }
        let file = env.fs.open(&self.path)?;
        if std::mem::take(&mut state.unsure) {
            let written = file.written(state.claimed)?;
            if written.is_some_and(|range| range.start <= state.claimed && range.end >= self.len) {
                state.done = true;
                return Ok(None);
            }
        }
        state.file = Some(Arc::clone(&file));
        Ok(Some(file))
    }

    /// Gives up, for good.
    pub(crate) fn give_up(&self) {
        self.state.lock().done = true;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fs::{Fs, MemFs};

    #[test]
    fn zeros_never_reach_what_the_writer_has_claimed() {
        let fs = MemFs::new(64 << 20);
        let env = Env { fs: Arc::new(fs.clone()), ..Env::real() };
        let path = Path::new("/segment");
        let len = 8 << 20;
        let file = fs.create(path).unwrap();
        file.allocate(len).unwrap();
        let fill = Fill::fresh(path.to_owned(), len);
        let mut at = 0;
        // The writer overtakes it, is overtaken, and jumps to the end as a footer does.
        for (claim, more) in [(100, true), (3 << 20, true), (3_500_000, true), (len, false)] {
            fill.claim(claim);
            write_all_at(&*file, &vec![7; usize::try_from(claim - at).unwrap()], at).unwrap();
            at = claim;
            assert_eq!(fill.step(&env).unwrap(), more);
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        crate::fs::read_exact_at(&*file, &mut bytes, 0).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        assert!(!fill.step(&env).unwrap());
    }
}
