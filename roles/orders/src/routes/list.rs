//! Lists of orders, the newest first.
//!
//! Ids are keyed hashes, so their order says nothing about age, and an index by age would be one more item written for
//! every order. A user's orders are therefore read and sorted, up to [`MAX_SORTED`] of them (reference: data, table
//! D3, row 4). Beyond that, and for all users together, the feed is read backwards, a bounded part of it per page.

use std::sync::Arc;

use zizon_base::ids::{OrderId, UserHash, UserRef};
use zizon_contracts::orders::OrderPage;
use zizon_service::{Request, Response};
use zizon_table::{Cursor, Seq, ShardId, SkRange};

use super::answer;
use super::operator::{Answered, bad_parameter, operator_order};
use crate::execute::load::{assemble, load};
use crate::keys::{self, Named};
use crate::service::{GUEST_SCOPE, OrdersService};

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;
/// Most orders of one user that are read and sorted for a page.
const MAX_SORTED: usize = 10_000;
/// Orders and facts read before requests of the same thread get their turn.
const SLICE: u32 = 64;
/// Positions of the feed looked through at once, and how often for one page.
const WINDOW: u64 = 512;
const MAX_WINDOWS: usize = 16;

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Below this position of the feed.
    Feed(u64),
    /// Older than this order, made at this time.
    Older(u64, OrderId),
}

