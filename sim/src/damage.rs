//! Damage: bits that flip and files that are cut off, in every region of the journal and of the index. Each must be
//! noticed, and nothing damaged may ever be served.

mod target;
mod whole;

use std::collections::BTreeMap;

use zizon_journal::SeededRng;

pub use self::target::controls;
use self::target::{IndexTarget, JournalTarget};
use self::whole::plan;

/// How a piece of damage was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noticed {
    /// The table does not open.
    Refused,
    /// A read or the check says so.
    Reported,
    /// It was put right at the start: a copy of a watermark, an unfinished end, an index rebuilt from the journal.
    Repaired,
    /// It hit bytes that nothing rests on, which was verified: every item, every range and the whole feed are as they
    /// were, nothing is there that was never written, the check finds it whole, and the table goes on. In the journal
    /// that is the file of a segment that has not been begun, and nothing else may be.
    Harmless,
}

/// What became of all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Damage by region and by how it was noticed.
    pub regions: BTreeMap<Region, BTreeMap<Noticed, u64>>,
    /// Where the index was hit without harm.
    pub harmless: Vec<String>,
    /// The first that was served, or that took something away unnoticed.
    pub harmed: Option<String>,
}

/// A part of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Region {
    /// Segments of the journal as they were written.
    Raw,
    /// Segments that were compressed.
    Compressed,
    /// Segments that have not been begun.
    Spare,
    /// The copies of the watermark.
    Watermark,
    /// Tables of the index.
    Table,
    /// Everything else of the index: its versions, and which is the newest.
    Version,
}

impl Region {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Raw, Self::Compressed, Self::Spare, Self::Watermark, Self::Table, Self::Version];

    /// In a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "journal: segments",
            Self::Compressed => "journal: compressed segments",
            Self::Spare => "journal: segments not begun",
            Self::Watermark => "journal: watermark",
            Self::Table => "index: tables",
            Self::Version => "index: versions",
        }
    }

    /// Whether it belongs to the index.
    #[must_use]
    pub const fn is_index(self) -> bool {
        matches!(self, Self::Table | Self::Version)
    }
}

impl Report {
    /// Pieces of damage in regions for which `of` holds, by how they were noticed.
    pub fn count(&self, of: impl Fn(Region) -> bool, noticed: Noticed) -> u64 {
        let figures = self.regions.iter().filter(|(region, _)| of(**region));
        figures.filter_map(|(_, figures)| figures.get(&noticed)).sum()
    }
}

/// One piece of damage to a file of so many bytes.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip(u64),
    Cut(usize),
}

impl Harm {
    fn drawn(rng: &SeededRng, len: usize) -> Self {
        // One in eight is a file that ends early.
        if rng.below(8) == 0 {
            return Self::Cut(usize::try_from(rng.below(len as u64)).unwrap_or(0));
        }
        Self::Flip(rng.below(len as u64 * 8))
    }

    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Cut(len) => content.truncate(len),
            Self::Flip(bit) => {
                if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| content.get_mut(at)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
    }
}

/// Damages copies of one table `count` times, three of four times its journal. `progress` is told after each.
///
/// # Errors
/// The table cannot be made, or the temporary directory cannot be used.
pub fn damage(seed: u64, count: u64, progress: &mut dyn FnMut(u64)) -> Result<Report, String> {
    let rng = SeededRng::new(seed);
    let root = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let journal = JournalTarget::made(plan)?;
    let index = IndexTarget::made(root.path())?;
    let mut report = Report::default();
    for number in 0..count {
        let on_index = number % 4 == 3;
        let noticed = if on_index { index.harm(&rng) } else { journal.harm(&rng) };
        match noticed {
            Ok((region, noticed, place)) => {
                *report.regions.entry(region).or_default().entry(noticed).or_default() += 1;
                if region.is_index() && noticed == Noticed::Harmless {
                    report.harmless.push(place);
                }
            }
            Err(why) => report.harmed = report.harmed.or(Some(why)),
        }
        progress(number + 1);
    }
    Ok(report)
}
