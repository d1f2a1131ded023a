//! Queries: ranges, order, pages, cursors.

use bytes::Bytes;

use super::ctx::{Ctx, at, set};
use super::{Case, list_cases};
use crate::model::error::ReadError;
use crate::model::item::Item;
use crate::model::key::Key;
use crate::port::{Cursor, SkRange};

pub(super) const CASES: &[Case] = list_cases![Nothing:
    an_empty_partition_has_no_items,
    a_query_sees_its_partition_only,
    items_come_in_the_order_of_their_sort_key_bytes,
    a_reverse_query_comes_in_the_opposite_order,
    a_prefix_selects_what_begins_with_it,
    a_prefix_of_high_bytes_selects_what_begins_with_it,
    an_empty_prefix_selects_all,
    a_range_includes_its_start_and_not_its_end,
    a_range_without_an_end_goes_to_the_end,
    an_empty_or_backward_range_has_no_items,
    a_limit_cuts_the_page_and_a_cursor_goes_on,
    a_page_that_ends_with_the_range_has_no_cursor,
    pages_of_every_size_add_up_to_the_range_in_both_directions,
    pages_of_a_prefix_stay_inside_it,
    a_cursor_outside_its_range_is_invalid,
    a_limit_of_zero_counts_as_one,
    deleted_items_are_not_in_ranges,
    a_query_returns_items_whole_and_current,
    a_page_is_bounded_in_bytes,
    a_put_between_two_pages_appears_if_it_lies_ahead,
    an_order_and_its_facts_come_in_one_page,
];

fn prefix(bytes: &str) -> SkRange {
    SkRange::Prefix(Bytes::copy_from_slice(bytes.as_bytes()))
}

fn range(from: &str, to: Option<&str>) -> SkRange {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    SkRange::Range { from: bytes(from), to: to.map(bytes) }
}

async fn an_empty_partition_has_no_items(ctx: Ctx) {
    let page = ctx.page("p", SkRange::All, 10, false, None).await;
    assert_eq!((page.items, page.next), (vec![], None));
}

async fn a_query_sees_its_partition_only(ctx: Ctx) {
    for pk in ["p", "p\0", "pp", "o", "q", "p/"] {
        ctx.fill(pk, &["1", "2"]).await;
    }
    for pk in ["p", "p\0", "pp"] {
        let page = ctx.page(pk, SkRange::All, 10, false, None).await;
        assert_eq!(page.items.len(), 2);
        assert!(page.items.iter().all(|item| item.key.pk == ctx.pk(pk)));
    }
}

async fn items_come_in_the_order_of_their_sort_key_bytes(ctx: Ctx) {
    ctx.fill("p", &["b", "a", "aa", "B", "a\0", "é", "10", "9"]).await;
    assert_eq!(ctx.sks("p", SkRange::All, 100, false).await, ["10", "9", "B", "a", "a\0", "aa", "b", "é"]);
}

async fn a_reverse_query_comes_in_the_opposite_order(ctx: Ctx) {
    ctx.fill("p", &["a", "b", "c"]).await;
    assert_eq!(ctx.sks("p", SkRange::All, 100, true).await, ["c", "b", "a"]);
    assert_eq!(ctx.sks("p", range("a", Some("c")), 100, true).await, ["b", "a"]);
}

async fn a_prefix_selects_what_begins_with_it(ctx: Ctx) {
    ctx.fill("p", &["O#1", "O#1#E#1", "O#12", "O#2", "O", "P#1", "N#1"]).await;
    assert_eq!(ctx.sks("p", prefix("O#1"), 100, false).await, ["O#1", "O#1#E#1", "O#12"]);
    assert_eq!(ctx.sks("p", prefix("O#"), 100, true).await, ["O#2", "O#12", "O#1#E#1", "O#1"]);
    assert_eq!(ctx.sks("p", prefix("X"), 100, false).await, Vec::<String>::new());
}

async fn a_prefix_of_high_bytes_selects_what_begins_with_it(ctx: Ctx) {
    let key = |sk: &[u8]| Key::new(ctx.pk("p"), sk.to_vec());
    for sk in [&[0xfe][..], &[0xff], &[0xff, 0], &[0xff, 0xff], &[0xff, 0xff, 1]] {
        ctx.put(Item::new(key(sk))).await;
    }
    for (start, count) in [(&[0xff][..], 4), (&[0xff, 0xff], 2), (&[0xfe], 1)] {
        let page = ctx.page("p", SkRange::Prefix(Bytes::copy_from_slice(start)), 10, false, None).await;
        assert_eq!(page.items.len(), count, "prefix {start:?}");
    }
}

async fn an_empty_prefix_selects_all(ctx: Ctx) {
    ctx.fill("p", &["a", "b"]).await;
    assert_eq!(ctx.sks("p", prefix(""), 100, false).await, ["a", "b"]);
}

async fn a_range_includes_its_start_and_not_its_end(ctx: Ctx) {
    ctx.fill("p", &["a", "b", "b\0", "c", "d"]).await;
    assert_eq!(ctx.sks("p", range("b", Some("d")), 100, false).await, ["b", "b\0", "c"]);
    assert_eq!(ctx.sks("p", range("aa", Some("c\0")), 100, false).await, ["b", "b\0", "c"]);
}

async fn a_range_without_an_end_goes_to_the_end(ctx: Ctx) {
    ctx.fill("p", &["a", "b", "\u{10ffff}"]).await;
    assert_eq!(ctx.sks("p", range("b", None), 100, false).await, ["b", "\u{10ffff}"]);
}

