//! Plans over several items: all or nothing.

use super::ctx::{Ctx, add, at, existing, is_invalid, set};
use super::{Case, list_cases};
use crate::model::cond::Cond;
use crate::model::error::WriteError;
use crate::model::item::Item;
use crate::model::limits::MAX_PLAN_OPS;
use crate::model::op::Op;
use crate::port::Token;

pub(super) const CASES: &[Case] = list_cases![Transact:
    a_plan_writes_all_its_items,
    a_plan_may_mix_kinds_of_operations,
    a_plan_of_one_operation_is_a_write,
    a_failed_condition_anywhere_stops_the_whole_plan,
    the_first_failed_operation_is_named,
    a_failed_check_stops_the_plan,
    a_failed_operation_shows_its_own_item,
    a_plan_sees_the_state_before_itself,
    an_overflow_anywhere_stops_the_whole_plan,
    a_key_named_twice_is_invalid,
    an_empty_plan_is_invalid,
    a_plan_of_the_greatest_size_happens,
    a_plan_over_the_greatest_size_is_invalid,
    a_plan_that_changes_nothing_is_answered,
    a_token_does_not_change_what_a_plan_does,
    a_token_over_its_bound_is_invalid,
    a_plan_may_move_units_between_items,
    orders_and_stock_move_together,
];

fn put(item: Item, cond: Cond) -> Op {
    Op::Put { item, cond }
}

fn sku(ctx: &Ctx, name: &str, q: i64) -> Item {
    Item::new(ctx.key(name, "S")).with("q", q)
}

fn take(ctx: &Ctx, name: &str, n: i64) -> Op {
    Op::Patch { key: ctx.key(name, "S"), patches: vec![add(at("q"), -n)], cond: Cond::AttrGe(at("q"), n) }
}

async fn a_plan_writes_all_its_items(ctx: Ctx) {
    let items: Vec<Item> = ["a", "b", "c"].map(|sk| Item::new(ctx.key("p", sk)).with("n", 1)).to_vec();
    ctx.plan(items.iter().map(|item| put(item.clone(), Cond::NotExists)).collect()).await;
    for item in items {
        assert_eq!(ctx.must(&item.key).await, item);
    }
}

async fn a_plan_may_mix_kinds_of_operations(ctx: Ctx) {
    for (sk, n) in [("patched", 1), ("deleted", 2), ("checked", 3)] {
        ctx.put(Item::new(ctx.key("p", sk)).with("n", n)).await;
    }
    ctx.plan(vec![
        put(Item::new(ctx.key("p", "put")).with("n", 0), Cond::NotExists),
        Op::Patch { key: ctx.key("p", "patched"), patches: vec![add(at("n"), 10)], cond: Cond::Exists },
        Op::Delete { key: ctx.key("p", "deleted"), cond: Cond::Exists },
        Op::Check { key: ctx.key("p", "checked"), cond: Cond::AttrGe(at("n"), 3) },
    ])
    .await;
    let numbers = ["put", "patched", "deleted", "checked"].map(|sk| ctx.key("p", sk));
    let numbers: Vec<Option<i64>> =
        ctx.get_many(&numbers).await.into_iter().map(|item| item.and_then(|item| item.int("n"))).collect();
    assert_eq!(numbers, [Some(0), Some(11), None, Some(3)]);
}

