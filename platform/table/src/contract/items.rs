//! Whole items: what is put is what is read.

use super::ctx::{Ctx, existing, map};
use super::{Case, list_cases};
use crate::model::cond::Cond;
use crate::model::item::Item;
use crate::model::op::Op;
use crate::model::value::Value;
use crate::port::Durability;
use bytes::Bytes;

pub(super) const CASES: &[Case] = list_cases![Nothing:
    an_absent_item_reads_as_none,
    a_put_item_reads_back_equal,
    every_kind_of_value_reads_back_equal,
    the_least_and_the_greatest_number_read_back_equal,
    text_of_many_scripts_reads_back_equal,
    an_item_without_attributes_exists,
    empty_text_bytes_maps_and_lists_are_values,
    nested_maps_and_lists_read_back_equal,
    a_put_replaces_the_whole_item,
    a_large_item_reads_back_equal,
    a_large_item_replaced_by_a_small_one_reads_back_small,
    keys_are_bytes_not_text,
    keys_that_share_bytes_are_different_items,
    the_longest_key_is_accepted,
    a_deleted_item_reads_as_none,
    a_deleted_item_can_be_put_again,
    deleting_an_absent_item_is_allowed,
    a_read_after_an_answered_write_sees_it,
    an_ordered_write_is_covered_by_a_later_durable_one,
    an_answered_write_names_a_position,
];

async fn an_absent_item_reads_as_none(ctx: Ctx) {
    assert_eq!(ctx.get(&ctx.k()).await, None);
}

async fn a_put_item_reads_back_equal(ctx: Ctx) {
    let item = ctx.item().with("q", 5).with("st", "PLACED");
    ctx.put(item.clone()).await;
    assert_eq!(ctx.get(&ctx.k()).await, Some(item));
}

async fn every_kind_of_value_reads_back_equal(ctx: Ctx) {
    let item = ctx
        .item()
        .with("int", -7)
        .with("str", "text")
        .with("bytes", vec![0, 255, 1])
        .with("yes", true)
        .with("no", false)
        .with("map", map(&[("a", 1), ("b", -2)]))
        .with("list", vec![Value::Int(1), Value::from("two"), Value::Bool(true)]);
    ctx.put(item.clone()).await;
    let read = ctx.must(&ctx.k()).await;
    assert_eq!(read, item);
    assert_eq!((read.int("int"), read.str("str"), read.bool("yes")), (Some(-7), Some("text"), Some(true)));
    assert_eq!(read.bytes("bytes"), Some(&Bytes::from_static(&[0, 255, 1])));
    assert_eq!(read.map("map").map(std::collections::BTreeMap::len), Some(2));
    assert_eq!(read.list("list").map(<[Value]>::len), Some(3));
}

async fn the_least_and_the_greatest_number_read_back_equal(ctx: Ctx) {
    let numbers = [i64::MIN, i64::MIN + 1, -129, -1, 0, 1, 127, 128, i64::MAX - 1, i64::MAX];
    let item = ctx.item().with("n", numbers.map(Value::Int).to_vec());
    ctx.put(item.clone()).await;
    assert_eq!(ctx.must(&ctx.k()).await, item);
}

async fn text_of_many_scripts_reads_back_equal(ctx: Ctx) {
    let item = ctx.item().with("t", "수분 크림 50ml ・ 保湿クリーム \u{1f9f4} \0 end").with("이름", "값");
    ctx.put(item.clone()).await;
    assert_eq!(ctx.must(&ctx.k()).await, item);
}

async fn an_item_without_attributes_exists(ctx: Ctx) {
    ctx.put(ctx.item()).await;
    assert_eq!(ctx.get(&ctx.k()).await, Some(ctx.item()));
    assert!(ctx.holds(ctx.k(), Cond::Exists).await);
}

async fn empty_text_bytes_maps_and_lists_are_values(ctx: Ctx) {
    let item = ctx.item().with("s", "").with("b", Bytes::new()).with("m", map(&[])).with("l", Vec::<Value>::new());
    ctx.put(item.clone()).await;
    assert_eq!(ctx.must(&ctx.k()).await, item);
}

async fn nested_maps_and_lists_read_back_equal(ctx: Ctx) {
    let inner = Value::List(vec![map(&[("x", 1)]), Value::List(vec![Value::from("deep")])]);
    let item = ctx.item().with("l", vec![inner.clone(), inner]);
    ctx.put(item.clone()).await;
    assert_eq!(ctx.must(&ctx.k()).await, item);
}

