//! Opening a journal.
//!
//! Segments before the one in the watermark are complete: their header and footer (or trailer) are checked, not their frames.
//! From the watermark's segment on everything is walked ([`crate::tail`]), then repaired ([`crate::repair`]).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compress::is_temporary;
use crate::env::Env;
use crate::error::OpenError;
use crate::format::segment::{Footer, Kind};
use crate::format::{FormatError, VERSION};
use crate::fs::LockError;
use crate::journal::{LastFrame, Start};
use crate::options::Options;
use crate::repair;
use crate::segment::{Segment, number_of, path_of, read_footer, read_header, read_trailer};
use crate::shared::Shared;
use crate::spare::Spares;
use crate::tail::{self, Tail};
use crate::types::{Recovery, Seq};
use crate::watermark::{self, WatermarkFile};

pub(crate) fn corrupt(file: &Path, offset: u64, reason: impl Into<String>) -> OpenError {
    OpenError::Corrupt { file: file.to_path_buf(), offset, reason: reason.into() }
}

pub(crate) fn io_error(what: &'static str, file: &Path) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let file = file.to_path_buf();
    move |source| OpenError::Io { what, file, source }
}

pub(crate) fn format_error(file: &Path, offset: u64, error: FormatError) -> OpenError {
    match error {
        FormatError::Version(found) => OpenError::Version { file: file.to_path_buf(), found, supported: VERSION },
        other => corrupt(file, offset, other),
    }
}

/// What is known while opening.
pub(crate) struct Opening<'a> {
    pub(crate) env: &'a Env,
    pub(crate) dir: &'a Path,
    pub(crate) options: &'a Options,
    pub(crate) uuid: [u8; 16],
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) last: LastFrame,
    /// Sequence the next segment has to begin with; `None` before the first retained one.
    pub(crate) next_seq: Option<u64>,
}

