//! The open watermark file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::Env;
use crate::error::OpenError;
use crate::format::FormatError;
use crate::format::watermark::{FILE_BYTES, Mark, decode_file};
use crate::fs::{File, read_exact_at, write_all_at};
use crate::recover::{corrupt, format_error, io_error};

pub(crate) const NAME: &str = "watermark";

pub(crate) struct WatermarkFile {
    file: Arc<dyn File>,
    mark: Mark,
}

impl WatermarkFile {
    /// Creates the file of an empty journal, durably and as a whole.
    pub(crate) fn create(env: &Env, dir: &Path) -> Result<Self, OpenError> {
        let (path, temporary) = (path_in(dir), dir.join("watermark.tmp"));
        let mut uuid = [0; 16];
        env.rng.fill(&mut uuid);
        let mark = Mark { uuid, generation: 1, seq: 0, segment: 0, first_segment: 1, offset: 0 };
        let write = || -> io::Result<Arc<dyn File>> {
            let file = env.fs.create(&temporary)?;
            let older = Mark { generation: 0, ..mark };
            write_all_at(&*file, &[older.encode(), mark.encode()].concat(), 0)?;
            file.sync_data()?;
            env.fs.rename(&temporary, &path)?;
            env.fs.sync_dir(dir)?;
            Ok(file)
        };
        let file = write().map_err(io_error("creating", &path))?;
        Ok(Self { file, mark })
    }

    /// Opens the file and returns how many of its slots were unreadable.
    pub(crate) fn open(env: &Env, dir: &Path) -> Result<(Self, u32), OpenError> {
        let path = path_in(dir);
        let file = env.fs.open(&path).map_err(io_error("opening", &path))?;
        let len = file.len().map_err(io_error("reading", &path))?;
        if len != FILE_BYTES as u64 {
            return Err(corrupt(&path, 0, format!("{len} bytes instead of {FILE_BYTES}")));
        }
        let mut bytes = vec![0; FILE_BYTES];
        read_exact_at(&*file, &mut bytes, 0).map_err(io_error("reading", &path))?;
        let (mark, unreadable) = decode_file(&bytes).map_err(|error: FormatError| format_error(&path, 0, error))?;
        Ok((Self { file, mark }, unreadable))
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Records a durable end. Not synced: the kernel keeps it over a crash of the process, and after a crash of the machine
    /// an older mark only means that more is scanned.
    pub(crate) fn advance(&mut self, seq: u64, segment: u64, offset: u32) -> io::Result<()> {
        self.write(Mark { seq, segment, offset, ..self.mark })
    }

    /// Records, durably and in both slots, which segment is the oldest, so that its removal is not taken for a loss.
    pub(crate) fn retain_from(&mut self, first_segment: u64) -> io::Result<()> {
        self.write(Mark { first_segment, ..self.mark })?;
        self.rewrite()
    }

    /// Writes the mark into both slots and syncs.
    pub(crate) fn rewrite(&mut self) -> io::Result<()> {
        self.write(self.mark)?;
        self.write(self.mark)?;
        self.sync()
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&mut self, mut mark: Mark) -> io::Result<()> {
        mark.generation = self.mark.generation.saturating_add(1);
        write_all_at(&*self.file, &mark.encode(), mark.slot_offset())?;
        self.mark = mark;
        Ok(())
    }
}

pub(crate) fn path_in(dir: &Path) -> PathBuf {
    dir.join(NAME)
}
