//! The model: a table in memory that shows what each call means. Tests compare engines with it; nothing in
//! it survives the process and its feed is kept whole.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::bounds::SkBounds;
use super::check::{check_key, check_keys, check_pk, check_shard, check_token};
use super::{Applied, Caps, Change, Cursor, Durability, Feed, Page, Seq, ShardId, SkRange, Table, Token};
use crate::codec;
use crate::model::error::{ReadError, WriteError};
use crate::model::eval::{self, Verdict};
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::limits::{
    MAX_CHANGES, MAX_CHANGES_BYTES, MAX_ITEM_BYTES, MAX_PAGE_BYTES, MAX_PAGE_ITEMS, MAX_PLAN_BYTES, MAX_PLAN_OPS,
};
use crate::model::op::Op;

/// A table in memory: the meaning of the port, without durability.
#[derive(Debug)]
pub struct MemTable {
    state: Mutex<State>,
    last: watch::Sender<Seq>,
}

#[derive(Debug, Default)]
struct State {
    items: BTreeMap<Key, Item>,
    feed: Vec<Change>,
    last: u64,
}

impl MemTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), last: watch::Sender::new(Seq(0)) }
    }

    /// All items in the order of their keys.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        self.state.lock().items.values().cloned().collect()
    }

    fn run(&self, ops: Vec<Op>) -> Result<Applied, WriteError> {
        eval::validate(&ops)?;
        let mut state = self.state.lock();
        let seq = state.run(ops)?;
        drop(state);
        self.last.send_if_modified(|last| std::mem::replace(last, seq) != seq);
        Ok(Applied { seq })
    }
}

impl Default for MemTable {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn run(&mut self, ops: Vec<Op>) -> Result<Seq, WriteError> {
        let current: Vec<Option<&Item>> = ops.iter().map(|op| self.items.get(op.key())).collect();
        if let Some(op) = eval::first_failed(&ops, &current) {
            return Err(WriteError::CondFailed { op, existing: current[op].cloned() });
        }
        let mut effects = Vec::with_capacity(ops.len());
        let mut bytes = 0;
        for (op, current) in ops.into_iter().zip(current) {
            let key = op.key().clone();
            let new = match eval::apply(op, current)? {
                Verdict::Nothing => continue,
                Verdict::Put(item) => Some(item),
                Verdict::Delete => None,
            };
            bytes += codec::effect_bytes(&key, new.as_ref())?;
            effects.push((key, new));
        }
        if bytes > MAX_PLAN_BYTES {
            return Err(WriteError::TooLarge);
        }
        if !effects.is_empty() {
            self.commit(effects);
        }
        Ok(Seq(self.last))
    }

    fn commit(&mut self, effects: Vec<(Key, Option<Item>)>) {
        self.last += 1;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        for (key, new) in effects {
            match &new {
                Some(item) => self.items.insert(key.clone(), item.clone()),
                None => self.items.remove(&key),
            };
            self.feed.push(Change { seq: Seq(self.last), at_ms, key, new });
        }
    }

    fn page(&self, pk: &Bytes, bounds: &SkBounds, limit: usize, reverse: bool) -> Page {
        let (lower, upper) = (bounds.lower(pk), bounds.upper(pk));
        if bounds.is_empty() {
            return Page::default();
        }
        let found = self.items.range((lower, upper)).map(|(_, item)| item);
        let mut items: Box<dyn Iterator<Item = &Item>> = if reverse { Box::new(found.rev()) } else { Box::new(found) };
        let (mut page, mut bytes) = (Page::default(), 0);
        while page.items.len() < limit && bytes <= MAX_PAGE_BYTES {
            let Some(item) = items.next() else { return page };
            bytes += codec::image_bytes(item);
            page.items.push(item.clone());
        }
        if items.next().is_some() {
            page.next = page.items.last().map(|item| Cursor(item.key.sk.clone()));
        }
        page
    }
}

#[async_trait]
impl Table for MemTable {
    fn caps(&self) -> Caps {
        Caps {
            transact: Some(u32::try_from(MAX_PLAN_OPS).unwrap_or(u32::MAX)),
            feed: Feed::Total,
            max_item: MAX_ITEM_BYTES,
            durable_barrier: true,
            ttl: false,
            global: false,
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, ReadError> {
        check_key(key)?;
        Ok(self.state.lock().items.get(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, ReadError> {
        check_keys(keys)?;
        let state = self.state.lock();
        Ok(keys.iter().map(|key| state.items.get(key).cloned()).collect())
    }

    async fn query(
        &self,
        pk: &[u8],
        range: SkRange,
        limit: u32,
        reverse: bool,
        cursor: Option<Cursor>,
    ) -> Result<Page, ReadError> {
        check_pk(pk)?;
        let bounds = SkBounds::new(range, reverse, cursor)?;
        let limit = limit.clamp(1, MAX_PAGE_ITEMS) as usize;
        Ok(self.state.lock().page(&Bytes::copy_from_slice(pk), &bounds, limit, reverse))
    }

    async fn write(&self, op: Op, _durability: Durability) -> Result<Applied, WriteError> {
        self.run(vec![op])
    }

    async fn transact(&self, ops: Vec<Op>, token: Option<Token>) -> Result<Applied, WriteError> {
        check_token(token.as_ref())?;
        self.run(ops)
    }

    async fn changes(&self, shard: ShardId, from: Seq, limit: u32) -> Result<Vec<Change>, ReadError> {
        check_shard(shard)?;
        let limit = limit.clamp(1, MAX_CHANGES) as usize;
        let state = self.state.lock();
        let start = state.feed.partition_point(|change| change.seq < from);
        let rest = &state.feed[start..];
        // As many as the limit and the bytes allow, then the rest of the last one's plan.
        let mut bytes = 0;
        let within = rest.iter().take(limit).take_while(|change| {
            let fits = bytes < MAX_CHANGES_BYTES;
            bytes += change.new.as_ref().map_or(0, codec::image_bytes);
            fits
        });
        let Some(last) = within.last() else { return Ok(Vec::new()) };
        let end = rest.partition_point(|change| change.seq <= last.seq);
        Ok(rest[..end].to_vec())
    }

    async fn wait_change(&self, after: Seq) {
        // The sender lives as long as `self`, so this ends with a change.
        let _ = self.last.subscribe().wait_for(|last| *last > after).await;
    }
}
