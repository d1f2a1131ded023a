//! What a case has at hand: the table, a namespace of its own, and short words for common steps. They panic
//! where the port answers something else than the step expects: that is how a case fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::cond::Cond;
use crate::model::error::WriteError;
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::op::{Op, Patch};
use crate::model::path::Path;
use crate::model::value::Value;
use crate::port::{Applied, Change, Cursor, Durability, Page, Seq, ShardId, SkRange, Table};

/// What a case works with.
pub struct Ctx {
    /// The table under test.
    pub table: Arc<dyn Table>,
    namespace: &'static str,
}

impl Ctx {
    pub(super) fn new(table: Arc<dyn Table>, namespace: &'static str) -> Self {
        Self { table, namespace }
    }

    /// Partition key in the case's namespace.
    pub fn pk(&self, name: &str) -> Bytes {
        format!("{}/{name}", self.namespace).into()
    }

    /// Key in the case's namespace.
    pub fn key(&self, pk: &str, sk: &str) -> Key {
        Key::new(self.pk(pk), sk.to_owned())
    }

    /// The key most cases use.
    pub fn k(&self) -> Key {
        self.key("p", "s")
    }

    /// An item under that key.
    pub fn item(&self) -> Item {
        Item::new(self.k())
    }

    /// Writes one operation.
    pub async fn try_write(&self, op: Op) -> Result<Applied, WriteError> {
        self.table.write(op, Durability::Durable).await
    }

    /// Writes one operation that must happen.
    pub async fn write(&self, op: Op) -> Applied {
        self.try_write(op).await.expect("the write happens")
    }

    /// Puts an item whatever is there.
    pub async fn put(&self, item: Item) -> Applied {
        self.write(Op::Put { item, cond: Cond::Always }).await
    }

    /// Puts an item if the condition holds.
    pub async fn try_put(&self, item: Item, cond: Cond) -> Result<Applied, WriteError> {
        self.try_write(Op::Put { item, cond }).await
    }

    /// Patches if the condition holds.
    pub async fn try_patch(&self, key: Key, patches: Vec<Patch>, cond: Cond) -> Result<Applied, WriteError> {
        self.try_write(Op::Patch { key, patches, cond }).await
    }

    /// Patches whatever is there.
    pub async fn patch(&self, key: Key, patches: Vec<Patch>) -> Applied {
        self.try_patch(key, patches, Cond::Always).await.expect("the patch happens")
    }

    /// Deletes if the condition holds.
    pub async fn try_delete(&self, key: Key, cond: Cond) -> Result<Applied, WriteError> {
        self.try_write(Op::Delete { key, cond }).await
    }

    /// Deletes whatever is there.
    pub async fn delete(&self, key: Key) -> Applied {
        self.try_delete(key, Cond::Always).await.expect("the delete happens")
    }

    /// Runs a plan.
    pub async fn try_plan(&self, ops: Vec<Op>) -> Result<Applied, WriteError> {
        self.table.transact(ops, None).await
    }

    /// Runs a plan that must happen.
    pub async fn plan(&self, ops: Vec<Op>) -> Applied {
        self.try_plan(ops).await.expect("the plan happens")
    }

    /// Reads an item.
    pub async fn get(&self, key: &Key) -> Option<Item> {
        self.table.get(key).await.expect("the read answers")
    }

    /// Reads an item that must be there.
    pub async fn must(&self, key: &Key) -> Item {
        self.get(key).await.expect("the item is there")
    }

    /// Reads several items.
    pub async fn get_many(&self, keys: &[Key]) -> Vec<Option<Item>> {
        self.table.get_many(keys).await.expect("the read answers")
    }

    /// Whether a check of the condition against the item under `key` holds.
    pub async fn holds(&self, key: Key, cond: Cond) -> bool {
        match self.try_write(Op::Check { key, cond }).await {
            Ok(_) => true,
            Err(WriteError::CondFailed { op: 0, .. }) => false,
            Err(other) => panic!("a check answers {other:?}"),
        }
    }

    /// One page of a partition.
    pub async fn page(&self, pk: &str, range: SkRange, limit: u32, reverse: bool, cursor: Option<Cursor>) -> Page {
        self.table.query(&self.pk(pk), range, limit, reverse, cursor).await.expect("the query answers")
    }

    /// Sort keys of all pages of a range.
    pub async fn sks(&self, pk: &str, range: SkRange, limit: u32, reverse: bool) -> Vec<String> {
        let (mut sks, mut cursor) = (Vec::new(), None);
        for _ in 0..1_000 {
            let page = self.page(pk, range.clone(), limit, reverse, cursor).await;
            assert!(page.items.len() <= limit as usize, "a page has at most {limit} items");
            sks.extend(page.items.iter().map(|item| String::from_utf8_lossy(&item.key.sk).into_owned()));
            cursor = page.next;
            if cursor.is_none() {
                return sks;
            }
        }
        panic!("a query does not end");
    }

    /// Fills a partition with items of these sort keys.
    pub async fn fill(&self, pk: &str, sks: &[&str]) {
        for sk in sks {
            self.put(Item::new(self.key(pk, sk)).with("sk", *sk)).await;
        }
    }

    /// All changes from a position on, in pages of `limit`, those of other namespaces left out.
    pub async fn changes_from(&self, from: Seq, limit: u32) -> Vec<Change> {
        let (mut all, mut from) = (Vec::new(), from);
        loop {
            let page = self.table.changes(ShardId::ONLY, from, limit).await.expect("the feed answers");
            let Some(last) = page.last() else { break };
            from = last.seq.next();
            all.extend(page);
        }
        let prefix = format!("{}/", self.namespace);
        all.retain(|change| change.key.pk.starts_with(prefix.as_bytes()));
        all
    }
}

/// The attribute at the top of an item.
pub(super) fn at(name: &'static str) -> Path {
    Path::attr(name)
}

/// An entry of a map.
pub(super) fn entry(name: &'static str, key: &str) -> Path {
    Path::entry(name, key)
}

/// Sets an attribute or entry.
pub(super) fn set(path: Path, value: impl Into<Value>) -> Patch {
    Patch::Set(path, value.into())
}

/// Adds to a number.
pub(super) fn add(path: Path, n: i64) -> Patch {
    Patch::AddInt(path, n)
}

/// A map of numbers.
pub(super) fn map(entries: &[(&str, i64)]) -> Value {
    Value::Map(entries.iter().map(|(name, n)| ((*name).to_owned(), Value::Int(*n))).collect::<BTreeMap<_, _>>())
}

/// The item a failed condition saw.
pub(super) fn existing(answer: Result<Applied, WriteError>, op: usize) -> Option<Item> {
    match answer {
        Err(WriteError::CondFailed { op: failed, existing }) => {
            assert_eq!(failed, op, "the first operation that fails is named");
            existing
        }
        other => panic!("expected a failed condition, got {other:?}"),
    }
}

/// That the write was refused as invalid.
pub(super) fn is_invalid(answer: &Result<Applied, WriteError>) {
    assert!(matches!(answer, Err(WriteError::Invalid(_))), "expected `Invalid`, got {answer:?}");
}
