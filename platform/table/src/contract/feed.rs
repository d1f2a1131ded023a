//! The feed: every change, once, in order.

use super::ctx::{Ctx, add, at, existing};
use super::{Case, list_cases};
use crate::model::cond::Cond;
use crate::model::error::ReadError;
use crate::model::item::Item;
use crate::model::op::Op;
use crate::port::{Seq, ShardId};

pub(super) const CASES: &[Case] = list_cases![TransactAndTotalFeed:
    the_feed_tells_every_put_with_its_item,
    the_feed_tells_a_patch_as_the_whole_item,
    the_feed_tells_a_delete_without_an_item,
    the_feed_does_not_tell_what_was_refused,
    the_feed_does_not_tell_checks,
    a_delete_of_an_absent_item_is_not_told,
    the_feed_is_in_the_order_of_the_positions,
    changes_of_one_plan_share_a_position_and_are_never_split,
    the_feed_can_be_read_from_any_position,
    a_position_beyond_the_end_has_no_changes,
    reading_the_feed_twice_gives_the_same,
    the_positions_of_answers_are_those_of_the_feed,
    times_of_changes_do_not_go_back,
    an_unknown_shard_is_invalid,
    waiting_ends_at_once_when_there_is_something,
    waiting_ends_with_the_next_change,
    the_feed_adds_up_to_the_state,
    a_page_of_the_feed_is_bounded_in_bytes,
];

async fn the_feed_tells_every_put_with_its_item(ctx: Ctx) {
    let item = ctx.item().with("n", 1).with("b", vec![1; 500]);
    let applied = ctx.put(item.clone()).await;
    let changes = ctx.changes_from(Seq(0), 100).await;
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].seq, &changes[0].key, &changes[0].new), (applied.seq, &ctx.k(), &Some(item)));
}

async fn the_feed_tells_a_patch_as_the_whole_item(ctx: Ctx) {
    ctx.put(ctx.item().with("q", 5).with("st", "x")).await;
    let patched = ctx.patch(ctx.k(), vec![add(at("q"), -2)]).await;
    let changes = ctx.changes_from(patched.seq, 100).await;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].new, Some(ctx.item().with("q", 3).with("st", "x")));
}

async fn the_feed_tells_a_delete_without_an_item(ctx: Ctx) {
    ctx.put(ctx.item()).await;
    let deleted = ctx.delete(ctx.k()).await;
    let changes = ctx.changes_from(deleted.seq, 100).await;
    assert_eq!(changes.len(), 1);
    assert_eq!((&changes[0].key, &changes[0].new), (&ctx.k(), &None));
}

async fn the_feed_does_not_tell_what_was_refused(ctx: Ctx) {
    ctx.put(ctx.item()).await;
    existing(ctx.try_put(ctx.item().with("n", 2), Cond::NotExists).await, 0);
    let other = Op::Put { item: Item::new(ctx.key("p", "other")), cond: Cond::Always };
    let refused = ctx.try_plan(vec![other, Op::Check { key: ctx.k(), cond: Cond::NotExists }]).await;
    existing(refused, 1);
    assert_eq!(ctx.changes_from(Seq(0), 100).await.len(), 1);
}

async fn the_feed_does_not_tell_checks(ctx: Ctx) {
    ctx.put(ctx.item()).await;
    ctx.write(Op::Check { key: ctx.k(), cond: Cond::Exists }).await;
    let check = Op::Check { key: ctx.k(), cond: Cond::Exists };
    ctx.plan(vec![check, Op::Put { item: Item::new(ctx.key("p", "other")), cond: Cond::Always }]).await;
    let keys: Vec<_> = ctx.changes_from(Seq(0), 100).await.into_iter().map(|change| change.key).collect();
    assert_eq!(keys, [ctx.k(), ctx.key("p", "other")]);
}

async fn a_delete_of_an_absent_item_is_not_told(ctx: Ctx) {
    ctx.delete(ctx.k()).await;
    assert_eq!(ctx.changes_from(Seq(0), 100).await, []);
}

async fn the_feed_is_in_the_order_of_the_positions(ctx: Ctx) {
    let writes = (0..60).map(|n| ctx.put(Item::new(ctx.key("p", &n.to_string())).with("n", n)));
    futures_util::future::join_all(writes).await;
    let changes = ctx.changes_from(Seq(0), 7).await;
    assert_eq!(changes.len(), 60);
    assert!(changes.windows(2).all(|pair| pair[0].seq < pair[1].seq));
}

