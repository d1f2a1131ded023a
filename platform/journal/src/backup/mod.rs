//! Copying a journal, also one that another process is writing.
//!
//! The watermark is written after a batch was synced and before anything of it is acknowledged. So what it says when a copy
//! begins is a lower bound of the copy: every frame acknowledged before is at or below it. The copy then takes every whole
//! frame that follows without a gap, up to the last segment file that was there at the beginning. It ends after a whole frame
//! and gets a watermark that says exactly where, so that no opening can take its end for a torn one.
//!
//! Complete segments never change but by compression, which replaces the file as a whole: an open file stays what it was.
//! Every byte is checked on its way, so that damage is found while the original may still be mended.
//!
//! ```
//! use zizon_journal::backup::{Original, SegmentCopy, Sink, extend};
//! use zizon_journal::{Env, Fs, Journal, Options, RealFs};
//! struct Into(std::path::PathBuf);
//! impl Sink for Into {
//!     fn has(&mut self, _: &SegmentCopy) -> bool {
//!         false
//!     }
//!     fn put(&mut self, segment: &SegmentCopy, bytes: &[u8]) -> std::io::Result<()> {
//!         std::fs::write(self.0.join(segment.file_name()), bytes)
//!     }
//! }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (from, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
//! let (mut journal, _) = Journal::open(Env::real(), from.path(), Options::default())?;
//! journal.append(b"hello")?;
//! journal.sync()?;
//! let original = Original::open(Env::real(), from.path(), Options::default())?.expect("a journal is there");
//! let copied = original.copy(&mut Into(to.path().to_owned()))?;
//! std::fs::write(to.path().join("watermark"), &copied.watermark)?;
//! for segment in &copied.segments {
//!     extend(&RealFs, to.path(), segment)?;
//! }
//! let (copy, recovery) = Journal::open(Env::real(), to.path(), Options::default())?;
//! assert_eq!((copy.uuid(), recovery.last, recovery.truncated_bytes), (journal.uuid(), journal.durable(), 0));
//! # Ok(()) }
//! ```

mod read;

use std::io;
use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::error::OpenError;
use crate::format::FormatError;
use crate::format::watermark::{FILE_BYTES, Mark};
use crate::fs::Fs;
use crate::journal::Journal;
use crate::options::Options;
use crate::recover::{corrupt, format_error, io_error};
use crate::segment::{number_of, path_of};
use crate::types::Seq;
use crate::watermark;

use read::{Found, Part};

/// Attempts to read a watermark that is being written meanwhile.
const ATTEMPTS: usize = 64;

/// One segment as it was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentCopy {
    /// Its number.
    pub number: u64,
    /// Sequence of its first frame.
    pub first_seq: u64,
    /// Sequence of its last frame.
    pub last_seq: u64,
    /// Time of its last frame, ms since the epoch.
    pub last_at_ms: u64,
    /// Offset (uncompressed) after its last frame.
    pub end: u32,
    /// Size of the raw file.
    pub capacity: u32,
    /// Whether nothing will ever be added to it.
    pub complete: bool,
    /// Whether the file is a compressed one.
    pub compressed: bool,
}

impl SegmentCopy {
    /// Name of the file in a journal's directory.
    #[must_use]
    pub fn file_name(&self) -> String {
        path_of(Path::new(""), self.number).display().to_string()
    }
}

/// Where a copy goes.
pub trait Sink {
    /// Whether this complete segment was copied before and is still there; then it is not read again.
    fn has(&mut self, segment: &SegmentCopy) -> bool;
    /// Takes the content of a segment's file. One that is not complete is cut off after its last frame: see [`extend`].
    ///
    /// # Errors
    /// End the copy.
    fn put(&mut self, segment: &SegmentCopy, bytes: &[u8]) -> io::Result<()>;
}

/// What a copy consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The journal's id.
    pub uuid: [u8; 16],
    /// First sequence that is there (1 for an empty journal).
    pub first: Seq,
    /// Last sequence that is there, 0 when there is none.
    pub last: Seq,
    /// Its segments. What was put besides was given up by retention meanwhile.
    pub segments: Vec<SegmentCopy>,
    /// Content of the copy's watermark file.
    pub watermark: Vec<u8>,
}

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The original is damaged or cannot be read.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The copy could not be written.
    #[error("segment {segment} was not written")]
    Put {
        /// Number of the segment.
        segment: u64,
        /// What the sink said.
        #[source]
        source: io::Error,
    },
}

/// A journal to be copied.
pub struct Original {
    env: Env,
    dir: PathBuf,
    mark: Mark,
    /// The last segment file at the beginning: bounds a copy of a journal that grows as fast as it is copied.
    limit: u64,
}