async fn a_plan_of_one_operation_is_a_write(ctx: Ctx) {
    ctx.plan(vec![put(ctx.item().with("n", 1), Cond::NotExists)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(1));
}

async fn a_failed_condition_anywhere_stops_the_whole_plan(ctx: Ctx) {
    ctx.put(sku(&ctx, "b", 1)).await;
    for at_end in [true, false] {
        let mut ops = vec![put(sku(&ctx, "a", 1), Cond::NotExists), put(sku(&ctx, "c", 1), Cond::NotExists)];
        ops.insert(if at_end { 2 } else { 0 }, put(sku(&ctx, "b", 9), Cond::NotExists));
        existing(ctx.try_plan(ops).await, if at_end { 2 } else { 0 });
        assert_eq!(ctx.get(&ctx.key("a", "S")).await, None);
        assert_eq!(ctx.get(&ctx.key("c", "S")).await, None);
        assert_eq!(ctx.must(&ctx.key("b", "S")).await.int("q"), Some(1));
    }
}

async fn the_first_failed_operation_is_named(ctx: Ctx) {
    ctx.put(sku(&ctx, "b", 1)).await;
    ctx.put(sku(&ctx, "c", 2)).await;
    let ops = vec![take(&ctx, "b", 1), take(&ctx, "c", 3), take(&ctx, "absent", 1)];
    assert_eq!(existing(ctx.try_plan(ops).await, 1), Some(sku(&ctx, "c", 2)));
}

async fn a_failed_check_stops_the_plan(ctx: Ctx) {
    let check = Op::Check { key: ctx.key("guard", "g"), cond: Cond::Exists };
    let refused = ctx.try_plan(vec![put(ctx.item(), Cond::Always), check]).await;
    assert_eq!(existing(refused, 1), None);
    assert_eq!(ctx.get(&ctx.k()).await, None);
}

async fn a_failed_operation_shows_its_own_item(ctx: Ctx) {
    let order = ctx.item().with("dg", vec![1; 32]);
    ctx.put(order.clone()).await;
    ctx.put(sku(&ctx, "s", 5)).await;
    let refused = ctx.try_plan(vec![put(ctx.item(), Cond::NotExists), take(&ctx, "s", 2)]).await;
    assert_eq!(existing(refused, 0), Some(order));
    assert_eq!(ctx.must(&ctx.key("s", "S")).await.int("q"), Some(5));
}

async fn a_plan_sees_the_state_before_itself(ctx: Ctx) {
    // The check is about the item as it was, although another operation of the plan makes its neighbour.
    ctx.put(sku(&ctx, "a", 1)).await;
    ctx.plan(vec![
        Op::Patch { key: ctx.key("a", "S"), patches: vec![set(at("q"), 0)], cond: Cond::AttrGe(at("q"), 1) },
        put(sku(&ctx, "b", 1), Cond::NotExists),
        Op::Check { key: ctx.key("c", "S"), cond: Cond::NotExists },
    ])
    .await;
    assert_eq!(ctx.must(&ctx.key("a", "S")).await.int("q"), Some(0));
}

async fn an_overflow_anywhere_stops_the_whole_plan(ctx: Ctx) {
    ctx.put(sku(&ctx, "a", i64::MAX)).await;
    let over = Op::Patch { key: ctx.key("a", "S"), patches: vec![add(at("q"), 1)], cond: Cond::Always };
    is_invalid(&ctx.try_plan(vec![put(ctx.item(), Cond::Always), over]).await);
    assert_eq!(ctx.get(&ctx.k()).await, None);
    assert_eq!(ctx.must(&ctx.key("a", "S")).await.int("q"), Some(i64::MAX));
}

async fn a_key_named_twice_is_invalid(ctx: Ctx) {
    let check = || Op::Check { key: ctx.k(), cond: Cond::Always };
    is_invalid(&ctx.try_plan(vec![put(ctx.item(), Cond::Always), check()]).await);
    let mut many: Vec<Op> = (0..20).map(|n| put(Item::new(ctx.key("p", &n.to_string())), Cond::Always)).collect();
    many.push(Op::Delete { key: ctx.key("p", "7"), cond: Cond::Always });
    is_invalid(&ctx.try_plan(many).await);
    assert_eq!(ctx.get(&ctx.k()).await, None);
    assert_eq!(ctx.get(&ctx.key("p", "0")).await, None);
}

async fn an_empty_plan_is_invalid(ctx: Ctx) {
    is_invalid(&ctx.try_plan(vec![]).await);
}

async fn a_plan_of_the_greatest_size_happens(ctx: Ctx) {
    let keys: Vec<_> = (0..MAX_PLAN_OPS).map(|n| ctx.key("p", &format!("{n:03}"))).collect();
    ctx.plan(keys.iter().map(|key| put(Item::new(key.clone()), Cond::NotExists)).collect()).await;
    assert!(ctx.get_many(&keys).await.iter().all(Option::is_some));
}

async fn a_plan_over_the_greatest_size_is_invalid(ctx: Ctx) {
    let keys = (0..=MAX_PLAN_OPS).map(|n| ctx.key("p", &format!("{n:03}")));
    is_invalid(&ctx.try_plan(keys.map(|key| put(Item::new(key), Cond::Always)).collect()).await);
    assert_eq!(ctx.get(&ctx.key("p", "000")).await, None);
}

async fn a_plan_that_changes_nothing_is_answered(ctx: Ctx) {
    ctx.plan(vec![
        Op::Check { key: ctx.k(), cond: Cond::NotExists },
        Op::Delete { key: ctx.key("p", "absent"), cond: Cond::Always },
    ])
    .await;
    assert_eq!(ctx.get(&ctx.k()).await, None);
}

async fn a_token_does_not_change_what_a_plan_does(ctx: Ctx) {
    let token = Some(Token(format!("token-{}", ctx.k().pk.len())));
    let ops = vec![put(ctx.item().with("n", 1), Cond::NotExists)];
    ctx.table.transact(ops, token).await.expect("the plan happens");
    assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(1));
}

async fn a_token_over_its_bound_is_invalid(ctx: Ctx) {
    for name in [String::new(), "x".repeat(37)] {
        is_invalid(&ctx.table.transact(vec![put(ctx.item(), Cond::Always)], Some(Token(name))).await);
    }
    assert_eq!(ctx.get(&ctx.k()).await, None);
}

async fn a_plan_may_move_units_between_items(ctx: Ctx) {
    ctx.put(sku(&ctx, "a", 10)).await;
    ctx.put(sku(&ctx, "b", 0)).await;
    for n in 1..=5 {
        let give = Op::Patch { key: ctx.key("b", "S"), patches: vec![add(at("q"), 2)], cond: Cond::Exists };
        ctx.plan(vec![take(&ctx, "a", 2), give]).await;
        let both = ctx.get_many(&[ctx.key("a", "S"), ctx.key("b", "S")]).await;
        let sum: i64 = both.iter().flatten().filter_map(|item| item.int("q")).sum();
        assert_eq!(sum, 10, "after {n} moves");
    }
}

async fn orders_and_stock_move_together(ctx: Ctx) {
    ctx.put(sku(&ctx, "s", 3)).await;
    for n in 0..5 {
        let order = put(Item::new(ctx.key("u", &format!("O#{n}"))).with("u", 1), Cond::NotExists);
        match ctx.try_plan(vec![order, take(&ctx, "s", 1)]).await {
            Ok(_) => assert!(n < 3, "only three units are there"),
            Err(WriteError::CondFailed { op: 1, existing }) => {
                assert!(n >= 3, "three units are there");
                assert_eq!(existing, Some(sku(&ctx, "s", 0)));
                assert_eq!(ctx.get(&ctx.key("u", &format!("O#{n}"))).await, None);
            }
            Err(other) => panic!("a plan answers {other:?}"),
        }
    }
}
