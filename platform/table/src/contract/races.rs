//! Many writers at once: conditions decide, and decide alike for everybody.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::ctx::{Ctx, add, at, existing, map, set};
use super::{Case, list_cases};
use crate::model::cond::Cond;
use crate::model::error::WriteError;
use crate::model::item::Item;
use crate::model::op::Op;
use crate::model::path::Path;
use crate::model::value::Value;

pub(super) const CASES: &[Case] = list_cases![Transact:
    of_fifty_puts_that_must_not_exist_one_happens,
    losers_of_a_race_see_the_winner,
    two_hundred_buyers_of_a_hundred_units_buy_a_hundred,
    two_writes_of_one_item_at_once_both_count,
    a_write_after_one_in_flight_sees_its_effect,
    a_delete_in_flight_is_seen_by_the_next_write,
    versions_are_handed_out_once,
    plans_over_the_same_two_items_keep_their_sum,
    a_snapshot_never_shows_half_a_plan,
    holds_of_many_attempts_fit_exactly,
    a_dropped_write_harms_nothing,
];

/// Retries what a backend may refuse under contention.
async fn persist<F: Future<Output = Result<crate::Applied, WriteError>>>(
    write: impl Fn() -> F,
) -> Result<crate::Applied, WriteError> {
    for _ in 0..10_000 {
        match write().await {
            Err(WriteError::Conflict | WriteError::Throttled) => tokio::task::yield_now().await,
            other => return other,
        }
    }
    panic!("a write is refused for ever");
}

async fn of_fifty_puts_that_must_not_exist_one_happens(ctx: Ctx) {
    let ctx = &ctx;
    let happened =
        join_all((0..50).map(|n| persist(move || ctx_put(ctx, n)))).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(happened, 1);
}

async fn ctx_put(ctx: &Ctx, n: i64) -> Result<crate::Applied, WriteError> {
    ctx.try_put(ctx.item().with("n", n), Cond::NotExists).await
}

async fn losers_of_a_race_see_the_winner(ctx: Ctx) {
    let ctx = &ctx;
    let answers = join_all((0..50).map(|n| persist(move || ctx_put(ctx, n)))).await;
    let winner = ctx.must(&ctx.k()).await;
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_eq!(existing(answer, 0), Some(winner.clone()));
    }
}

async fn two_hundred_buyers_of_a_hundred_units_buy_a_hundred(ctx: Ctx) {
    ctx.put(Item::new(ctx.key("stock", "S")).with("q", 100)).await;
    let ctx = &ctx;
    let buy = |n: i32| async move {
        let order = Item::new(ctx.key("u", &format!("O#{n}"))).with("u", 1);
        let take =
            Op::Patch { key: ctx.key("stock", "S"), patches: vec![add(at("q"), -1)], cond: Cond::AttrGe(at("q"), 1) };
        ctx.try_plan(vec![Op::Put { item: order, cond: Cond::NotExists }, take]).await
    };
    let answers = join_all((0..200).map(|n| persist(move || buy(n)))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 100);
    assert_eq!(ctx.must(&ctx.key("stock", "S")).await.int("q"), Some(0));
    assert_eq!(ctx.sks("u", crate::SkRange::All, 50, false).await.len(), 100);
}

async fn two_writes_of_one_item_at_once_both_count(ctx: Ctx) {
    ctx.put(ctx.item().with("a", 0).with("b", 0)).await;
    let ctx = &ctx;
    let add_to = |name: &'static str| persist(move || ctx.try_patch(ctx.k(), vec![add(at(name), 1)], Cond::Exists));
    let (a, b) = futures_util::future::join(add_to("a"), add_to("b")).await;
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("a", 1).with("b", 1));
}

async fn a_write_after_one_in_flight_sees_its_effect(ctx: Ctx) {
    // Both are begun before either is answered.
    let first = ctx.try_put(ctx.item().with("n", 1), Cond::NotExists);
    let second = ctx.try_patch(ctx.k(), vec![add(at("n"), 1)], Cond::Exists);
    let (first, second) = futures_util::future::join(first, second).await;
    first.expect("it does not exist");
    match second {
        Ok(_) => assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(2)),
        // A backend may take them in the other order.
        refused => assert_eq!(existing(refused, 0), None),
    }
}

