//! Reading: what is durable, at one sequence, without the engine's lock.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use bytes::Bytes;
use zizon_journal::ReadError as JournalError;

use super::metrics::{EngineStatus, count};
use super::state::Engine;
use crate::codec::decode_image;
use crate::index::{IndexError, Keys, Slot, from_index_key, index_key};
use crate::model::error::ReadError;
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::limits::{MAX_PAGE_BYTES, MAX_PAGE_ITEMS};
use crate::port::bounds::SkBounds;
use crate::port::check::{check_key, check_keys, check_pk};
use crate::port::{Cursor, Page, SkRange};

/// Times a read begins again because background work went past its moment. Each needs a flush or compaction
/// to begin in the few microseconds of a read.
const ATTEMPTS: usize = 64;

impl Engine {
    /// The item, as of what is durable.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn get(&self, key: &Key) -> Result<Option<Item>, ReadError> {
        check_key(key)?;
        let mut bytes = Vec::with_capacity(2 + key.pk.len() + key.sk.len());
        self.at_one_moment(|at| self.get_at(key, &mut bytes, at))
    }

    /// The items, all as of one moment.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, ReadError> {
        check_keys(keys)?;
        let mut bytes = Vec::new();
        self.at_one_moment(|at| keys.iter().map(|key| self.get_at(key, &mut bytes, at)).collect())
    }

    /// A page of one partition, all as of one moment.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn query(
        &self,
        pk: &[u8],
        range: SkRange,
        limit: u32,
        reverse: bool,
        cursor: Option<Cursor>,
    ) -> Result<Page, ReadError> {
        check_pk(pk)?;
        let bounds = SkBounds::new(range, reverse, cursor)?;
        if bounds.is_empty() {
            return Ok(Page::default());
        }
        let limit = limit.clamp(1, MAX_PAGE_ITEMS) as usize;
        self.at_one_moment(|at| self.page(pk, &bounds, limit, reverse, at))
    }

    fn page(&self, pk: &[u8], bounds: &SkBounds, limit: usize, reverse: bool, at: u64) -> Result<Page, ReadError> {
        let keys = Keys::Partition { pk, lower: bounds.lower_sk(), upper: bounds.upper_sk(), reverse };
        let mut entries = self.index.range(keys, at).map_err(|error| self.index_read(error))?;
        let (mut page, mut bytes) = (Page::default(), 0);
        while page.items.len() < limit && bytes <= MAX_PAGE_BYTES {
            let Some(entry) = entries.next() else { return Ok(page) };
            let (key, slot) = entry.map_err(|error| self.index_read(error))?;
            let key = from_index_key(&key).ok_or_else(|| ReadError::Corrupt("index key is malformed".to_owned()))?;
            bytes += image_len(&slot);
            page.items.push(self.item_of_slot(&key, &slot)?);
        }
        if entries.next().transpose().map_err(|error| self.index_read(error))?.is_some() {
            page.next = page.items.last().map(|item| Cursor(item.key.sk.clone()));
        }
        Ok(page)
    }

    fn get_at(&self, key: &Key, bytes: &mut Vec<u8>, at: u64) -> Result<Option<Item>, ReadError> {
        index_key(key, bytes);
        count(&self.counters.index_reads);
        let slot = self.index.get(bytes, at).map_err(|error| self.index_read(error))?;
        slot.map(|slot| self.item_of_slot(key, &slot)).transpose()
    }

    /// Runs a read at the visible sequence, and again if versions that it needed may be gone: written over twice
    /// meanwhile (then it is throttled), or dropped by background work. That says what it may drop before it
    /// begins, so a read that finds that figure at or below its own moment afterwards has seen everything.
    fn at_one_moment<T>(&self, mut read: impl FnMut(u64) -> Result<T, ReadError>) -> Result<T, ReadError> {
        for _ in 0..ATTEMPTS {
            if matches!(self.status(), EngineStatus::Closed | EngineStatus::Failed) {
                return Err(ReadError::Closed);
            }
            let at = self.visible();
            let answer = read(at);
            if self.floor.load(Acquire) <= at && !matches!(answer, Err(ReadError::Throttled)) {
                return answer;
            }
        }
        Err(ReadError::Throttled)
    }

    /// The item behind an index slot.
    pub(super) fn item_of_slot(&self, key: &Key, slot: &[u8]) -> Result<Item, ReadError> {
        let image = self.image_of_slot(key, slot)?;
        decode_image(key.clone(), &image).map_err(|error| ReadError::Corrupt(format!("item {key}: {error}")))
    }

    /// The image behind an index slot.
    pub(crate) fn image_of_slot(&self, key: &Key, slot: &[u8]) -> Result<Bytes, ReadError> {
        match Slot::decode(slot) {
            None => Err(ReadError::Corrupt(format!("index entry of {key} is malformed"))),
            Some(Slot::Inline(image)) => Ok(Bytes::copy_from_slice(image)),
            Some(Slot::Located(location)) => {
                self.counters.journal_reads.fetch_add(1, Relaxed);
                self.reader.read(location).map_err(|error| journal_error(&error))
            }
        }
    }

    fn index_read(&self, error: IndexError) -> ReadError {
        if !matches!(error, IndexError::Moved) {
            self.index_failed(&error);
        }
        match error {
            IndexError::Moved => ReadError::Throttled,
            IndexError::Damaged(what) | IndexError::Foreign(what) => ReadError::Corrupt(what),
            IndexError::Full | IndexError::Io(_) => ReadError::Unavailable(error.to_string()),
        }
    }
}

fn image_len(slot: &[u8]) -> usize {
    match Slot::decode(slot) {
        Some(Slot::Inline(image)) => image.len(),
        Some(Slot::Located(location)) => location.len as usize,
        None => 0,
    }
}

pub(super) fn journal_error(error: &JournalError) -> ReadError {
    match error {
        JournalError::Gone { first } => ReadError::Trimmed { first: first.0 },
        JournalError::Io { .. } => ReadError::Unavailable(error.to_string()),
        JournalError::Corrupt { .. } | JournalError::NotDurable | JournalError::BadLocation => {
            ReadError::Corrupt(error.to_string())
        }
    }
}