impl Original {
    /// Looks where the journal in `dir` ends at this moment. `None` when there is no journal.
    ///
    /// A journal that nobody owns is opened and closed, as any start does: after a loss of power the watermark lags, and what
    /// is whole behind it belongs to the journal.
    ///
    /// # Errors
    /// `Corrupt`, `Version`, `Options`, `Io`.
    pub fn open(env: Env, dir: &Path, options: Options) -> Result<Option<Self>, OpenError> {
        match env.fs.list(dir) {
            Ok(names) if names.iter().any(|name| name == watermark::NAME) => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("listing", dir)(error)),
        }
        match Journal::open(env.clone(), dir, options) {
            Ok(_) | Err(OpenError::Locked { .. }) => {}
            Err(error) => return Err(error),
        }
        let mark = read_mark(&env, dir)?;
        let names = env.fs.list(dir).map_err(io_error("listing", dir))?;
        let limit = names.iter().filter_map(|name| number_of(name)).max().unwrap_or(0);
        Ok(Some(Self { env, dir: dir.to_path_buf(), mark, limit }))
    }

    /// The journal's id.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.mark.uuid
    }

    /// What was durable at the beginning: a copy reaches at least so far.
    #[must_use]
    pub fn durable(&self) -> Seq {
        Seq(self.mark.seq)
    }

    /// Segments with durable frames at the beginning.
    #[must_use]
    pub fn segments(&self) -> u64 {
        if self.mark.segment == 0 { 0 } else { self.mark.segment + 1 - self.mark.first_segment }
    }

    /// Copies every whole frame up to the first that is not there, and at least up to [`Self::durable`].
    ///
    /// # Errors
    /// `Journal` when the original is damaged or cannot be read, `Put` when the copy cannot be written.
    pub fn copy(&self, sink: &mut dyn Sink) -> Result<Copied, BackupError> {
        let (mut first_segment, mut limit) = (self.mark.first_segment, self.limit);
        let mut segments: Vec<SegmentCopy> = Vec::new();
        let mut number = first_segment;
        while number <= limit {
            match read::part(self, number)? {
                Found::Part(mut part) => {
                    let segment = self.take(&mut part, segments.last(), sink)?;
                    segments.push(segment);
                    if !segment.complete {
                        break;
                    }
                    number += 1;
                }
                Found::Nothing => break,
                Found::Gone => {
                    let mark = self.given_up(number)?;
                    // Retention may have left nothing of what there was at the beginning.
                    (first_segment, limit) = (mark.first_segment, limit.max(mark.segment));
                    segments.retain(|segment| segment.number >= first_segment);
                    number = first_segment;
                }
            }
        }
        Ok(self.finish(first_segment, segments)?)
    }

    /// Hands one segment over, unless it was before.
    fn take(
        &self,
        part: &mut Part,
        before: Option<&SegmentCopy>,
        sink: &mut dyn Sink,
    ) -> Result<SegmentCopy, BackupError> {
        let segment = part.segment;
        if let Some(before) = before
            && before.last_seq.saturating_add(1) != segment.first_seq
        {
            let reason = format!("segment begins with sequence {} after {}", segment.first_seq, before.last_seq);
            return Err(corrupt(&path_of(&self.dir, segment.number), 0, reason).into());
        }
        if segment.complete && sink.has(&segment) {
            return Ok(segment);
        }
        let bytes = read::verified(part)?;
        sink.put(&segment, &bytes).map_err(|source| BackupError::Put { segment: segment.number, source })?;
        Ok(segment)
    }

    /// Segment `number` is gone: the mark that says that retention has given it up.
    fn given_up(&self, number: u64) -> Result<Mark, OpenError> {
        let mark = read_mark(&self.env, &self.dir)?;
        let given_up = mark.first_segment > number;
        if given_up { Ok(mark) } else { Err(corrupt(&path_of(&self.dir, number), 0, "segment is missing")) }
    }

    fn finish(&self, first_segment: u64, segments: Vec<SegmentCopy>) -> Result<Copied, OpenError> {
        let (first, last) = match (segments.first(), segments.last()) {
            (Some(first), Some(last)) => (first.first_seq, *last),
            _ => (1, NOTHING),
        };
        if last.last_seq < self.mark.seq {
            let reason = format!("frame {} was durable, yet the frames end at {}", self.mark.seq, last.last_seq);
            return Err(corrupt(&path_of(&self.dir, last.number), last.end.into(), reason));
        }
        let mark = Mark {
            uuid: self.mark.uuid,
            generation: 2,
            seq: last.last_seq,
            segment: last.number,
            first_segment,
            offset: last.end,
        };
        Ok(Copied {
            uuid: mark.uuid,
            first: Seq(first),
            last: Seq(last.last_seq),
            segments,
            watermark: [mark, Mark { generation: 1, ..mark }].map(|mark| mark.encode()).concat(),
        })
    }
}

/// The end of an empty journal.
const NOTHING: SegmentCopy = SegmentCopy {
    number: 0,
    first_seq: 1,
    last_seq: 0,
    last_at_ms: 0,
    end: 0,
    capacity: 0,
    complete: false,
    compressed: false,
};

/// Gives a segment that was cut off after its last frame the size it had, allocated as the journal's writer expects it.
///
/// # Errors
/// Those of the operating system, `StorageFull` among them.
pub fn extend(fs: &dyn Fs, dir: &Path, segment: &SegmentCopy) -> io::Result<()> {
    if segment.complete {
        return Ok(());
    }
    let file = fs.open(&dir.join(segment.file_name()))?;
    file.allocate(segment.capacity.into())?;
    file.sync_data()
}

/// The mark in force. Its writer replaces the slots in turn: at any moment at least one is whole, but not always the same.
fn read_mark(env: &Env, dir: &Path) -> Result<Mark, OpenError> {
    let path = watermark::path_in(dir);
    let mut last = FormatError::Short;
    for _ in 0..ATTEMPTS {
        let file = env.fs.open(&path).map_err(io_error("opening", &path))?;
        let mut bytes = [0; FILE_BYTES];
        crate::fs::read_exact_at(&*file, &mut bytes, 0).map_err(io_error("reading", &path))?;
        match crate::format::watermark::decode_file(&bytes) {
            Ok((mark, _)) => return Ok(mark),
            Err(error) => last = error,
        }
    }
    Err(format_error(&path, 0, last))
}