async fn a_delete_in_flight_is_seen_by_the_next_write(ctx: Ctx) {
    ctx.put(ctx.item().with("n", 1)).await;
    let delete = ctx.try_delete(ctx.k(), Cond::Exists);
    let put = ctx.try_put(ctx.item().with("n", 2), Cond::NotExists);
    let (delete, put) = futures_util::future::join(delete, put).await;
    delete.expect("it exists");
    match put {
        Ok(_) => assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(2)),
        refused => assert!(existing(refused, 0).is_some()),
    }
}

async fn versions_are_handed_out_once(ctx: Ctx) {
    ctx.put(ctx.item().with("v", 0)).await;
    let ctx = &ctx;
    let mut seen = BTreeSet::new();
    for round in 0..10_i64 {
        let over = Cond::AttrEq(at("v"), Value::Int(round));
        let bump = |_| {
            let over = over.clone();
            persist(move || ctx.try_patch(ctx.k(), vec![set(at("v"), round + 1)], over.clone()))
        };
        let happened = join_all((0..8).map(bump)).await.into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(happened.len(), 1, "round {round}");
        assert!(seen.insert(happened[0].seq), "positions differ");
    }
}

async fn plans_over_the_same_two_items_keep_their_sum(ctx: Ctx) {
    for name in ["a", "b"] {
        ctx.put(Item::new(ctx.key(name, "S")).with("q", 50)).await;
    }
    let ctx = &ctx;
    let step = |name: &str, n: i64| {
        let patches = vec![add(at("q"), n)];
        Op::Patch { key: ctx.key(name, "S"), patches, cond: Cond::AttrGe(at("q"), -n.min(0)) }
    };
    let plans = (0..60_i64).map(|n| {
        let (from, to) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
        persist(move || ctx.try_plan(vec![step(from, -(n % 7)), step(to, n % 7)]))
    });
    join_all(plans).await;
    let both = ctx.get_many(&["a", "b"].map(|name| ctx.key(name, "S"))).await;
    assert_eq!(both.iter().flatten().filter_map(|item| item.int("q")).sum::<i64>(), 100);
}

async fn a_snapshot_never_shows_half_a_plan(ctx: Ctx) {
    let keys = ["a", "b", "c"].map(|sk| ctx.key("p", sk));
    let all =
        |n: i64| keys.iter().map(move |key| Op::Put { item: Item::new(key.clone()).with("n", n), cond: Cond::Always });
    ctx.plan(all(0).collect()).await;
    let writer = async {
        for n in 1..100 {
            ctx.plan(all(n).collect()).await;
        }
    };
    let reader = async {
        for _ in 0..200 {
            let read: BTreeSet<_> = ctx.get_many(&keys).await.iter().flatten().map(|item| item.int("n")).collect();
            assert_eq!(read.len(), 1, "one plan at a time: {read:?}");
            let page = ctx.page("p", crate::SkRange::All, 10, false, None).await;
            let read: BTreeSet<_> = page.items.iter().map(|item| item.int("n")).collect();
            assert_eq!(read.len(), 1, "one plan at a time: {read:?}");
            tokio::task::yield_now().await;
        }
    };
    futures_util::future::join(writer, reader).await;
}

async fn holds_of_many_attempts_fit_exactly(ctx: Ctx) {
    ctx.put(ctx.item().with("q", 10).with("h", map(&[]))).await;
    let ctx = &ctx;
    let hold = |n: i32| async move {
        let entry = Path::entry("h", format!("oid{n}.nonce"));
        let free = Cond::All(vec![Cond::AttrGe(at("q"), 1), Cond::NoAttr(entry.clone())]);
        ctx.try_patch(ctx.k(), vec![add(at("q"), -1), set(entry, 1)], free).await
    };
    let answers = join_all((0..25).map(|n| persist(move || hold(n)))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    let shard = ctx.must(&ctx.k()).await;
    assert_eq!((shard.int("q"), shard.map("h").map(std::collections::BTreeMap::len)), (Some(0), Some(10)));
}

async fn a_dropped_write_harms_nothing(ctx: Ctx) {
    for n in 0..20 {
        let write = ctx.try_patch(ctx.k(), vec![add(at("n"), 1)], Cond::Always);
        // Polled once at most, then dropped: it may or may not happen.
        let _ = futures_util::FutureExt::now_or_never(write);
        ctx.put(Item::new(ctx.key("p", &n.to_string()))).await;
    }
    let n = ctx.get(&ctx.k()).await.and_then(|item| item.int("n")).unwrap_or(0);
    assert!((0..=20).contains(&n));
}