async fn an_empty_or_backward_range_has_no_items(ctx: Ctx) {
    ctx.fill("p", &["a", "b", "c"]).await;
    for (from, to) in [("b", "b"), ("c", "a"), ("bb", "bc")] {
        for reverse in [false, true] {
            assert_eq!(ctx.sks("p", range(from, Some(to)), 100, reverse).await, Vec::<String>::new());
        }
    }
}

async fn a_limit_cuts_the_page_and_a_cursor_goes_on(ctx: Ctx) {
    ctx.fill("p", &["a", "b", "c"]).await;
    let first = ctx.page("p", SkRange::All, 2, false, None).await;
    assert_eq!(first.items.len(), 2);
    let second = ctx.page("p", SkRange::All, 2, false, first.next).await;
    assert_eq!(second.items.iter().map(|item| &item.key).collect::<Vec<_>>(), [&ctx.key("p", "c")]);
    assert_eq!(second.next, None);
}

async fn a_page_that_ends_with_the_range_has_no_cursor(ctx: Ctx) {
    ctx.fill("p", &["a", "b", "z"]).await;
    let page = ctx.page("p", range("a", Some("c")), 2, false, None).await;
    assert_eq!((page.items.len(), page.next), (2, None));
}

async fn pages_of_every_size_add_up_to_the_range_in_both_directions(ctx: Ctx) {
    let sks = ["a", "b", "c", "d", "e", "f", "g"];
    ctx.fill("p", &sks).await;
    let mut backward = sks;
    backward.reverse();
    for limit in 1..=8 {
        assert_eq!(ctx.sks("p", SkRange::All, limit, false).await, sks);
        assert_eq!(ctx.sks("p", SkRange::All, limit, true).await, backward);
        assert_eq!(ctx.sks("p", range("b", Some("f")), limit, true).await, ["e", "d", "c", "b"]);
    }
}

async fn pages_of_a_prefix_stay_inside_it(ctx: Ctx) {
    ctx.fill("p", &["a", "x1", "x2", "x3", "y"]).await;
    for reverse in [false, true] {
        let mut sks = ctx.sks("p", prefix("x"), 1, reverse).await;
        sks.sort();
        assert_eq!(sks, ["x1", "x2", "x3"]);
    }
}

async fn a_cursor_outside_its_range_is_invalid(ctx: Ctx) {
    ctx.fill("p", &["a", "b", "c"]).await;
    for (cursor, range) in [("z", prefix("b")), ("a", range("b", None)), ("", SkRange::All)] {
        let cursor = Some(Cursor(Bytes::copy_from_slice(cursor.as_bytes())));
        let answer = ctx.table.query(&ctx.pk("p"), range, 1, false, cursor).await;
        assert!(matches!(answer, Err(ReadError::Invalid(_))), "{answer:?}");
    }
}

async fn a_limit_of_zero_counts_as_one(ctx: Ctx) {
    ctx.fill("p", &["a", "b"]).await;
    let page = ctx.page("p", SkRange::All, 0, false, None).await;
    assert_eq!(page.items.len(), 1);
    assert!(page.next.is_some());
}

async fn deleted_items_are_not_in_ranges(ctx: Ctx) {
    ctx.fill("p", &["a", "b", "c"]).await;
    ctx.delete(ctx.key("p", "b")).await;
    assert_eq!(ctx.sks("p", SkRange::All, 1, false).await, ["a", "c"]);
    assert_eq!(ctx.sks("p", SkRange::All, 1, true).await, ["c", "a"]);
    ctx.delete(ctx.key("p", "c")).await;
    let page = ctx.page("p", SkRange::All, 1, false, None).await;
    assert_eq!(page.next, None, "nothing but deleted items lies ahead");
}

async fn a_query_returns_items_whole_and_current(ctx: Ctx) {
    ctx.put(ctx.item().with("n", 1).with("big", vec![1; 5_000])).await;
    ctx.patch(ctx.k(), vec![set(at("n"), 2)]).await;
    let page = ctx.page("p", SkRange::All, 10, false, None).await;
    assert_eq!(page.items, [ctx.item().with("n", 2).with("big", vec![1; 5_000])]);
}

async fn a_page_is_bounded_in_bytes(ctx: Ctx) {
    for n in 0..6 {
        ctx.put(Item::new(ctx.key("p", &n.to_string())).with("b", vec![n; 390_000])).await;
    }
    let page = ctx.page("p", SkRange::All, 100, false, None).await;
    assert!((1..6).contains(&page.items.len()), "{} items of 390 kB in one page", page.items.len());
    assert!(page.next.is_some());
    assert_eq!(ctx.sks("p", SkRange::All, 100, false).await, ["0", "1", "2", "3", "4", "5"]);
}

async fn a_put_between_two_pages_appears_if_it_lies_ahead(ctx: Ctx) {
    ctx.fill("p", &["b", "d"]).await;
    let first = ctx.page("p", SkRange::All, 1, false, None).await;
    ctx.fill("p", &["a", "c"]).await;
    let second = ctx.page("p", SkRange::All, 10, false, first.next).await;
    let keys: Vec<_> = second.items.iter().map(|item| item.key.sk.clone()).collect();
    assert_eq!(keys, ["c", "d"]);
}

async fn an_order_and_its_facts_come_in_one_page(ctx: Ctx) {
    ctx.fill("u", &["O#aaa", "O#aaa#E#0001", "O#aaa#E#0002", "O#aab", "O#aa"]).await;
    assert_eq!(ctx.sks("u", prefix("O#aaa"), 100, false).await, ["O#aaa", "O#aaa#E#0001", "O#aaa#E#0002"]);
}