pub(crate) fn open(env: Env, dir: &Path, options: Options) -> Result<(Start, Recovery), OpenError> {
    create_dir(&env, dir)?;
    let lock = env.fs.lock(&dir.join("LOCK")).map_err(|error| match error {
        LockError::Held { pid } => OpenError::Locked { pid },
        LockError::Io(source) => OpenError::Io { what: "locking", file: dir.join("LOCK"), source },
    })?;
    let names = env.fs.list(dir).map_err(io_error("listing", dir))?;
    for name in names.iter().filter(|name| is_temporary(name)) {
        let path = dir.join(name);
        env.fs.remove(&path).map_err(io_error("removing", &path))?;
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();

    let created = !names.iter().any(|name| name == watermark::NAME);
    if created && !numbers.is_empty() {
        return Err(corrupt(&watermark::path_in(dir), 0, "missing, although there are segments"));
    }
    let (mut mark_file, repaired_slots) =
        if created { (WatermarkFile::create(&env, dir)?, 0) } else { WatermarkFile::open(&env, dir)? };
    let mark = *mark_file.mark();
    finish_retention(&env, dir, &mut numbers, mark.first_segment)?;
    check_complete(dir, &numbers, mark.first_segment, mark.segment)?;

    let mut opening = Opening {
        env: &env,
        dir,
        options: &options,
        uuid: mark.uuid,
        segments: BTreeMap::new(),
        last: LastFrame::default(),
        next_seq: (mark.segment == 0).then_some(1),
    };
    let tail_from = numbers.partition_point(|number| *number < mark.segment);
    for number in &numbers[..tail_from] {
        opening.add_sealed(*number)?;
    }
    let tail = tail::walk(&mut opening, &numbers[tail_from..], &mark)?;
    let spares = Spares::default();
    let truncated_bytes = repair::run(&opening, &tail, &mut mark_file, &spares, repaired_slots > 0)?;

    let Opening { segments, last, .. } = opening;
    let Tail { active, next_segment, next_seq, .. } = tail;
    if let Some(active) = &active {
        spares.fill_first(&active.fill);
    }
    let recovery = Recovery {
        first: segments.values().next().map_or(Seq(1), |segment| Seq(segment.first_seq)),
        last: Seq(next_seq - 1),
        truncated_bytes,
        recovered_frames: (next_seq - 1).saturating_sub(mark.seq),
        repaired_slots,
        created,
    };
    let shared = Arc::new(Shared::new(env, dir.to_path_buf(), options, mark_file, spares, segments));
    report(dir, &recovery);
    Ok((Start { shared, lock, active, next_segment, next_seq, last }, recovery))
}

fn report(dir: &Path, recovery: &Recovery) {
    let Recovery { first, last, truncated_bytes, recovered_frames, repaired_slots, created } = *recovery;
    tracing::info!(
        dir = %dir.display(), first = first.0, last = last.0, truncated_bytes, recovered_frames, repaired_slots, created,
        "journal opened"
    );
}

fn create_dir(env: &Env, dir: &Path) -> Result<(), OpenError> {
    env.fs.create_dir_all(dir).map_err(io_error("creating", dir))?;
    // The entry of the directory itself; a relative one-part path has its parent in the working directory.
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    env.fs.sync_dir(&parent).map_err(io_error("syncing", &parent))
}

/// Removes what an interrupted call of `retain_from` has given up.
fn finish_retention(env: &Env, dir: &Path, numbers: &mut Vec<u64>, first: u64) -> Result<(), OpenError> {
    let given_up = numbers.partition_point(|number| *number < first);
    for number in numbers.drain(..given_up) {
        let path = path_of(dir, number);
        env.fs.remove(&path).map_err(io_error("removing", &path))?;
    }
    if given_up > 0 {
        env.fs.sync_dir(dir).map_err(io_error("syncing", dir))?;
    }
    Ok(())
}

/// Every segment from the oldest retained one to the one in the watermark has to be there.
fn check_complete(dir: &Path, numbers: &[u64], first: u64, last: u64) -> Result<(), OpenError> {
    let missing = |number: u64| corrupt(&path_of(dir, number), 0, "segment is missing");
    for (number, expected) in numbers.iter().zip(first..) {
        if *number != expected {
            return Err(missing(expected));
        }
    }
    let next = first + numbers.len() as u64;
    if next <= last { Err(missing(next)) } else { Ok(()) }
}

impl Opening<'_> {
    pub(crate) fn segment_io(&self, number: u64) -> impl FnOnce(io::Error) -> OpenError + use<> {
        io_error("reading", &path_of(self.dir, number))
    }

    /// Adds a segment that has to be complete, without walking its frames.
    pub(crate) fn add_sealed(&mut self, number: u64) -> Result<(), OpenError> {
        let path = path_of(self.dir, number);
        let file = self.env.fs.open(&path).map_err(io_error("opening", &path))?;
        let header = read_header(&*file).map_err(self.segment_io(number))?.map_err(|e| format_error(&path, 0, e))?;
        self.check_header(number, &path, header.uuid, header.segment, header.first_seq)?;
        let salt = crate::format::frame::Salt::of(&self.uuid, number);
        let footer = match header.kind {
            Kind::Raw => read_footer(&*file, salt, header.capacity).map_err(self.segment_io(number))?,
            Kind::Compressed => {
                read_trailer(&*file, salt).map_err(self.segment_io(number))?.map(|trailer| trailer.footer)
            }
        };
        let end = u64::from(header.capacity);
        let footer = footer.map_err(|error| corrupt(&path, end, format!("segment is not complete: {error}")))?;
        if footer.last_seq < header.first_seq || footer.end > header.capacity {
            return Err(corrupt(&path, end, "footer contradicts the header"));
        }
        self.add_complete(Segment::sealed(self.dir, &self.uuid, &header, footer), &footer);
        Ok(())
    }

    pub(crate) fn add_complete(&mut self, segment: Segment, footer: &Footer) {
        self.next_seq = Some(footer.last_seq.saturating_add(1));
        self.last = LastFrame { at_ms: footer.last_at_ms, epoch: footer.epoch };
        self.segments.insert(segment.number, Arc::new(segment));
    }

    pub(crate) fn check_header(
        &self,
        number: u64,
        path: &Path,
        uuid: [u8; 16],
        segment: u64,
        first_seq: u64,
    ) -> Result<(), OpenError> {
        if uuid != self.uuid {
            return Err(corrupt(path, 0, "segment belongs to another journal"));
        }
        if segment != number {
            return Err(corrupt(path, 0, format!("file holds segment {segment}")));
        }
        match self.next_seq {
            Some(expected) if expected != first_seq => {
                Err(corrupt(path, 0, format!("segment begins with sequence {first_seq} instead of {expected}")))
            }
            _ => Ok(()),
        }
    }
}
