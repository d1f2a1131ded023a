//! Two indexes side by side.

use std::cmp::Ordering;

use bytes::Bytes;
use zizon_journal::Reader;

use super::{FsckHooks, FsckProgress, FsckReport, FsckStep};
use crate::codec::decode_image;
use crate::index::{IndexError, IndexRange, Slot, from_index_key};
use crate::model::item::Item;
use crate::model::key::Key;

/// Items between two reports of progress.
const REPORT_EVERY: u64 = 16_384;
/// Differences after which one more thing that cannot be read ends the check.
const MAX_UNREADABLE: u64 = 1_000;

/// One thing on which journal and index do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The journal has an item that the index does not.
    OnlyInJournal {
        /// Its key.
        key: String,
    },
    /// The index has an item that the journal does not.
    OnlyInIndex {
        /// Its key.
        key: String,
    },
    /// Both have the item, but not the same.
    Differs {
        /// Its key.
        key: String,
        /// Its attributes that differ: name, by the journal, by the index.
        attributes: Vec<String>,
    },
    /// Something cannot be read.
    Unreadable {
        /// What, and why.
        what: String,
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OnlyInJournal { key } => write!(f, "item {key} is in the journal but not in the index"),
            Self::OnlyInIndex { key } => write!(f, "item {key} is in the index but not in the journal"),
            Self::Differs { key, attributes } => write!(f, "item {key} differs in {}", attributes.join(", ")),
            Self::Unreadable { what } => f.write_str(what),
        }
    }
}

type Entry = Result<(Vec<u8>, Vec<u8>), IndexError>;

/// Compares what the journal says with what the index says, and notes differences in the report.
pub(super) fn compare(
    reader: &Reader,
    journal: IndexRange,
    index: IndexRange,
    max_differences: usize,
    hooks: &mut FsckHooks<'_>,
    report: &mut FsckReport,
) {
    let mut journal = journal.filter(is_item).peekable();
    let mut index = index.filter(is_item).peekable();
    loop {
        let (from_journal, from_index) = match order(journal.peek(), index.peek()) {
            None => break,
            Some(Ordering::Less) => (journal.next(), None),
            Some(Ordering::Greater) => (None, index.next()),
            Some(Ordering::Equal) => (journal.next(), index.next()),
        };
        report.items += u64::from(from_journal.is_some());
        report.index_items += u64::from(from_index.is_some());
        if report.items.is_multiple_of(REPORT_EVERY) {
            (hooks.progress)(FsckProgress { step: FsckStep::Compare, done: report.items, of: 0 });
        }
        match check(reader, from_journal, from_index, hooks) {
            Ok(()) => {}
            Err(difference) => {
                if note(report, difference, max_differences) {
                    break;
                }
            }
        }
    }
}

/// Shows every item the journal has to the visitor, where there is no index to compare with.
pub(super) fn visit(
    reader: &Reader,
    journal: IndexRange,
    max_differences: usize,
    hooks: &mut FsckHooks<'_>,
    report: &mut FsckReport,
) {
    for entry in journal.filter(is_item) {
        report.items += 1;
        if report.items.is_multiple_of(REPORT_EVERY) {
            (hooks.progress)(FsckProgress { step: FsckStep::Compare, done: report.items, of: 0 });
        }
        let item = entry
            .map_err(|error| Difference::Unreadable { what: format!("scratch index: {error}") })
            .and_then(|(key, slot)| resolve(reader, &key, &slot));
        match item {
            Ok(item) => (hooks.visit)(&item),
            Err(difference) => {
                if note(report, difference, max_differences) {
                    break;
                }
            }
        }
    }
}

/// Notes a difference; true when so much cannot be read that going on tells nothing more.
fn note(report: &mut FsckReport, difference: Difference, max_differences: usize) -> bool {
    let unreadable = matches!(difference, Difference::Unreadable { .. });
    report.unreadable += u64::from(unreadable);
    report.difference_count += 1;
    if report.differences.len() < max_differences {
        report.differences.push(difference);
    }
    unreadable && report.difference_count > MAX_UNREADABLE
}

fn is_item(entry: &Entry) -> bool {
    // The entry that names the sealed sequence has no partition key.
    entry.as_ref().map_or(true, |(key, _)| !key.starts_with(&[0, 0]))
}

/// Which side comes first; errors come at once. `None`: both are at their end.
fn order(journal: Option<&Entry>, index: Option<&Entry>) -> Option<Ordering> {
    match (journal, index) {
        (None, None) => None,
        (Some(_), None) | (Some(Err(_)), _) => Some(Ordering::Less),
        (None, Some(_)) | (_, Some(Err(_))) => Some(Ordering::Greater),
        (Some(Ok((left, _))), Some(Ok((right, _)))) => Some(left.cmp(right)),
    }
}

fn check(
    reader: &Reader,
    journal: Option<Entry>,
    index: Option<Entry>,
    hooks: &mut FsckHooks<'_>,
) -> Result<(), Difference> {
    let unreadable =
        |side: &str, error: &dyn std::fmt::Display| Difference::Unreadable { what: format!("{side}: {error}") };
    let journal = journal.transpose().map_err(|error| unreadable("scratch index", &error))?;
    let index = index.transpose().map_err(|error| unreadable("index", &error))?;
    let item = match &journal {
        Some((key, slot)) => Some(resolve(reader, key, slot)?),
        None => None,
    };
    if let Some(item) = &item {
        (hooks.visit)(item);
    }
    match (journal, item, index) {
        (Some((_, by_journal)), Some(item), Some((key, by_index))) => {
            if by_journal == by_index {
                return Ok(());
            }
            let other = resolve(reader, &key, &by_index)?;
            if item == other { Ok(()) } else { Err(differs(&item, &other)) }
        }
        (_, Some(item), None) => Err(Difference::OnlyInJournal { key: item.key.to_string() }),
        (_, _, Some((key, _))) => Err(Difference::OnlyInIndex { key: key_of(&key)?.to_string() }),
        (_, None, None) => Ok(()),
    }
}

fn key_of(bytes: &[u8]) -> Result<Key, Difference> {
    from_index_key(bytes).ok_or_else(|| Difference::Unreadable { what: "an index key is malformed".to_owned() })
}

fn resolve(reader: &Reader, key: &[u8], slot: &[u8]) -> Result<Item, Difference> {
    let key = key_of(key)?;
    let unreadable = |why: String| Difference::Unreadable { what: format!("item {key}: {why}") };
    let image = match Slot::decode(slot) {
        Some(Slot::Inline(image)) => Bytes::copy_from_slice(image),
        Some(Slot::Located(location)) => reader.read(location).map_err(|error| unreadable(error.to_string()))?,
        None => return Err(unreadable("index entry is malformed".to_owned())),
    };
    decode_image(key.clone(), &image).map_err(|error| unreadable(error.to_string()))
}

fn differs(journal: &Item, index: &Item) -> Difference {
    let mut names: Vec<&str> = journal.attrs().chain(index.attrs()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let differing = names.into_iter().filter(|name| journal.get(name) != index.get(name));
    let describe = |name: &str| {
        let number = |item: &Item| item.int(name).map_or_else(|| "another value".to_owned(), |n| n.to_string());
        format!("{name} ({} by the journal, {} by the index)", number(journal), number(index))
    };
    Difference::Differs { key: journal.key.to_string(), attributes: differing.map(describe).take(8).collect() }
}