async fn a_put_replaces_the_whole_item(ctx: Ctx) {
    ctx.put(ctx.item().with("a", 1).with("b", 2)).await;
    ctx.put(ctx.item().with("c", 3)).await;
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("c", 3));
}

async fn a_large_item_reads_back_equal(ctx: Ctx) {
    let item = ctx.item().with("b", vec![0xa5; 300_000]).with("n", 1);
    ctx.put(item.clone()).await;
    assert!(ctx.must(&ctx.k()).await == item, "300 kB read back equal");
}

async fn a_large_item_replaced_by_a_small_one_reads_back_small(ctx: Ctx) {
    ctx.put(ctx.item().with("b", vec![1; 10_000])).await;
    ctx.put(ctx.item().with("b", vec![2; 3])).await;
    assert_eq!(ctx.must(&ctx.k()).await.bytes("b").map(Bytes::len), Some(3));
    ctx.put(ctx.item().with("b", vec![3; 20_000])).await;
    assert_eq!(ctx.must(&ctx.k()).await.bytes("b").map(Bytes::len), Some(20_000));
}

async fn keys_are_bytes_not_text(ctx: Ctx) {
    let mut pk = ctx.pk("p").to_vec();
    pk.extend([0, 0xff, 0xfe]);
    let key = crate::Key::new(pk, vec![0xff, 0, 0x80]);
    ctx.put(Item::new(key.clone()).with("n", 1)).await;
    assert_eq!(ctx.must(&key).await.int("n"), Some(1));
}

async fn keys_that_share_bytes_are_different_items(ctx: Ctx) {
    // The same bytes, cut at different places.
    for (pk, sk, n) in [("ab", "c", 1), ("a", "bc", 2), ("abc", "c", 3)] {
        ctx.put(Item::new(ctx.key(pk, sk)).with("n", n)).await;
    }
    for (pk, sk, n) in [("ab", "c", 1), ("a", "bc", 2), ("abc", "c", 3)] {
        assert_eq!(ctx.must(&ctx.key(pk, sk)).await.int("n"), Some(n));
    }
}

async fn the_longest_key_is_accepted(ctx: Ctx) {
    let mut pk = ctx.pk("p").to_vec();
    pk.resize(crate::limits::MAX_PK_BYTES, b'x');
    let key = crate::Key::new(pk, vec![b'y'; crate::limits::MAX_SK_BYTES]);
    ctx.put(Item::new(key.clone()).with("n", 1)).await;
    assert_eq!(ctx.must(&key).await.int("n"), Some(1));
}

async fn a_deleted_item_reads_as_none(ctx: Ctx) {
    ctx.put(ctx.item().with("n", 1)).await;
    ctx.delete(ctx.k()).await;
    assert_eq!(ctx.get(&ctx.k()).await, None);
}

async fn a_deleted_item_can_be_put_again(ctx: Ctx) {
    ctx.put(ctx.item().with("n", 1)).await;
    ctx.delete(ctx.k()).await;
    ctx.try_put(ctx.item().with("n", 2), Cond::NotExists).await.expect("it does not exist");
    assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(2));
}

async fn deleting_an_absent_item_is_allowed(ctx: Ctx) {
    ctx.delete(ctx.k()).await;
    assert_eq!(ctx.get(&ctx.k()).await, None);
    let refused = ctx.try_delete(ctx.k(), Cond::Exists).await;
    assert_eq!(existing(refused, 0), None);
}

async fn a_read_after_an_answered_write_sees_it(ctx: Ctx) {
    for n in 0..50 {
        ctx.put(ctx.item().with("n", n)).await;
        assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(i64::from(n)));
    }
}

async fn an_ordered_write_is_covered_by_a_later_durable_one(ctx: Ctx) {
    let first = Op::Put { item: ctx.item().with("n", 1), cond: Cond::Always };
    ctx.table.write(first, Durability::Ordered).await.expect("the write is accepted");
    ctx.put(Item::new(ctx.key("p", "other"))).await;
    assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(1));
}

async fn an_answered_write_names_a_position(ctx: Ctx) {
    let first = ctx.put(ctx.item().with("n", 1)).await;
    let second = ctx.put(ctx.item().with("n", 2)).await;
    assert!(second.seq > first.seq, "later writes of one item have later positions");
}
