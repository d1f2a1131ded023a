//! Reading an order with everything that happened to it.

use bytes::Bytes;
use zizon_base::ids::OrderId;
use zizon_table::{Item, SkRange, Table};

use super::{ExecuteError, Standing};
use crate::keys::{self, Named};
use crate::order::Damaged;
use crate::order::document::OrderDocument;
use crate::order::fact::{Fact, fold};
use crate::order::state::State;

/// Most facts of one order: a page holds the order and all of them.
const MAX_FACTS: u32 = 200;

/// An order that stands, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedOrder {
    /// Its id.
    pub id: OrderId,
    /// What was ordered.
    pub document: OrderDocument,
    /// Digest of the request.
    pub digest: Bytes,
    /// The attempt that made it, if it was made stepwise.
    pub nonce: Option<String>,
    /// What happened since, in order.
    pub facts: Vec<Fact>,
    /// Where it stands.
    pub state: State,
}

impl LoadedOrder {
    /// The version of the next fact.
    #[must_use]
    pub fn next_version(&self) -> u32 {
        self.facts.last().map_or(1, |fact| fact.version + 1)
    }
}

/// Reads an order; `None` where none stands.
///
/// # Errors
/// The table cannot be read, or what it holds is no order.
pub async fn load(table: &dyn Table, id: &OrderId) -> Result<Option<LoadedOrder>, ExecuteError> {
    let key = keys::order(id);
    let page = table.query(&key.pk, SkRange::Prefix(key.sk.clone()), MAX_FACTS, false, None).await?;
    let mut items = page.items.into_iter();
    match items.next() {
        Some(order) if order.key == key => assemble(*id, order, items),
        Some(_) => Err(Damaged("order").into()),
        None => Ok(None),
    }
}

/// Puts an order together from its item and its fact items.
pub(crate) fn assemble(
    id: OrderId,
    order: Item,
    facts: impl Iterator<Item = Item>,
) -> Result<Option<LoadedOrder>, ExecuteError> {
    let Standing::Placed(item) = Standing::of(Some(order))? else { return Ok(None) };
    let damaged = Damaged("order");
    let document = OrderDocument::decode(item.bytes(keys::DOCUMENT).ok_or(damaged)?)?;
    let digest = item.bytes(keys::DIGEST).ok_or(damaged)?.clone();
    let nonce = item.str(keys::NONCE).map(str::to_owned);
    let mut read = Vec::new();
    for item in facts {
        match keys::named(&item.key) {
            Some(Named::Fact(of, version)) if of == id => read.push(Fact::read(version, &item)?),
            _ => return Err(Damaged("order fact").into()),
        }
    }
    let state = fold(&read)?;
    Ok(Some(LoadedOrder { id, document, digest, nonce, facts: read, state }))
}