async fn changes_of_one_plan_share_a_position_and_are_never_split(ctx: Ctx) {
    for plan in 0..5 {
        let keys = (0..4).map(|n| ctx.key("p", &format!("{plan}-{n}")));
        ctx.plan(keys.map(|key| Op::Put { item: Item::new(key), cond: Cond::Always }).collect()).await;
    }
    for limit in [1, 2, 3, 5, 100] {
        let changes = ctx.changes_from(Seq(0), limit).await;
        assert_eq!(changes.len(), 20, "limit {limit}");
        for plan in changes.chunks(4) {
            assert!(plan.iter().all(|change| change.seq == plan[0].seq), "limit {limit}");
        }
    }
}

async fn the_feed_can_be_read_from_any_position(ctx: Ctx) {
    let mut positions = Vec::new();
    for n in 0..10 {
        positions.push(ctx.put(ctx.item().with("n", n)).await.seq);
    }
    for (n, position) in positions.iter().enumerate() {
        let changes = ctx.changes_from(*position, 3).await;
        assert_eq!(changes.len(), 10 - n);
        assert_eq!(changes[0].seq, *position);
        let after = ctx.changes_from(position.next(), 3).await;
        assert_eq!(after.len(), 9 - n);
    }
}

async fn a_position_beyond_the_end_has_no_changes(ctx: Ctx) {
    let applied = ctx.put(ctx.item()).await;
    assert_eq!(ctx.changes_from(applied.seq.next(), 10).await, []);
    assert_eq!(ctx.changes_from(Seq(u64::MAX), 10).await, []);
}

async fn reading_the_feed_twice_gives_the_same(ctx: Ctx) {
    for n in 0..10 {
        ctx.put(ctx.item().with("n", n)).await;
    }
    assert_eq!(ctx.changes_from(Seq(0), 3).await, ctx.changes_from(Seq(0), 100).await);
}

async fn the_positions_of_answers_are_those_of_the_feed(ctx: Ctx) {
    let mut told = Vec::new();
    for n in 0..5 {
        told.push(ctx.patch(ctx.k(), vec![add(at("n"), n)]).await.seq);
    }
    let read: Vec<Seq> = ctx.changes_from(Seq(0), 100).await.iter().map(|change| change.seq).collect();
    assert_eq!(read, told);
}

async fn times_of_changes_do_not_go_back(ctx: Ctx) {
    for n in 0..10 {
        ctx.put(ctx.item().with("n", n)).await;
    }
    let changes = ctx.changes_from(Seq(0), 100).await;
    assert!(changes.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
    assert!(changes[0].at_ms > 1_500_000_000_000, "milliseconds since 1970");
}

async fn an_unknown_shard_is_invalid(ctx: Ctx) {
    let answer = ctx.table.changes(ShardId(4_711), Seq(0), 1).await;
    assert!(matches!(answer, Err(ReadError::Invalid(_))));
}

async fn waiting_ends_at_once_when_there_is_something(ctx: Ctx) {
    ctx.put(ctx.item()).await;
    ctx.table.wait_change(Seq(0)).await;
}

async fn waiting_ends_with_the_next_change(ctx: Ctx) {
    let first = ctx.put(ctx.item().with("n", 1)).await;
    let (second, ()) =
        futures_util::future::join(ctx.put(ctx.item().with("n", 2)), ctx.table.wait_change(first.seq)).await;
    assert!(!ctx.changes_from(second.seq, 10).await.is_empty());
}

async fn the_feed_adds_up_to_the_state(ctx: Ctx) {
    for n in 0..40_i64 {
        let key = ctx.key("p", &(n * 7 % 5).to_string());
        match n % 4 {
            0 => drop(ctx.put(Item::new(key).with("n", n)).await),
            3 => drop(ctx.delete(key).await),
            _ => drop(ctx.patch(key, vec![add(at("n"), n)]).await),
        }
    }
    let mut state = std::collections::BTreeMap::new();
    for change in ctx.changes_from(Seq(0), 3).await {
        state.insert(change.key, change.new);
    }
    for (key, item) in state {
        assert_eq!(ctx.get(&key).await, item, "{key}");
    }
}

async fn a_page_of_the_feed_is_bounded_in_bytes(ctx: Ctx) {
    let first = ctx.put(ctx.item()).await;
    for n in 0..16_u8 {
        ctx.put(Item::new(ctx.key("p", &n.to_string())).with("b", vec![n; 390_000])).await;
    }
    let page = ctx.table.changes(ShardId::ONLY, first.seq, 4_096).await.expect("the feed answers");
    assert!((1..17).contains(&page.len()), "{} changes of 390 kB in one page", page.len());
    assert_eq!(ctx.changes_from(Seq(0), 4_096).await.len(), 17);
}