impl Position {
    fn write(self) -> String {
        match self {
            Self::Feed(seq) => format!("f{seq}"),
            Self::Older(at_ms, id) => format!("o{at_ms}.{id}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        if let Some(seq) = text.strip_prefix('f') {
            return Some(Self::Feed(seq.parse().ok()?));
        }
        let (at_ms, id) = text.strip_prefix('o')?.split_once('.')?;
        Some(Self::Older(at_ms.parse().ok()?, id.parse().ok()?))
    }
}

pub(super) async fn list_orders(service: Arc<OrdersService>, request: Request) -> Response {
    let listed = async {
        let limit = match request.query("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|n| (1..=MAX_LIMIT).contains(n))
                .ok_or_else(|| bad_parameter("limit", "1 to 100"))?,
        } as usize;
        let position = match request.query("cursor") {
            None => None,
            Some(text) => Some(Position::read(text).ok_or_else(bad_cursor)?),
        };
        let user = match request.query("user") {
            None => None,
            Some(user) => {
                let user: UserRef = user.parse().map_err(|_| bad_parameter("user", "a user id"))?;
                Some(service.ids.user_hash(GUEST_SCOPE, &user))
            }
        };
        match (user, position) {
            (None, None) => newest(&service, None, limit, end_of_feed(&service)).await,
            (user, Some(Position::Feed(end))) => newest(&service, user, limit, end).await,
            (Some(user), None) => match sorted(&service, &user, limit, None).await? {
                Some(page) => Ok(page),
                None => newest(&service, Some(user), limit, end_of_feed(&service)).await,
            },
            (Some(user), Some(Position::Older(at_ms, id))) if id.user_hash() == user => {
                sorted(&service, &user, limit, Some((at_ms, id))).await?.ok_or_else(|| {
                    bad_parameter("cursor", "the user has too many orders by now for this list; begin it anew")
                })
            }
            (_, Some(Position::Older(..))) => Err(bad_cursor()),
        }
    };
    answer(listed.await, &request)
}

fn bad_cursor() -> Box<zizon_base::problem::Problem> {
    bad_parameter("cursor", "`next_cursor` of the page before, with the same `user`")
}

fn end_of_feed(service: &OrdersService) -> u64 {
    service.executor.last_seq() + 1
}

/// All of a user's orders older than `before`, sorted; `None` when there are too many to sort.
async fn sorted(
    service: &OrdersService,
    user: &UserHash,
    limit: usize,
    before: Option<(u64, OrderId)>,
) -> Answered<Option<OrderPage>> {
    let Some(mut orders) = ages(service, user).await? else { return Ok(None) };
    // Made in the same millisecond: by id, so that there is one order of all.
    let newest_first = |left: &(u64, OrderId), right: &(u64, OrderId)| {
        right.0.cmp(&left.0).then_with(|| right.1.as_str().cmp(left.1.as_str()))
    };
    if let Some(before) = before {
        orders.retain(|order| newest_first(&before, order).is_lt());
    }
    orders.sort_unstable_by(newest_first);
    let more = orders.len() > limit;
    orders.truncate(limit);
    let next = orders.last().filter(|_| more).map(|(at_ms, id)| Position::Older(*at_ms, *id).write());
    let mut data = Vec::with_capacity(orders.len());
    for (_, id) in orders {
        if let Some(order) = load(&*service.table, &id).await.map_err(|e| service.problem(&e))? {
            data.push(operator_order(service, &order)?);
        }
    }
    Ok(Some(OrderPage { data, next_cursor: next }))
}

/// When each of a user's orders was made; `None` when there are more than [`MAX_SORTED`].
async fn ages(service: &OrdersService, user: &UserHash) -> Answered<Option<Vec<(u64, OrderId)>>> {
    let (pk, range) = (keys::user(user), SkRange::Prefix(b"O#"[..].into()));
    let (mut found, mut at) = (Vec::new(), None::<Cursor>);
    loop {
        let page = service.table.query(&pk, range.clone(), SLICE, false, at).await;
        let page = page.map_err(|e| service.problem(&e.into()))?;
        for item in page.items {
            let Some(Named::Order(id)) = keys::named(&item.key) else { continue };
            let order = assemble(id, item, std::iter::empty()).map_err(|e| service.problem(&e))?;
            found.extend(order.map(|order| (order.document.created.millis(), id)));
        }
        if found.len() > MAX_SORTED {
            return Ok(None);
        }
        match page.next {
            Some(next) => at = Some(next),
            None => return Ok(Some(found)),
        }
        tokio::task::yield_now().await;
    }
}

/// Orders placed below the position `end` of the feed, of one user or of all.
async fn newest(service: &OrdersService, user: Option<UserHash>, limit: usize, end: u64) -> Answered<OrderPage> {
    let (mut data, mut end) = (Vec::new(), end);
    for _ in 0..MAX_WINDOWS {
        let start = end.saturating_sub(WINDOW).max(1);
        let mut found = placed_between(service, start, end).await?;
        while let Some((seq, id)) = found.pop() {
            if user.is_some_and(|user| id.user_hash() != user) {
                continue;
            }
            if let Some(order) = load(&*service.table, &id).await.map_err(|e| service.problem(&e))? {
                data.push(operator_order(service, &order)?);
            }
            if data.len() == limit {
                return Ok(OrderPage { data, next_cursor: Some(Position::Feed(seq).write()) });
            }
        }
        if start == 1 {
            return Ok(OrderPage { data, next_cursor: None });
        }
        end = start;
        tokio::task::yield_now().await;
    }
    Ok(OrderPage { data, next_cursor: Some(Position::Feed(end).write()) })
}

/// Orders placed at positions `start..end` of the feed, in that order.
async fn placed_between(service: &OrdersService, start: u64, end: u64) -> Answered<Vec<(u64, OrderId)>> {
    let mut found = Vec::new();
    let mut next = Seq(start);
    while next.0 < end {
        let changes =
            service.table.changes(ShardId::ONLY, next, 1_024).await.map_err(|e| service.problem(&e.into()))?;
        let Some(last) = changes.last() else { break };
        next = last.seq.next();
        for change in changes.iter().filter(|change| change.seq.0 < end) {
            let placed = change.new.as_ref().is_some_and(|item| item.str(keys::STATUS) == Some(keys::PLACED));
            if let (true, Some(Named::Order(id))) = (placed, keys::named(&change.key)) {
                found.push((change.seq.0, id));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use zizon_contracts::orders::OperatorOrder;
    use zizon_table::MemTable;

    use super::*;
    use crate::service::ShopRules;
    use crate::testing::TestShop;

    async fn shop(orders: usize) -> (TestShop, UserHash, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let shop = TestShop::new(Arc::new(MemTable::new()), dir.path(), ShopRules::default());
        shop.sell("PROD001", 100);
        shop.stock("PROD001", 1_000_000).await;
        for n in 0..orders {
            for user in ["ann", "bob"] {
                let body = format!(
                    r#"{{"user_id":"{user}","items":[{{"product_id":"PROD001","quantity":1,"price":100}}],"idempotency_key":"k{n}"}}"#
                );
                shop.service.place(body.as_bytes(), None).await.unwrap();
            }
            // Some share a millisecond.
            if n % 3 > 0 {
                shop.clock.advance_ms(1);
            }
        }
        shop.confirm_prices();
        let ann = shop.service.ids.user_hash(GUEST_SCOPE, &"ann".parse().unwrap());
        (shop, ann, dir)
    }

    fn newest_first(orders: &[OperatorOrder]) -> bool {
        orders.is_sorted_by(|left, right| left.order.created_at >= right.order.created_at)
    }

    #[tokio::test]
    async fn a_users_orders_come_newest_first_page_after_page_each_once() {
        let (shop, ann, _dir) = shop(50).await;
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let page = sorted(&shop.service, &ann, 7, before).await.unwrap().unwrap();
            assert!(page.data.len() <= 7);
            all.extend(page.data);
            let Some(next) = page.next_cursor else { break };
            let Some(Position::Older(at_ms, id)) = Position::read(&next) else { panic!("{next}") };
            before = Some((at_ms, id));
        }
        assert!(newest_first(&all));
        assert!(all.iter().all(|order| order.order.user_id == "ann"));
        let ids: HashSet<_> = all.iter().map(|order| order.order.id.clone()).collect();
        assert_eq!((all.len(), ids.len()), (50, 50));
    }

    #[tokio::test]
    async fn the_feed_gives_the_same_orders_for_a_user_with_too_many_to_sort() {
        let (shop, ann, _dir) = shop(50).await;
        let by_sorting = sorted(&shop.service, &ann, 100, None).await.unwrap().unwrap().data;
        let (mut all, mut end) = (Vec::new(), end_of_feed(&shop.service));
        loop {
            let page = newest(&shop.service, Some(ann), 7, end).await.unwrap();
            all.extend(page.data);
            let Some(next) = page.next_cursor else { break };
            let Some(Position::Feed(position)) = Position::read(&next) else { panic!("{next}") };
            end = position;
        }
        assert!(newest_first(&all));
        let ids = |orders: &[OperatorOrder]| -> HashSet<_> { orders.iter().map(|o| o.order.id.clone()).collect() };
        assert_eq!((all.len(), ids(&all)), (50, ids(&by_sorting)));
    }

    #[test]
    fn cursors_are_read_back_and_nothing_else_is() {
        let id: OrderId = format!("ord_{}", "0123456789abcdefghjkmnpqrstvwxyz0123456789").parse().unwrap();
        for position in [Position::Feed(7), Position::Older(1_795_320_306_789, id)] {
            assert_eq!(Position::read(&position.write()), Some(position));
        }
        for wrong in ["", "7", "f", "f-1", "o", "o1", "o1.x", "x7"] {
            assert_eq!(Position::read(wrong), None, "{wrong}");
        }
    }
}
