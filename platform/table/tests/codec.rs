//! The codec: what is encoded decodes to the same, and no bytes make the decoder panic.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use zizon_table::codec::{
    DecodeError, PlanReader, PlanWriter, check_item, decode_image, effect_bytes, encode_image, image_bytes,
};
use zizon_table::{Item, Key, Value};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        ".{0,12}".prop_map(Value::from),
        vec(any::<u8>(), 0..64).prop_map(Value::from),
        any::<bool>().prop_map(Value::Bool),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            btree_map(".{1,8}", inner.clone(), 0..5).prop_map(Value::Map),
            vec(inner, 0..5).prop_map(Value::List),
        ]
    })
}

fn key() -> impl Strategy<Value = Key> {
    (vec(any::<u8>(), 1..40), vec(any::<u8>(), 1..40)).prop_map(|(pk, sk)| Key::new(pk, sk))
}

fn item() -> impl Strategy<Value = Item> {
    (key(), btree_map(".{1,8}", value(), 0..8)).prop_map(|(key, attrs): (Key, BTreeMap<String, Value>)| {
        attrs.into_iter().fold(Item::new(key), |item, (name, value)| item.with(name, value))
    })
}

fn image(item: &Item) -> Bytes {
    let mut bytes = Vec::new();
    encode_image(item, &mut bytes);
    bytes.into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_image_decodes_to_its_item_and_has_the_length_it_was_said_to_have(item in item()) {
        let bytes = image(&item);
        prop_assert_eq!(bytes.len(), image_bytes(&item));
        prop_assert_eq!(check_item(&item), Ok(bytes.len()));
        prop_assert_eq!(decode_image(item.key.clone(), &bytes), Ok(item));
    }

    #[test]
    fn a_plan_reads_back_its_effects_in_order(effects in vec((item(), any::<bool>()), 1..8)) {
        let mut out = vec![9; 3];
        let mut writer = PlanWriter::begin(&mut out, effects.len());
        let (mut images, mut bytes) = (Vec::new(), 0);
        for (item, deleted) in &effects {
            bytes += effect_bytes(&item.key, (!deleted).then_some(item)).expect("within bounds");
            images.push(if *deleted { writer.delete(&item.key); None } else { Some(writer.put(item)) });
        }
        prop_assert_eq!(writer.effect_bytes(), bytes);
        let whole = Bytes::from(out);
        let read: Vec<_> = PlanReader::new(&whole).expect("a plan").collect::<Result<_, _>>().expect("whole");
        prop_assert_eq!(read.len(), effects.len());
        for ((effect, (item, deleted)), place) in read.iter().zip(&effects).zip(images) {
            prop_assert_eq!(&effect.key, &item.key);
            prop_assert_eq!(effect.item().expect("whole"), (!deleted).then(|| item.clone()));
            if let Some((at, len)) = place {
                prop_assert_eq!(effect.image_at, at);
                prop_assert_eq!(&whole.slice(at..at + len), &image(item));
            }
        }
    }

    #[test]
    fn any_bytes_decode_or_are_refused_and_what_decodes_is_canonical(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        if let Ok(item) = decode_image(Key::new("p", "s"), &bytes) {
            prop_assert_eq!(image(&item), bytes.clone());
        }
        if let Ok(plan) = PlanReader::new(&bytes) {
            plan.for_each(|effect| drop(effect.and_then(|effect| effect.item())));
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_decodes_canonically(item in item(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = image(&item).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let bytes = Bytes::from(bytes);
        if let Ok(item) = decode_image(item.key, &bytes) {
            prop_assert_eq!(image(&item), bytes);
        }
    }

    #[test]
    fn every_cut_of_an_image_is_refused(item in item(), at in any::<prop::sample::Index>()) {
        let bytes = image(&item);
        let cut = bytes.slice(..at.index(bytes.len()));
        prop_assert!(decode_image(item.key, &cut).is_err());
    }
}

#[test]
fn the_encoding_of_version_1_does_not_change() {
    let map: BTreeMap<String, Value> = [("a.1".to_owned(), Value::Int(2))].into();
    let item = Item::new(Key::new("S#PROD001#local#000", "S"))
        .with("q", 1_000_000_000_i64)
        .with("h", map)
        .with("on", true)
        .with("l", vec![Value::from("x"), Value::from(vec![0xff])]);
    let hex: String = image(&item).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "01040168050103612e310004016c06020101780201ff026f6e0401710080a8d6b907");
}

#[test]
fn another_version_is_named() {
    let bytes = Bytes::from_static(&[2, 0]);
    assert_eq!(decode_image(Key::new("p", "s"), &bytes), Err(DecodeError::Version(2)));
    assert!(matches!(PlanReader::new(&bytes), Err(DecodeError::Version(2))));
}

#[test]
fn a_count_that_promises_more_than_there_is_does_not_allocate_it() {
    // A list of 400,000 elements in 8 bytes.
    let bytes = Bytes::from_static(&[1, 1, 1, b'l', 6, 0x80, 0xb5, 0x18]);
    assert_eq!(decode_image(Key::new("p", "s"), &bytes), Err(DecodeError::Short));
}
